"""What the lecture draws beyond landscapes says what it was given."""

from __future__ import annotations

from typing import Any

import pytest

from spatial_viz.errors import InvalidInput
from spatial_viz.lecture.figures import accuracy_bars, curves_of, learning_curves
from spatial_viz.lecture.headline_accuracies import Bar, Group
from spatial_viz.models.registry import manifest
from spatial_viz.training.recipes import RECIPES

MEASURED = Group("CIFAR-10, measured", False, (
    Bar("standard", "natural", 0.931, 10000, 0.926, 0.936), Bar("standard", "grid", 0.157, 1000, 0.136, 0.181),
    Bar("<b>new</b>", "grid", 0.642, 1000, 0.612, 0.671),
), "")  # fmt: skip
PUBLISHED = Group("ImageNet, published", True, (Bar("standard", "natural", 0.76), Bar("standard", "grid", 0.31)), "")


def epochs(count: int, candidates: int = 0) -> list[dict[str, Any]]:
    return [{"epoch": n + 1, "loss": 2.0 - n / 10, "learning_rate": 0.1, "candidates": candidates,
             "validation_accuracy": 0.5 + n / 100} for n in range(count)]  # fmt: skip


def bars(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.name != "100 %"]


def test_every_bar_has_its_length_its_words_and_its_number() -> None:
    figure = accuracy_bars(MEASURED)
    assert [bar.x[0] for bar in bars(figure)] == [0.931, 0.157, 0.642]
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert texts[0] == "standard: as it is" and "93.1" in texts[1]
    assert texts[4] == "&lt;b&gt;new&lt;/b&gt;: worst case"
    assert len([trace for trace in figure.data if trace.name == "100 %"]) == 3


def test_intervals_stand_on_measured_bars_only_and_published_ones_are_hatched() -> None:
    first = bars(accuracy_bars(MEASURED))[0]
    assert first.x[0] + first.error_x.array[0] == pytest.approx(0.936)
    assert first.x[0] - first.error_x.arrayminus[0] == pytest.approx(0.926)
    assert first.marker.pattern.shape == "" and "10,000 pictures" in first.text[0]
    for bar in bars(accuracy_bars(PUBLISHED)):
        assert bar.marker.pattern.shape == "/" and bar.error_x.array is None
    assert "76\u00a0%" in accuracy_bars(PUBLISHED).layout.annotations[1].text


def test_figures_beside_each_other_have_rows_of_one_height() -> None:
    few, many = accuracy_bars(PUBLISHED, rows=3), accuracy_bars(MEASURED)
    assert few.layout.yaxis.range == many.layout.yaxis.range


def test_the_alternative_text_has_every_number() -> None:
    said = accuracy_bars(MEASURED).layout.meta["alt"]
    for part in ("standard: worst case", "15.7", "13.6% to 18.1%", "1,000 pictures"):
        assert part in said


def test_a_curve_per_classifier_differs_in_more_than_colour() -> None:
    figure = learning_curves({"cifar10/standard": epochs(11), "cifar10/worst-of-10-30": epochs(4, 10)}, "dark")
    assert len(figure.data) == 4 and [len(trace.x) for trace in figure.data] == [11, 11, 4, 4]
    assert list(figure.data[0].y) == [entry["validation_accuracy"] for entry in epochs(11)]
    assert list(figure.data[1].y) == [entry["loss"] for entry in epochs(11)]
    assert figure.data[0].line.dash != figure.data[2].line.dash
    assert figure.data[0].marker.symbol != figure.data[2].marker.symbol
    assert "worst of 10 transforms" in figure.data[2].text[0] and "no transforms" in figure.data[0].text[0]
    assert sum(bool(trace.showlegend) for trace in figure.data) == 2
    assert (
        "validation accuracy from 50.0% to 60.0%; cifar10/worst-of-10-30, 4 epochs: training"
        in figure.layout.meta["alt"]
    )


def test_a_recipe_looks_the_same_in_every_figure() -> None:
    among = learning_curves({f"cifar10/{recipe}": epochs(2) for recipe in RECIPES})
    alone = learning_curves({"mnist/linf-8": epochs(2)})
    looks = [(trace.line.color, trace.line.dash, trace.marker.symbol) for trace in among.data[::2]]
    first = alone.data[0]
    assert looks[list(RECIPES).index("linf-8")] == (first.line.color, first.line.dash, first.marker.symbol)
    assert len(set(looks)) == len(RECIPES)


def test_a_training_without_validation_has_its_loss() -> None:
    blind = [entry | {"validation_accuracy": None} for entry in epochs(3)]
    figure = learning_curves({"mnist/standard": blind})
    assert list(figure.data[1].y) == [2.0, 1.9, 1.8]
    assert "validation" not in figure.layout.meta["alt"] and "loss from 2.00 to 1.80" in figure.layout.meta["alt"]


def test_every_card_has_a_curve() -> None:
    curves = curves_of(manifest())
    assert list(curves) == [card.name for card in manifest()] and all(curves.values())


@pytest.mark.parametrize("draw", [lambda: accuracy_bars(MEASURED, "blue"), lambda: learning_curves({}, "blue")])
def test_an_unknown_theme_is_refused(draw: Any) -> None:
    with pytest.raises(InvalidInput, match="theme"):
        draw()
