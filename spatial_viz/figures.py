"""Landscape → Plotly figures; axis titles and units come from the data's own attributes.

Marks, the same in every figure: a white diamond with a dark rim is the worst case (hollow where it lies off the slice
shown), a small cross the unmoved picture, the outlined and hatched cells are misclassified. White on a dark rim
shows on every colour of both scales, in both themes.
"""

from __future__ import annotations

import base64
import html
import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from PIL import Image
from plotly.io import to_html as plotly_html
from torch import Tensor

from spatial_viz.errors import InvalidInput, did_you_mean
from spatial_viz.geometry import warp
from spatial_viz.landscape import DIMS, WorstCase, card_of, class_name, label_of, misclassified, plane, worst_case

Theme = Literal["light", "dark"]
Quantity = Literal["loss", "margin"]

LOSS_SCALE = "Magma"  # sequential, legible to colour-blind people; the explorer's maps use the same anchors
MARGIN_SCALE = "RdBu"  # diverging: red is negative (misclassified), blue is positive
ACCENT = "#d1495b"  # of lines on the page's background; at least 3:1 against both
_HALO, _WHITE, _FAINT = "rgba(0,0,0,0.8)", "#ffffff", "rgba(255,255,255,0.4)"

_PALETTE: dict[str, dict[str, str]] = {
    "light": {"text": "#262730", "muted": "#5d5f6b", "grid": "rgba(38,39,48,0.15)", "page": "#ffffff"},
    "dark": {"text": "#fafafa", "muted": "#a9aebb", "grid": "rgba(250,250,250,0.18)", "page": "#0e1117"},
}
_ORDER = ("rotation", "dx", "dy")  # as a reader names them; DIMS is the order of the arrays
_WORDS = {"rotation": "rotation", "dx": "shift right dx", "dy": "shift down dy"}
_SIGNS = {"degree": "°", "pixel": "px"}
_BARE = {"showgrid": False, "zeroline": False}
_HOVER = "%{text}<extra></extra>"
_WRAP = 44  # characters of 12 px that fit a telephone's width


# --- Theme ---------------------------------------------------------------------------------------------------------


def template(theme: Theme) -> go.layout.Template:
    """The look of all figures, in one place."""
    colours = _palette(theme)
    axis = {
        "gridcolor": colours["grid"], "zerolinecolor": colours["grid"], "linecolor": colours["grid"],
        "tickcolor": colours["grid"], "ticks": "outside", "ticklen": 4, "tickfont": {"color": colours["muted"]},
        "title": {"standoff": 8}, "automargin": True,
    }  # fmt: skip
    solid = {"gridcolor": colours["grid"], "zerolinecolor": colours["grid"], "showbackground": False,
             "tickfont": {"color": colours["muted"], "size": 11}, "title": {"font": {"size": 12}}}  # fmt: skip
    return go.layout.Template(
        layout={
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "Source Sans, system-ui, sans-serif", "size": 13, "color": colours["text"]},
            "title": {"x": 0, "xref": "paper", "yref": "container", "y": 0.97, "yanchor": "top", "font": {"size": 15},
                      "subtitle": {"font": {"size": 12, "color": colours["muted"]}}},
            "xaxis": axis,
            "yaxis": axis,
            "scene": {"xaxis": solid, "yaxis": solid, "zaxis": solid},
            "hoverlabel": {"bgcolor": colours["page"], "bordercolor": colours["muted"], "align": "left",
                           "font": {"color": colours["text"]}},
            "showlegend": False,
            "colorway": [ACCENT],
        }
    )  # fmt: skip


def _palette(theme: str) -> dict[str, str]:
    if theme not in _PALETTE:
        raise InvalidInput(f"unknown theme {theme!r}{did_you_mean(str(theme), _PALETTE)}")
    return _PALETTE[theme]


def _figure(
    traces: Sequence[Any], landscape: xr.Dataset, theme: Theme, title: str, notes: Sequence[str], height: int
) -> go.Figure:
    """Traces with theme, title and subtitle. ``meta`` tells `to_html` the theme and what a screen reader says."""
    lines = [line for note in notes for line in textwrap.wrap(note, _WRAP)]
    layout: dict[str, Any] = {
        "template": template(theme),
        "height": height + 17 * len(lines),
        "margin": {"l": 56, "r": 12, "t": 40 + 17 * len(lines), "b": 48},
        "meta": {"theme": theme, "alt": alt_text(landscape)},
    }
    if title:
        layout["title"] = {"text": title, "subtitle": {"text": "<br>".join(lines)}}
    return go.Figure(list(traces), layout)


# --- Scales and words ----------------------------------------------------------------------------------------------


def loss_max(landscape: xr.Dataset, *others: xr.Dataset) -> float:
    """The upper end of the loss scale: the largest loss, but no less than that of guessing, ln(number of classes)."""
    losses = (float(each["loss"].max()) for each in (landscape, *others))
    return max(math.log(int(card_of(landscape)["classes"])), *losses)


def axis_title(landscape: xr.Dataset, name: str) -> str:
    """Of a dimension or a variable, with its unit: ``"shift right dx (px)"``, ``"loss (nats)"``."""
    units = str(landscape[name].attrs.get("units", ""))
    words = _WORDS.get(name, name)
    return f"{words} ({_SIGNS.get(units, units)})" if units else words


# explorer/payload.py has the same words; figures must not import from there.
def transform_words(rotation: float, dx: float, dy: float) -> str:
    """The transform as one says it.

    >>> transform_words(14, 3, -1.5)
    'turned 14° left, moved 3 px right and 1.5 px up'
    >>> transform_words(0, 0, 0)
    'not moved at all'
    """
    turn, right, down = round(float(rotation), 1), round(float(dx), 2), round(float(dy), 2)
    moves = []
    if right:
        moves.append(f"{abs(right):g} px {'right' if right > 0 else 'left'}")
    if down:
        moves.append(f"{abs(down):g} px {'down' if down > 0 else 'up'}")
    parts = []
    if turn:
        parts.append(f"turned {abs(turn):g}° {'left' if turn > 0 else 'right'}")
    if moves:
        parts.append("moved " + " and ".join(moves))
    return ", ".join(parts) or "not moved at all"


def alt_text(landscape: xr.Dataset) -> str:
    """One plain sentence for screen readers, not escaped: what was swept, how much fails, the worst case."""
    card, worst = card_of(landscape), worst_case(landscape)
    of = "of class" if card.get("labelled", True) else "taken for"
    low, high = float(landscape["loss"].min()), float(landscape["loss"].max())
    ranges = ", ".join(f"{dim} {_range(landscape, dim)}" for dim in _ORDER)
    kind = "worst case" if worst.misclassified else "strongest transform"
    return (
        f"Loss landscape of the classifier {card.get('classifier', 'unnamed')} on a picture {of} "
        f"{class_name(landscape, label_of(landscape))}: over {landscape['loss'].size} transforms ({ranges}) "
        f"the loss runs from {_number(low)} to {_number(high)} nats, {_failures(landscape)}, and the {kind}, "
        f"{transform_words(worst.rotation, worst.dx, worst.dy)}, is predicted as {worst.name} "
        f"with {_percent(worst.confidence)} confidence."
    )


def _failures(landscape: xr.Dataset) -> str:
    wrong = misclassified(landscape).values
    verb = "fail" if _labelled(landscape) else "change the prediction"
    return f"{int(wrong.sum())} of {wrong.size} transforms {verb} ({_percent(float(wrong.mean()))})"


def _labelled(landscape: xr.Dataset) -> bool:
    return bool(card_of(landscape).get("labelled", True))


def _verdict(labelled: bool, wrong: bool) -> str:
    if labelled:
        return "misclassified" if wrong else "correct"
    return "another prediction" if wrong else "same prediction"


def _worst_words(worst: WorstCase) -> str:
    return "worst case" if worst.misclassified else "strongest transform"


def _number(value: float, digits: int = 2) -> str:
    """With a real minus sign, and no minus before a zero."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "" if float(text) == 0 else "−")


def _short(value: float) -> str:
    text = _number(value)
    return text.rstrip("0").rstrip(".")


def _amount(landscape: xr.Dataset, dim: str, value: float) -> str:
    units = str(landscape[dim].attrs.get("units", ""))
    return f"{_short(value)}{'' if units == 'degree' else ' '}{_SIGNS.get(units, units)}".strip()


def _range(landscape: xr.Dataset, dim: str) -> str:
    values = landscape[dim].values
    ends = [_amount(landscape, dim, value) for value in (values[0], values[-1])]
    return ends[0] if len(values) == 1 else f"{ends[0]} to {ends[1]}"


def _percent(share: float) -> str:
    """Never rounded to a clean 0 or 100; number and unit stay on one line."""
    text = "< 1" if 0 < share < 0.005 else "> 99" if 0.995 < share < 1 else str(round(100 * share))
    return f"{text} %".replace(" ", "\u00a0")


def _safe(text: str) -> str:
    """For Plotly, which reads tags in every text; it does not know ``&quot;``, so quotes stay."""
    return html.escape(text, quote=False)


def _hover(
    landscape: xr.Dataset, place: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray], wrong: np.ndarray
) -> np.ndarray:
    """The text of every cell; all arrays broadcast to one shape."""
    names = {str(index): _safe(name) for index, name in card_of(landscape)["names"].items()}
    labelled = _labelled(landscape)

    def text(*cell: Any) -> str:
        loss, margin, p, predicted, w = cell[3:]
        at = (_amount(landscape, dim, v) for dim, v in zip(_ORDER, cell, strict=False))
        return (
            "rotation {}<br>dx {}, dy {}<br>".format(*at)
            + f"loss {_number(loss)} nats, margin {_number(margin)}<br>"
            + f"<b>{names[str(int(predicted))]}</b>, {_percent(p)}<br>{_verdict(labelled, bool(w))}"
        )

    every = [place[dim] for dim in _ORDER]
    every += [values[n] for n in ("loss", "margin", "confidence", "predicted")]
    texts: np.ndarray = np.vectorize(text, otypes=[object])(*np.broadcast_arrays(*every, wrong))
    return texts


# --- Slices --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Slice:
    """A plane of a landscape: arrays are y × x. ``value`` is where the third axis is held; None: maximised over."""

    xs: np.ndarray
    ys: np.ndarray
    loss: np.ndarray
    margin: np.ndarray
    wrong: np.ndarray
    hover: np.ndarray
    fixed: str
    value: float | None

    def holds(self, **pose: float) -> bool:
        """Whether a transform lies in this plane."""
        return self.value is None or abs(pose[self.fixed] - self.value) < 1e-6


def _check(landscape: xr.Dataset) -> None:
    if set(landscape["loss"].dims) != set(DIMS):
        raise InvalidInput(
            f"a figure shows the landscape of one picture, with dimensions {', '.join(DIMS)}; "
            f"got {', '.join(map(str, landscape['loss'].dims))}. Choose one with landscape.isel(image=…)"
        )


def _check_axis(axis: str) -> None:
    if axis not in DIMS:
        raise InvalidInput(f"unknown axis {axis!r}{did_you_mean(str(axis), DIMS)}")


def _slice(
    landscape: xr.Dataset, x: str, y: str, at: float | str | None, quantity: str, refined: xr.Dataset | None
) -> _Slice:
    """The plane to draw: of ``refined`` where there is one, else of the landscape."""
    _check(landscape)
    for axis in (x, y):
        _check_axis(axis)
    if x == y:
        raise InvalidInput(f"the two axes must differ; got {x!r} twice. Available: {', '.join(DIMS)}")
    fixed = next(dim for dim in DIMS if dim not in (x, y))
    if isinstance(at, str) and at != "max":
        raise InvalidInput(f"at must be a value of {fixed}, 'max' or None; got {at!r}")
    if at is None:
        at = float(getattr(worst_case(landscape), fixed))
    elif at != "max" and not math.isfinite(float(at)):
        raise InvalidInput(f"at must be a finite value of {fixed}; got {at!r}")
    if refined is not None:
        _check(refined)
        if refined.sizes[fixed] != 1:
            raise InvalidInput(
                f"a refined plane over {x} and {y} has a single value of {fixed}; got {refined.sizes[fixed]}"
            )
        if at == "max":
            raise InvalidInput(f"a refined plane holds one value of {fixed}; at='max' needs the landscape alone")
        at = float(refined[fixed].values[0])
    source = landscape if refined is None else refined
    cut = plane(source, fixed, None if at == "max" else float(at)).transpose(y, x)
    value = None if at == "max" else float(cut[fixed])

    names = ("loss", "margin", "confidence", "predicted")
    values = {name: source[name].transpose(y, x, fixed).values for name in names}
    if value is not None:
        pick = np.full(cut["loss"].shape, int(np.argmin(abs(source[fixed].values - value))))
    else:
        pick = values["margin"].argmin(-1) if quantity == "margin" else values["loss"].argmax(-1)
    values = {name: np.take_along_axis(array, pick[..., None], -1)[..., 0] for name, array in values.items()}
    xs, ys = source[x].values, source[y].values
    place = {x: xs[None, :], y: ys[:, None], fixed: source[fixed].values[pick]}
    here = values["predicted"] != label_of(source)
    hover = _hover(source, place, values, here)
    wrong = cut["misclassified"].values
    # The highest loss along an axis may belong to a correct cell although another one there is not.
    elsewhere = wrong & ~here
    hover[elsewhere] += f"; not so at another {fixed}"
    return _Slice(xs, ys, cut["loss"].values, cut["margin"].values, wrong, hover, fixed, value)


def _title(landscape: xr.Dataset, cut: _Slice, quantity: str) -> str:
    if cut.value is None:
        extreme = "Lowest" if quantity == "margin" else "Highest"
        return f"{extreme} {quantity} over all values of {cut.fixed}"
    return f"{quantity.capitalize()} at {cut.fixed} {_amount(landscape, cut.fixed, cut.value)}"


def _region_note(landscape: xr.Dataset, wrong: np.ndarray, mark: str) -> str:
    labelled = _labelled(landscape)
    if wrong.any():
        return f"{mark}: {_verdict(labelled, True)}"
    return "nothing misclassified here" if labelled else "the same prediction everywhere here"


def _beyond(landscape: xr.Dataset, refined: xr.Dataset | None) -> WorstCase | None:
    """A cell of the display grid that is worse than the worst case of the landscape."""
    if refined is None:
        return None
    found, worst = worst_case(refined), worst_case(landscape)
    # Two sweeps of one cell may differ in the last digits.
    higher = found.misclassified == worst.misclassified and found.loss > worst.loss + 1e-3
    return found if found.misclassified > worst.misclassified or higher else None


def _value_max(value_max: float | None, default: float) -> float:
    if value_max is None:
        return default
    if not (math.isfinite(value_max) and value_max > 0):
        raise InvalidInput(f"value_max must be a positive number; got {value_max!r}")
    return float(value_max)


# --- Heat map ------------------------------------------------------------------------------------------------------


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
    """Loss or margin over two axes; every computed cell is one block of colour. The dy axis points down.

    Parameters
    ----------
    at: the third axis is held at the grid value nearest to it, or maximised over with ``"max"``
        (the margin: minimised); by default it passes through the worst case.
    value_max: end of the colour scale, 0 to ``value_max`` for the loss, ± for the margin; by default `loss_max`,
        or the largest absolute margin.
    refined: a denser plane, drawn instead; a landscape whose third axis has one value, which then counts
        instead of ``at``. Dots mark the cells of ``landscape``.

    Raises
    ------
    InvalidInput: unknown or equal axes, an unknown quantity or theme, a refined plane that is none.
    """
    if quantity not in get_args(Quantity):
        raise InvalidInput(f"unknown quantity {quantity!r}{did_you_mean(str(quantity), get_args(Quantity))}")
    colours = _palette(theme)
    cut = _slice(landscape, x, y, at, quantity, refined)
    shown = [landscape] if refined is None else [landscape, refined]
    if quantity == "loss":
        top = _value_max(value_max, loss_max(*shown))
        low, scale, z = 0.0, LOSS_SCALE, cut.loss
    else:
        top = _value_max(value_max, max(float(abs(each["margin"]).max()) for each in shown) or 1.0)
        low, scale, z = -top, MARGIN_SCALE, cut.margin
    edges_x, edges_y = _edges(cut.xs), _edges(cut.ys)
    traces: list[Any] = [
        go.Heatmap(
            x=cut.xs, y=cut.ys, z=z, zmin=low, zmax=top, colorscale=scale, text=cut.hover, name=quantity,
            hovertemplate=_HOVER, colorbar=_colourbar(landscape, quantity, colours),
        )
    ]  # fmt: skip
    traces += _haloed("hatch", _hatch(cut.wrong, edges_x, edges_y), 1, _FAINT, "rgba(0,0,0,0.25)")
    traces += _haloed("misclassified", _outline(cut.wrong, edges_x, edges_y), 2)
    if refined is not None and np.isclose(landscape[cut.fixed].values, cut.value).any():
        columns, rows = np.meshgrid(landscape[x].values, landscape[y].values)
        traces += [_marks("grid", columns.ravel(), rows.ravel(), "square", 4)]
    identity = cut.holds(rotation=0.0, dx=0.0, dy=0.0)
    natural = f"the picture as it is<br>loss {_number(float(landscape['natural_loss']))} nats"
    traces += _open_mark("identity", 0.0, 0.0, "cross-thin-open", 9, natural if identity else f"{x} 0, {y} 0", identity)

    worst = worst_case(landscape)
    there = (getattr(worst, x), getattr(worst, y))
    inside = cut.holds(rotation=worst.rotation, dx=worst.dx, dy=worst.dy)
    words = _worst_words(worst)
    if inside:
        traces.append(_marks("worst case", [there[0]], [there[1]], "diamond", 13, _worst_hover(worst)))
    else:
        traces += _open_mark("worst case", *there, "diamond-open", 12, _worst_hover(worst), True)
        words += f"<br>(at {cut.fixed} {_amount(landscape, cut.fixed, getattr(worst, cut.fixed))})"
    notes = [
        _region_note(landscape, cut.wrong, "outlined") + f" · + {'unmoved picture' if identity else f'{x} 0, {y} 0'}"
    ]
    beyond = _beyond(landscape, refined)
    if beyond is not None:
        traces.append(
            _marks("worse between", [getattr(beyond, x)], [getattr(beyond, y)], "square", 9, _worst_hover(beyond))
        )
        notes.append(f"□ worse between the grid points: loss {_number(beyond.loss)}")

    figure = _figure(traces, landscape, theme, _title(landscape, cut, quantity), notes, 400)
    down = y == "dy"
    figure.update_xaxes(title_text=axis_title(landscape, x), range=[edges_x[0], edges_x[-1]])
    figure.update_yaxes(title_text=axis_title(landscape, y), range=edges_y[[-1, 0] if down else [0, -1]])
    figure.update_layout(xaxis=_BARE, yaxis=_BARE)
    # Towards the middle, so that no edge cuts the words off.
    right = (there[0] - edges_x[0]) / (edges_x[-1] - edges_x[0]) < 0.5
    high = ((there[1] - edges_y[0]) / (edges_y[-1] - edges_y[0]) > 0.5) != down
    figure.add_annotation(
        x=there[0], y=there[1], text=words, ax=26 if right else -26, ay=34 if high else -34, standoff=8,
        xanchor="left" if right else "right", arrowcolor=_WHITE, arrowwidth=1.5, arrowhead=0,
        font={"color": _WHITE, "size": 12}, bgcolor="rgba(0,0,0,0.72)", borderpad=3,
    )  # fmt: skip
    return figure


def _edges(values: np.ndarray) -> np.ndarray:
    """The borders of cells centred at ascending ``values``: half-way between them; a single one is 1 wide."""
    values = np.asarray(values, np.float64)
    if len(values) == 1:
        return np.array([values[0] - 0.5, values[0] + 0.5])
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


Line = tuple[list[float | None], list[float | None]]


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


def _haloed(name: str, line: Line, width: float, colour: str = _WHITE, halo: str = _HALO) -> list[Any]:
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
    line = {"color": _HALO, "width": 2 if size > 5 else 1}
    marker = {"symbol": symbol, "size": size, "color": _WHITE, "line": line}
    said = {"hoverinfo": "skip"} if hover is None else {"text": [hover], "hovertemplate": _HOVER}
    return go.Scatter(x=xs, y=ys, mode="markers", marker=marker, name=name, cliponaxis=False, **said)


def _open_mark(name: str, x: float, y: float, symbol: str, size: int, hover: str, strong: bool) -> list[Any]:
    """Only the line of a symbol, with a halo."""
    common = {"x": [x], "y": [y], "mode": "markers", "cliponaxis": False, "opacity": 1 if strong else 0.6}
    line = {"symbol": symbol, "size": size}
    return [
        go.Scatter(marker=line | {"line": {"width": 5, "color": _HALO}}, name=f"{name} halo", **common, hoverinfo="skip"),
        go.Scatter(
            marker=line | {"line": {"width": 2, "color": _WHITE}}, name=name, **common, text=[hover], hovertemplate=_HOVER
        ),
    ]  # fmt: skip


def _worst_hover(worst: WorstCase) -> str:
    return (
        f"{transform_words(worst.rotation, worst.dx, worst.dy)}<br>"
        f"loss {_number(worst.loss)} nats<br><b>{_safe(worst.name)}</b>, {_percent(worst.confidence)}"
    )


def _colourbar(landscape: xr.Dataset, quantity: str, colours: Mapping[str, str]) -> dict[str, Any]:
    return {
        "title": {"text": axis_title(landscape, quantity), "side": "right", "font": {"size": 12}},
        "thickness": 12, "outlinewidth": 0, "xpad": 6, "tickfont": {"color": colours["muted"], "size": 11}, "nticks": 6,
    }  # fmt: skip


# --- Surface -------------------------------------------------------------------------------------------------------


def surface(
    landscape: xr.Dataset,
    x: str = "rotation",
    y: str = "dx",
    *,
    at: float | Literal["max"] | None = None,
    theme: Theme = "light",
    value_max: float | None = None,
    refined: xr.Dataset | None = None,
) -> go.Figure:
    """The loss over two axes as a surface, in the colours of `heatmap`; arguments as there.

    Thin lines run through the computed values of ``landscape``; between them the surface is interpolated.

    Raises
    ------
    InvalidInput: as `heatmap`, and axes with a single value, over which there is no surface.
    """
    colours = _palette(theme)
    cut = _slice(landscape, x, y, at, "loss", refined)
    for axis, values in ((x, cut.xs), (y, cut.ys)):
        if len(values) < 2:
            rest = [dim for dim in DIMS if landscape.sizes[dim] > 1]
            raise InvalidInput(
                f"{axis} has a single value in this landscape, and a surface needs two axes with several; choose "
                f"another axis ({', '.join(rest) or 'there is none'}) or sweep with a higher granularity"
            )
    top = _value_max(value_max, loss_max(landscape) if refined is None else loss_max(landscape, refined))
    traces: list[Any] = [
        go.Surface(
            x=cut.xs, y=cut.ys, z=cut.loss, cmin=0, cmax=top, colorscale=LOSS_SCALE, text=cut.hover, name="loss",
            hovertemplate=_HOVER, colorbar=_colourbar(landscape, "loss", colours) | {"len": 0.8},
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
            go.Scatter3d(**over, line={"color": _WHITE, "width": 4}, name="misclassified", **common),
        ]

    worst = worst_case(landscape)
    inside = cut.holds(rotation=worst.rotation, dx=worst.dx, dy=worst.dy)
    spot = (getattr(worst, x), getattr(worst, y), worst.loss)
    words = _worst_words(worst)
    if not inside:
        words += f" (at {cut.fixed} {_amount(landscape, cut.fixed, getattr(worst, cut.fixed))})"
    notes = [_region_note(landscape, cut.wrong, "outlined")]
    traces += [
        go.Scatter3d(
            x=[spot[0]] * 2, y=[spot[1]] * 2, z=[0, spot[2]], mode="lines", hoverinfo="skip", name="drop line",
            line={"color": colours["text"], "width": 2, "dash": "dot"},
        ),
        _mark_3d("worst case", spot, "diamond" if inside else "diamond-open", 6, _worst_hover(worst)),
    ]  # fmt: skip
    beyond = _beyond(landscape, refined)
    if beyond is not None:
        place = (getattr(beyond, x), getattr(beyond, y), beyond.loss)
        traces.append(_mark_3d("worse between", place, "square", 4, _worst_hover(beyond)))
        notes.append(f"□ worse between the grid points: loss {_number(beyond.loss)}")

    figure = _figure(traces, landscape, theme, _title(landscape, cut, "loss"), notes, 440)
    label = {
        "x": spot[0], "y": spot[1], "z": spot[2], "text": words, "ax": 0, "ay": -30, "arrowhead": 0, "arrowwidth": 1.5,
        "arrowcolor": colours["text"], "standoff": 6, "font": {"color": _WHITE, "size": 12},
        "bgcolor": "rgba(0,0,0,0.72)", "borderpad": 3,
    }  # fmt: skip
    along = [cut.ys[-1], cut.ys[0]] if y == "dy" else [cut.ys[0], cut.ys[-1]]  # dy comes towards the reader
    figure.update_layout(
        margin={"l": 0, "r": 0, "b": 0},
        uirevision="landscape",  # constant: the reader's camera survives a new landscape
        scene={
            "xaxis": {"title": {"text": axis_title(landscape, x)}},
            "yaxis": {"title": {"text": axis_title(landscape, y)}, "range": along},
            "zaxis": {"title": {"text": axis_title(landscape, "loss")}, "range": [0, 1.04 * max(top, worst.loss)]},
            "aspectmode": "manual",
            "aspectratio": {"x": 1.3, "y": 1.0, "z": 0.7},
            "camera": {"eye": {"x": 0.9, "y": -1.75, "z": 1.0}, "center": {"x": 0, "y": 0, "z": -0.12}},
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
        "color": "rgba(160,160,160,0.6)", "highlight": False,
    }  # fmt: skip


def _mark_3d(name: str, spot: tuple[float, float, float], symbol: str, size: int, hover: str) -> Any:
    return go.Scatter3d(
        x=[spot[0]], y=[spot[1]], z=[spot[2]], mode="markers", name=name, text=[hover],
        marker={"symbol": symbol, "size": size, "color": _WHITE, "line": {"color": "#000000", "width": 2}},
        hovertemplate=_HOVER,
    )  # fmt: skip


def _zero_line(cut: _Slice, lift: float) -> tuple[list[float | None], list[float | None], list[float | None]]:
    """Where the margin changes sign, as segments that lie ``lift`` above the bilinear loss surface.

    Marching squares on a finer mesh, because a straight segment across a coarse cell would sink into the surface.
    """
    # The predicted class decides; a margin of exactly 0 may be either.
    signed = np.where(cut.wrong, np.minimum(cut.margin, -1e-9), np.maximum(cut.margin, 1e-9)).astype(np.float64)
    factors = [max(1, min(8, 120 // size)) for size in signed.shape]
    margin, loss = _denser(signed, factors), _denser(cut.loss.astype(np.float64), factors)
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
                z = loss[a] + t * (loss[b] - loss[a]) + lift
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


# --- Worst case and curve ------------------------------------------------------------------------------------------


def worst_case_figure(image: Tensor, landscape: xr.Dataset, *, theme: Theme = "light") -> go.Figure:
    """The picture as it is beside the worst case, with both predictions; below, the transform in words.

    Parameters
    ----------
    image: the C×H×W picture in [0, 1] that was swept, with 1 or 3 channels.

    Raises
    ------
    InvalidInput: another shape than the landscape's classifier takes, an unknown theme.
    """
    _check(landscape)
    colours, card, worst = _palette(theme), card_of(landscape), worst_case(landscape)
    height, width = map(int, card["input_size"])
    if image.ndim != 3 or image.shape[0] not in (1, 3) or tuple(image.shape[1:]) != (height, width):
        raise InvalidInput(
            f"expected the picture that was swept, 1×{height}×{width} or 3×{height}×{width}; got {tuple(image.shape)}"
        )
    pixels = image.detach().to("cpu", torch.float32)
    warped = warp(pixels[None], torch.tensor([[worst.rotation, worst.dx, worst.dy]]), card.get("padding", "black"))[0]
    labelled = bool(card.get("labelled", True))
    natural = int(landscape["natural_predicted"])
    confidence = float(landscape["natural_confidence"])
    heading = (
        "Worst case" if worst.misclassified else f"Strongest transform (still {'correct' if labelled else 'the same'})"
    )
    sides = [
        ("Original", class_name(landscape, natural), confidence, natural != label_of(landscape)),
        (heading, worst.name, worst.confidence, worst.misclassified),
    ]
    titles = []
    for head, name, confidence, wrong in sides:
        lines = [f"<b>{line}</b>" for line in textwrap.wrap(head, 21)]
        lines += [_safe(line) for line in textwrap.wrap(f"{name}, {_percent(confidence)}", 21)]
        verdict = f"{'✕' if wrong else '✓'} {_verdict(labelled, wrong)}"
        titles.append([*lines, f"<span style='color:{colours['muted']}'>{verdict}</span>"] if labelled else lines)
    shape = " × ".join(str(landscape.sizes[dim]) for dim in _ORDER)
    below = [
        transform_words(worst.rotation, worst.dx, worst.dy).capitalize(),
        f"Loss {_number(worst.loss)} nats; as it is {_number(float(landscape['natural_loss']))}",
        _failures(landscape),
    ]
    text = [_safe(line) for entry in below for line in textwrap.wrap(entry, _WRAP)]
    text.append(f"<span style='font-size:11px;color:{colours['muted']}'>grid of {shape} (rotation, dx, dy)</span>")

    figure = _figure([], landscape, theme, "", [], 300)
    rows = max(map(len, titles))
    top, bottom = 14 + 18 * rows, 20 + 19 * len(text)
    figure.update_layout(height=top + bottom + 220, margin={"l": 8, "r": 8, "t": top, "b": bottom})
    for number, picture in enumerate((pixels, warped), start=1):
        suffix = "" if number == 1 else str(number)
        start, end = (0.0, 0.485) if number == 1 else (0.515, 1.0)
        hidden = {"visible": False, "constrain": "domain"}
        figure.add_trace(
            go.Image(
                source=_png(picture), xaxis=f"x{suffix}", yaxis=f"y{suffix}", name=sides[number - 1][0],
                hoverinfo="skip", zsmooth=False,
            )
        )  # fmt: skip
        figure.update_layout(
            {
                f"xaxis{suffix}": hidden
                | {"domain": [start, end], "anchor": f"y{suffix}", "range": [-0.5, width - 0.5]},
                f"yaxis{suffix}": hidden
                | {"anchor": f"x{suffix}", "range": [height - 0.5, -0.5], "scaleanchor": f"x{suffix}",
                   "constraintoward": "top"},
            }
        )  # fmt: skip
        # A frame, because black corners vanish on a dark page.
        figure.add_shape(
            type="rect", x0=-0.5, x1=width - 0.5, y0=-0.5, y1=height - 0.5, xref=f"x{suffix}", yref=f"y{suffix}",
            line={"color": colours["muted"], "width": 1},
        )  # fmt: skip
        figure.add_annotation(
            text="<br>".join(titles[number - 1]), x=(start + end) / 2, y=1, yanchor="bottom",
            xref="paper", yref="paper", showarrow=False, font={"size": 13},
        )  # fmt: skip
    figure.add_annotation(
        text="<br>".join(text), x=0.5, y=0, xref="paper", yref="paper", yanchor="top", yshift=-8, showarrow=False,
        font={"size": 13},
    )  # fmt: skip
    return figure


def _png(picture: Tensor) -> str:
    """A C×H×W picture in [0, 1] as a data URI: a tenth of the size of a list of pixels."""
    array = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).convert("RGB").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def loss_curve(
    landscape: xr.Dataset, axis: str = "rotation", *, at: Mapping[str, float] | None = None, theme: Theme = "light"
) -> go.Figure:
    """The loss along one axis. The others are held at the grid values nearest to ``at``, by default at the worst case.

    Raises
    ------
    InvalidInput: an unknown axis or theme; ``at`` names another axis than the remaining two.
    """
    _check(landscape)
    _check_axis(axis)
    colours, worst = _palette(theme), worst_case(landscape)
    rest = [dim for dim in _ORDER if dim != axis]
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
    hover = _hover(landscape, place, {name: line[name].values for name in names}, wrong)
    top = loss_max(landscape)
    inside = all(abs(getattr(worst, dim) - value) < 1e-6 for dim, value in held.items())
    traces: list[Any] = [
        go.Scatter(
            x=values, y=line["loss"].values, mode="lines+markers", name="loss", text=hover,
            hovertemplate=_HOVER, line={"color": ACCENT, "width": 2},
            marker={"size": 7, "line": {"color": ACCENT, "width": 1.5},
                    "color": [ACCENT if w else colours["page"] for w in wrong]},
        )
    ]  # fmt: skip
    if inside:
        traces.append(_marks("worst case", [getattr(worst, axis)], [worst.loss], "diamond", 13, _worst_hover(worst)))
    where = ", ".join(f"{dim} {_amount(landscape, dim, value)}" for dim, value in held.items())
    notes = [_region_note(landscape, wrong, "shaded, filled dots")]
    figure = _figure(traces, landscape, theme, f"Loss along {axis} at {where}", notes, 320)
    edges = _edges(values)
    for first, last in _runs(wrong):
        figure.add_shape(
            type="rect", x0=edges[first], x1=edges[last], y0=0, y1=1, yref="paper", layer="below",
            fillcolor=colours["grid"], line={"width": 0},
        )  # fmt: skip
    classes = int(card_of(landscape)["classes"])
    figure.add_hline(
        y=math.log(classes), line={"color": colours["muted"], "width": 1, "dash": "dash"}, layer="below",
        annotation={"text": f"guessing among {classes} classes", "font": {"size": 11, "color": colours["muted"]},
                    "xanchor": "left", "x": 0, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
    )  # fmt: skip
    if inside:
        right = (getattr(worst, axis) - edges[0]) / (edges[-1] - edges[0]) < 0.5
        figure.add_annotation(
            x=getattr(worst, axis), y=worst.loss, text=_worst_words(worst), showarrow=False, yshift=0,
            xshift=12 if right else -12, xanchor="left" if right else "right", bgcolor=colours["page"], opacity=0.85,
        )  # fmt: skip
    figure.update_xaxes(title_text=axis_title(landscape, axis), range=[edges[0], edges[-1]])
    figure.update_yaxes(title_text=axis_title(landscape, "loss"), range=[0, 1.06 * top])
    return figure


# --- Pages ---------------------------------------------------------------------------------------------------------


def to_html(figure: go.Figure, title: str) -> str:
    """A page that opens without a network: plotly.js is part of it. ``title`` is plain text."""
    meta = figure.layout.meta or {}
    theme: Theme = "dark" if meta.get("theme") == "dark" else "light"
    colours = _palette(theme)
    chart = plotly_html(
        figure, full_html=False, include_plotlyjs=True, include_mathjax=False, div_id="figure",
        config={"displaylogo": False, "responsive": True},
    )  # fmt: skip
    safe = html.escape(title)
    alt = html.escape(str(meta.get("alt", title)))
    return (
        "<!doctype html>\n"
        f'<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{safe}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>:root {{ color-scheme: {theme}; }} body {{ margin: 0; background: {colours['page']}; "
        f"color: {colours['text']}; font-family: system-ui, sans-serif; }} "
        "main { max-width: 960px; margin: 0 auto; padding: 12px; } h1 { font-size: 20px; margin: 0 0 8px; } "
        "figure { margin: 0; }</style>\n</head>\n"
        f'<body>\n<main>\n<h1>{safe}</h1>\n<figure aria-label="{alt}">{chart}</figure>\n</main>\n</body>\n</html>\n'
    )
