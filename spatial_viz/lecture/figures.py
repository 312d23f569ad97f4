"""What the lecture draws beyond landscapes: a few accuracies as bars, and how the shipped classifiers learned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from spatial_viz.figures.accuracy import COLOURS
from spatial_viz.figures.style import Theme, palette, template
from spatial_viz.figures.text import escaped
from spatial_viz.lecture.headline_accuracies import Bar, Group
from spatial_viz.models.cards import ModelCard
from spatial_viz.training.recipes import RECIPES

TYPE = 15  # pixels of the type, which the last row reads on the full screen, where it is larger
LINES = (("solid", "circle"), ("dash", "square"), ("dot", "diamond"), ("dashdot", "cross"), ("longdash", "x"))
BASE = ("standard", "one answer")  # what others are held against


def accuracy_bars(group: Group, theme: Theme = "light", *, rows: int | None = None, height: int = 420) -> go.Figure:
    """A bar for each accuracy of a group, with words and number above it: published ones hatched, measured ones solid
    with their 95 % interval. A pale bar behind each is the whole, 100 %.

    ``rows``: room for so many bars, so that figures beside each other agree. ``height`` in pixels.
    """
    colours, rows = palette(theme), rows or len(group.bars)
    figure = go.Figure()
    for number, bar in enumerate(group.bars):
        figure.add_trace(_track(number, colours))
        figure.add_trace(_bar(number, bar, group.published, colours))
        anchor = {"y": number - 0.19, "yanchor": "bottom", "showarrow": False}
        large = {"size": TYPE + 3, "color": colours["text"]}
        figure.add_annotation(text=escaped(bar.words), x=0, xanchor="left", font=large | {"size": TYPE}, **anchor)
        share = f"<b>{describe_accuracy(bar.share, group.published)}</b>"
        figure.add_annotation(text=share, x=1, xanchor="right", font=large, **anchor)
    figure.update_layout(
        template=template(theme), height=height, barmode="overlay", margin={"l": 4, "r": 4, "t": 4, "b": 4},
        xaxis={"range": [-0.005, 1.005], "visible": False, "fixedrange": True},
        yaxis={"range": [rows - 0.6, -0.75], "visible": False, "fixedrange": True},
        meta={"theme": theme, "alt": bars_alt(group)},
    )  # fmt: skip
    return figure


def bars_alt(group: Group) -> str:
    """All that the bars say, in one sentence."""
    sentences = []
    for bar in group.bars:
        more = f" ({bar.low:.1%} to {bar.high:.1%}, {bar.pictures:,} pictures)" if bar.low is not None else ""
        sentences.append(f"{bar.words} {describe_accuracy(bar.share, group.published)}{more}")
    return f"Accuracies, {group.title}: {'; '.join(sentences)}."


def describe_accuracy(share: float, published: bool) -> str:
    """Published figures are whole per cents, measured ones have one more digit."""
    return f"{100 * share:.{0 if published else 1}f}\u00a0%"


def learning_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]], theme: Theme = "light") -> go.Figure:
    """Accuracy on validation pictures (held out from training, as they are) and training loss, epoch by epoch.

    ``curves``: name of a classifier → its ``learning_curve``, one entry an epoch with ``epoch``, ``loss``,
    ``candidates`` and ``validation_accuracy`` (None where no pictures were held out). A recipe looks the same in every
    figure.
    """
    colours = palette(theme)
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.14,
                           subplot_titles=("validation accuracy", "training loss"))  # fmt: skip
    known = {recipe: number for number, recipe in enumerate(RECIPES)}
    for name, epochs in curves.items():
        recipe = name.split("/")[-1]
        number = known.setdefault(recipe, len(known))
        dash, symbol = LINES[number % len(LINES)]
        colour = COLOURS[number % len(COLOURS)]
        hover = [f"<b>{escaped(name)}</b>, epoch {entry['epoch']}<br>{_describe_candidates(entry['candidates'])}"
                 for entry in epochs]  # fmt: skip
        for column, key, form in ((1, "validation_accuracy", ".1%"), (2, "loss", ".2f")):
            figure.add_trace(
                go.Scatter(
                    x=[entry["epoch"] for entry in epochs], y=[entry[key] for entry in epochs], mode="lines+markers",
                    name=escaped(recipe), legendgroup=name, showlegend=column == 1, text=hover,
                    hovertemplate=f"%{{text}}<br>%{{y:{form}}}<extra></extra>", line={"color": colour, "dash": dash,
                    "width": 3}, marker={"symbol": symbol, "size": 9},
                ),
                row=1, col=column,
            )  # fmt: skip
    lettering = {"size": TYPE, "color": colours["text"]}
    figure.update_annotations(font=lettering, yshift=4)
    figure.update_layout(
        template=template(theme), height=380, font=lettering, showlegend=True,
        margin={"l": 52, "r": 8, "t": 34, "b": 52 + 24 * math.ceil(len(curves) / 2)},
        legend={"x": 0, "y": 0, "yref": "container", "yanchor": "bottom", "itemclick": False,
                "orientation": "h", "entrywidth": 0.48, "entrywidthmode": "fraction",
                "itemdoubleclick": False, "bgcolor": "rgba(0,0,0,0)"},
        meta={"theme": theme, "alt": curves_alt(curves)},
    )  # fmt: skip
    axis = {"tickfont": {"size": TYPE, "color": colours["muted"]}, "nticks": 5}
    figure.update_xaxes(axis | {"title": {"text": "epoch"}, "rangemode": "tozero"})
    figure.update_yaxes(axis)
    figure.update_yaxes(tickformat=".1~%", col=1)  # 99.5% between 99% and 100%
    return figure


def curves_alt(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Where each curve begins and ends."""
    sentences = []
    for name, epochs in curves.items():
        first, last = epochs[0], epochs[-1]
        lines = [f"training loss from {first['loss']:.2f} to {last['loss']:.2f}"]
        if first["validation_accuracy"] is not None:
            ends = (f"{entry['validation_accuracy']:.1%}" for entry in (first, last))
            lines.append(f"validation accuracy from {' to '.join(ends)}")
        sentences.append(f"{name}, {len(epochs)} epochs: {', '.join(lines)}")
    return f"Learning curves. {'; '.join(sentences)}."


def curves_of(cards: Sequence[ModelCard]) -> dict[str, Sequence[Mapping[str, Any]]]:
    """The learning curves that cards of the manifest hold, by the names of the classifiers."""
    return {card.name: card.learning_curve for card in cards}


def _track(number: int, colours: Mapping[str, str]) -> Any:
    return go.Bar(x=[1], y=[number], width=0.32, orientation="h", marker={"color": colours["grid"]}, hoverinfo="skip",
                  name="100 %")  # fmt: skip


def _bar(number: int, bar: Bar, published: bool, colours: Mapping[str, str]) -> Any:
    colour = COLOURS[0 if bar.adversary == "natural" else 1 if bar.training in BASE else 2]
    lines = [escaped(bar.words), describe_accuracy(bar.share, published)]
    known = bar.low is not None and bar.high is not None
    if known:
        lines.append(f"95 % interval {bar.low:.1%} to {bar.high:.1%}, {bar.pictures:,} pictures")
    spread = {"type": "data", "symmetric": False, "array": [(bar.high or 0) - bar.share], "thickness": 2.5,
              "arrayminus": [bar.share - (bar.low or 0)], "width": 7, "color": colours["text"]}  # fmt: skip
    pattern = {"shape": "/" if published else "", "size": 9, "solidity": 0.35, "fgcolor": colour,
               "bgcolor": colours["page"]}  # fmt: skip
    return go.Bar(
        x=[bar.share], y=[number], width=0.32, orientation="h", text=["<br>".join(lines)], textposition="none",
        hovertemplate="%{text}<extra></extra>", name=escaped(bar.words), error_x=spread if known else None,
        marker={"color": colour, "pattern": pattern, "line": {"color": colour, "width": 2}},
    )  # fmt: skip


def _describe_candidates(candidates: int) -> str:
    return f"the worst of {candidates} transforms" if candidates > 1 else "one random transform" if candidates else (
        "no transforms")  # fmt: skip
