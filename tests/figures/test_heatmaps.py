"""Figures: structure and coordinates, on the toy classifier; nothing is rendered."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Callable
from typing import get_args

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
import xarray as xr
from PIL import Image
from torch import Tensor

from spatial_viz.defences.black_canvas import BlackCanvas
from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.errors import InvalidInput
from spatial_viz.explorer.assets import script
from spatial_viz.figures import surfaces
from spatial_viz.figures.attacks import attack_map, attack_surface
from spatial_viz.figures.comparison import difference_map
from spatial_viz.figures.descriptions import alt_text, amount
from spatial_viz.figures.grid_search import filling_figure, hidden_map, uncovered_map
from spatial_viz.figures.heatmaps import heatmap
from spatial_viz.figures.loss_curve import loss_curve
from spatial_viz.figures.marks import cell_edges
from spatial_viz.figures.planes import Slice
from spatial_viz.figures.style import PALETTE, Theme, loss_colours, loss_max
from spatial_viz.figures.surfaces import surface
from spatial_viz.figures.text import percent, short
from spatial_viz.figures.worst_case import worst_case_figure
from spatial_viz.landscape.dataset import misclassified, plane, worst_case
from spatial_viz.landscape.noise_plane import noise_landscape
from spatial_viz.landscape.sweeps import refined_axes, sweep, sweep_axes
from spatial_viz.models.classifier import Classifier
from spatial_viz.transforms.grids import TransformGrid

GRID = TransformGrid(30.0, 3.0, 3.0, (7, 5, 3))
MARKUP = '<b>"Tom" & <script>alert(1)</script></b>'
THEMES = get_args(Theme)


@pytest.fixture
def landscape(toy_classifier: Classifier, toy_image: Tensor) -> xr.Dataset:
    return swept(toy_classifier, toy_image)


def swept(classifier: Classifier, image: Tensor, label: int | None = 0, grid: TransformGrid = GRID) -> xr.Dataset:
    return sweep(classifier, image, label, grid, device="cpu", precision="fp32")


def plane_of(classifier: Classifier, image: Tensor, counts: tuple[int, int, int], **fixed: float) -> xr.Dataset:
    axes = refined_axes(GRID, counts, **fixed)
    return sweep_axes(classifier, image, 0, axes, device="cpu", precision="fp32")


def trace(figure: go.Figure, name: str) -> go.Figure:
    found = [each for each in figure.data if each.name == name]
    assert len(found) == 1, f"{name} is among {[each.name for each in figure.data]} {len(found)} times"
    return found[0]


def names(figure: go.Figure) -> list[str]:
    return [each.name for each in figure.data]


# --- Heat map ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [None, 9.0, "max"])
@pytest.mark.parametrize("quantity", ["loss", "margin"])
def test_the_heat_map_shows_the_slice(landscape: xr.Dataset, at: float | str | None, quantity: str) -> None:
    cells = trace(heatmap(landscape, at=at, quantity=quantity), quantity)
    held = worst_case(landscape).rotation if at is None else at
    expected = plane(landscape, "rotation", None if at == "max" else held)[quantity].transpose("dy", "dx")
    np.testing.assert_array_equal(cells.z, expected.values)
    np.testing.assert_array_equal(cells.x, landscape["dx"].values)
    np.testing.assert_array_equal(cells.y, landscape["dy"].values)


@pytest.mark.parametrize(("x", "y"), [("dx", "dy"), ("dy", "dx"), ("rotation", "dx"), ("dy", "rotation")])
def test_the_worst_case_is_marked_where_it_lies(landscape: xr.Dataset, x: str, y: str) -> None:
    figure, worst = heatmap(landscape, x, y), worst_case(landscape)
    mark = trace(figure, "worst case")
    assert (mark.x[0], mark.y[0]) == (getattr(worst, x), getattr(worst, y))
    assert mark.marker.symbol == "diamond"
    assert [note.text for note in figure.layout.annotations] == ["worst case"]
    assert trace(figure, "identity").x == (0,) and trace(figure, "identity").y == (0,)
    assert not figure.layout.showlegend


def test_off_its_slice_the_worst_case_is_hollow(landscape: xr.Dataset) -> None:
    worst = worst_case(landscape)
    figure = heatmap(landscape, at=worst.rotation + 20 if worst.rotation < 0 else worst.rotation - 20)
    assert trace(figure, "worst case").marker.symbol == "diamond-open"
    assert f"at rotation {amount(landscape, 'rotation', worst.rotation)}" in figure.layout.annotations[0].text
    assert trace(heatmap(landscape, at="max"), "worst case").marker.symbol == "diamond"


# What is on the left of a figure, and what at its lower edge: the ends of the axes of `GRID`.
LEFT = {"rotation left (°)": 30, "shift right dx (px)": -3, "shift down dy (px)": -3}
BELOW = {"rotation left (°)": -30, "shift right dx (px)": 3, "shift down dy (px)": 3}
PAIRS = [("dx", "dy"), ("rotation", "dx"), ("rotation", "dy"), ("dy", "rotation"), ("dy", "dx"), ("dx", "rotation")]
PATHS = np.stack([np.linspace((0, 0, 0), (20, 2, 1), 5)] * 2)
NONE = np.zeros((0, 3))
# Every figure with an axis of transforms; `failing_heatmap`, of whole runs, is held to the same in test_browse.py, and
# pictures without a browser in test_animation.py.
DIRECTED: dict[str, Callable[[xr.Dataset], go.Figure]] = {
    **{f"heat map {x} {y}": lambda each, x=x, y=y: heatmap(each, x, y) for x, y in PAIRS},
    **{f"surface {x} {y}": lambda each, x=x, y=y: surface(each, x, y) for x, y in PAIRS},
    **{f"difference {x} {y}": lambda each, x=x, y=y: difference_map(each, each, x, y) for x, y in PAIRS},
    **{f"curve {dim}": lambda each, dim=dim: loss_curve(each, dim) for dim in ("rotation", "dx", "dy")},
    "attack map": lambda each: attack_map(each, NONE, np.zeros(0, bool), 0, PATHS, np.ones((2, 5))),
    "attack surface": lambda each: attack_surface(each, NONE, np.zeros(0), PATHS, np.ones((2, 5))),
    "hidden map": lambda each: hidden_map(each, [(0.0, 0.0)]),
    "uncovered map": lambda each: uncovered_map(each, [(0.0, 0.0)]),
}


@pytest.mark.parametrize("draw", DIRECTED.values(), ids=DIRECTED)
def test_left_is_left_and_down_is_down(draw: Callable[[xr.Dataset], go.Figure], landscape: xr.Dataset) -> None:
    layout = draw(landscape).layout
    solid = layout.scene.xaxis.title.text is not None
    x, y = (layout.scene.xaxis, layout.scene.yaxis) if solid else (layout.xaxis, layout.yaxis)
    seen = 0
    for axis, expected in ((x, LEFT), (y, BELOW)):
        if axis.title.text not in expected:
            assert "loss" in axis.title.text
            continue
        first, last = axis.range
        at = expected[axis.title.text]
        assert abs(first - at) <= abs(at) / 2 and np.sign(first) == np.sign(at) == -np.sign(last), axis.title.text
        seen += 1
    assert seen == (1 if layout.yaxis.title.text and "loss" in layout.yaxis.title.text else 2)


def test_the_grid_that_fills_has_the_same_directions(landscape: xr.Dataset) -> None:
    layout = filling_figure(landscape).layout
    for axis, first in ((layout.xaxis, 30), (layout.yaxis, 3)):
        places = np.array(axis.tickvals)[:: 1 if axis.range[0] < axis.range[1] else -1]
        words = dict(zip(axis.tickvals, axis.ticktext, strict=True))
        assert words[places[0]] == short(first) and words[places[-1]] == short(-first)


def test_the_noise_plane_keeps_its_signs(toy_classifier: Classifier, toy_image: Tensor) -> None:
    added = torch.full_like(toy_image, 8 / 255)
    noise = noise_landscape(toy_classifier, toy_image, added, 0, granularity=3, device="cpu")
    for axis in (heatmap(noise, "adversarial", "random").layout, surface(noise, "adversarial", "random").layout.scene):
        assert axis.xaxis.range[0] < axis.xaxis.range[1] and axis.yaxis.range[0] < axis.yaxis.range[1]


def test_the_map_behind_an_animation_is_the_heat_map(landscape: xr.Dataset) -> None:
    """An image, because plotly.js 4 takes heat maps away while it animates."""
    for figure in (DIRECTED["attack map"](landscape), filling_figure(landscape)):
        cells, (behind,) = trace(figure, "loss"), figure.layout.images
        assert cells.opacity == 0 and behind.layer == "below" and behind.sizing == "stretch"
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(behind.source.split(",")[1]))))
        for (row, column), value in np.ndenumerate(np.asarray(cells.z)):
            shares = []
            for axis, at, size, centre in (
                (figure.layout.xaxis, cells.x[column], behind.sizex, behind.x),
                (figure.layout.yaxis, cells.y[row], behind.sizey, behind.y),
            ):
                sign = 1 if axis.range[0] < axis.range[1] else -1
                shares.append(0.5 + sign * (at - centre) / size)
            place = int((1 - shares[1]) * pixels.shape[0]), int(shares[0] * pixels.shape[1])
            assert (pixels[place] == loss_colours(np.array(value), cells.zmax)).all()


@pytest.mark.parametrize("at", [-30.0, 0.0, 10.0, 30.0, "max"])
def test_the_outline_separates_misclassified_from_correct(landscape: xr.Dataset, at: float | str) -> None:
    cut = plane(landscape, "rotation", None if at == "max" else at)["misclassified"].transpose("dy", "dx").values
    figure = heatmap(landscape, at=at)
    if not cut.any():
        assert "misclassified" not in names(figure)
        return
    # Edges of unit length on an index lattice, from the segments of the drawn line.
    line, drawn = trace(figure, "misclassified"), set()
    columns, rows = (cell_edges(landscape[dim].values).tolist() for dim in ("dx", "dy"))
    for k in range(0, len(line.x), 3):
        assert line.x[k + 2] is None
        (j, i), (j2, i2) = ((columns.index(line.x[m]), rows.index(line.y[m])) for m in (k, k + 1))
        drawn |= {("level", i, m) for m in range(j, j2)} | {("upright", m, j) for m in range(i, i2)}
    outside = np.pad(cut, 1)
    expected = {
        ("level", i, j)
        for i in range(cut.shape[0] + 1)
        for j in range(cut.shape[1])
        if outside[i, j + 1] != outside[i + 1, j + 1]
    } | {
        ("upright", i, j)
        for i in range(cut.shape[0])
        for j in range(cut.shape[1] + 1)
        if outside[i + 1, j] != outside[i + 1, j + 1]
    }
    assert drawn == expected


def test_some_slices_have_both_verdicts(landscape: xr.Dataset) -> None:
    share = misclassified(landscape).mean(("dy", "dx")).values
    assert ((share > 0) & (share < 1)).any(), "the toy grid must exercise the outline"


def test_the_scale_starts_at_0_and_reaches_the_loss_of_guessing(landscape: xr.Dataset) -> None:
    assert loss_max(landscape) == pytest.approx(max(math.log(2), float(landscape["loss"].max())))
    cells = trace(heatmap(landscape), "loss")
    assert (cells.zmin, cells.zmax) == (0, loss_max(landscape))
    small = landscape.assign(loss=landscape["loss"] * 0)
    assert loss_max(small) == pytest.approx(math.log(2))
    assert trace(heatmap(landscape, value_max=9.0), "loss").zmax == 9.0
    assert trace(surface(landscape, value_max=9.0), "loss").cmax == 9.0


def test_the_scale_of_the_margin_is_symmetric(landscape: xr.Dataset) -> None:
    cells = trace(heatmap(landscape, quantity="margin"), "margin")
    assert cells.zmin == -cells.zmax and cells.zmax == pytest.approx(float(abs(landscape["margin"]).max()))


def test_titles_and_units_come_from_the_data(landscape: xr.Dataset) -> None:
    layout = heatmap(landscape).layout
    assert layout.xaxis.title.text == "shift right dx (px)" and layout.yaxis.title.text == "shift down dy (px)"
    assert heatmap(landscape, "rotation", "dx").layout.xaxis.title.text == "rotation left (°)"
    assert trace(heatmap(landscape), "loss").colorbar.title.text == "cross-entropy loss (nats)"
    other = landscape.copy()
    other["dx"] = other["dx"].assign_attrs(units="mm")
    assert heatmap(other).layout.xaxis.title.text == "shift right dx (mm)"


def test_a_vote_loss_is_called_so_and_has_a_scale_of_its_own(
    toy_classifier: Classifier, toy_image: Tensor, landscape: xr.Dataset
) -> None:
    vote = MajorityVote(toy_classifier, GRID, votes=4)
    voted = swept(vote, toy_image)
    assert voted["loss"].attrs["long_name"] == "vote loss"
    flat, deep, curve = heatmap(voted), surface(voted), loss_curve(voted)
    assert trace(flat, "loss").colorbar.title.text == "vote loss (nats)"
    assert deep.layout.annotations[0].text == curve.layout.yaxis.title.text == "vote loss (nats)"
    assert flat.layout.title.text.startswith("Vote loss at") and curve.layout.title.text.startswith("Vote loss along")
    assert deep.layout.title.text.startswith("Vote loss")
    said = [*trace(flat, "loss").text.ravel(), *trace(curve, "loss").text]
    said += [trace(figure, "worst case").text[0] for figure in (flat, deep)]
    for text in said:
        assert re.search(r"<br>vote loss [0-9.]+ nats", text), text
    assert "the vote loss runs from" in alt_text(voted)
    assert "Vote loss" in words_of(worst_case_figure(toy_image, voted))
    assert "vote" not in str(heatmap(landscape).to_dict()).lower()
    for mixed in ((landscape, voted), (voted, landscape)):
        with pytest.raises(InvalidInput, match="a loss and a vote loss are not shown on one scale"):
            loss_max(*mixed)
    assert loss_max(voted, voted) == loss_max(voted)
    canvas = BlackCanvas(vote, GRID)
    assert canvas.loss_name == "vote loss" and BlackCanvas(toy_classifier).loss_name == "cross-entropy loss"
    plane = noise_landscape(vote, toy_image, torch.full_like(toy_image, 8 / 255), 0, granularity=3, device="cpu")
    assert trace(heatmap(plane, "adversarial", "random"), "loss").colorbar.title.text == "vote loss (nats)"


def test_cells_say_what_they_are(landscape: xr.Dataset) -> None:
    text = trace(heatmap(landscape, at=-30.0), "loss").text
    cell = landscape.sel(rotation=-30, dx=3, dy=-3)
    assert text.shape == (3, 5)
    assert "rotation −30°<br>dx 3 px, dy −3 px" in text[0, 4]
    assert f"loss {float(cell['loss']):.2f} nats" in text[0, 4]
    assert ("right" if int(cell["predicted"]) else "left") in text[0, 4]
    assert text[0, 4].endswith("misclassified" if int(cell["predicted"]) else "correct")


def test_a_maximum_names_the_transform_that_has_it(landscape: xr.Dataset) -> None:
    text = trace(heatmap(landscape, at="max"), "loss").text
    column = landscape["loss"].sel(dx=0, dy=0)
    assert f"rotation {short(float(column.idxmax()))}°" in text[1, 2]


def test_a_refined_plane_is_drawn_with_the_grid_on_it(
    toy_classifier: Classifier, toy_image: Tensor, landscape: xr.Dataset
) -> None:
    fine = plane_of(toy_classifier, toy_image, (1, 9, 9), rotation=worst_case(landscape).rotation)
    figure = heatmap(landscape, refined=fine)
    np.testing.assert_array_equal(trace(figure, "loss").z, fine["loss"].isel(rotation=0).values)
    assert len(trace(figure, "grid").x) == 15
    between = heatmap(landscape, refined=plane_of(toy_classifier, toy_image, (1, 9, 9), rotation=5.0))
    assert "grid" not in names(between), "no transform of the grid lies in this plane"
    assert trace(between, "worst case").marker.symbol == "diamond-open"


def test_a_worse_cell_between_the_grid_points_is_named(
    toy_classifier: Classifier, toy_image: Tensor, landscape: xr.Dataset
) -> None:
    fine = plane_of(toy_classifier, toy_image, (1, 9, 9), rotation=worst_case(landscape).rotation)
    assert "worse between" not in names(heatmap(landscape, refined=fine))
    worse = fine.copy(deep=True)
    worse["loss"][0, 3, 6] = 50.0
    worse["predicted"][0, 3, 6] = 1
    figure = heatmap(landscape, refined=worse)
    mark = trace(figure, "worse between")
    assert (mark.x[0], mark.y[0]) == (float(fine["dx"][6]), float(fine["dy"][3]))
    assert "worse between the grid points: loss 50.00" in figure.layout.title.text
    assert trace(figure, "loss").zmax == 50.0


@pytest.mark.parametrize("granularity", [(1, 5, 5), (5, 1, 5), (5, 5, 1), (1, 1, 1)])
def test_axes_of_one_value(toy_classifier: Classifier, toy_image: Tensor, granularity: tuple[int, int, int]) -> None:
    thin = swept(toy_classifier, toy_image, grid=TransformGrid(30.0, 3.0, 3.0, granularity))
    for x, y in (("dx", "dy"), ("rotation", "dx"), ("dy", "rotation")):
        assert trace(heatmap(thin, x, y), "loss").z.shape == (thin.sizes[y], thin.sizes[x])
        assert heatmap(thin, x, y, at="max", quantity="margin").data
    for axis in ("rotation", "dx", "dy"):
        assert len(trace(loss_curve(thin, axis), "loss").x) == thin.sizes[axis]
    assert worst_case_figure(toy_image, thin).data and alt_text(thin)


# --- Surface -------------------------------------------------------------------------------------------------------


def test_the_surface(landscape: xr.Dataset) -> None:
    figure, worst = surface(landscape), worst_case(landscape)
    sheet = trace(figure, "loss")
    expected = plane(landscape, "dy", worst.dy)["loss"].transpose("dx", "rotation").values
    np.testing.assert_array_equal(sheet.z, expected)
    assert (sheet.cmin, sheet.cmax) == (0, loss_max(landscape))
    mark, drop = trace(figure, "worst case"), trace(figure, "drop line")
    assert (mark.x[0], mark.y[0], mark.z[0]) == (worst.rotation, worst.dx, worst.loss)
    assert drop.z == (0, worst.loss)
    assert figure.layout.scene.annotations[0].text == "worst case"
    assert figure.layout.uirevision == surface(landscape, "dx", "dy").layout.uirevision


def test_the_line_on_the_surface_lies_where_the_margin_is_0(landscape: xr.Dataset) -> None:
    # The toy's margin is nearly linear in dx, so the bilinear zero is close to the true one.
    line = trace(surface(landscape, "dx", "rotation"), "misclassified")
    fixed = worst_case(landscape).dy
    margin = landscape["margin"].sel(dy=fixed)
    points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if x is not None]
    assert points
    for x, y in points:
        assert abs(float(margin.interp(dx=x, rotation=y))) < 0.02


def test_a_checkerboard_has_separate_islands() -> None:
    wrong = np.array([[True, False, True], [False, True, False], [True, False, True]])
    margin = np.where(wrong, -1.0, 1.0 + 1e-3)
    cut = Slice(np.arange(3.0), np.arange(3.0), np.zeros((3, 3)), margin, wrong, wrong, "dy", 0.0)
    xs, ys, _ = surfaces._zero_line(cut, 0.0)
    assert len(xs) == len(ys) and len(xs) % 3 == 0
    values = [margin_at(margin, x, y) for x, y in zip(xs, ys, strict=True) if x is not None]
    assert max(map(abs, values)) < 0.02


def margin_at(margin: np.ndarray, x: float, y: float) -> float:
    i, j = min(int(y), 1), min(int(x), 1)
    t, u = y - i, x - j
    top = margin[i, j] * (1 - u) + margin[i, j + 1] * u
    return float(top * (1 - t) + (margin[i + 1, j] * (1 - u) + margin[i + 1, j + 1] * u) * t)


def test_a_surface_needs_two_axes_with_several_values(toy_classifier: Classifier, toy_image: Tensor) -> None:
    thin = swept(toy_classifier, toy_image, grid=TransformGrid(30.0, 3.0, 3.0, (5, 1, 5)))
    with pytest.raises(InvalidInput, match=r"dx has a single value.*choose another axis \(rotation, dy\)"):
        surface(thin, "rotation", "dx")
    assert surface(thin, "rotation", "dy").data


# --- Worst case and curve ------------------------------------------------------------------------------------------


def words_of(figure: go.Figure) -> str:
    return "\n".join(note.text for note in figure.layout.annotations)


def test_the_worst_case_beside_the_original(landscape: xr.Dataset, toy_image: Tensor) -> None:
    figure, worst = worst_case_figure(toy_image, landscape), worst_case(landscape)
    left, right = figure.data
    assert isinstance(left, go.Image) and left.source.startswith("data:image/png;base64,")
    assert left.source != right.source and not left.zsmooth
    words = words_of(figure)
    assert "Original" in words and "Worst case" in words and "✕ misclassified" in words
    assert worst.transform.describe().capitalize() in words.replace("<br>", " ")
    wrong = int(misclassified(landscape).sum())
    assert f"{wrong} of 105 transforms fail ({round(100 * wrong / 105)}\u00a0%)" in words
    assert f"Loss {worst.loss:.2f} nats" in words and "grid of 7 × 5 × 3" in words
    assert figure.layout.yaxis.scaleanchor == "x" and figure.layout.yaxis2.scaleanchor == "x2"


def test_a_worst_case_that_is_still_correct(toy_classifier: Classifier, toy_image: Tensor) -> None:
    calm = swept(toy_classifier, toy_image, grid=TransformGrid(0.0, 0.5, 0.5, (1, 3, 3)))
    words = words_of(worst_case_figure(toy_image, calm)).replace("<br>", " ").replace("</b> <b>", " ")
    assert "Strongest transform (still correct)" in words and "0 of 9 transforms fail (0\u00a0%)" in words
    assert heatmap(calm).layout.annotations[0].text == "strongest transform"
    assert "nothing misclassified" in heatmap(calm).layout.title.text


def test_without_a_true_class_nothing_is_called_wrong(toy_classifier: Classifier, toy_image: Tensor) -> None:
    unlabelled = swept(toy_classifier, toy_image, label=None)
    words = words_of(worst_case_figure(toy_image, unlabelled)).replace("<br>", " ")
    assert "change the prediction" in words and "misclassified" not in words and "correct" not in words
    assert "misclassified" not in heatmap(unlabelled).layout.title.text
    assert "taken for" in alt_text(unlabelled)


def test_colour_and_oblong_pictures(landscape: xr.Dataset) -> None:
    oblong = landscape.copy()
    card = json.loads(oblong.attrs["card"]) | {"input_size": [20, 40], "padding": "reflect"}
    oblong.attrs = oblong.attrs | {"card": json.dumps(card)}
    layout = worst_case_figure(torch.rand(3, 20, 40), oblong).layout
    assert layout.xaxis.range == (-0.5, 39.5) and layout.yaxis.range == (19.5, -0.5)
    with pytest.raises(InvalidInput, match=r"expected the picture that was swept, 1×20×40 or 3×20×40; got \(3, 8, 8\)"):
        worst_case_figure(torch.rand(3, 8, 8), oblong)


def test_the_curve(landscape: xr.Dataset) -> None:
    figure, worst = loss_curve(landscape), worst_case(landscape)
    expected = landscape["loss"].sel(dx=worst.dx, dy=worst.dy).values
    np.testing.assert_array_equal(trace(figure, "loss").y, expected)
    mark = trace(figure, "worst case")
    assert (mark.x[0], mark.y[0]) == (worst.rotation, worst.loss)
    away = loss_curve(landscape, "dx", at={"rotation": 1.0, "dy": -3})
    np.testing.assert_array_equal(trace(away, "loss").y, landscape["loss"].sel(rotation=0, dy=-3).values)
    assert "worst case" not in names(away) and "rotation 0°" in away.layout.title.text


# --- Themes, colours, words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", THEMES)
def test_both_themes(landscape: xr.Dataset, toy_image: Tensor, theme: Theme) -> None:
    every = [heatmap(landscape, theme=theme), surface(landscape, theme=theme), loss_curve(landscape, theme=theme)]
    for figure in [*every, worst_case_figure(toy_image, landscape, theme=theme)]:
        look = figure.layout.template.layout
        assert look.paper_bgcolor == "rgba(0,0,0,0)"
        assert look.font.color == PALETTE[theme]["text"]
        assert not re.search(r"#0000(?!00)[0-4]\d", figure.to_json()), "Streamlit would put another colour there"


def test_the_loss_has_the_colours_of_the_explorer(landscape: xr.Dataset) -> None:
    listed = re.search(r"const MAGMA = (\[.*?\]);", script("explorer"))
    assert listed
    anchors = [tuple(bytes.fromhex(colour)) for colour in json.loads(listed[1])]
    for figure, low in ((heatmap(landscape), "zmin"), (surface(landscape), "cmin")):
        drawn = trace(figure, "loss")
        assert drawn[low] == 0 and [colour for _, colour in drawn.colorscale] == [f"rgb{anchor}" for anchor in anchors]
        assert np.allclose([at for at, _ in drawn.colorscale], np.linspace(0, 1, len(anchors)))


def test_class_names_with_markup_are_shown_as_text(toy_image: Tensor, toy_classifier: Classifier) -> None:
    rude = Classifier(
        toy_classifier.network, class_names=[MARKUP, MARKUP], input_size=(32, 32), mean=(0.0,), std=(1.0,)
    )
    rude_landscape = swept(rude, toy_image)
    everything = [heatmap, surface, loss_curve, lambda each: worst_case_figure(toy_image, each)]
    for draw in everything:
        figure = draw(rude_landscape)
        shown = figure.to_plotly_json()
        shown["layout"].pop("meta")  # plain text, escaped by the page
        text = str(shown).replace("<br>", "")
        assert "&lt;script&gt;" in text and "<script>" not in text
    assert MARKUP in alt_text(rude_landscape)


def test_one_sentence_for_screen_readers(landscape: xr.Dataset) -> None:
    text, worst = alt_text(landscape), worst_case(landscape)
    assert text.startswith("Loss landscape of the classifier toy on a picture of class left: over 105 transforms")
    assert "rotation −30° to 30°, dx −3 px to 3 px" in text
    assert f"predicted as {worst.name}" in text and text.endswith("confidence.")


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0"), (0.001, "< 1"), (0.37, "37"), (0.9999, "> 99"), (1.0, "100"), (0.994, "99")]
)
def test_percentages_never_round_to_a_clean_0_or_100(share: float, text: str) -> None:
    assert percent(share).replace("\u00a0", " ") == f"{text} %"


def test_refusals(landscape: xr.Dataset, toy_image: Tensor, toy_classifier: Classifier) -> None:
    fine = plane_of(toy_classifier, toy_image, (1, 9, 9), rotation=30.0)
    other = sweep_axes(
        toy_classifier, toy_image, 1, refined_axes(GRID, (1, 9, 9), rotation=0.0), device="cpu", precision="fp32"
    )
    cases = [
        (lambda: heatmap(landscape, "rotatoin", "dy"), "unknown axis 'rotatoin'; did you mean 'rotation'"),
        (lambda: surface(landscape, "dx", "dz"), "unknown axis 'dz'"),
        (lambda: heatmap(landscape, "dx", "dx"), "must differ; got 'dx' twice"),
        (lambda: heatmap(landscape, quantity="los"), "unknown quantity 'los'; did you mean 'loss'"),
        (lambda: heatmap(landscape, theme="drak"), "unknown theme 'drak'; did you mean 'dark'"),
        (lambda: heatmap(landscape, at="worst"), "at must be a value of rotation, 'max' or None; got 'worst'"),
        (lambda: heatmap(landscape, at=float("nan")), "finite value of rotation"),
        (lambda: heatmap(landscape, value_max=0.0), "value_max must be a positive number"),
        (lambda: heatmap(landscape, "rotation", "dx", refined=fine), "single value of dy; got 9"),
        (lambda: heatmap(landscape, refined=fine, at="max"), "holds one value of rotation"),
        (lambda: heatmap(landscape, refined=other), "not of the same sweep: it differs in label"),
        (lambda: heatmap(landscape.expand_dims(image=2)), "landscape of one picture"),
        (lambda: loss_curve(landscape, "angle"), "unknown axis 'angle'"),
        (lambda: loss_curve(landscape, at={"rotation": 1.0}), "at holds dx and dy; got 'rotation'"),
        (lambda: loss_curve(landscape, at={"dx": float("inf")}), "finite numbers"),
        (lambda: loss_curve(landscape, theme="grey"), "unknown theme 'grey'"),
    ]
    for call, message in cases:
        with pytest.raises(InvalidInput, match=re.escape(message)):
            call()
