"""The search for the worst transform, drawn: a map to be uncovered by hand, and the grid that fills cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from spatial_viz.figures.attacks import add_player
from spatial_viz.figures.descriptions import axis_title, falls
from spatial_viz.figures.heatmaps import heatmap
from spatial_viz.figures.marks import cell_edges
from spatial_viz.figures.style import (
    HALO,
    HOVER,
    LOSS_SCALE,
    WHITE,
    Theme,
    axis_of,
    colour_bar,
    loss_max,
    new_figure,
    palette,
)
from spatial_viz.figures.text import decimal, short, spread
from spatial_viz.landscape.dataset import DIMS, loss_title, misclassified, plane, severity_order

FRAMES = 400  # of the grid that fills, at most
FRAME_MS = 16
CELLS = "cells to try"  # the trace whose points can be clicked
X, Y = "rotation", "dx"


def hidden_map(landscape: xr.Dataset, tries: Sequence[tuple[float, float]], theme: Theme = "light") -> go.Figure:
    """The map over rotation and dx (dy maximised over) of which only the ``tries`` (rotation, dx) are seen.

    Every cell has a dot to be clicked, in the trace called `CELLS`.
    """
    xs, ys, loss, _ = _projected(landscape)
    colours = palette(theme)
    seen = np.full(loss.shape, np.nan)
    for column, row in _cells(xs, ys, tries):
        seen[row, column] = loss[row, column]
    figure = new_figure([], landscape, theme, "", [], 420)
    figure.update_layout(margin_t=8)
    figure.add_trace(
        go.Heatmap(x=xs, y=ys, z=seen, zmin=0, zmax=loss_max(landscape), colorscale=LOSS_SCALE, name="tried",
                   hoverinfo="skip", colorbar=colour_bar(landscape, "loss", colours), xgap=1, ygap=1)
    )  # fmt: skip
    across, up = (each.ravel() for each in np.meshgrid(xs, ys))
    figure.add_trace(
        go.Scatter(x=across, y=up, mode="markers", name=CELLS, hovertemplate="%{x}°, dx %{y} px<extra></extra>",
                   marker={"size": 9, "symbol": "square", "color": colours["muted"], "opacity": 0.35},
                   selected={"marker": {"opacity": 0.35}}, unselected={"marker": {"opacity": 0.35}})
    )  # fmt: skip
    _mark_tries(figure, landscape, tries)
    bare = {"showgrid": False, "zeroline": False}
    figure.update_layout(
        clickmode="event+select", dragmode=False,
        xaxis=axis_of(landscape, X, cell_edges(xs)) | bare,
        yaxis=axis_of(landscape, Y, cell_edges(ys), upright=True) | bare,
    )  # fmt: skip
    return figure


def uncovered_map(landscape: xr.Dataset, tries: Sequence[tuple[float, float]], theme: Theme = "light") -> go.Figure:
    """The same map with all cells seen, and the tries on it."""
    figure = heatmap(landscape, X, Y, at="max", theme=theme)
    _mark_tries(figure, landscape, tries)
    return figure


def best_try(landscape: xr.Dataset, tries: Sequence[tuple[float, float]]) -> float:
    """The highest loss among the tries, of the worst dy at each."""
    xs, ys, loss, _ = _projected(landscape)
    return max(float(loss[row, column]) for column, row in _cells(xs, ys, tries))


def add_click_layer(figure: go.Figure, landscape: xr.Dataset) -> None:
    """Invisible dots on every cell of a map over rotation and dx, to be clicked; the trace is called `CELLS`."""
    xs, ys = (each.ravel() for each in np.meshgrid(landscape[X].values, landscape[Y].values))
    clear = {"marker": {"opacity": 0}}
    figure.add_trace(
        go.Scatter(x=xs, y=ys, mode="markers", name=CELLS, hoverinfo="none", selected=clear, unselected=clear,
                   marker={"size": 14, "opacity": 0})
    )  # fmt: skip
    figure.update_layout(clickmode="event+select", dragmode=False)


def filling_figure(landscape: xr.Dataset, theme: Theme = "light", height: int = 420) -> go.Figure:
    """All cells of the grid in one map, which fills as one plays it: a column for every rotation, from left to right as
    on every map, in it a row for every shift, dx running fastest. The diamond is the worst cell so far.

    ``height`` in pixels, with the player.
    """
    colours = palette(theme)
    landscape = landscape.sortby("rotation", ascending=not falls("rotation"))
    rotations, dys, dxs = (landscape[dim].values for dim in DIMS)
    rows = len(dys) * len(dxs)
    loss, wrong = (each.transpose(*DIMS).values.reshape(len(rotations), rows)
                   for each in (landscape["loss"], misclassified(landscape)))  # fmt: skip
    hover = [[f"rotation {short(angle)}°, dx {short(dx)}, dy {short(dy)}<br>{loss_title(landscape)} "
             f"{decimal(loss[i, j])} nats, {'fooled' if wrong[i, j] else 'correct'}"
             for i, angle in enumerate(rotations)]
            for j, (dy, dx) in enumerate((dy, dx) for dy in dys for dx in dxs)]  # fmt: skip
    figure = new_figure([], landscape, theme, "", [], height - 96)
    figure.add_trace(
        go.Heatmap(x=np.arange(len(rotations)), y=np.arange(rows), z=loss.T, zmin=0, zmax=loss_max(landscape),
                   colorscale=LOSS_SCALE, name="loss", text=hover, hovertemplate=HOVER,
                   colorbar=colour_bar(landscape, "loss", colours))
    )  # fmt: skip
    count, first = loss.size, len(figure.data)
    so_far = _worst_so_far(landscape, loss.ravel(), wrong.ravel())
    shown = spread(count, FRAMES)

    def at(done: int) -> list[go.Scatter]:  # only what changes: Plotly checks every word of every frame
        x, y = _uncovered(done, len(rotations), rows)
        place = divmod(so_far[done - 1], rows) if done else (None, None)
        return [go.Scatter(x=x, y=y), go.Scatter(x=[place[0]], y=[place[1]])]

    to_come, worst = at(0)
    to_come.update(mode="lines", fill="toself", fillcolor=colours["page"], hoverinfo="skip", line={"width": 0},
                   name="cells to come")  # fmt: skip
    worst.update(
        mode="markers", name="worst so far", hoverinfo="skip",
        marker={"symbol": "diamond", "size": 16, "color": WHITE, "line": {"color": HALO, "width": 2}},
    )  # fmt: skip
    figure.add_traces([to_come, worst])
    moving = list(range(first, len(figure.data)))
    figure.frames = [go.Frame(data=at(done), traces=moving, name=str(done)) for done in shown]
    labels = [_told(done, count, loss.ravel(), so_far, loss_title(landscape)) for done in shown]
    bands = [(len(dxs) - 1) / 2 + band * len(dxs) for band in range(len(dys))]
    every = spread(len(rotations) - 1, 7)
    bare = {"showgrid": False, "zeroline": False, "showline": True, "mirror": True}
    figure.update_layout(
        plot_bgcolor=colours["page"], margin_t=8,
        xaxis={"title": {"text": axis_title(landscape, "rotation")}, "tickvals": every,
               "range": [-0.5, len(rotations) - 0.5], "ticktext": [short(rotations[each]) for each in every], **bare},
        yaxis={"title": {"text": "shift down dy (px), in each dx"}, "tickvals": bands,
               "ticktext": [short(dy) for dy in dys], "range": [rows - 0.5, -0.5], **bare},
    )  # fmt: skip
    for band in range(1, len(dys)):
        figure.add_hline(y=band * len(dxs) - 0.5, line={"color": colours["page"], "width": 2})
    add_player(figure, labels, 0, FRAME_MS, colours["text"])
    return figure


def _worst_so_far(landscape: xr.Dataset, loss: np.ndarray, wrong: np.ndarray) -> list[int]:
    """For every number of cells tried, in the order of the landscape, the one that is first in the severity order."""
    rotation, dy, dx = (each.ravel() for each in np.meshgrid(*(landscape[dim].values for dim in DIMS), indexing="ij"))
    rank = np.empty(len(loss), int)
    rank[severity_order(wrong, loss, rotation, dx, dy)] = np.arange(len(loss))
    lowest = np.minimum.accumulate(rank)
    order = np.argsort(rank)
    return [int(order[each]) for each in lowest]


def _told(done: int, count: int, loss: np.ndarray, so_far: Sequence[int], kind: str) -> str:
    worst = f", worst so far: {kind} {loss[so_far[done - 1]]:.2f}" if done else ""
    return f"{done:,} of {count:,} transforms{worst}"


def _uncovered(done: int, columns: int, rows: int) -> tuple[list[float | None], list[float | None]]:
    """The outline of the cells that are still to come: the rest of a column, and all columns behind it.

    Where there are none it is a gap, for Plotly leaves what becomes empty in an animation as it was.
    """
    column, row = divmod(done, rows)
    if column >= columns:
        return [None], [None]
    left, top, right, bottom = column - 0.5, row - 0.5, columns - 0.5, rows - 0.5
    return [left, left + 1, left + 1, right, right, left, left], [top, top, -0.5, -0.5, bottom, bottom, top]


def _cells(xs: np.ndarray, ys: np.ndarray, tries: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """Column and row of the cell nearest to each try."""
    return [(int(np.abs(xs - x).argmin()), int(np.abs(ys - y).argmin())) for x, y in tries]


def _projected(landscape: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values of rotation and dx, and over dx × rotation the highest loss and whether any dy fools."""
    flat = plane(landscape, "dy").transpose(Y, X)
    return flat[X].values, flat[Y].values, flat["loss"].values, flat["misclassified"].values


def _mark_tries(figure: go.Figure, landscape: xr.Dataset, tries: Sequence[tuple[float, float]]) -> None:
    """A cross for each try that fools, a ring for the others, with the number of the try as its hover text."""
    xs, ys, loss, wrong = _projected(landscape)
    for fooled, symbol, words in ((False, "circle-open", "correct"), (True, "x-thin-open", "fooled")):
        some = [(xs[c], ys[r], f"try {n}: {words}<br>loss {decimal(float(loss[r, c]))} nats")
                for n, (c, r) in enumerate(_cells(xs, ys, tries), start=1) if wrong[r, c] == fooled]  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=[each[0] for each in some], y=[each[1] for each in some], text=[each[2] for each in some],
                mode="markers", name=f"tries: {words}", hovertemplate=HOVER,
                marker={"symbol": symbol, "size": 12, "color": WHITE, "line": {"width": 2.5}},
            )
        )  # fmt: skip
