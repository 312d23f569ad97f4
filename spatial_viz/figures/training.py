"""How one training went: loss, learning rate, candidates and validation accuracies over its epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from spatial_viz.figures.style import ACCENT, Theme, palette, template

PANEL = 170  # pixels
Lines = Sequence[Mapping[str, Any]]


def training_figure(epochs: Lines, steps: Lines = (), theme: Theme = "light") -> go.Figure:
    """The curves of a training, one below the other over one axis of epochs.

    Parameters
    ----------
    epochs: as in the metrics of a training, or as ``learning_curve`` on a card: ``epoch`` (from 1), ``loss``,
        ``learning_rate``, ``candidates``, ``validation_accuracy`` (None where no pictures were held out), and
        where it was measured ``validation_worst_of_10``.
    steps: the finer lines of the metrics: ``epochs_done``, ``loss``, ``learning_rate``. Where there are any, loss and
        learning rate are drawn from them.

    Candidates and validation accuracy are left out where there are none.
    """
    ends = [line["epoch"] for line in epochs]
    fine = ([line["epochs_done"] for line in steps], steps) if steps else (ends, epochs)
    panels: list[tuple[str, list[float], Lines, str, str, dict[str, Any]]]
    panels = [("loss (running mean, nats)", *fine, "loss", ".3f", {}),
              ("learning rate", *fine, "learning_rate", ".4f", {"rangemode": "tozero"})]  # fmt: skip
    if any(line["candidates"] for line in epochs):
        panels.append(("random transforms tried on each picture", ends, epochs, "candidates", "d",
                       {"rangemode": "tozero", "dtick": _spacing(epochs)}))  # fmt: skip
    for key, about in (("validation_accuracy", "pictures as they are"),
                       ("validation_worst_of_10", "worst of 10")):  # fmt: skip
        measured = [line for line in epochs if line.get(key) is not None]
        if measured:
            panels.append((f"validation accuracy, {about}", [line["epoch"] for line in measured], measured, key, ".1%",
                           {"tickformat": ".1~%"}))  # fmt: skip
    titles = [f"<b>{panel[0]}</b>" for panel in panels]
    figure = make_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.3 / len(panels),
                           subplot_titles=titles)  # fmt: skip
    for row, (_, at, lines, key, form, axis) in enumerate(panels, 1):
        dots = lines is not steps
        trace = go.Scatter(
            x=at, y=[line[key] for line in lines], mode="lines+markers" if dots else "lines", name=key,
            # Their number holds for the whole epoch that ends at the dot.
            line={"color": ACCENT, "width": 2, "shape": "vh" if key == "candidates" else "linear"}, marker={"size": 8},
            hovertemplate=f"epoch %{{x:.4~g}}: %{{y:{form}}}<extra></extra>",
        )  # fmt: skip
        figure.add_trace(trace, row=row, col=1)
        figure.update_yaxes({"nticks": 5, "zeroline": False, **axis}, row=row, col=1)
    last = max([*ends, *(line["epochs_done"] for line in steps)], default=1)
    figure.update_xaxes({"range": [0, last * 1.02], "zeroline": False, "ticks": ""})
    figure.update_xaxes({"title": {"text": "epoch"}, "ticks": "outside"}, row=len(panels), col=1)
    figure.update_annotations(x=0, xanchor="left", font={"size": 13, "color": palette(theme)["text"]})
    figure.update_layout(
        template=template(theme), height=PANEL * len(panels) + 60, margin={"l": 56, "r": 12, "t": 28, "b": 48},
        meta={"theme": theme, "alt": training_alt(epochs)},
    )  # fmt: skip
    return figure


def training_alt(epochs: Lines) -> str:
    """Where the training stands, in a sentence.

    >>> training_alt([{"epoch": 3, "loss": 0.5, "learning_rate": 0.1, "validation_accuracy": 0.91, "candidates": 0}])
    'After 3 epochs: loss 0.500 nats, learning rate 0.1000, validation accuracy 91.0%.'
    """
    if not epochs:
        return "No epoch is done yet."
    line = epochs[-1]
    words = f"loss {line['loss']:.3f} nats, learning rate {line['learning_rate']:.4f}"
    if line["validation_accuracy"] is not None:
        words += f", validation accuracy {line['validation_accuracy']:.1%}"
    if line.get("validation_worst_of_10") is not None:
        words += f", at the worst of 10 random transforms {line['validation_worst_of_10']:.1%}"
    return f"After {line['epoch']} epoch{'s' if line['epoch'] > 1 else ''}: {words}."


def _spacing(epochs: Lines) -> int:
    """Between ticks of whole numbers."""
    return max(1, -(-max(line["candidates"] for line in epochs) // 5))
