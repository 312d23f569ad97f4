"""The covered map and the grid that fills, against a landscape with a closed form."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from torch import Tensor

from spatial_viz.figures import attacks as attack_figures
from spatial_viz.figures import grid_search
from spatial_viz.landscape.dataset import DIMS, plane, worst_case
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.classifier import Classifier
from spatial_viz.transforms.grids import TransformGrid

GRID = TransformGrid(30, 3, 3, (5, 3, 2))


@pytest.fixture
def landscape(toy_classifier: Classifier, toy_image: Tensor) -> xr.Dataset:
    return sweep(toy_classifier, toy_image, 0, GRID)


def trace(figure: object, name: str) -> object:
    (found,) = (each for each in figure.data if each.name == name)  # type: ignore[attr-defined]
    return found


def test_only_the_tries_are_seen(landscape: xr.Dataset) -> None:
    tries = [(0.0, 0.0), (29.0, 2.6)]  # the second lies nearest to the last cell
    figure = grid_search.hidden_map(landscape, tries)
    seen = np.array(trace(figure, "tried").z)
    flat = plane(landscape, "dy").transpose("dx", "rotation")["loss"].values
    assert np.isfinite(seen).sum() == 2
    assert seen[1, 2] == flat[1, 2] and seen[2, 4] == flat[2, 4]
    assert len(trace(figure, grid_search.CELLS).x) == flat.size
    assert grid_search.best_try(landscape, tries) == max(flat[1, 2], flat[2, 4])
    whole = grid_search.uncovered_map(landscape, tries)
    assert np.isfinite(np.array(trace(whole, "loss").z)).all()
    for drawn in (figure, whole):
        assert sum(len(each.x) for each in drawn.data if each.name.startswith("tries")) == 2


def test_clicks_find_a_cell(landscape: xr.Dataset) -> None:
    figure = grid_search.uncovered_map(landscape, [])
    grid_search.add_click_layer(figure, landscape)
    cells = trace(figure, grid_search.CELLS)
    assert set(zip(cells.x, cells.y, strict=True)) == {(r, x) for r in GRID.values("rotation") for x in (-3, 0, 3)}


def test_the_grid_fills_in_its_own_order(landscape: xr.Dataset) -> None:
    figure = grid_search.filling_figure(landscape)
    values = np.array(trace(figure, "loss").z)
    assert values.shape == (6, 5)  # a column for each rotation, in it the shifts, dx running fastest
    shown = landscape.isel(rotation=slice(None, None, -1))  # to the left at first, as on every map
    assert (values.T.ravel() == shown["loss"].transpose(*DIMS).values.ravel()).all()
    assert [frame.name for frame in figure.frames] == [str(done) for done in range(31)]
    empty, first, last = figure.frames[0], figure.frames[1], figure.frames[-1]
    # A gap: what has no point at all is left as it was.
    assert empty.data[1].x == empty.data[1].y == last.data[0].x == last.data[0].y == (None,)
    assert area(empty.data[0]) == 30 and area(first.data[0]) == 29 and area(figure.frames[7].data[0]) == 23
    assert (first.data[1].x, first.data[1].y) == ((0,), (0,))
    worst = worst_case(landscape)
    column, row = last.data[1].x[0], last.data[1].y[0]
    dy, dx = divmod(row, 3)
    at = [shown[dim].values[each] for dim, each in zip(DIMS, (column, dy, dx), strict=True)]
    assert at == [worst.rotation, worst.dy, worst.dx]
    labels = [step.label for step in figure.layout.sliders[0].steps]
    assert labels[0] == "0 of 30 transforms" and labels[-1].endswith(f"loss {worst.loss:.2f}")


def test_many_cells_take_no_more_frames_than_there_are(toy_classifier: Classifier, toy_image: Tensor) -> None:
    fine = sweep(toy_classifier, toy_image, 0, TransformGrid(30, 3, 3, (31, 5, 5)))
    figure = grid_search.filling_figure(fine)
    assert len(figure.frames) == grid_search.FRAMES and figure.frames[-1].name == "775"
    stops = figure.layout.sliders[0].steps
    assert len(stops) == attack_figures.STOPS and stops[-1].label.startswith("775 of 775")


def area(outline: object) -> float:
    """Of the polygon of what is still covered, in cells."""
    x, y = np.array(outline.x), np.array(outline.y)  # type: ignore[attr-defined]
    return float(abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2)
