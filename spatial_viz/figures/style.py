"""What all figures share: theme, colours, scales and sizes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.colors import get_colorscale, hex_to_rgb, unlabel_rgb

from spatial_viz.errors import InvalidInput, did_you_mean
from spatial_viz.figures.captions import caption
from spatial_viz.figures.descriptions import alt_text, axis_title, falls
from spatial_viz.figures.text import short, wrapped
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.dataset import (
    check_one_loss,
)
from spatial_viz.landscape.noise_plane import is_noise

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
HOVER = "%{text}<extra></extra>"


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
    return max(math.log(attributes_of(landscape).classes), *losses)


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


def loss_colours(values: np.ndarray, top: float) -> np.ndarray:
    """Losses of any shape → uint8 RGB of that shape × 3: black at 0, brightest at ``top``, by `LOSS_SCALE`."""
    at = np.array([float(place) for place, _ in LOSS_SCALE])
    anchors = np.array([unlabel_rgb(colour) for _, colour in LOSS_SCALE], np.float64)
    share = np.clip(np.asarray(values, np.float64) / top, 0, 1)
    return np.stack([np.interp(share, at, anchors[:, c]).round() for c in range(3)], -1).astype(np.uint8)
