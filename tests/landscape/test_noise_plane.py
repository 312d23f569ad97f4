"""The plane of noise: what it computes, that it holds the picture of the attack, and that figures mark that."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from spatial_viz.attacks.base import AttackResult
from spatial_viz.attacks.linf import Linf
from spatial_viz.data.samples import load_sample
from spatial_viz.errors import InvalidInput
from spatial_viz.figures.descriptions import alt_text, marked_cell
from spatial_viz.figures.heatmaps import heatmap
from spatial_viz.figures.surfaces import surface
from spatial_viz.landscape.noise_plane import noise_landscape
from spatial_viz.models.losses import cross_entropy
from spatial_viz.models.registry import load_classifier
from spatial_viz.transforms.grids import TransformGrid


@pytest.fixture(scope="module")
def attacked():
    image, label = load_sample("cifar10", 6)
    classifier = load_classifier("cifar10/standard")
    found = Linf(8 / 255, 20)(classifier, image[None], torch.tensor([label]), TransformGrid.paper(32))
    return classifier, image, label, found


@pytest.fixture(scope="module")
def parts(attacked):
    classifier, image, label, found = attacked
    return classifier, image, label, noise_landscape(classifier, image, found.noise[0], label, 9, seed=2)


def test_it_holds_the_picture_and_that_of_the_attack(attacked, parts) -> None:
    found: AttackResult = attacked[3]
    plane = parts[3]
    here = plane.isel(random=4, adversarial=-1)
    assert float(found.losses) > 5, "the attack is worth a look"
    assert float(here["loss"]) == pytest.approx(float(found.losses), abs=1e-4)
    assert int(here["predicted"]) == int(found.predicted)
    assert float(here["confidence"]) == pytest.approx(float(found.confidence), abs=1e-5)
    clean = plane.isel(random=4, adversarial=4)
    assert float(clean["random"]) == 0 and float(clean["adversarial"]) == 0
    assert float(clean["loss"]) == pytest.approx(float(plane["natural_loss"]), abs=1e-5)


def test_every_cell_is_the_loss_of_the_picture_with_that_noise(attacked, parts) -> None:
    noise = attacked[3].noise[0]
    classifier, image, label, plane = parts
    assert plane["loss"].dims == ("random", "adversarial") and plane["adversarial"].attrs["units"] == "1/255"
    for dim in ("random", "adversarial"):  # ℓ∞ sizes
        np.testing.assert_allclose(plane[dim], np.linspace(-8, 8, 9), atol=1e-4)
    for amount in (-6, 4):
        noisy = (image + amount / 8 * noise).clamp(0, 1)
        with torch.no_grad():
            expected = cross_entropy(classifier.logits(noisy[None]), torch.tensor([label]))
        cell = plane["loss"].sel(random=0, method="nearest").sel(adversarial=amount, method="nearest")
        assert float(cell) == pytest.approx(float(expected), abs=1e-3)
    across = plane["loss"].isel(adversarial=4).values
    assert abs(across - across[4]).max() < 1 < float(plane["loss"].isel(random=4, adversarial=-1)) - across[4]
    assert noise_landscape(classifier, image, noise, label, 9, seed=2).identical(plane)
    other = noise_landscape(classifier, image, noise, label, 9, seed=3)
    assert other.isel(random=4)["loss"].equals(plane.isel(random=4)["loss"]) and not other.equals(plane)


def test_the_figures_read_it_and_mark_the_attack(attacked, parts) -> None:
    found: AttackResult = attacked[3]
    *_, plane = parts
    flat, deep = heatmap(plane, "adversarial", "random"), surface(plane, "adversarial", "random")
    assert flat.layout.xaxis.title.text == "adversarial noise (1/255)"
    assert flat.layout.yaxis.title.text == "random signs (1/255)"
    assert flat.layout.yaxis.range[0] < flat.layout.yaxis.range[1], "random signs have no down"
    loss = next(trace for trace in deep.data if trace.name == "loss")
    np.testing.assert_allclose(loss.z, plane["loss"].values)
    assert "adversarial noise −8/255" in str(loss.text[0][0])
    marked = marked_cell(plane)
    assert (marked.dx, marked.dy) == (pytest.approx(8, abs=1e-4), 0)
    assert marked.loss == pytest.approx(float(found.losses), abs=1e-4)
    (mark,) = (trace for trace in deep.data if trace.type == "scatter3d" and trace.mode == "markers")
    assert (mark.x[0], mark.y[0], mark.z[0]) == (marked.dx, marked.dy, marked.loss)
    for figure in (flat, deep):
        said = json.dumps(figure.layout.to_plotly_json(), default=str)
        assert "picture of the attack" in said and "worst case" not in said
    assert "pictures with noise" in alt_text(plane) and "adversarial noise (1/255)" in alt_text(plane)
    assert "picture of the attack, adversarial noise 8/255, random signs 0/255, is predicted as dog" in alt_text(plane)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": torch.zeros(3, 32, 32)}, "above 0 and at most 1, the range of a pixel; got 0"),
        ({"noise": torch.full((3, 32, 32), 1.5)}, "got 1.5"),
        ({"noise": torch.ones(3, 4, 4)}, "noise must have the picture's shape"),
        ({"granularity": 1}, "granularity must be an odd number, 3 or more; got 1"),
        ({"granularity": 4}, "got 4"),
        ({"label": 12}, "0 to 9"),
    ],
)
def test_bad_input(changes, message, parts) -> None:
    classifier, image, label, _ = parts
    with pytest.raises(InvalidInput, match=message):
        noise_landscape(classifier, image, **({"noise": torch.full_like(image, 0.01), "label": label} | changes))


def test_the_card_says_what_it_is(parts) -> None:
    card = json.loads(parts[3].attrs["card"])
    assert card["kind"] == "noise" and card["seed"] == 2 and card["precision"] == "fp32"
    assert card["epsilon"] == pytest.approx(8 / 255, abs=1e-6)
