"""The few accuracies of the lecture: which are found, and that they are those of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from toys import model_card

from spatial_viz.evaluation.intervals import wilson
from spatial_viz.evaluation.plan import EvaluationPlan, settings_of
from spatial_viz.evaluation.results import COLUMNS, published, rows_of, rows_of_card
from spatial_viz.lecture.headline_accuracies import groups, measured, recipe_group, vote_groups
from spatial_viz.models.cards import ModelCard
from spatial_viz.models.registry import manifest

GRID = "31,5,5 within ±30°, dx ±3 px, dy ±3 px"


CARDS = [
    model_card("cifar10/standard", 0.93, 0.15), model_card("cifar10/worst-of-10-30", 0.91, 0.64),
    model_card("cifar10/linf-8", 0.84, 0.02),
]  # fmt: skip


def told(cards: Sequence[ModelCard]) -> pd.DataFrame:
    """What cards say, and the published figures."""
    rows = pd.DataFrame([row for card in cards for row in rows_of_card(card)], columns=list(COLUMNS))
    return pd.concat([rows.astype(published().dtypes), published()], ignore_index=True)


def with_rows(
    *entries: dict[str, Any], grid: str = GRID, padding: str = "black", complete: bool = True
) -> pd.DataFrame:
    """What `told` gives, and the results of a report besides."""
    results = []
    for entry in entries:
        low, high = wilson(entry["correct"], entry["n"])
        share = entry["correct"] / entry["n"]
        results.append({"vote": 0, "accuracy": share, "low": low, "high": high, "passes": 1, "passes_full": 1} | entry)
    names = {entry["classifier"] for entry in entries}
    report = {
        "schema": 1,
        "run": {"classifiers": [{"name": name, "grid": grid, "hash": "0"} for name in names], "complete": complete,
                "data": {"name": "cifar10", "split": "test"}, "plan": settings_of(EvaluationPlan(padding=padding))},
        "results": results,
    }  # fmt: skip
    rows = pd.DataFrame(rows_of(report, "measured here", "run"), columns=list(COLUMNS))
    return pd.concat([rows.astype(published().dtypes), told(CARDS)], ignore_index=True)


def shares(group: Any) -> dict[str, float]:
    return {bar.words: bar.share for bar in group.bars}


def test_the_published_figures_are_those_of_the_talk() -> None:
    cifar, imagenet = groups(published(), [])
    assert list(shares(cifar).values()) == [0.93, 0.03, 0.71] and "CIFAR-10" in cifar.title
    assert list(shares(imagenet).values()) == [0.76, 0.31, 0.53] and "ImageNet" in imagenet.title
    assert cifar.published and all(bar.pictures is None and bar.low is None for bar in cifar.bars)
    assert "slides" in cifar.about


def test_what_the_cards_say_is_measured_with_its_interval() -> None:
    *_, ours = groups(told(CARDS), CARDS)
    assert shares(ours) == {"standard: as it is": 0.93, "standard: worst case": 0.15, "worst of ten: worst case": 0.64}
    assert [bar.pictures for bar in ours.bars] == [10000, 1000, 1000]
    assert (ours.bars[1].low, ours.bars[1].high) == wilson(150, 1000)
    assert ours.about == "test pictures: 10,000 (as it is), 1,000 (worst case)" and not ours.published
    more = [*CARDS, model_card("cifar10/invariant-30", 0.92, 0.7)]
    *_, ours = groups(told(more), more)
    assert list(shares(ours).items())[-1] == ("invariance: worst case", 0.7)


def test_a_larger_measurement_takes_the_place_of_the_card() -> None:
    more = with_rows({"classifier": "cifar10/standard", "adversary": "grid", "n": 4000, "correct": 640})
    known = measured(more)
    row = known[(known["classifier"] == "cifar10/standard") & (known["adversary"] == "grid")]
    assert row["accuracy"].tolist() == [0.16] and row["n"].tolist() == [4000]
    fewer = with_rows({"classifier": "cifar10/standard", "adversary": "grid", "n": 10, "correct": 9})
    known = measured(fewer)
    row = known[(known["classifier"] == "cifar10/standard") & (known["adversary"] == "grid")]
    assert row["accuracy"].tolist() == [0.15]
    *_, ours = groups(more, CARDS)
    assert ours.about == (
        "test pictures: 10,000 (standard: as it is), 4,000 (standard: worst case), 1,000 (worst of ten: worst case)"
    )
    all_of_them = with_rows({"classifier": "cifar10/standard", "adversary": "grid", "n": 10000, "correct": 1600})
    *_, ours = groups(all_of_them, CARDS)
    assert ours.about == "test pictures: 10,000 (standard), 1,000 (worst of ten)"


def test_a_run_that_is_not_complete_is_no_measurement() -> None:
    """Its pictures are the first of the data set: all of them airplanes, perhaps."""
    begun = with_rows(
        {"classifier": "cifar10/standard", "adversary": "grid", "n": 4000, "correct": 640}, complete=False
    )
    assert shares(groups(begun, CARDS)[2])["standard: worst case"] == 0.15
    assert groups(begun, CARDS) == groups(told(CARDS), CARDS)


@pytest.mark.parametrize("other", [{"grid": "11,3,3 within ±30°, dx ±3 px, dy ±3 px"}, {"padding": "reflect"},
                                   {"grid": "31,5,5 within ±15°, dx ±3 px, dy ±3 px"}])  # fmt: skip
def test_another_grid_or_padding_is_another_question(other: dict[str, str]) -> None:
    results = with_rows({"classifier": "cifar10/standard", "adversary": "grid", "n": 9000, "correct": 9000}, **other)
    ours = groups(results, CARDS)[2]
    assert shares(ours)["standard: worst case"] == 0.15


def test_a_classifier_without_numbers_leaves_no_bar() -> None:
    bare = replace(CARDS[0], accuracies={})
    assert [group.title for group in groups(told([bare]), [bare])] == [group.title for group in groups(published(), [])]
    assert recipe_group(measured(told([bare])), bare.name, bare.recipe).bars == ()


def test_networks_that_nobody_trained_here_have_a_group_of_their_own() -> None:
    results = with_rows(
        {"classifier": "imagenet/resnet50", "adversary": "natural", "n": 500, "correct": 400},
        {"classifier": "imagenet/resnet50", "adversary": "grid", "n": 500, "correct": 200},
        grid="31,5,5 within ±30°, dx ±24 px, dy ±24 px",
    )
    ours = groups(results, CARDS)[3]
    assert "ImageNet" in ours.title and "resnet50" in ours.title
    assert shares(ours) == {"standard: as it is": 0.8, "standard: worst case": 0.4}


def test_votes_are_shown_beside_single_answers_where_both_are_known() -> None:
    (paper,) = vote_groups(told(CARDS))
    assert [bar.share for bar in paper.bars] == [0.53, 0.56]
    voted = {"classifier": "cifar10/standard", "adversary": "grid", "n": 200, "correct": 60, "vote": 10}
    paper, ours = vote_groups(with_rows(voted))
    assert shares(ours) == {"one answer: worst case": 0.15, "vote of 10: worst case": 0.3}
    alone = voted | {"classifier": "cifar10/other"}
    assert len(vote_groups(with_rows(alone))) == 1


def test_the_shipped_cards_are_read() -> None:
    own = next(group for group in groups(told(manifest()), manifest()) if group.title.startswith("CIFAR-10, measured"))
    cards = {card.name: card for card in manifest()}
    assert own.bars[0].share == pytest.approx(cards["cifar10/standard"].accuracies["natural"].accuracy)
    assert 0 < own.bars[1].share < own.bars[2].share < own.bars[0].share
