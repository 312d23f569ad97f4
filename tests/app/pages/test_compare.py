"""Comparing landscapes: the words of the table, the difference map, the page without a browser."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
import xarray as xr
from streamlit.testing.v1 import AppTest
from torch import Tensor
from toys import blob, most_robust

from spatial_viz.app import comparison_picker
from spatial_viz.data.images import load_image
from spatial_viz.data.samples import CLASS_NAMES, find_sample, opening_sample
from spatial_viz.defences.black_canvas import BlackCanvas
from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.errors import InvalidInput
from spatial_viz.figures.comparison import comparison_rows, difference_end, difference_map, telling_transform
from spatial_viz.figures.heatmaps import heatmap
from spatial_viz.figures.surfaces import surface
from spatial_viz.landscape.dataset import misclassified, worst_case
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.landscape.vote_shares import vote_shares
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.registry import load_classifier
from spatial_viz.transforms.grids import TransformGrid
from spatial_viz.transforms.transform import Transform

GRID = TransformGrid(30.0, 3.0, 3.0, (7, 5, 3))
OPENING = ("cifar10/standard", most_robust("cifar10").name)  # of the page


@pytest.fixture
def landscapes(toy_classifier: Classifier, toy_image: Tensor) -> tuple[xr.Dataset, xr.Dataset]:
    """One picture that two paddings treat differently."""
    return tuple(sweep(toy_classifier, toy_image + 0.005, 0, GRID, padding=p) for p in ("black", "edge"))  # type: ignore[return-value]


@pytest.fixture
def shares(toy_classifier: Classifier, toy_image: Tensor) -> tuple[xr.Dataset, xr.Dataset]:
    vote = MajorityVote(toy_classifier, GRID)
    return (
        vote_shares(sweep(toy_classifier, toy_image, 0, GRID), toy_classifier),
        vote_shares(sweep(vote, toy_image, 0, GRID), vote),
    )


def trace(figure: go.Figure, name: str) -> go.Figure:
    (found,) = [each for each in figure.data if each.name == name]
    return found


def test_the_table_says_what_the_library_says(landscapes: tuple[xr.Dataset, xr.Dataset]) -> None:
    for row, landscape in zip(comparison_rows(["a", "b"], landscapes), landscapes, strict=True):
        worst, wrong = worst_case(landscape), misclassified(landscape).values
        assert row["worst loss"] == f"{worst.loss:.2f} nats"
        assert row["worst transform"] == worst.transform.describe()
        assert row["fails on"].startswith(f"{wrong.sum()} of {wrong.size}, ")
        assert row["worst case"].startswith(f"{'✕' if worst.misclassified else '✓'} {worst.name}, ")
    assert [row["classifier"] for row in comparison_rows(["a", "b"], landscapes)] == ["a", "b"]


def test_the_table_of_a_vote_has_shares_and_no_loss(shares: tuple[xr.Dataset, xr.Dataset]) -> None:
    for row, landscape in zip(comparison_rows(["one", "ten"], shares), shares, strict=True):
        assert not any("loss" in name for name in row) and "nats" not in str(row)
        worst = worst_case(landscape)
        cell = landscape["share"].sel(rotation=worst.rotation, dx=worst.dx, dy=worst.dy)
        assert row["votes for the true class"].replace("\u00a0", " ") == f"{round(100 * float(cell))} %"
        assert row["as it is"].endswith("of the votes")


@pytest.mark.parametrize("at", ["max", 0.0, 3.0])
def test_a_difference_is_first_minus_second(at: float | str, landscapes: tuple[xr.Dataset, xr.Dataset]) -> None:
    first, second = landscapes
    figure = difference_map(first, second, "rotation", "dx", at=at)  # type: ignore[arg-type]
    planes = [each["loss"].max("dy") if at == "max" else each["loss"].sel(dy=at) for each in landscapes]
    expected = (planes[0] - planes[1]).transpose("dx", "rotation").values
    shown = trace(figure, "difference")
    np.testing.assert_allclose(np.asarray(shown.z), expected, atol=1e-6)
    assert shown.zmid == 0 and shown.zmin == -shown.zmax == -difference_end(landscapes)
    swapped = difference_map(second, first, "rotation", "dx", at=at)  # type: ignore[arg-type]
    np.testing.assert_allclose(np.asarray(trace(swapped, "difference").z), -expected, atol=1e-6)
    assert abs(expected).max() <= difference_end(landscapes) + 1e-6


def test_marks_say_which_of_the_two_fails(landscapes: tuple[xr.Dataset, xr.Dataset]) -> None:
    first, second = landscapes
    wrong = [misclassified(each).any("dy").transpose("dx", "rotation").values for each in landscapes]
    figure = difference_map(first, second, titles=("<b>one</b>", "two"))
    fails = {"only the first fails": wrong[0] & ~wrong[1], "only the second fails": wrong[1] & ~wrong[0],
             "both fail": wrong[0] & wrong[1]}  # fmt: skip
    assert sum(where.any() for where in fails.values()) >= 2, "the example should have more than one kind"
    for name, where in fails.items():
        marks = [each for each in figure.data if each.name == name]
        assert sum(len(each.x) for each in marks) == where.sum()
    assert "<b>one</b>" not in figure.layout.title.text and "&lt;b&gt;one" in figure.layout.title.text
    assert str(int(wrong[0].sum() - (wrong[0] & wrong[1]).sum())) in figure.layout.meta["alt"]


def test_only_what_is_about_one_question_is_subtracted(
    toy_classifier: Classifier, toy_image: Tensor, landscapes: tuple[xr.Dataset, xr.Dataset]
) -> None:
    first = landscapes[0]
    for other, word in (
        (sweep(toy_classifier, blob(5, 3), 0, GRID), "picture"),
        (sweep(toy_classifier, toy_image + 0.005, 1, GRID), "label (left and right)"),
        (sweep(toy_classifier, toy_image + 0.005, 0, TransformGrid(30, 3, 3, (5, 5, 3))), "grid"),
    ):
        with pytest.raises(InvalidInput, match="subtracted") as error:
            difference_map(first, other)
        assert word in str(error.value)
    voted = sweep(MajorityVote(toy_classifier, GRID), toy_image + 0.005, 0, GRID)
    with pytest.raises(InvalidInput, match="one scale"):
        difference_map(first, voted)


def test_shares_have_a_scale_of_their_own(shares: tuple[xr.Dataset, xr.Dataset]) -> None:
    single, voted = shares
    for landscape in shares:
        flat = trace(heatmap(landscape, "rotation", "dx", at="max", quantity="share"), "share")
        solid = trace(surface(landscape, at="max", quantity="share"), "share")
        lowest = landscape["share"].min("dy").transpose("dx", "rotation").values
        for drawn, values, low, high in (
            (flat, flat.z, flat.zmin, flat.zmax),
            (solid, solid.z, solid.cmin, solid.cmax),
        ):
            np.testing.assert_allclose(np.asarray(values), lowest)
            assert (low, high) == (0, 1)
            bar = drawn.colorbar.title.text
            assert bar is None or bar == "share of votes for the true class"
        assert "nats" not in str(flat.text[0][0]) and "of the votes for the true class" in flat.text[0][0]
    difference = trace(difference_map(single, voted, quantity="share"), "difference")
    lows = [each["share"].min("dy").transpose("dx", "rotation").values for each in shares]
    np.testing.assert_allclose(np.asarray(difference.z), lows[1] - lows[0], atol=1e-6)  # above 0: the first is worse
    assert (difference.zmin, difference.zmax) == (-1, 1)


def test_a_landscape_without_votes_has_no_shares(landscapes: tuple[xr.Dataset, xr.Dataset]) -> None:
    with pytest.raises(InvalidInput, match="no share; it has loss"):
        heatmap(landscapes[0], quantity="share")


def test_the_telling_transform_is_one_that_only_some_fail_on(landscapes: tuple[xr.Dataset, xr.Dataset]) -> None:
    first = landscapes[0]
    wrong = [misclassified(each) for each in landscapes]
    only_one = (wrong[0] | wrong[1]) & ~(wrong[0] & wrong[1])
    told = telling_transform(landscapes)
    assert bool(only_one.sel(told._asdict()))
    # Nothing tells a landscape from itself: then its worst case; and where nothing fails, the picture as it is.
    worst = worst_case(first)
    assert worst.misclassified
    assert telling_transform([first, first]) == worst.transform
    right = first.assign(predicted=first["predicted"] * 0)
    assert telling_transform([right, right]) == Transform()


# --- The page, without a browser -----------------------------------------------------------------------------------


def open_compare(monkeypatch: pytest.MonkeyPatch, **parameters: str | list[str]) -> AppTest:
    def script() -> None:
        import streamlit as st

        from spatial_viz.app import sidebar
        from spatial_viz.app.pages import compare

        st.session_state["view"] = sidebar.chosen_view()
        compare.page()

    page = AppTest.from_function(script, default_timeout=300)
    for name, value in ({"granularity": "11,3,3"} | parameters).items():
        page.query_params[name] = value
    return page.run()


def payload_of(page: AppTest) -> dict[str, Any]:
    """What the live explorer was given."""
    payloads = [json.loads(each.proto.json) for each in page.get("bidi_component") if "panes" in each.proto.json]
    assert len(payloads) == 1
    return dict(payloads[0])


def table_of(page: AppTest) -> list[list[str]]:
    """The cells of the table, row by row."""
    (table,) = [each.proto.body for each in page.get("html") if "<table" in each.proto.body]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)
    return [[html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_the_page_opens_with_a_comparison_that_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_compare(monkeypatch)
    assert not page.exception and not page.error and not page.warning
    payload = payload_of(page)
    assert [pane["title"] for pane in payload["panes"]] == list(OPENING)
    wrong = [answer["misclassified"] for answer in payload["exact"]["panes"]]
    assert sorted(wrong) == [False, True] and payload["exact"]["pose"] == payload["pose"]
    heads, *rows = table_of(page)
    sample = opening_sample("cifar10")
    for name, row in zip(OPENING, rows, strict=True):
        classifier = load_classifier(name)
        image = classifier.prepare(load_image(sample.path))
        grid = TransformGrid(30, 3, 3, (11, 3, 3))
        expected = comparison_rows([name], [sweep(classifier, image, sample.label, grid)])[0]
        assert dict(zip(heads, row, strict=True)) == expected


@pytest.mark.parametrize(
    ("parameters", "warnings"),
    [
        ({"compare": "<script>", "paddings": "../etc", "pose": "a,b", "slice": "x", "third_axis": "y"}, 0),
        ({"against": "no/such,*<b>x</b>*"}, 1),
        ({"against": "imagenet/resnet18"}, 1),
        ({"against": "cifar10/standard"}, 0),
        ({"against": ",,,,", "difference": "1 minus 2"}, 0),
        ({"against": "cifar10/worst-of-10-30,cifar10/worst-of-10-30"}, 0),
    ],
)
def test_nonsense_in_the_link_is_one_sentence_at_most(
    parameters: dict[str, str], warnings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_compare(monkeypatch, **parameters)
    assert not page.exception and not page.error
    assert len(page.warning) == warnings
    assert len(payload_of(page)["panes"]) == 2
    for warning in page.warning:
        assert "is left out" in warning.value and "<b>" not in warning.value.replace("\\<", "")


def test_classifiers_with_other_classes_are_not_offered_and_the_reason_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = open_compare(monkeypatch)
    offered = page.multiselect(key="against_chosen")
    assert all(name.startswith("cifar10/") for name in offered.options)
    assert "cifar10/standard" not in offered.options
    assert "imagenet/resnet18" in offered.proto.help.replace("\\", "")
    assert "it knows other classes" in offered.proto.help


def test_taking_all_others_away_leaves_a_page_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_compare(monkeypatch)
    page.multiselect(key="against_chosen").set_value([]).run()
    assert not page.exception and not page.error and "needs two" in page.info[0].value
    page.multiselect(key="against_chosen").set_value(["cifar10/worst-of-10-30"]).run()
    assert not page.exception and len(payload_of(page)["panes"]) == 2
    assert page.session_state["address"].parameters()["against"] == "cifar10/worst-of-10-30"


def test_weights_that_are_missing_are_one_sentence_and_the_others_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from spatial_viz.app import sidebar
    from spatial_viz.errors import MissingFile

    load = sidebar.cached_classifier

    def without(name: str) -> Classifier:
        if name == OPENING[1]:
            raise MissingFile("the weights of it are not on this machine")
        return load(name)

    monkeypatch.setattr("spatial_viz.app.sidebar.cached_classifier", without)
    page = open_compare(monkeypatch)
    assert not page.exception and not page.error
    assert len(page.warning) == 1 and "not on this machine" in page.warning[0].value
    assert "needs two" in page.info[0].value
    page.segmented_control(key="compare").set_value("Paddings").run()
    assert not page.exception and [p["title"] for p in payload_of(page)["panes"]] == [
        "padding black",
        "padding reflect",
    ]


def test_a_vote_is_compared_in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_compare(monkeypatch, compare="Majority vote", granularity="11,3,3", shift="20")
    assert not page.exception and not page.error
    payload = payload_of(page)
    assert payload["quantity"] == "share" and [pane["top"] for pane in payload["panes"]] == [1, 1]
    alone, ten = payload["exact"]["panes"]
    assert alone["share"] in (0, 1) and alone["confidence"] == 1
    assert round(10 * ten["share"], 2) == pytest.approx(round(10 * ten["share"]), abs=0.01)
    assert "votes for the true class" in table_of(page)[0]
    assert "nats" not in str(table_of(page))


def test_on_a_black_canvas_nothing_is_lost_and_nothing_is_subtracted(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_compare(monkeypatch, compare="Black canvas")
    assert not page.exception and not page.error and not page.info
    classifier, grid = load_classifier("cifar10/standard"), TransformGrid(30, 3, 3, (11, 3, 3))
    sample, canvas = opening_sample("cifar10"), BlackCanvas(classifier, grid)
    picture = load_image(sample.path)
    landscapes = [sweep(each, each.prepare(picture), sample.label, grid) for each in (classifier, canvas)]
    heads, *rows = table_of(page)
    expected = comparison_rows(["the picture alone", "on a black canvas"], landscapes)
    assert [dict(zip(heads, row, strict=True)) for row in rows] == expected
    assert not any("worse off" in each.proto.body for each in page.get("html"))


def test_a_classifier_of_one_size_has_no_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    class OneSize(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[-2:] == (32, 32), "Wrong image height!"
            return x.mean((1, 2, 3))[:, None] + torch.arange(10.0)

    def one_size(name: str) -> Classifier:
        return Classifier(OneSize(), class_names=CLASS_NAMES["cifar10"], input_size=(32, 32), name=name)

    monkeypatch.setattr("spatial_viz.app.sidebar.cached_classifier", one_size)
    comparison_picker._on_canvas.clear()
    page = open_compare(monkeypatch, compare="Black canvas")
    comparison_picker._on_canvas.clear()
    assert not page.exception and len(page.error) == 1
    assert "takes no picture of 50 × 50 pixels, the size of the canvas; choose a convolutional" in page.error[0].value


def test_a_picture_that_none_is_right_about(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(torch.nn.Module):
        """Says class 0, whatever it is shown."""

        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), 10).index_fill(1, torch.tensor([0]), 3.0) + x.mean((1, 2, 3))[:, None] * 0

    def stubborn(name: str) -> Classifier:
        return Classifier(Stubborn(), class_names=CLASS_NAMES["cifar10"], input_size=(32, 32), name=name)

    monkeypatch.setattr("spatial_viz.app.sidebar.cached_classifier", stubborn)
    page = open_compare(monkeypatch)
    assert not page.exception and not page.error
    payload = payload_of(page)
    assert "None of them is right about the picture as it is." in payload["notes"]
    assert [pane["misclassified_count"] for pane in payload["panes"]] == [99, 99]


def test_a_picture_of_ones_own_has_no_common_label_to_subtract_by(monkeypatch: pytest.MonkeyPatch) -> None:
    class Says(torch.nn.Module):
        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), 10).index_fill(1, torch.tensor([self.index]), 3.0)

    def saying(name: str) -> Classifier:
        index = 3 if name == "cifar10/standard" else 5
        return Classifier(Says(index), class_names=CLASS_NAMES["cifar10"], input_size=(32, 32), name=name)

    monkeypatch.setattr("spatial_viz.app.sidebar.cached_classifier", saying)
    page = open_compare(monkeypatch, source="Upload")
    assert not page.exception and not page.error
    page.file_uploader(key="upload").upload("own.png", find_sample("cifar10/0").path.read_bytes(), "image/png").run()
    assert not page.exception and not page.error
    assert "Nobody labelled this picture" in payload_of(page)["notes"][0]
    assert any("label (cat and dog)" in each.value.replace("\\", "") for each in page.info)


def test_nothing_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_compare(monkeypatch, rotation="0", shift="0")
    assert not page.exception and not page.error
    assert len(payload_of(page)["panes"]) == 2
    assert any("moves" in each.value for each in page.info)
