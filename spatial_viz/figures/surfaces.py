"""The loss over two axes as a surface in three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from spatial_viz.errors import InvalidInput
from spatial_viz.figures.descriptions import amount, axis_title, describe_mark, marked_cell, worst_case_hover
from spatial_viz.figures.planes import Slice, region_note, slice_of, slice_title, worse_between, worse_between_note
from spatial_viz.figures.style import (
    HOVER,
    LOSS_SCALE,
    SHARE_SCALE,
    WHITE,
    Theme,
    axis_of,
    colour_bar,
    loss_max,
    new_figure,
    palette,
    scale_end,
)
from spatial_viz.landscape.dataset import DIMS, share_at
from spatial_viz.landscape.noise_plane import as_spatial, spatial_name


def surface(
    landscape: xr.Dataset,
    x: str = "rotation",
    y: str = "dx",
    *,
    at: float | Literal["max"] | None = None,
    quantity: Literal["loss", "share"] = "loss",
    theme: Theme = "light",
    value_max: float | None = None,
    refined: xr.Dataset | None = None,
) -> go.Figure:
    """The loss over two axes as a surface, or the share of votes, in the colours of `heatmap`; arguments as there.

    Thin lines run through the computed values of ``landscape``; between them the surface is interpolated.

    Raises
    ------
    InvalidInput: as `heatmap`, and axes with a single value, over which there is no surface.
    """
    colours = palette(theme)
    landscape, x, y = as_spatial(landscape), spatial_name(x), spatial_name(y)
    worst = marked_cell(landscape)
    cut = slice_of(landscape, x, y, at, quantity, refined)
    for axis, values in ((x, cut.xs), (y, cut.ys)):
        if len(values) < 2:
            rest = [dim for dim in DIMS if landscape.sizes[dim] > 1]
            raise InvalidInput(
                f"{axis} has a single value in this landscape, and a surface needs two axes with several; choose "
                f"another axis ({', '.join(rest) or 'there is none'}) or sweep with a higher granularity"
            )
    if quantity == "share":
        top, scale, height = 1.0, SHARE_SCALE, share_at(landscape, worst)
    else:
        top = scale_end(value_max, loss_max(landscape) if refined is None else loss_max(landscape, refined))
        scale, height = LOSS_SCALE, worst.loss
    bar = colour_bar(landscape, quantity, colours)
    bar |= {"orientation": "h", "x": 0.5, "y": 0, "yanchor": "top", "len": 0.92, "title": None}
    traces: list[Any] = [
        go.Surface(
            x=cut.xs, y=cut.ys, z=cut.values, cmin=0, cmax=top, colorscale=scale, text=cut.hover, name=quantity,
            hoverinfo="text", colorbar=bar,  # in a template Plotly looks a surface's text up with its axes swapped
            # Nearly flat light: the colour is the value, shading only hints at the shape.
            lighting={"ambient": 0.9, "diffuse": 0.25, "specular": 0.02, "roughness": 0.9, "fresnel": 0},
            contours={"x": _wires(landscape[x].values), "y": _wires(landscape[y].values), "z": {"highlight": False}},
        )
    ]  # fmt: skip
    under, over = (dict(zip("xyz", _zero_line(cut, lift), strict=True)) for lift in (0.012 * top, 0.018 * top))
    if under["x"]:
        common = {"mode": "lines", "hoverinfo": "skip"}
        traces += [
            go.Scatter3d(**under, line={"color": "#000000", "width": 9}, name="misclassified halo", **common),
            go.Scatter3d(**over, line={"color": WHITE, "width": 4}, name="misclassified", **common),
        ]

    inside = cut.holds(**worst.transform._asdict())
    spot = (getattr(worst, x), getattr(worst, y), height)
    words = describe_mark(landscape, worst)
    if not inside:
        words += f" (at {cut.fixed} {amount(landscape, cut.fixed, getattr(worst, cut.fixed))})"
    notes = [region_note(landscape, cut.wrong, "outlined")]
    traces += [
        go.Scatter3d(
            x=[spot[0]] * 2, y=[spot[1]] * 2, z=[0, spot[2]], mode="lines", hoverinfo="skip", name="drop line",
            line={"color": colours["text"], "width": 2, "dash": "dot"},
        ),
        _mark_3d("worst case", spot, "diamond" if inside else "diamond-open", 7, worst_case_hover(landscape, worst)),
    ]  # fmt: skip
    beyond = worse_between(landscape, refined)
    if refined is not None and beyond is not None:
        level = beyond.loss if quantity == "loss" else share_at(refined, beyond)
        place = (getattr(beyond, x), getattr(beyond, y), level)
        traces.append(_mark_3d("worse between", place, "square", 4, worst_case_hover(landscape, beyond)))
        notes.append(worse_between_note(landscape, beyond))

    figure = new_figure(traces, landscape, theme, slice_title(landscape, cut, quantity), notes, 450)
    label = {
        "x": spot[0], "y": spot[1], "z": spot[2], "text": words, "ax": 0, "ay": -30, "arrowhead": 0, "arrowwidth": 1.5,
        "arrowcolor": colours["text"], "standoff": 6, "font": {"color": WHITE, "size": 12},
        "bgcolor": "rgba(0,0,0,0.72)", "borderpad": 3,
    }  # fmt: skip
    # A title of the bar's own lies on its numbers when Plotly draws before the page has its final width.
    figure.add_annotation(
        text=axis_title(landscape, quantity), x=0.5, xref="paper", y=0, yref="paper", yanchor="top", yshift=-38,
        showarrow=False, font={"size": 12},
    )  # fmt: skip
    figure.update_layout(
        margin={"l": 0, "r": 0, "b": 64},
        uirevision="landscape",  # constant: the reader's camera survives a new landscape
        scene={
            # What is the top of a map is here the far side.
            "xaxis": axis_of(landscape, x, cut.xs) | {"nticks": 8},
            "yaxis": axis_of(landscape, y, cut.ys, upright=True) | {"nticks": 8},
            # The colour bar carries the title; beside the axis a narrow page would cut it off.
            "zaxis": {"title": {"text": ""}, "nticks": 5, "range": [0, 1.04 * max(top, height)]},
            "aspectmode": "manual",
            "aspectratio": {"x": 1.1, "y": 0.85, "z": 0.8},
            "camera": {"eye": {"x": 0.95, "y": -1.66, "z": 0.93}, "center": {"x": 0.05, "y": 0.02, "z": -0.1}},
            "annotations": [label],
            "uirevision": "landscape",
        },
    )  # fmt: skip
    return figure


def _wires(values: np.ndarray) -> dict[str, Any]:
    """Lines on the surface through the (evenly spaced) values of an axis."""
    if len(values) < 2:
        return {"highlight": False}
    step = float(values[1] - values[0])
    return {
        "show": True, "start": float(values[0]), "end": float(values[-1]), "size": step, "width": 1,
        "color": "#7d7d7d", "highlight": False,
    }  # fmt: skip


def _mark_3d(name: str, spot: tuple[float, float, float], symbol: str, size: int, hover: str) -> Any:
    return go.Scatter3d(
        x=[spot[0]], y=[spot[1]], z=[spot[2]], mode="markers", name=name, text=[hover],
        marker={"symbol": symbol, "size": size, "color": WHITE, "line": {"color": "#000000", "width": 2}},
        hovertemplate=HOVER,
    )  # fmt: skip


def _zero_line(cut: Slice, lift: float) -> tuple[list[float | None], list[float | None], list[float | None]]:
    """Where the margin changes sign, as segments that lie ``lift`` above the bilinear surface.

    Marching squares on a finer mesh, because a straight segment across a coarse cell would sink into the surface.
    """
    # The predicted class decides; a margin of exactly 0 may be either.
    signed = np.where(cut.wrong, np.minimum(cut.margin, -1e-9), np.maximum(cut.margin, 1e-9)).astype(np.float64)
    factors = [max(1, min(8, 120 // size)) for size in signed.shape]
    margin, values = _denser(signed, factors), _denser(cut.values.astype(np.float64), factors)
    ys, xs = (_denser(v[:, None], [f, 1])[:, 0] for v, f in zip((cut.ys, cut.xs), factors, strict=True))
    negative = margin < 0
    corners = negative[:-1, :-1].astype(int) + negative[:-1, 1:] + negative[1:, 1:] + negative[1:, :-1]
    out: tuple[list[float | None], list[float | None], list[float | None]] = ([], [], [])
    for i, j in zip(*((corners > 0) & (corners < 4)).nonzero(), strict=True):
        ring = [(i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j), (i, j)]
        crossings = []
        for a, b in pairwise(ring):
            if negative[a] != negative[b]:
                t = margin[a] / (margin[a] - margin[b])
                z = values[a] + t * (values[b] - values[a]) + lift
                crossings.append((xs[a[1]] + t * (xs[b[1]] - xs[a[1]]), ys[a[0]] + t * (ys[b[0]] - ys[a[0]]), z))
        if len(crossings) == 4 and (sum(margin[c] for c in ring[:4]) < 0) != negative[i, j]:
            crossings = [crossings[3], *crossings[:3]]  # a saddle: the first corner is cut off from the middle
        for first, last in zip(crossings[::2], crossings[1::2], strict=True):
            for axis, p, q in zip(out, first, last, strict=True):
                axis += [float(p), float(q), None]
    return out


def _denser(values: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Bilinear interpolation at ``factors`` points per cell, the given values among them."""
    for axis, factor in enumerate(factors):
        count = values.shape[axis]
        at = np.arange((count - 1) * factor + 1) / factor
        low = np.minimum(at.astype(int), max(count - 2, 0))
        weight = (at - low).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        high = np.minimum(low + 1, count - 1)
        values = values.take(low, axis) * (1 - weight) + values.take(high, axis) * weight
    return values
