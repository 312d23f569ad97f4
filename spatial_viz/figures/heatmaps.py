"""Landscape → Plotly figures; axis titles and units come from the data's own attributes. The entry to all figures.

Marks, the same in every figure: a white diamond with a dark rim is the worst case (hollow where it lies off the slice
shown), a small cross the unmoved picture, the outlined and hatched cells are misclassified. White on a dark rim
shows on every colour of both scales, in both themes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from spatial_viz.errors import InvalidInput, did_you_mean
from spatial_viz.figures.planes import (
    check_axis,
    check_one_picture,
    hover_texts,
    region_note,
    slice_of,
    slice_title,
    worse_between,
    worse_between_note,
)
from spatial_viz.figures.style import (
    ACCENT,
    HALO,
    HOVER,
    LOSS_SCALE,
    MARGIN_SCALE,
    ORDER,
    SHARE_SCALE,
    WHITE,
    Theme,
    alt_text,
    amount,
    as_spatial,
    axis_of,
    axis_title,
    colour_bar,
    decimal,
    loss_max,
    mark_words,
    new_figure,
    palette,
    percent,
    scale_end,
    spatial_name,
    worst_case_hover,
    worst_case_words,
)
from spatial_viz.figures.surfaces import surface
from spatial_viz.figures.worst_case import worst_case_figure
from spatial_viz.landscape.dataset import DIMS, card_of, loss_words, misclassified, worst_case

__all__ = ["Quantity", "Theme", "alt_text", "heatmap", "loss_curve", "loss_max", "surface", "worst_case_figure"]

Quantity = Literal["loss", "margin", "share"]
Line = tuple[list[float | None], list[float | None]]
_FAINT = "rgba(255,255,255,0.4)"
_BARE = {"showgrid": False, "zeroline": False}


def heatmap(
    landscape: xr.Dataset,
    x: str = "dx",
    y: str = "dy",
    *,
    at: float | Literal["max"] | None = None,
    quantity: Quantity = "loss",
    theme: Theme = "light",
    value_max: float | None = None,
    refined: xr.Dataset | None = None,
) -> go.Figure:
    """Loss or margin over two axes; every computed cell is one block of colour. Positive rotation lies left, as it
    turns, and positive shifts right and down, as they move.

    Reads landscapes of transforms, and planes of noise (``adversarial`` × ``random``, `spatial_viz.landscape.noise_plane`), of which it
    marks the picture of the attack instead of the worst case. The quantity ``share`` is that of the votes for the true
    class, in landscapes that have it (`spatial_viz.defences.majority_vote.vote_shares`).

    Parameters
    ----------
    at: the third axis is held at the grid value nearest to it, or maximised over with ``"max"``
        (margin and share: minimised); by default it passes through the worst case.
    value_max: end of the colour scale, 0 to ``value_max`` for the loss, ± for the margin; by default `loss_max`,
        or the largest absolute margin. Shares always run from 0 to 1.
    refined: a denser plane, drawn instead; a landscape whose third axis has one value, which then counts
        instead of ``at``. Dots mark the cells of ``landscape``.

    Raises
    ------
    InvalidInput: unknown or equal axes, an unknown quantity or theme, a refined plane that is none.
    """
    if quantity not in get_args(Quantity):
        raise InvalidInput(f"unknown quantity {quantity!r}{did_you_mean(str(quantity), get_args(Quantity))}")
    colours = palette(theme)
    landscape, x, y = as_spatial(landscape), spatial_name(x), spatial_name(y)
    cut = slice_of(landscape, x, y, at, quantity, refined)
    shown = [landscape] if refined is None else [landscape, refined]
    if quantity == "loss":
        top = scale_end(value_max, loss_max(*shown))
        low, scale = 0.0, LOSS_SCALE
    elif quantity == "share":
        low, top, scale = 0.0, 1.0, SHARE_SCALE
    else:
        top = scale_end(value_max, max(float(abs(each["margin"]).max()) for each in shown) or 1.0)
        low, scale = -top, MARGIN_SCALE
    edges_x, edges_y = cell_edges(cut.xs), cell_edges(cut.ys)
    traces: list[Any] = [
        go.Heatmap(
            x=cut.xs, y=cut.ys, z=cut.values, zmin=low, zmax=top, colorscale=scale, text=cut.hover, name=quantity,
            hovertemplate=HOVER, colorbar=colour_bar(landscape, quantity, colours),
        )
    ]  # fmt: skip
    traces += _haloed("hatch", _hatch(cut.wrong, edges_x, edges_y), 1, _FAINT, "rgba(0,0,0,0.18)")
    traces += _haloed("misclassified", _outline(cut.wrong, edges_x, edges_y), 2)
    if refined is not None and np.isclose(landscape[cut.fixed].values, float(refined[cut.fixed][0])).any():
        columns, rows = np.meshgrid(landscape[x].values, landscape[y].values)
        traces += [_marks("grid", columns.ravel(), rows.ravel(), "square", 4)]
    identity = cut.holds(rotation=0.0, dx=0.0, dy=0.0)
    natural = f"the picture as it is<br>{loss_words(landscape)} {decimal(float(landscape['natural_loss']))} nats"
    if "share" in landscape:
        share = percent(float(landscape["natural_share"]))
        natural = f"the picture as it is<br>{share} of the votes for the true class"
    traces += _open_mark("identity", 0.0, 0.0, "cross-thin-open", 9, natural if identity else f"{x} 0, {y} 0", identity)

    worst = worst_case(landscape)
    there = (getattr(worst, x), getattr(worst, y))
    inside = cut.holds(rotation=worst.rotation, dx=worst.dx, dy=worst.dy)
    words = mark_words(landscape, worst)
    if inside:
        traces.append(_marks("worst case", [there[0]], [there[1]], "diamond", 13, worst_case_hover(landscape, worst)))
    else:
        traces += _open_mark("worst case", *there, "diamond-open", 12, worst_case_hover(landscape, worst), True)
        words += f"<br>(at {cut.fixed} {amount(landscape, cut.fixed, getattr(worst, cut.fixed))})"
    notes = [
        region_note(landscape, cut.wrong, "outlined") + f" · + {'unmoved picture' if identity else f'{x} 0, {y} 0'}"
    ]
    beyond = worse_between(landscape, refined)
    if beyond is not None:
        traces.append(
            _marks(
                "worse between",
                [getattr(beyond, x)],
                [getattr(beyond, y)],
                "square",
                9,
                worst_case_hover(landscape, beyond),
            )
        )
        notes.append(worse_between_note(landscape, beyond))

    figure = new_figure(traces, landscape, theme, slice_title(landscape, cut, quantity), notes, 400)
    xaxis, yaxis = axis_of(landscape, x, edges_x) | _BARE, axis_of(landscape, y, edges_y, upright=True) | _BARE
    figure.update_layout(xaxis=xaxis, yaxis=yaxis)
    # Towards the middle, so that no edge cuts the words off.
    across, high = share_along(xaxis, there[0]), share_along(yaxis, there[1]) > 0.5
    ax, anchor = (26, "left") if across < 0.3 else (-26, "right") if across > 0.7 else (0, "center")
    figure.add_annotation(
        x=there[0], y=there[1], text=words, ax=ax, ay=34 if high else -34, xanchor=anchor,
        standoff=8, arrowcolor=WHITE, arrowwidth=1.5, arrowhead=0,
        font={"color": WHITE, "size": 12}, bgcolor="rgba(0,0,0,0.72)", borderpad=3,
    )  # fmt: skip
    return figure


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
            _marks(
                "worst case", [getattr(worst, axis)], [worst.loss], "diamond", 13, worst_case_hover(landscape, worst)
            )
        )
    where = ", ".join(f"{dim} {amount(landscape, dim, value)}" for dim, value in held.items())
    notes = [f"at {where}", region_note(landscape, wrong, "shaded, filled dots")]
    figure = new_figure(traces, landscape, theme, f"{loss_words(landscape).capitalize()} along {axis}", notes, 320)
    edges = cell_edges(values)
    xaxis = axis_of(landscape, axis, edges)
    for first, last in _runs(wrong):
        figure.add_shape(
            type="rect", x0=edges[first], x1=edges[last], y0=0, y1=1, yref="paper", layer="below",
            fillcolor=colours["grid"], line={"width": 0},
        )  # fmt: skip
    classes = int(card_of(landscape)["classes"])
    figure.add_hline(
        y=math.log(classes), line={"color": colours["muted"], "width": 1, "dash": "dash"}, layer="below",
        annotation={"text": f"guessing among {classes} classes", "font": {"size": 11, "color": colours["muted"]},
                    "x": 0, "xanchor": "left",
                    "yanchor": "bottom", "yshift": 2, "opacity": 0.85, "bgcolor": colours["page"]},
    )  # fmt: skip
    if inside:
        right = share_along(xaxis, getattr(worst, axis)) < 0.5
        figure.add_annotation(
            x=getattr(worst, axis), y=worst.loss, text=worst_case_words(worst), showarrow=False, yshift=0,
            xshift=12 if right else -12, xanchor="left" if right else "right", bgcolor=colours["page"], opacity=0.85,
        )  # fmt: skip
    loss_axis = {"title": {"text": axis_title(landscape, "loss")}, "range": [-0.03 * top, 1.06 * top]}
    figure.update_layout(xaxis=xaxis, yaxis=loss_axis)
    return figure


def share_along(axis: Mapping[str, Any], value: float) -> float:
    """How far along an axis of `axis_of` a value lies, from its left or lower end: 0 to 1."""
    first, last = axis["range"]
    return (value - first) / (last - first)


def cell_edges(values: np.ndarray) -> np.ndarray:
    """The borders of cells centred at ascending ``values``: half-way between them; a single one is 1 wide."""
    values = np.asarray(values, np.float64)
    if len(values) == 1:
        return np.array([values[0] - 0.5, values[0] + 0.5])
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def _outline(wrong: np.ndarray, edges_x: np.ndarray, edges_y: np.ndarray) -> Line:
    """The border of the True cells of a y × x mask, as straight runs along the cell borders, separated by None."""
    padded = np.pad(wrong.astype(np.int8), 1)
    xs: list[float | None] = []
    ys: list[float | None] = []
    upright = padded[1:-1, 1:] != padded[1:-1, :-1]  # border between columns j - 1 and j of each row
    for j in range(upright.shape[1]):
        for first, last in _runs(upright[:, j]):
            xs += [edges_x[j], edges_x[j], None]
            ys += [edges_y[first], edges_y[last], None]
    level = padded[1:, 1:-1] != padded[:-1, 1:-1]
    for i in range(level.shape[0]):
        for first, last in _runs(level[i]):
            xs += [edges_x[first], edges_x[last], None]
            ys += [edges_y[i], edges_y[i], None]
    return xs, ys


def _hatch(wrong: np.ndarray, edges_x: np.ndarray, edges_y: np.ndarray) -> Line:
    """Diagonals through the True cells: they tell the inside of the outline without any colour."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    step = 1 + sum(wrong.shape) // 20
    for i, j in zip(*wrong.nonzero(), strict=True):
        if (i + j) % step == 0:
            xs += [edges_x[j], edges_x[j + 1], None]
            ys += [edges_y[i + 1], edges_y[i], None]
    return xs, ys


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """[first, last) of every run of True."""
    change = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(change[::2], change[1::2], strict=True)]


def _haloed(name: str, line: Line, width: float, colour: str = WHITE, halo: str = HALO) -> list[Any]:
    """A light line over a wider dark one."""
    if not line[0]:
        return []
    common = {"x": line[0], "y": line[1], "mode": "lines", "hoverinfo": "skip", "cliponaxis": False}
    return [
        go.Scatter(line={"color": halo, "width": width + 2}, name=f"{name} halo", **common),
        go.Scatter(line={"color": colour, "width": width}, name=name, **common),
    ]


def _marks(
    name: str, xs: Sequence[float], ys: Sequence[float], symbol: str, size: int, hover: str | None = None
) -> Any:
    line = {"color": HALO, "width": 2 if size > 5 else 1}
    marker = {"symbol": symbol, "size": size, "color": WHITE, "line": line}
    said = {"hoverinfo": "skip"} if hover is None else {"text": [hover], "hovertemplate": HOVER}
    return go.Scatter(x=xs, y=ys, mode="markers", marker=marker, name=name, cliponaxis=False, **said)


def _open_mark(name: str, x: float, y: float, symbol: str, size: int, hover: str, strong: bool) -> list[Any]:
    """Only the line of a symbol, with a halo; faint where it does not hold in this slice."""
    common = {"x": [x], "y": [y], "mode": "markers", "cliponaxis": False, "opacity": 1 if strong else 0.6}

    def outline(width: int, colour: str) -> dict[str, Any]:
        return {"symbol": symbol, "size": size, "color": colour, "line": {"width": width, "color": colour}}

    return [
        go.Scatter(marker=outline(5, HALO), name=f"{name} halo", hoverinfo="skip", **common),
        go.Scatter(marker=outline(2, WHITE), name=name, text=[hover], hovertemplate=HOVER, **common),
    ]
