"""What all figures share: theme, scales, and the words and numbers they show."""

from __future__ import annotations

import html
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.colors import get_colorscale, hex_to_rgb

from spatial_viz.errors import InvalidInput, did_you_mean
from spatial_viz.figures.captions import caption
from spatial_viz.landscape.dataset import (
    WorstCase,
    card_of,
    check_one_loss,
    class_name,
    label_of,
    loss_words,
    misclassified,
    transform_words,
    worst_case,
)

Theme = Literal["light", "dark"]

# Magma: sequential, legible to colour-blind people, the anchors of the explorer's maps. Written as rgb(…), because
# Streamlit puts the colours of its own theme wherever a figure says #000001 to #000040, and Magma begins at #000004.
LOSS_SCALE = [[at, f"rgb{hex_to_rgb(colour)}"] for at, colour in get_colorscale("Magma")]
SHARE_SCALE = [[1 - at, colour] for at, colour in reversed(LOSS_SCALE)]  # what is bad is bright here, too
MARGIN_SCALE = get_colorscale("RdBu")  # diverging: red is negative (misclassified), blue is positive
ACCENT = "#d1495b"  # of lines on the page's background; at least 3:1 against both
HALO, WHITE = "rgba(0,0,0,0.8)", "#ffffff"

PALETTE: dict[str, dict[str, str]] = {
    "light": {"text": "#262730", "muted": "#5d5f6b", "grid": "#dcdde1", "page": "#ffffff"},
    "dark": {"text": "#fafafa", "muted": "#a9aebb", "grid": "#383c46", "page": "#121316"},
}
ORDER = ("rotation", "dx", "dy")  # as a reader names them; DIMS is the order of the arrays
HOVER = "%{text}<extra></extra>"
_WORDS = {"rotation": "rotation left", "dx": "shift right dx", "dy": "shift down dy"}  # what is positive
_SIGNS = {"degree": "°", "pixel": "px"}
NOISE_UNIT = "1/255"
_WRAP = 44  # characters of 12 px that fit a telephone's width


def palette(theme: str) -> dict[str, str]:
    if theme not in PALETTE:
        raise InvalidInput(f"unknown theme {theme!r}{did_you_mean(str(theme), PALETTE)}")
    return PALETTE[theme]


def template(theme: Theme) -> go.layout.Template:
    """The look of all figures, in one place."""
    colours = palette(theme)
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
            # Plotly puts the first of several lines with its baseline, a single line with its top, at this distance.
            "title": {"x": 0, "xref": "container", "y": 1, "yref": "container", "yanchor": "top",
                      "pad": {"t": 26, "l": 8}, "font": {"size": 15}},
            "xaxis": axis,
            "yaxis": axis,
            "scene": {"xaxis": solid, "yaxis": solid, "zaxis": solid},
            "hoverlabel": {"bgcolor": colours["page"], "bordercolor": colours["muted"], "align": "left",
                           "font": {"color": colours["text"]}},
            "showlegend": False,
            "colorway": [ACCENT],
        }
    )  # fmt: skip


def new_figure(
    traces: Sequence[Any], landscape: xr.Dataset, theme: Theme, title: str, notes: Sequence[str], height: int
) -> go.Figure:
    """Traces with theme, title and subtitle.

    ``meta`` has the theme, what a screen reader says, and the caption that a saved picture of the figure gets.
    """
    lines = [line for note in notes for line in wrapped(note)]
    layout: dict[str, Any] = {
        "template": template(theme),
        "height": height + 17 * len(lines),
        "margin": {"l": 56, "r": 12, "t": 46 + 17 * len(lines), "b": 48},
        "meta": {"theme": theme, "alt": alt_text(landscape), "caption": caption(landscape)},
    }
    if title:
        # Plotly's own subtitle moves with the number of its lines.
        small = [f"<span style='font-size:12px;color:{palette(theme)['muted']}'>{line}</span>" for line in lines]
        layout["title"] = {"text": "<br>".join([title, *small])}
    return go.Figure(list(traces), layout)


def colour_bar(landscape: xr.Dataset, quantity: str, colours: Mapping[str, str]) -> dict[str, Any]:
    return {
        "title": {"text": axis_title(landscape, quantity), "side": "right", "font": {"size": 12}},
        "thickness": 12, "outlinewidth": 0, "xpad": 6, "tickfont": {"color": colours["muted"], "size": 11}, "nticks": 6,
    }  # fmt: skip


def loss_max(landscape: xr.Dataset, *others: xr.Dataset) -> float:
    """The upper end of the loss scale: the largest loss, but no less than that of guessing, ln(number of classes).

    Raises
    ------
    InvalidInput: a vote loss and the loss of a single model among the landscapes.
    """
    check_one_loss(landscape, *others)
    losses = (float(each["loss"].max()) for each in (landscape, *others))
    return max(math.log(int(card_of(landscape)["classes"])), *losses)


def scale_end(value_max: float | None, default: float) -> float:
    if value_max is None:
        return default
    if not (math.isfinite(value_max) and value_max > 0):
        raise InvalidInput(f"value_max must be a positive number; got {value_max!r}")
    return float(value_max)


def axis_of(landscape: xr.Dataset, dim: str, values: np.ndarray, upright: bool = False) -> dict[str, Any]:
    """Title, range and ticks of an axis over ascending ``values``, in the direction that it has in every figure
    (`falls`); where there are few computed values, the ticks are these."""
    computed = landscape[dim].values
    ticks = {"tickvals": computed, "ticktext": [short(value) for value in computed]} if len(computed) <= 7 else {}
    ends = [float(values[0]), float(values[-1])]
    if falls(dim, upright) and not is_noise(landscape):
        ends.reverse()
    return {"title": {"text": axis_title(landscape, dim)}, "range": ends, **ticks}


def falls(dim: str, upright: bool = False) -> bool:
    """Whether the values of a dimension fall to the right, or along an ``upright`` axis to the top.

    The same on every map, curve, surface and picture, and in the explorer (``range`` of heatmap.js). Positive rotation
    turns left, so it falls to the right, and left is left. Positive dy moves down, so it falls to the top; an upright
    dx does so, too, and all upright shifts agree.

    >>> falls("rotation"), falls("dx"), falls("dy", upright=True), falls("dx", upright=True)
    (True, False, True, True)
    """
    return (dim == "rotation") != upright


def axis_title(landscape: xr.Dataset, name: str) -> str:
    """Of a dimension or a variable, with its unit: ``"shift right dx (px)"``, ``"cross-entropy loss (nats)"``."""
    units = str(landscape[name].attrs.get("units", ""))
    words = str(landscape[name].attrs.get("long_name", _WORDS.get(name, name)))
    return f"{words} ({_SIGNS.get(units, units)})" if units else words


def alt_text(landscape: xr.Dataset) -> str:
    """One plain sentence for screen readers, not escaped: what was swept, how much fails, the worst case."""
    landscape = as_spatial(landscape)
    card, worst = card_of(landscape), marked_cell(landscape)
    of = "of class" if card.get("labelled", True) else "taken for"
    low, high = float(landscape["loss"].min()), float(landscape["loss"].max())
    noise = is_noise(landscape)
    what = "pictures with noise" if noise else "transforms"
    dims = [dim for dim in ORDER if dim != "rotation" or not noise]
    ranges = ", ".join(f"{axis_title(landscape, dim) if noise else dim} {_range(landscape, dim)}" for dim in dims)
    return (
        f"Loss landscape of the classifier {card.get('classifier', 'unnamed')} on a picture {of} "
        f"{class_name(landscape, label_of(landscape))}: over {landscape['loss'].size} {what} ({ranges}) "
        f"the {loss_words(landscape)} runs from {decimal(low)} to {decimal(high)} nats, "
        f"{failure_words(landscape)}, and the {mark_words(landscape, worst)}, "
        f"{place_words(landscape, worst)}, is predicted as {worst.name} "
        f"with {percent(worst.confidence)} confidence."
    )


def failure_words(landscape: xr.Dataset) -> str:
    wrong = misclassified(landscape).values
    verb = "fail" if has_label(landscape) else "change the prediction"
    what = "pictures" if is_noise(landscape) else "transforms"
    return f"{int(wrong.sum())} of {wrong.size} {what} {verb} ({percent(float(wrong.mean()))})"


def has_label(landscape: xr.Dataset) -> bool:
    return bool(card_of(landscape).get("labelled", True))


def verdict_words(labelled: bool, wrong: bool) -> str:
    if labelled:
        return "misclassified" if wrong else "correct"
    return "another prediction" if wrong else "same prediction"


def worst_case_words(worst: WorstCase) -> str:
    return "worst case" if worst.misclassified else "strongest transform"


def is_noise(landscape: xr.Dataset) -> bool:
    """Whether this is a plane of ℓ∞ noise (`spatial_viz.landscape.noise_plane`) and not of transforms."""
    return card_of(landscape).get("kind") == "noise"


def as_spatial(landscape: xr.Dataset) -> xr.Dataset:
    """A plane of noise under the names that figures know, adversarial as dx, random as dy; anything else as it is."""
    if not is_noise(landscape) or "adversarial" not in landscape.dims:
        return landscape
    renamed = landscape.rename(adversarial="dx", random="dy")
    cells = [name for name in renamed.data_vars if renamed[name].ndim]
    deep = renamed[cells].expand_dims(rotation=[0.0])
    deep["rotation"].attrs["units"] = "degree"
    return deep.assign({name: renamed[name] for name in renamed.data_vars if name not in cells}).assign_attrs(
        renamed.attrs
    )


def spatial_name(axis: str) -> str:
    """The name that `as_spatial` gives to an axis."""
    return {"adversarial": "dx", "random": "dy"}.get(axis, axis)


def marked_cell(landscape: xr.Dataset) -> WorstCase:
    """The cell that figures mark: the worst case; in a plane of noise the picture of the attack."""
    if not is_noise(landscape):
        return worst_case(landscape)
    landscape = as_spatial(landscape)
    return worst_case(landscape.isel(dx=[-1], dy=[landscape.sizes["dy"] // 2]))


def mark_words(landscape: xr.Dataset, marked: WorstCase) -> str:
    """What figures call that cell."""
    return "picture of the attack" if is_noise(landscape) else worst_case_words(marked)


def place_words(landscape: xr.Dataset, place: WorstCase) -> str:
    """Where a cell lies, as one says it."""
    if not is_noise(landscape):
        return transform_words(place.rotation, place.dx, place.dy)
    return ", ".join(
        f"{landscape[dim].attrs['long_name']} {amount(landscape, dim, getattr(place, dim))}" for dim in ("dx", "dy")
    )


def worst_case_hover(landscape: xr.Dataset, worst: WorstCase) -> str:
    said = f"{loss_words(landscape)} {decimal(worst.loss)} nats"
    if "share" in landscape:
        said = f"{percent(share_at(landscape, worst))} of the votes for the true class"
    return f"{place_words(landscape, worst)}<br>{said}<br><b>{escaped(worst.name)}</b>, {percent(worst.confidence)}"


def share_at(landscape: xr.Dataset, place: WorstCase) -> float:
    """The share of votes for the true class at a cell of a landscape that has it."""
    where = {"rotation": place.rotation, "dx": place.dx, "dy": place.dy}
    return float(landscape["share"].sel(where, method="nearest"))


def decimal(value: float, digits: int = 2) -> str:
    """With a real minus sign, and no minus before a zero."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "" if float(text) == 0 else "−")


def short(value: float) -> str:
    text = decimal(value)
    return text.rstrip("0").rstrip(".")


def amount(landscape: xr.Dataset, dim: str, value: float) -> str:
    units = str(landscape[dim].attrs.get("units", ""))
    if units == NOISE_UNIT:
        return f"{short(value)}/255"
    return f"{short(value)}{'' if units == 'degree' else ' '}{_SIGNS.get(units, units)}".strip()


def _range(landscape: xr.Dataset, dim: str) -> str:
    values = landscape[dim].values
    ends = [amount(landscape, dim, value) for value in (values[0], values[-1])]
    return ends[0] if len(values) == 1 else f"{ends[0]} to {ends[1]}"


def percent(share: float) -> str:
    """Never rounded to a clean 0 or 100; number and unit stay on one line."""
    text = "< 1" if 0 < share < 0.005 else "> 99" if 0.995 < share < 1 else str(round(100 * share))
    return f"{text} %".replace(" ", "\u00a0")


def escaped(text: str) -> str:
    """For Plotly, which reads tags in every text; it does not know ``&quot;``, so quotes stay."""
    return html.escape(text, quote=False)


def spread(last: int, most: int) -> list[int]:
    """At most ``most`` of the numbers 0 to ``last``, as evenly as can be, both ends among them.

    >>> spread(10, 4), spread(2, 4)
    ([0, 3, 7, 10], [0, 1, 2])
    """
    numbers: list[int] = np.unique(np.linspace(0, last, min(last + 1, most)).round().astype(int)).tolist()
    return numbers


def enlarged(figure: go.Figure, factor: float) -> go.Figure:
    """A copy of a figure with all its type, and the space that holds it, ``factor`` times as large; less so in three
    dimensions, where the type of the axes would soon lie on itself.
    """
    spec = figure.to_dict()
    for part in ("data", "layout", "frames"):
        if part in spec:
            spec[part] = _enlarged(spec[part], factor, "")
    return go.Figure(spec)


_LENGTHS = ("ax", "ay", "xshift", "yshift", "standoff", "thickness")  # in pixels, of annotations and colour bars


def _enlarged(value: Any, factor: float, name: str) -> Any:
    if name == "scene":
        factor = 1 + (factor - 1) / 3
    if isinstance(value, dict):
        inner = {key: _enlarged(each, factor, key) for key, each in value.items()}
        if name.endswith("font") and isinstance(value.get("size"), (int, float)):
            inner["size"] = value["size"] * factor
        for key, each in value.items():
            if (name in ("margin", "pad") or key in _LENGTHS) and isinstance(each, (int, float)):
                inner[key] = each * factor
        return inner
    if isinstance(value, (list, tuple)):
        return [_enlarged(each, factor, name) for each in value]
    if isinstance(value, str) and "font-size:" in value:
        return re.sub(r"font-size:\s*(\d+)px", lambda match: f"font-size:{round(int(match[1]) * factor)}px", value)
    return value


def wrapped(text: str, width: int = _WRAP) -> list[str]:
    """Wrapped to lines of about one length, so that no word is left over; Plotly does not wrap."""
    count = -(-len(text) // width)
    return textwrap.wrap(text, min(width, len(text) // max(count, 1) + 6))
