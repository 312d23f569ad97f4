"""Loss or margin along one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import xarray as xr

from spatial_viz.errors import InvalidInput, did_you_mean
from spatial_viz.figures.descriptions import (
    ORDER,
    amount,
    axis_title,
    describe_worst_case,
    worst_case_hover,
)
from spatial_viz.figures.marks import cell_edges, cross_marks, runs_of
from spatial_viz.figures.planes import (
    check_axis,
    check_one_picture,
    hover_texts,
    region_note,
)
from spatial_viz.figures.style import (
    ACCENT,
    HOVER,
    Theme,
    axis_of,
    loss_max,
    new_figure,
    palette,
)
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.dataset import DIMS, loss_title, misclassified, worst_case


def loss_curve(
    landscape: xr.Dataset, axis: str = "rotation", *, at: Mapping[str, float] | None = None, theme: Theme = "light"
) -> go.Figure:
    """The loss along one axis. The others are held at the grid values nearest to ``at``, by default at the worst case.

    Raises
    ------
    InvalidInput: an unknown axis or theme; ``at`` names another axis than the remaining two.
    """
    check_one_picture(landscape)
    check_axis(axis)
    colours, worst = palette(theme), worst_case(landscape)
    rest = [dim for dim in ORDER if dim != axis]
    for name, value in (at or {}).items():
        if name not in rest:
            raise InvalidInput(f"at holds {' and '.join(rest)}; got {name!r}{did_you_mean(str(name), rest)}")
        if not math.isfinite(float(value)):
            raise InvalidInput(f"at must hold finite numbers; got {name} {value!r}")
    held = {dim: float((at or {}).get(dim, getattr(worst, dim))) for dim in rest}
    line = landscape.sel(held, method="nearest")
    held = {dim: float(line[dim]) for dim in rest}
    values, wrong = line[axis].values, misclassified(line).values
    names = ("loss", "margin", "confidence", "predicted")
    place = {dim: line[dim].values for dim in DIMS}
    hover = hover_texts(landscape, place, {name: line[name].values for name in names}, wrong)
    top = loss_max(landscape)
    inside = all(abs(getattr(worst, dim) - value) < 1e-6 for dim, value in held.items())
    traces: list[Any] = [
        go.Scatter(
            x=values, y=line["loss"].values, mode="lines+markers", name="loss", text=hover,
            hovertemplate=HOVER, line={"color": ACCENT, "width": 2},
            marker={"size": 7, "line": {"color": ACCENT, "width": 1.5},
                    "color": [ACCENT if w else colours["page"] for w in wrong]},
        )
    ]  # fmt: skip
    if inside:
        traces.append(
            cross_marks(
                "worst case", [getattr(worst, axis)], [worst.loss], "diamond", 13, worst_case_hover(landscape, worst)
            )
        )
    where = ", ".join(f"{dim} {amount(landscape, dim, value)}" for dim, value in held.items())
    notes = [f"at {where}", region_note(landscape, wrong, "shaded, filled dots")]
    figure = new_figure(traces, landscape, theme, f"{loss_title(landscape).capitalize()} along {axis}", notes, 320)
    edges = cell_edges(values)
    xaxis = axis_of(landscape, axis, edges)
    for first, last in runs_of(wrong):
        figure.add_shape(
            type="rect", x0=edges[first], x1=edges[last], y0=0, y1=1, yref="paper", layer="below",
            fillcolor=colours["grid"], line={"width": 0},
        )  # fmt: skip
    classes = attributes_of(landscape).classes
    figure.add_hline(
        y=math.log(classes), line={"color": colours["muted"], "width": 1, "dash": "dash"}, layer="below",
        annotation={"text": f"guessing among {classes} classes", "font": {"size": 11, "color": colours["muted"]},
                    "x": 0, "xanchor": "left",
                    "yanchor": "bottom", "yshift": 2, "opacity": 0.85, "bgcolor": colours["page"]},
    )  # fmt: skip
    if inside:
        right = share_along(xaxis, getattr(worst, axis)) < 0.5
        figure.add_annotation(
            x=getattr(worst, axis), y=worst.loss, text=describe_worst_case(worst), showarrow=False, yshift=0,
            xshift=12 if right else -12, xanchor="left" if right else "right", bgcolor=colours["page"], opacity=0.85,
        )  # fmt: skip
    loss_axis = {"title": {"text": axis_title(landscape, "loss")}, "range": [-0.03 * top, 1.06 * top]}
    figure.update_layout(xaxis=xaxis, yaxis=loss_axis)
    return figure


def share_along(axis: Mapping[str, Any], value: float) -> float:
    """How far along an axis of `axis_of` a value lies, from its left or lower end: 0 to 1."""
    first, last = axis["range"]
    return (value - first) / (last - first)
