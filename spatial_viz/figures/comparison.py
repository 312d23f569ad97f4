"""Classifiers side by side on one picture: what fails where, in words, and the difference of two landscapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.colors import get_colorscale

from spatial_viz.errors import InvalidInput
from spatial_viz.figures.descriptions import describe_verdict
from spatial_viz.figures.marks import cell_edges
from spatial_viz.figures.planes import slice_of, slice_title
from spatial_viz.figures.style import HALO, HOVER, WHITE, Theme, axis_of, new_figure, palette, scale_end
from spatial_viz.figures.text import decimal, escaped, percent
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.dataset import (
    DIMS,
    cell,
    check_one_loss,
    class_name,
    has_label,
    label_of,
    misclassified,
    severity_of,
    share_at,
    worst_case,
)
from spatial_viz.transforms.transform import Transform

# Diverging, legible to colour-blind people, and not that of the margin: orange where the first is worse off.
DIFFERENCE_SCALE = get_colorscale("PuOr_r")
_FAILS = (
    ("only the first fails", "▲", "triangle-up"),
    ("only the second fails", "▼", "triangle-down"),
    ("both fail", "✕", "x"),
)


def comparison_rows(titles: Sequence[str], landscapes: Sequence[xr.Dataset]) -> list[dict[str, str]]:
    """A row of words for each landscape: natural prediction and verdict, share of the grid that fails, worst case.

    The worst case is told with its loss, or with the share of votes for the true class where the landscapes have it
    (`spatial_viz.landscape.vote_shares.vote_shares`).
    """
    return [_row(title, landscape) for title, landscape in zip(titles, landscapes, strict=True)]


def _row(title: str, landscape: xr.Dataset) -> dict[str, str]:
    worst, natural = worst_case(landscape), int(landscape["natural_predicted"])
    wrong, voted = misclassified(landscape).values, "share" in landscape

    def said(index: int, confidence: float) -> str:
        mark = ("✕ " if index != label_of(landscape) else "✓ ") if has_label(landscape) else ""
        return f"{mark}{class_name(landscape, index)}, {percent(confidence)}{' of the votes' if voted else ''}"

    if voted:
        how_bad = {"votes for the true class": percent(share_at(landscape, worst))}
    else:
        how_bad = {"worst loss": f"{decimal(worst.loss)} nats"}
    return {
        "classifier": title,
        "as it is": said(natural, float(landscape["natural_confidence"])),
        f"{'fails' if has_label(landscape) else 'changes'} on": f"{int(wrong.sum())} of {wrong.size}, "
        f"{percent(float(wrong.mean()))}",
        "worst case": said(worst.predicted, worst.confidence),
        **how_bad,
        "worst transform": worst.transform.describe(),
    }


def telling_transform(landscapes: Sequence[xr.Dataset]) -> Transform:
    """The transform that tells the landscapes, all on one grid, apart best: the most severe one for the first of them
    that fails where another does not. Without one the worst case of the first that fails, else the identity.
    """
    wrong = np.stack([misclassified(each).transpose(*DIMS).values for each in landscapes])
    split = wrong.any(0) & ~wrong.all(0)
    for where in (split, np.ones_like(split)):
        for landscape, fails in zip(landscapes, wrong, strict=True):
            order = severity_of(landscape)
            telling = order[(fails & where).ravel()[order]]
            if len(telling):
                return cell(landscape, int(telling[0])).transform
    return Transform()


def difference_end(landscapes: Sequence[xr.Dataset], quantity: Literal["loss", "share"] = "loss") -> float:
    """The end of a difference scale that holds for any two of the landscapes."""
    if quantity == "share":
        return 1.0
    check_one_loss(*landscapes)
    values = np.stack([each["loss"].transpose(*DIMS).values for each in landscapes])
    return float((values.max(0) - values.min(0)).max()) or 1.0


def difference_map(
    first: xr.Dataset,
    second: xr.Dataset,
    x: str = "rotation",
    y: str = "dx",
    *,
    titles: tuple[str, str] = ("the first", "the second"),
    at: float | Literal["max"] = "max",
    quantity: Literal["loss", "share"] = "loss",
    theme: Theme = "light",
    value_max: float | None = None,
) -> go.Figure:
    """How much worse off the first is than the second, over two axes: its loss minus that of the second.

    With ``quantity="share"`` the share of votes for the true class of the second minus that of the first. Marks say
    where only one of the two fails, or both.

    Parameters
    ----------
    first, second: landscapes of one picture, held against one label, on one grid.
    at: the third axis is held at the grid value nearest to it; with ``"max"`` each landscape shows its worst over it.
    value_max: end of the scale, ± about 0; by default `difference_end` of the two.

    Raises
    ------
    InvalidInput: two pictures, labels or grids; a vote loss and the loss of a single model; as `heatmaps.heatmap`.
    """
    check_comparable(first, second)
    if quantity == "loss":
        check_one_loss(first, second)
    colours = palette(theme)
    one, other = (slice_of(each, x, y, at, quantity, None) for each in (first, second))
    top = scale_end(value_max, difference_end((first, second), quantity))
    # A share is good, a loss is bad: either way above 0 the first is worse off.
    difference = (one.values - other.values) * (1 if quantity == "loss" else -1)
    names = [escaped(title) for title in titles]
    unit = "nats" if quantity == "loss" else "share of votes"
    labelled = has_label(first)

    def text(a: float, b: float, a_wrong: bool, b_wrong: bool, px: float, py: float) -> str:
        digits = [f"{decimal(v)} {unit}" if quantity == "loss" else percent(v) for v in (a, b)]
        verdicts = [describe_verdict(labelled, bool(wrong)) for wrong in (a_wrong, b_wrong)]
        lines = [f"{name}: {d}, {v}" for name, d, v in zip(names, digits, verdicts, strict=True)]
        return "<br>".join([f"{x} {decimal(px, 1)}, {y} {decimal(py, 1)}", *lines])

    columns, rows = np.meshgrid(one.xs, one.ys)
    hover = np.vectorize(text, otypes=[object])(one.values, other.values, one.wrong, other.wrong, columns, rows)
    bar = {
        "title": {"text": f"difference ({unit})", "side": "right", "font": {"size": 12}}, "thickness": 12,
        "outlinewidth": 0, "xpad": 6, "tickfont": {"color": colours["muted"], "size": 11}, "nticks": 6,
    }  # fmt: skip
    traces: list[Any] = [
        go.Heatmap(
            x=one.xs, y=one.ys, z=difference, zmin=-top, zmax=top, zmid=0, colorscale=DIFFERENCE_SCALE, text=hover,
            hovertemplate=HOVER, colorbar=bar, name="difference",
        )
    ]  # fmt: skip
    notes = [f"orange: {titles[0]} is worse off", f"purple: {titles[1]} is worse off"]
    marks = []
    fails = (one.wrong & ~other.wrong, other.wrong & ~one.wrong, one.wrong & other.wrong)
    for (name, sign, symbol), where in zip(_FAILS, fails, strict=True):
        if where.any():
            traces.append(_marks(name, symbol, columns[where], rows[where]))
            marks.append(f"{sign} {name if labelled else name.replace('fail', 'change')}")
    shown = slice_title(first, one, quantity)
    title = f"Difference of the {shown[0].lower()}{shown[1:]}"
    notes = [escaped(note) for note in [*notes, " · ".join(marks)] if note]
    figure = new_figure(traces, first, theme, title, notes, 400)
    bare = {"showgrid": False, "zeroline": False}
    figure.update_layout(
        xaxis=axis_of(first, x, cell_edges(one.xs)) | bare,
        yaxis=axis_of(first, y, cell_edges(one.ys), upright=True) | bare,
    )
    counts = [int(where.sum()) for where in fails]
    meta = dict(figure.layout.meta)
    meta["alt"] = (
        f"Difference of two landscapes: {titles[0]} minus {titles[1]}, over {x} and {y}, from "
        f"{decimal(float(difference.min()))} to {decimal(float(difference.max()))} {unit}. Of {difference.size} cells "
        f"{counts[0]} fail for the first only, {counts[1]} for the second only, {counts[2]} for both."
    )
    meta["caption"] = f"{titles[0]} minus {titles[1]} · {meta['caption']}"
    figure.update_layout(meta=meta)
    return figure


def _marks(name: str, symbol: str, xs: np.ndarray, ys: np.ndarray) -> Any:
    marker = {"symbol": symbol, "size": 7, "color": WHITE, "line": {"color": HALO, "width": 1}}
    return go.Scatter(x=xs, y=ys, mode="markers", marker=marker, name=name, hoverinfo="skip", cliponaxis=False)


def check_comparable(first: xr.Dataset, second: xr.Dataset) -> None:
    """Refuse two landscapes whose cells are not about the same picture, label and transforms.

    Raises
    ------
    InvalidInput: says which of them differ.
    """
    one, other = attributes_of(first), attributes_of(second)
    differing = [
        word
        for word, same in (("picture", one.image_hash == other.image_hash), ("label", one.label == other.label))
        if not same
    ]
    if any(not np.array_equal(first[dim], second[dim]) for dim in DIMS):
        differing.append("grid")
    if differing:
        labels = f" ({class_name(first, label_of(first))} and {class_name(second, label_of(second))})"
        raise InvalidInput(
            f"two landscapes are subtracted where picture, label and grid are the same; these differ in "
            f"{' and '.join(differing)}{labels if 'label' in differing else ''}"
        )
