"""A classifier with a mirror is one more to choose, and none of a training of its own."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from scripts import build_training as training_docs
from spatial_viz.app.comparison_picker import _most_unlike
from spatial_viz.app.lecture import step
from spatial_viz.evaluation.cards import RunClassifier
from spatial_viz.evaluation.plan import EvaluationPlan, restricted, voted
from spatial_viz.evaluation.results import all_results
from spatial_viz.lecture import handout
from spatial_viz.lecture.headline_accuracies import groups
from spatial_viz.models import registry
from spatial_viz.models.cards import ModelCard
from spatial_viz.models.registry import catalogue, load_classifier, manifest, without_mirrors

TRAINED = without_mirrors(manifest())


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> list[ModelCard]:
    """The manifest with a mirror of every classifier of CIFAR-10, each the most robust there is by its card."""
    cards = list(TRAINED)
    for card in TRAINED:
        if card.data == "cifar10":
            best = replace(card.accuracies["grid"], accuracy=0.99)
            cards.append(replace(card, name=f"{card.name}-mirror", mirror=True,
                                 accuracies={**card.accuracies, "grid": best}))  # fmt: skip
    cards.sort(key=lambda card: card.name)
    for module in (registry, handout, step):
        monkeypatch.setattr(module, "manifest", lambda: tuple(cards))
    return cards


def test_it_answers_for_two_passes_whoever_asks(mirrors: list[ModelCard]) -> None:
    plan, classifier = EvaluationPlan(vote=5), load_classifier("cifar10/standard-mirror")
    assert classifier.name == "cifar10/standard-mirror" in [entry.name for entry in catalogue()]
    few = restricted(classifier, [1, 3])
    assert (classifier.passes_per_query, few.passes_per_query, voted(few, plan).passes_per_query) == (2, 2, 10)
    assert RunClassifier.of(classifier, "x", EvaluationPlan(), [0]).to_json()["passes_per_query"] == 2
    plain = load_classifier("cifar10/standard")
    for asked, settings in ((plain, EvaluationPlan()), (voted(plain, plan), plan)):
        said = RunClassifier.of(asked, "x", settings, [0]).to_json()
        assert "passes_per_query" not in said  # runs of old keep their names


def test_what_compares_trainings_leaves_it_out(mirrors: list[ModelCard]) -> None:
    results = all_results(cards=mirrors)[0]
    told = [(group.title, group.bars) for group in groups(results, mirrors)]
    assert told == [(group.title, group.bars) for group in groups(results, TRAINED)]
    assert handout.usual_classifiers("cifar10") == ["cifar10/standard", "cifar10/worst-of-10-30"]
    talk: Any = SimpleNamespace(view=SimpleNamespace(classifier=load_classifier("cifar10/standard-mirror")))
    assert step.partner(talk, "standard") == "cifar10/standard"
    entries = {entry.name: entry for entry in catalogue() if entry.dataset == "cifar10"}
    standard = entries.pop("cifar10/standard")
    assert _most_unlike(standard, list(entries.values())) == ["cifar10/invariant-30"]


def test_the_docs_tell_of_its_weights_once(mirrors: list[ModelCard]) -> None:
    told = training_docs.commands(mirrors)
    assert told.count("`cifar10/standard-mirror` has the weights of `cifar10/standard`:") == 1
    assert told.replace("-mirror", "").count("* `cifar10/standard`,") == 1
    assert "| `cifar10/standard-mirror` | whitened-convnet | 1,972,792 | – |" in training_docs.result_table(mirrors)
    assert training_docs.curves_by_data(mirrors) == training_docs.curves_by_data(TRAINED)
    assert (
        "the answers of `cifar10/standard` for a picture and for its mirror image, averaged"
        in training_docs.classifier_table(mirrors)
    )
