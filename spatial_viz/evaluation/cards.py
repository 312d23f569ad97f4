"""The card of a run: what was queried, and where and by what it was answered. Read and written again, the JSON of this
version stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from spatial_viz.evaluation.plan import EvaluationPlan, settings_of
from spatial_viz.fields import read_fields
from spatial_viz.models.classifier import Classifier

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class RunClassifier:
    """A classifier as a run asked it; ``class_names`` are those of the classes that occur, by their numbers.

    ``passes_per_query``: None where the plan tells.
    """

    name: str
    hash: str
    passes_per_query: int | None = None
    picture_size: tuple[int, int]
    grid: str
    class_names: dict[str, str]

    @classmethod
    def of(cls, classifier: Classifier, name: str, plan: EvaluationPlan, labels: Sequence[int]) -> Self:
        """``labels`` are the classes that occur."""
        grid = plan.grid(classifier.picture_size)
        words = ",".join(map(str, grid.granularity))
        passes = classifier.passes_per_query
        return cls(
            name=name,
            hash=classifier.hash,
            # Said only where the plan does not tell: a run that is to go on is known by its card.
            passes_per_query=None if passes == max(1, plan.vote) else passes,
            picture_size=classifier.picture_size,
            grid=f"{words} within ±{grid.rotation:g}°, dx ±{grid.dx:g} px, dy ±{grid.dy:g} px",
            class_names={str(label): classifier.class_names[label] for label in sorted(set(labels))},
        )

    def to_json(self) -> dict[str, Any]:
        stored = {**asdict(self), "picture_size": list(self.picture_size)}
        return {key: value for key, value in stored.items() if value is not None}


@dataclass(frozen=True)
class RunData:
    """The pictures of a run: which, how many, and a hash of them all."""

    name: str
    split: str
    pictures: int
    hash: str


@dataclass(frozen=True)
class Environment:
    """Where and by what a run was answered; ``precision`` by the names of the classifiers."""

    device: str
    precision: dict[str, str]
    threads: int
    versions: dict[str, str]


@dataclass(frozen=True)
class RunCard:
    """What a run is about, and where and by what it was answered."""

    classifiers: tuple[RunClassifier, ...]
    data: RunData
    plan: EvaluationPlan
    environment: Environment

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """ValueError unless it is what `to_json` gives; an earlier version may have known fewer settings of a plan."""
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise ValueError(f"it is none of schema {SCHEMA}")
        card = read_fields(cls, {key: each for key, each in value.items() if key != "schema"}, "it")
        if not card.classifiers:
            raise ValueError("classifiers of it must be one or more; got none")
        for each in card.classifiers:
            card.plan.grid(each.picture_size)  # a ValueError where it has none
            if min(*each.picture_size, 1 if each.passes_per_query is None else each.passes_per_query) < 1:
                raise ValueError(f"picture_size and passes_per_query must be 1 or more; got those of {each.name}")
        if min(card.data.pictures, card.environment.threads) < 1:
            raise ValueError("pictures of data and threads of environment must be 1 or more")
        return card

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "classifiers": [each.to_json() for each in self.classifiers],
            "data": asdict(self.data),
            "plan": settings_of(self.plan),
            "environment": asdict(self.environment),
        }

    def with_hashes(self, hashes: Sequence[str | None]) -> Self | None:
        """The card with other hashes of its classifiers; None where one is not known."""
        known = [each for each in hashes if each]
        if len(known) < len(hashes) or len(known) != len(self.classifiers):
            return None
        pairs = zip(self.classifiers, known, strict=True)
        return replace(self, classifiers=tuple(replace(entry, hash=each) for entry, each in pairs))
