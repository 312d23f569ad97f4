"""Comparing landscapes: the words of the table, the difference map, the page without a browser."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr
from conftest import blob
from torch import Tensor

from spatial_viz.classifiers import Classifier
from spatial_viz.compare_figures import comparison_rows, difference_end, difference_map, telling_transform
from spatial_viz.defences import MajorityVote, vote_shares
from spatial_viz.errors import InvalidInput
from spatial_viz.figures import heatmap, surface
from spatial_viz.grids import TransformGrid
from spatial_viz.landscape import misclassified, transform_words, worst_case
from spatial_viz.sweeps import sweep

GRID = TransformGrid(30.0, 3.0, 3.0, (7, 5, 3))


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
        assert row["worst transform"] == transform_words(worst.rotation, worst.dx, worst.dy)
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
    assert bool(only_one.sel(told))
    # Nothing tells a landscape from itself: then its worst case; and where nothing fails, the picture as it is.
    worst = worst_case(first)
    assert worst.misclassified
    assert telling_transform([first, first]) == {"rotation": worst.rotation, "dx": worst.dx, "dy": worst.dy}
    right = first.assign(predicted=first["predicted"] * 0)
    assert telling_transform([right, right]) == {"rotation": 0, "dx": 0, "dy": 0}
