"""The curves of one training, and the page that holds them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from toy_training import add_small_networks, plan, toy_pictures

from spatial_viz.figures.training import training_figure
from spatial_viz.training.log import read_metrics
from spatial_viz.training.loop import train

EPOCHS = [{"epoch": 1, "loss": 1.5, "learning_rate": 0.2, "candidates": 1, "validation_accuracy": 0.5},
          {"epoch": 2, "loss": 1.0, "learning_rate": 0.0, "candidates": 10, "validation_accuracy": 0.75,
           "validation_worst_of_10": 0.25}]  # fmt: skip
STEPS = [{"step": at, "epochs_done": at / 20, "loss": 2 - at / 40, "learning_rate": 0.1, "pictures_per_second": 5.0}
         for at in (10, 20, 30, 40)]  # fmt: skip


def curves(figure: Any) -> dict[str, tuple[list[float], list[float]]]:
    return {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}


def test_every_quantity_has_its_curve() -> None:
    drawn = curves(training_figure(EPOCHS, STEPS))
    assert drawn == {
        "loss": ([0.5, 1.0, 1.5, 2.0], [1.75, 1.5, 1.25, 1.0]),
        "learning_rate": ([0.5, 1.0, 1.5, 2.0], [0.1] * 4),
        "candidates": ([1, 2], [1, 10]),
        "validation_accuracy": ([1, 2], [0.5, 0.75]),
        "validation_worst_of_10": ([2], [0.25]),
    }
    alt = "After 2 epochs: loss 1.000 nats, learning rate 0.0000, validation accuracy 75.0%, "
    assert training_figure(EPOCHS).layout.meta["alt"] == f"{alt}at the worst of 10 random transforms 25.0%."
    assert curves(training_figure(EPOCHS))["loss"] == ([1, 2], [1.5, 1.0]), "a card has no steps"


def test_what_a_training_has_not_is_left_out() -> None:
    plain = [{**line, "candidates": 0, "validation_accuracy": None, "validation_worst_of_10": None}
             for line in EPOCHS]  # fmt: skip
    figure = training_figure(plain)
    assert list(curves(figure)) == ["loss", "learning_rate"]
    assert figure.layout.meta["alt"] == "After 2 epochs: loss 1.000 nats, learning rate 0.0000."
    assert training_figure([]).layout.meta["alt"] == "No epoch is done yet."


def test_a_training_draws_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_small_networks(monkeypatch)
    monkeypatch.setattr("spatial_viz.training.loop.LOG_STEPS", 2)
    train(plan(epochs=2, recipe="augment-30"), toy_pictures(), tmp_path)
    metrics = read_metrics(tmp_path)
    assert [(line["step"], line["epochs_done"]) for line in metrics.steps] == [
        (step, round(step / 6, 4)) for step in range(2, 13, 2)
    ]
    assert all(line["pictures_per_second"] > 0 and line["learning_rate"] > 0 for line in metrics.steps)
    page = (tmp_path / "training.html").read_text()
    assert f"After 2 epochs: loss {metrics.epochs[-1]['loss']:.3f} nats" in page
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)\s*=", page)
    assert "<title>toy, augment-30, tiny: training</title>" in page
