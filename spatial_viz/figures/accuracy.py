"""Results of whole data sets, drawn: accuracies under each adversary, measured and published side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from spatial_viz.evaluation.results import SOURCES, best_known, columns_in, series_names
from spatial_viz.figures.style import Theme, palette, template
from spatial_viz.figures.text import escaped
from spatial_viz.version import VERSION

# Okabe and Ito's colours, told apart by colour-blind people, those that show on both themes; the order of the bars
# is that of the legend, and published figures are hatched.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#8a6fd1", "#7f7f7f")
BAR, GAP = 18, 0.4  # pixels per bar; the gap between adversaries in bars
MEASURED = "measured"
CAPTION = f"accuracies with their 95 % intervals; hatched: published · spatial_viz {VERSION}"
# Patterns of the first bars, and of those for which a colour comes up again.
PATTERNS = {MEASURED: ("", ".", "+"), SOURCES[2]: ("/", "x", "-")}


def accuracy_figure(results: pd.DataFrame, theme: Theme = "light") -> go.Figure:
    """A bar per classifier under each adversary: measured ones solid with their 95 % interval, published ones hatched.

    ``results`` is a table as `spatial_viz.evaluation.results.all_results` gives it; of several answers to one
    question the one with the most pictures is drawn. The order from top to bottom is that of the legend.
    """
    known = best_known(results)
    known = known.assign(series=series_names(known, known["data"].nunique() > 1),
                         kind=np.where(known["source"] == SOURCES[2], SOURCES[2], MEASURED))  # fmt: skip
    pairs = list(dict.fromkeys(zip(known["series"], known["kind"], strict=True)))
    columns, colours = columns_in(results), palette(theme)
    places, titles = _places(known, columns, pairs)
    figure = go.Figure()
    for number, (series, kind) in enumerate(pairs):
        rows = known[(known["series"] == series) & (known["kind"] == kind)]
        figure.add_trace(
            _bars(rows, [places[column, series, kind] for column in rows["column"]], number, kind, colours)
        )
    rows_at = [places[at] for at in zip(known["column"], known["series"], known["kind"], strict=True)]
    figure.add_trace(
        go.Scatter(
            x=[1.02] * len(known), y=rows_at, mode="text", text=[f"{share:.1%}" for share in known["accuracy"]],
            textposition="middle right", textfont={"size": 11, "color": colours["text"]}, hoverinfo="skip",
            showlegend=False, cliponaxis=False, name="accuracy",
        )
    )  # fmt: skip
    last = max(rows_at, default=0.0)
    for name, at in titles.items():
        figure.add_annotation(
            x=0, xref="paper", xanchor="left", y=at, yanchor="middle", showarrow=False, text=f"<b>{escaped(name)}</b>",
            font={"size": 12, "color": colours["text"]},
        )  # fmt: skip
    plot, legend = BAR * (last + 2), 20 * len(pairs) + 10  # pixels
    figure.update_layout(
        template=template(theme), barmode="overlay", bargap=0,
        height=int(plot + legend + 66), margin={"l": 12, "r": 12, "t": 12 + legend, "b": 54},
        meta={"theme": theme, "alt": alt_of(known), "caption": CAPTION}, showlegend=True,
        legend={"x": 0, "y": 1 + 8 / plot, "yanchor": "bottom", "traceorder": "normal", "font": {"size": 12},
                "itemclick": False, "itemdoubleclick": False, "bgcolor": "rgba(0,0,0,0)"},
        xaxis={"range": [0, 1.14], "tickvals": [0, 0.25, 0.5, 0.75, 1], "tickformat": ".0%", "zeroline": False,
               "title": {"text": "accuracy"}},
        yaxis={"range": [last + 1, -1], "showgrid": False, "zeroline": False, "showticklabels": False, "ticks": ""},
    )  # fmt: skip
    return figure


def alt_of(known: pd.DataFrame) -> str:
    """One sentence with every bar of the chart."""
    parts = []
    for series, rows in known.groupby("series", sort=False):
        accuracies = ", ".join(f"{row['column']} {row['accuracy']:.1%}" for row in rows.to_dict("records"))
        parts.append(f"{series} ({rows['kind'].iloc[0]}): {accuracies}")
    return f"Accuracy of {len(parts)} classifiers under each adversary. {'; '.join(parts)}."


def _places(
    known: pd.DataFrame, columns: list[str], pairs: list[tuple[str, str]]
) -> tuple[dict[tuple[str, str, str], float], dict[str, float]]:
    """The height of every bar, counted in bars from the top, and that of each adversary's title."""
    present = set(zip(known["column"], known["series"], known["kind"], strict=True))
    places: dict[tuple[str, str, str], float] = {}
    titles: dict[str, float] = {}
    at = 0.0
    for column in columns:
        titles[column] = at
        for pair in pairs:
            if (column, *pair) in present:
                at += 1
                places[column, *pair] = at
        at += 1 + GAP
    return places, titles


def _bars(rows: pd.DataFrame, places: list[float], number: int, kind: str, colours: dict[str, str]) -> Any:
    """One classifier's bars."""
    colour = COLOURS[number % len(COLOURS)]
    measured = kind == MEASURED
    hover = []
    for row in rows.to_dict("records"):
        lines = [f"<b>{escaped(row['classifier'])}</b>, {row['column']}", f"{row['accuracy']:.2%}"]
        if measured:
            lines += [f"95 % interval {row['low']:.1%} to {row['high']:.1%}, {row['n']:,} pictures",
                      f"{row['grid']}, padding {row['padding']}"]  # fmt: skip
        hover.append("<br>".join([*lines, escaped(f"{row['source']}: {row['citation']}")]))
    shapes, inverse = PATTERNS[kind], not measured
    pattern = {
        "shape": shapes[number // len(COLOURS) % len(shapes)], "size": 6, "solidity": 0.3,
        "fgcolor": colour if inverse else colours["page"], "bgcolor": colours["page"] if inverse else colour,
    }  # fmt: skip
    spread = {"type": "data", "symmetric": False, "array": (rows["high"] - rows["accuracy"]).tolist(),
              "arrayminus": (rows["accuracy"] - rows["low"]).tolist(), "thickness": 1.5, "width": 4,
              "color": colours["text"]}  # fmt: skip
    return go.Bar(
        x=rows["accuracy"], y=places, width=0.82, orientation="h", text=hover, textposition="none",
        hovertemplate="%{text}<extra></extra>", name=escaped(f"{rows['series'].iloc[0]} ({kind})"),
        marker={"color": colour, "pattern": pattern, "line": {"color": colour, "width": 1.5}},
        error_x=spread if measured else None,
    )  # fmt: skip
