"""What lies behind one accuracy, drawn: how much of the grid fails, where it fails, and what is seen instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from spatial_viz.evaluation.summary import Summary
from spatial_viz.figures.captions import run_caption
from spatial_viz.figures.descriptions import falls
from spatial_viz.figures.style import ACCENT, HOVER, Theme, palette, template
from spatial_viz.figures.text import escaped, percent, short, wrapped

SHARE_SCALE = "Cividis"  # of shares, everywhere from 0 to 1; losses have Magma
BINS = 20  # of the histogram, beside the bar of the pictures that nothing breaks
MOST_CLASSES = 12  # that a confusion matrix shows; more become a list of the most frequent pairs
PAIRS = 15
TITLES = {"rotation": "rotation left (°)", "dx": "shift right dx (px)", "dy": "shift down dy (px)"}
_AXIS = {"rotation": 0, "dy": 1, "dx": 2}  # of the failing map


def share_counts(shares: np.ndarray) -> tuple[np.ndarray, int]:
    """How many shares lie in each of `BINS` equal bins above 0, the upper end within, and how many are 0."""
    places = np.ceil(shares * BINS - 1e-9).astype(int)
    counts = np.bincount(places, minlength=BINS + 1)
    return counts[1:], int(counts[0])


def share_histogram(summary: Summary, theme: Theme = "light") -> go.Figure:
    """How many pictures fail on how large a share of the grid; those that fail nowhere are a bar of their own."""
    shares = summary.failing()
    counts, none = share_counts(shares)
    width = 1 / BINS
    middles = (np.arange(BINS) + 0.5) * width
    hover = [f"{low:.0%} to {low + width:.0%} of the grid<br>{_pictures(count)}"
            for low, count in zip(np.arange(BINS) * width, counts, strict=True)]  # fmt: skip
    traces = [
        go.Bar(x=[-1.5 * width], y=[none], width=width, text=[f"nothing fails<br>{_pictures(none)}"],
               hovertemplate=HOVER, textposition="none", marker={"color": palette(theme)["muted"]}, name="none"),
        go.Bar(x=middles, y=counts, width=0.92 * width, text=hover, hovertemplate=HOVER, textposition="none",
               marker={"color": ACCENT}, name="share"),
    ]  # fmt: skip
    middle = percent(float(np.median(shares))) if len(shares) else "–"
    note = f"nothing fails: {_pictures(none)} of {len(shares):,}; the median picture fails on {middle} of the grid"
    figure = _figure(summary, traces, theme, "Share of the grid that fails", note, 300)
    figure.update_layout(
        bargap=0,
        xaxis={"tickangle": 0, "tickvals": [-1.5 * width, 0.25, 0.5, 0.75, 1],
               "ticktext": ["none", "25 %", "50 %", "75 %", "100 %"], "range": [-2.4 * width, 1 + 0.4 * width],
               "title": {"text": "share of the grid that is misclassified"}},
        yaxis={"title": {"text": "pictures"}, "rangemode": "tozero"},
    )  # fmt: skip
    return figure


def failing_heatmap(summary: Summary, x: str, y: str, theme: Theme = "light") -> go.Figure:
    """The share of the pictures that transforms break, over two axes, averaged over the third."""
    (third,) = set(_AXIS) - {x, y}
    mean = summary.failing_map().mean(_AXIS[third])
    rows, columns = [name for name in _AXIS if name != third]
    shares = mean if (rows, columns) == (y, x) else mean.T
    xs, ys = (np.array(summary.grid.values(axis)) for axis in (x, y))
    hover = [[f"{x} {short(a)}, {y} {short(b)}<br>breaks {percent(float(shares[i, j]))} of the pictures"
              for j, a in enumerate(xs)] for i, b in enumerate(ys)]  # fmt: skip
    trace = go.Heatmap(
        x=xs, y=ys, z=shares, zmin=0, zmax=1, colorscale=SHARE_SCALE, text=hover, hovertemplate=HOVER, name="share",
        colorbar={"title": {"text": "share broken", "side": "right", "font": {"size": 12}}, "thickness": 12,
                  "outlinewidth": 0, "xpad": 6, "tickformat": ".0%", "nticks": 6,
                  "tickfont": {"color": palette(theme)["muted"], "size": 11}},
    )  # fmt: skip
    values = summary.grid.values(third)
    over = f"averaged over {len(values)} values of {third}" if len(values) > 1 else f"at {third} {short(values[0])}"
    note = f"{over}; from {percent(float(shares.min()))} to {percent(float(shares.max()))}"
    figure = _figure(summary, [trace], theme, f"Pictures broken, {x} × {y}", note, 330)
    for name, axis, values_of in (("xaxis", x, xs), ("yaxis", y, ys)):
        ticks = {"tickvals": values_of, "ticktext": [short(v) for v in values_of]} if len(values_of) <= 7 else {}
        direction = {"autorange": "reversed"} if falls(axis, upright=name == "yaxis") else {}
        look = {"title": {"text": TITLES[axis]}, "showgrid": False, "zeroline": False}
        figure.update_layout({name: look | ticks | direction})
    return figure


def confusion_figure(summary: Summary, theme: Theme = "light") -> go.Figure:
    """What pictures of each true class are taken for at their worst transform: shares of the class in a matrix, or the
    most frequent mistakes where there are many classes."""
    counts = summary.confusion()
    classes = sorted(set(counts.index) | set(counts.columns))
    if len(classes) > MOST_CLASSES:
        return _pairs_figure(summary, theme)
    counts = counts.reindex(index=classes, columns=classes, fill_value=0)
    names = [escaped(summary.name_of(each)) for each in classes]
    values = counts.to_numpy()
    shares = values / np.maximum(values.sum(1, keepdims=True), 1)
    hover = [[f"{_pictures(int(values[i, j]))} of class {names[i]}<br>taken for {names[j]} ({percent(shares[i, j])})"
              for j in range(len(names))] for i in range(len(names))]  # fmt: skip
    written = [[f"{share:.0%}".rstrip("%") if share >= 0.005 else "" for share in row] for row in shares]
    trace = go.Heatmap(
        x=names, y=names, z=shares, zmin=0, zmax=1, colorscale=SHARE_SCALE, text=written, texttemplate="%{text}",
        customdata=hover, hovertemplate="%{customdata}<extra></extra>", showscale=False, name="confusion",
        textfont={"size": 11}, xgap=1, ygap=1,
    )  # fmt: skip
    note = "% of each true class; the diagonal survives"
    figure = _figure(summary, [trace], theme, "Taken for what, at the worst transform?", note, 420)
    figure.update_layout(
        xaxis={"title": {"text": "worst-case class"}, "type": "category", "showgrid": False, "tickangle": -60},
        yaxis={"title": {"text": "true class"}, "type": "category", "showgrid": False, "autorange": "reversed"},
    )  # fmt: skip
    return figure


def _pairs_figure(summary: Summary, theme: Theme) -> go.Figure:
    mistakes = summary.mistakes()
    top = mistakes.head(PAIRS)[::-1]
    names = [f"{summary.name_of(true)} → {summary.name_of(seen)}" for true, seen in top.index]
    trace = go.Bar(x=top.to_numpy(), y=[escaped(name) for name in names], orientation="h", marker={"color": ACCENT},
                   hovertemplate="%{y}: %{x} pictures<extra></extra>", name="mistakes")  # fmt: skip
    note = f"the {len(top)} most frequent of {len(mistakes):,} kinds of mistakes at the worst transform"
    figure = _figure(summary, [trace], theme, "Taken for what, at the worst transform?", note, 120 + 22 * len(top))
    figure.update_layout(xaxis={"title": {"text": "pictures"}, "rangemode": "tozero"}, yaxis={"type": "category"})
    return figure


def _figure(summary: Summary, traces: list[Any], theme: Theme, title: str, note: str, height: int) -> go.Figure:
    lines = wrapped(note)
    muted = palette(theme)["muted"]
    text = "<br>".join([title, *(f"<span style='font-size:12px;color:{muted}'>{line}</span>" for line in lines)])
    layout = {"template": template(theme), "height": height + 17 * len(lines), "title": {"text": text},
              "margin": {"l": 56, "r": 12, "t": 46 + 17 * len(lines), "b": 48},
              "meta": {"theme": theme, "alt": f"{title}: {note}.", "caption": _caption(summary)}}  # fmt: skip
    return go.Figure(traces, layout)


def _caption(summary: Summary) -> str:
    data, version = summary.card.data, summary.card.environment.versions.get("spatial_viz", "unknown")
    name = f"{data.name}, {data.split}"
    return run_caption(summary.classifier, name, len(summary), summary.grid, summary.plan.padding, version)


def _pictures(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"
