"""Slices of a landscape as heat maps; axis titles and units come from the data's own attributes.

Marks, the same in every figure: a white diamond with a dark rim is the worst case (hollow where it lies off the slice
shown), a small cross the unmoved picture, the outlined and hatched cells are misclassified. White on a dark rim
shows on every colour of both scales, in both themes.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from spatial_viz.errors import InvalidInput, did_you_mean
from spatial_viz.figures.descriptions import (
    amount,
    describe_mark,
    worst_case_hover,
)
from spatial_viz.figures.loss_curve import share_along
from spatial_viz.figures.marks import cell_edges, cross_marks, haloed, hatch, open_mark, outline
from spatial_viz.figures.planes import (
    region_note,
    slice_of,
    slice_title,
    worse_between,
    worse_between_note,
)
from spatial_viz.figures.style import (
    HOVER,
    LOSS_SCALE,
    MARGIN_SCALE,
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
from spatial_viz.figures.text import decimal, percent
from spatial_viz.landscape.dataset import loss_title, worst_case
from spatial_viz.landscape.noise_plane import as_spatial, spatial_name

Quantity = Literal["loss", "margin", "share"]
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

    Reads landscapes of transforms, and planes of noise (``adversarial`` × ``random``,
    `spatial_viz.landscape.noise_plane`), of which it
    marks the picture of the attack instead of the worst case. The quantity ``share`` is that of the votes for the true
    class, in landscapes that have it (`spatial_viz.landscape.vote_shares.vote_shares`).

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
    traces += haloed("hatch", hatch(cut.wrong, edges_x, edges_y), 1, _FAINT, "rgba(0,0,0,0.18)")
    traces += haloed("misclassified", outline(cut.wrong, edges_x, edges_y), 2)
    if refined is not None and np.isclose(landscape[cut.fixed].values, float(refined[cut.fixed][0])).any():
        columns, rows = np.meshgrid(landscape[x].values, landscape[y].values)
        traces += [cross_marks("grid", columns.ravel(), rows.ravel(), "square", 4)]
    identity = cut.holds(rotation=0.0, dx=0.0, dy=0.0)
    natural = f"the picture as it is<br>{loss_title(landscape)} {decimal(float(landscape['natural_loss']))} nats"
    if "share" in landscape:
        share = percent(float(landscape["natural_share"]))
        natural = f"the picture as it is<br>{share} of the votes for the true class"
    traces += open_mark("identity", 0.0, 0.0, "cross-thin-open", 9, natural if identity else f"{x} 0, {y} 0", identity)

    worst = worst_case(landscape)
    place = (getattr(worst, x), getattr(worst, y))
    inside = cut.holds(**worst.transform._asdict())
    words = describe_mark(landscape, worst)
    if inside:
        traces.append(
            cross_marks("worst case", [place[0]], [place[1]], "diamond", 13, worst_case_hover(landscape, worst))
        )
    else:
        traces += open_mark("worst case", *place, "diamond-open", 12, worst_case_hover(landscape, worst), True)
        words += f"<br>(at {cut.fixed} {amount(landscape, cut.fixed, getattr(worst, cut.fixed))})"
    notes = [
        region_note(landscape, cut.wrong, "outlined") + f" · + {'unmoved picture' if identity else f'{x} 0, {y} 0'}"
    ]
    beyond = worse_between(landscape, refined)
    if beyond is not None:
        traces.append(
            cross_marks(
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
    across, high = share_along(xaxis, place[0]), share_along(yaxis, place[1]) > 0.5
    ax, anchor = (26, "left") if across < 0.3 else (-26, "right") if across > 0.7 else (0, "center")
    figure.add_annotation(
        x=place[0], y=place[1], text=words, ax=ax, ay=34 if high else -34, xanchor=anchor,
        standoff=8, arrowcolor=WHITE, arrowwidth=1.5, arrowhead=0,
        font={"color": WHITE, "size": 12}, bgcolor="rgba(0,0,0,0.72)", borderpad=3,
    )  # fmt: skip
    return figure
