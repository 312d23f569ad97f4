"""The explorer's payload: what travels is what the landscape says, and it is JSON throughout."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from spatial_viz.errors import InvalidInput
from spatial_viz.explorer.payload import GLOSSARY, Pane, exact_answer, explorer_payload
from spatial_viz.landscape.attributes import LandscapeAttributes
from spatial_viz.landscape.dataset import build_landscape, worst_case
from spatial_viz.transforms.transform import Transform

NAMES = ["cat", "<b>dog</b>", "ship", "frog"]
DIMS = ("rotation", "dy", "dx")


def softmax_landscape(
    rotation: list[float], dy: list[float], dx: list[float], classes: list[int], **attributes: Any
) -> xr.Dataset:
    """Logits that are linear in the transform: class 0 at the centre, 1 to the left, 3 to the right."""
    r, y, x = np.meshgrid(rotation, dy, dx, indexing="ij")
    logits = np.stack([2.0 + 0 * r, r / 10, y, -r / 8 + x], axis=-1)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return build_landscape(
        axes={"rotation": np.array(rotation), "dy": np.array(dy), "dx": np.array(dx)},
        cells={
            "loss": -np.log(p[..., 0]),
            "margin": logits[..., 0] - logits[..., 1:].max(-1),
            "predicted": p.argmax(-1),
            "confidence": p.max(-1),
            "fp32": np.ones(p.shape[:-1], bool),
        },
        probabilities=p[..., classes],
        classes=np.array(classes),
        natural={"loss": 0.25, "predicted": 0, "confidence": 0.8},
        attributes=LandscapeAttributes(label=0, names=dict(enumerate(NAMES)), **attributes),
    )


def pane(**changes: Any) -> Pane:
    settings: dict[str, Any] = {
        "landscape": softmax_landscape([-30, 0, 30], [-3, 3], [-3, 0, 3], [0, 1, 2, 3]),
        "image": torch.linspace(0, 1, 3 * 4 * 5).reshape(3, 4, 5),
        "class_names": NAMES,
    }
    return Pane(**(settings | changes))


def array(text: str, dtype: str, *shape: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ((14, 3, -1.5), "turned 14° left, moved 3 px right and 1.5 px up"),
        ((-0.5, 0, 0), "turned 0.5° right"),
        ((0, -24, 0), "moved 24 px left"),
        ((0, 0, 0.25), "moved 0.25 px down"),
        ((0, 0, 0), "not moved at all"),
        ((0.04, 0.004, -0.004), "not moved at all"),
        ((28 / 3, 0, 0), "turned 9.3° left"),
    ],
)
def test_transform_in_words(transform: tuple[float, float, float], words: str) -> None:
    assert Transform(*transform).describe() == words


def test_arrays_travel_unchanged_in_the_order_rotation_dy_dx() -> None:
    ds = softmax_landscape([-30, 0, 30], [-3, 3], [-3, 0, 3], [0, 1, 2, 3])
    shown = explorer_payload([pane(landscape=ds.transpose("class", "dx", "rotation", "dy"))])["panes"][0]
    assert shown["axes"] == {"rotation": [-30, 0, 30], "dy": [-3, 3], "dx": [-3, 0, 3]}
    np.testing.assert_array_equal(array(shown["loss"], "<f4", 3, 2, 3), ds["loss"])
    np.testing.assert_array_equal(array(shown["probabilities"], "<f4", 3, 2, 3, 4), ds["probabilities"])
    np.testing.assert_array_equal(array(shown["misclassified"], "u1", 3, 2, 3), ds["predicted"] != 0)
    assert shown["transforms"] == 18
    assert shown["misclassified_count"] == int((ds["predicted"] != 0).sum())


def test_axes_are_sorted() -> None:
    ds = softmax_landscape([30, 0, -30], [3, -3], [-3, 0, 3], [0, 1, 2, 3])
    shown = explorer_payload([pane(landscape=ds)])["panes"][0]
    assert shown["axes"]["rotation"] == [-30, 0, 30]
    assert array(shown["loss"], "<f4", 3, 2, 3)[0, 0, 0] == ds["loss"].sel(rotation=-30, dy=-3, dx=-3)


def test_it_is_json_and_keeps_markup_as_text() -> None:
    payload = explorer_payload([pane()], rev=3, pose=Transform(5.0), notes=["a note"])
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload
    assert payload["version"] == 2
    assert payload["rev"] == 3
    assert payload["pose"] == {"rotation": 5.0, "dx": 0.0, "dy": 0.0}
    assert payload["limits"] == {"rotation": 30.0, "dx": 3.0, "dy": 3.0}
    assert payload["exact"] is None
    assert payload["glossary"] == GLOSSARY
    assert payload["panes"][0]["classes"][1] == {"index": 1, "name": "<b>dog</b>"}


def test_picture_bytes_are_rows_of_pixels() -> None:
    image = torch.zeros(3, 2, 4)
    image[0, 1, 3] = 1.0  # red, lower right
    picture = explorer_payload([pane(image=image, landscape=softmax_landscape([0], [0], [0], [0], padding="reflect"))])[
        "panes"
    ][0]["picture"]
    assert picture | {"pixels": ""} == {
        "width": 4,
        "height": 2,
        "channels": 3,
        "pixels": "",
        "padding": "reflect",
    }
    pixels = array(picture["pixels"], "u1", 2, 4, 3)
    assert pixels[1, 3].tolist() == [255, 0, 0]
    assert pixels.sum() == 255


def test_one_channel_and_single_values() -> None:
    ds = softmax_landscape([0], [0], [0], [0, 1, 2, 3])
    payload = explorer_payload([pane(landscape=ds, image=torch.ones(1, 2, 2))])
    assert payload["limits"] == {"rotation": 0.0, "dx": 0.0, "dy": 0.0}
    assert payload["panes"][0]["picture"]["channels"] == 1
    assert payload["panes"][0]["transforms"] == 1


def test_colour_scale_reaches_from_chance_to_the_largest_loss_of_all_panes() -> None:
    mild = softmax_landscape([0], [0], [0], [0, 1, 2, 3])
    assert explorer_payload([pane(landscape=mild)])["panes"][0]["top"] == pytest.approx(math.log(4))
    both = explorer_payload([pane(landscape=mild), pane()])
    largest = float(pane().landscape["loss"].max())
    assert [p["top"] for p in both["panes"]] == [pytest.approx(largest)] * 2
    voted = mild.assign(loss=mild["loss"].assign_attrs(long_name="vote loss"))
    with pytest.raises(InvalidInput, match="a loss and a vote loss are not shown on one scale"):
        explorer_payload([pane(landscape=mild), pane(landscape=voted)])


def test_a_predicted_class_that_does_not_travel_gets_a_stand_in() -> None:
    ds = softmax_landscape([-30, 0, 30], [-3, 3], [-3, 0, 3], [0, 3])
    shown = explorer_payload([pane(landscape=ds)])["panes"][0]
    assert [c["index"] for c in shown["classes"]] == [0, 3, -1]
    probabilities = array(shown["probabilities"], "<f4", 3, 2, 3, 3)
    misclassified = array(shown["misclassified"], "u1", 3, 2, 3).astype(bool)
    # The browser, which takes the largest probability, sees every failure.
    np.testing.assert_array_equal(probabilities.argmax(-1) != 0, misclassified)


def test_the_worst_case_is_the_landscapes_own() -> None:
    shown = explorer_payload([pane()])["panes"][0]["worst"]
    truth = worst_case(pane().landscape)
    assert {name: shown[name] for name in asdict(truth)} == asdict(truth)
    assert shown["words"] == "turned 30° right, moved 3 px right and 3 px down"
    assert (shown["name"], shown["misclassified"]) == ("frog", True)


@pytest.mark.parametrize(
    ("sizes", "fixed", "x_axis", "y_axis"),
    [
        (([5], [-3, 0, 3], [-3, 3]), "rotation", "dx", "dy"),
        (([-30, 0, 30], [1.5], [-3, 3]), "dy", "rotation", "dx"),
        (([-30, 0, 30], [-3, 3], [1]), "dx", "rotation", "dy"),
    ],
)
def test_planes(sizes: tuple[list[float], ...], fixed: str, x_axis: str, y_axis: str) -> None:
    ds = softmax_landscape(*sizes, [0, 1])
    plane = explorer_payload([pane(planes=[ds])])["panes"][0]["planes"][0]
    assert (plane["fixed"], plane["x_axis"], plane["y_axis"]) == (fixed, x_axis, y_axis)
    assert plane["at"] == float(ds[fixed][0])
    loss = array(plane["loss"], "<f4", len(plane["y"]), len(plane["x"]))
    corner = ds["loss"].sel({fixed: plane["at"], x_axis: plane["x"][-1], y_axis: plane["y"][0]})
    assert loss[0, -1] == float(corner)


def test_exact_answers() -> None:
    answer = exact_answer(pane(), predicted=1, loss=1.5, confidence=0.5, probabilities=[0.2, 0.5, 0.2, 0.1])
    assert (answer["index"], answer["name"]) == (1, "<b>dog</b>")
    assert answer["misclassified"] is True
    payload = explorer_payload([pane()], exact={"pose": Transform(3.0), "panes": [answer]})
    assert payload["exact"]["pose"] == {"rotation": 3.0, "dx": 0.0, "dy": 0.0}
    assert payload["exact"]["panes"][0]["probabilities"] == pytest.approx([0.2, 0.5, 0.2, 0.1])


def test_refusals_say_what_was_expected() -> None:
    with pytest.raises(InvalidInput, match="one to 4 panes; got 0"):
        explorer_payload([])
    with pytest.raises(InvalidInput, match="needs a landscape with probabilities"):
        explorer_payload([pane(landscape=pane().landscape.drop_vars("probabilities"))])
    with pytest.raises(InvalidInput, match="expected dimensions"):
        explorer_payload([pane(landscape=pane().landscape.expand_dims("image"))])
    with pytest.raises(InvalidInput, match="1 or 3 channels; got shape"):
        explorer_payload([pane(image=torch.zeros(2, 4, 4))])
    with pytest.raises(InvalidInput, match="exactly one of"):
        explorer_payload([pane(planes=[pane().landscape])])
    with pytest.raises(InvalidInput, match="one answer for each of the 1 panes; got 0"):
        explorer_payload([pane()], exact={"pose": Transform(), "panes": []})


def shares_of(landscape: xr.Dataset) -> xr.Dataset:
    """As if the true class had a tenth of the votes for each pixel to the right, and 0.4 at the middle."""
    share = (0.4 + 0.1 * landscape["dx"] + 0 * landscape["loss"]).transpose(*DIMS).astype(np.float32)
    return landscape.assign(share=share, natural_share=np.float32(0.4))


def test_shares_of_votes_travel_in_the_place_of_losses() -> None:
    ds = shares_of(pane().landscape)
    payload = explorer_payload([pane(landscape=ds), pane(landscape=ds)])
    assert payload["quantity"] == "share"
    shown = payload["panes"][1]
    assert "loss" not in shown and shown["top"] == 1
    np.testing.assert_array_equal(array(shown["share"], "<f4", 3, 2, 3), ds["share"])
    worst = worst_case(ds)
    assert shown["worst"]["share"] == pytest.approx(0.4 + 0.1 * worst.dx)
    assert shown["natural"]["share"] == pytest.approx(0.4)
    answer = exact_answer(pane(landscape=ds), predicted=1, loss=1.0, confidence=0.7, probabilities=[0.3, 0.7, 0, 0])
    assert answer["share"] == pytest.approx(0.3)
    assert explorer_payload([pane()])["quantity"] == "loss"


def test_losses_and_shares_do_not_meet_on_one_scale() -> None:
    plane = shares_of(softmax_landscape([0], [-3, 0, 3], [-3, 0, 3], [0, 1, 2, 3]))
    for panes in ([pane(), pane(landscape=shares_of(pane().landscape))], [pane(planes=[plane])]):
        with pytest.raises(InvalidInput, match="one scale"):
            explorer_payload(panes)
