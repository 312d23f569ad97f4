"""The card of a run: what was asked, and where and by what it was answered. Read and written again, its JSON stays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from spatial_viz.evaluation.plan import EvaluationPlan, plan_of, settings_of
from spatial_viz.models.classifier import Classifier

SCHEMA = 1


@dataclass(frozen=True)
class RunClassifier:
    """A classifier as a run asked it; ``class_names`` are those of the classes that occur, by their numbers.

    ``passes_per_query``: None where the plan tells.
    """

    name: str
    hash: str
    passes_per_query: int | None
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

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """ValueError unless it is what `to_json` gives."""
        known = {"passes_per_query": None, **value} if isinstance(value, dict) else value
        _check_kinds(known, cls, "one of the classifiers")
        return cls(**{**known, "picture_size": tuple(known["picture_size"])})

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

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """ValueError unless it is what `to_json` gives."""
        _check_kinds(value, cls, "data")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Environment:
    """Where and by what a run was answered; ``precision`` by the names of the classifiers."""

    device: str
    precision: dict[str, str]
    threads: int
    versions: dict[str, str]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """ValueError unless it is what `to_json` gives."""
        _check_kinds(value, cls, "environment")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class RunCard:
    """What a run is about, and where and by what it was answered."""

    classifiers: tuple[RunClassifier, ...]
    data: RunData
    plan: EvaluationPlan
    environment: Environment

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """ValueError unless it is what `to_json` gives."""
        _check_keys(value, ["schema", *_names(cls)], "a run card")
        if value["schema"] != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}; got {value['schema']!r}")
        if not isinstance(value["classifiers"], list):
            raise ValueError(f"classifiers must be a list; got {value['classifiers']!r}")
        plan = _plan_from_json(value["plan"])
        classifiers = tuple(RunClassifier.from_json(each) for each in value["classifiers"])
        for each in classifiers:
            plan.grid(each.picture_size)  # a ValueError where it has none
        return cls(classifiers, RunData.from_json(value["data"]), plan, Environment.from_json(value["environment"]))

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "classifiers": [each.to_json() for each in self.classifiers],
            "data": self.data.to_json(),
            "plan": settings_of(self.plan),
            "environment": self.environment.to_json(),
        }

    def with_hashes(self, hashes: Sequence[str | None]) -> Self | None:
        """The card with other hashes of its classifiers; None where one is not known."""
        known = [each for each in hashes if each]
        if len(known) < len(hashes) or len(known) != len(self.classifiers):
            return None
        pairs = zip(self.classifiers, known, strict=True)
        return replace(self, classifiers=tuple(replace(entry, hash=each) for entry, each in pairs))


def _plan_from_json(value: Any) -> EvaluationPlan:
    try:
        plan = plan_of(value)  # an earlier version may have known fewer settings
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"plan must be that of an evaluation ({error})") from error
    if not _is_count(plan.shard):
        raise ValueError(f"shard of plan must be {_KINDS['int'][0]}; got {plan.shard!r}")
    return plan


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value > 0


_KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", _is_text),
    "int": ("a whole number of 1 or more", _is_count),
    "int | None": ("a whole number of 1 or more", lambda value: value is None or _is_count(value)),
    "dict[str, str]": ("texts by name", lambda value: isinstance(value, dict) and all(map(_is_text, value.values()))),
    "tuple[int, int]": (
        "two whole numbers of 1 or more",
        lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)),
    ),
}
"""What a field of a type is in JSON: in words, and whether a value is that."""


def _check_kinds(value: Any, kind: type, called: str) -> None:
    """ValueError unless JSON has the fields of a dataclass, each of its type, and no others."""
    _check_keys(value, _names(kind), called)
    for field in fields(kind):
        expected, is_it = _KINDS[field.type]
        if not is_it(value[field.name]):
            raise ValueError(f"{field.name} of {called} must be {expected}; got {value[field.name]!r}")


def _check_keys(value: Any, keys: Collection[str], called: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{called} must be values by name, {', '.join(keys)}; got {type(value).__name__}")
    for key in keys:
        if key not in value:
            raise ValueError(f"{called} must have {key}; got {', '.join(value)}")
    for key in value:
        if key not in keys:
            raise ValueError(f"{called} must have no more than {', '.join(keys)}; got {key}")


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]
