"""The cards in the manifest: what is known of a shipped classifier, checked when it is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from spatial_viz.errors import CorruptFile
from spatial_viz.fields import read_fields

SCHEMA = 1
_MEASURED = ("pictures", "accuracy", "low", "high")
_ADVERSARIES = ("natural", "random", "worst_of_10", "grid")  # those that every card tells of
_EPOCH = {"epoch", "loss", "candidates", "validation_accuracy"}


@dataclass(frozen=True)
class Architecture:
    """What makes a classifier of a weight file: a network of `spatial_viz.models.networks`, its classes, the size of
    its pictures (H, W), and the mean and standard deviation of each channel."""

    network: str
    class_names: tuple[str, ...]
    input_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """ValueError where something is missing or of another type."""
        return read_fields(cls, value, "the description")

    def to_json(self) -> dict[str, Any]:
        return {name: list(each) if isinstance(each, tuple) else each for name, each in vars(self).items()}


@dataclass(frozen=True)
class MeasuredAccuracy:
    """An accuracy on so many test pictures, and the ends of its 95 % Wilson interval, from 0 to 1."""

    pictures: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Provenance:
    """How weights came about: the command, its hours and machine, and the training whose weights it began from.

    ``sha256``: of these weights.
    """

    sha256: str
    command: str
    hours: float
    hardware: str | None = None
    versions: Mapping[str, str] | None = None
    began_from: Provenance | None = None

    def to_json(self) -> dict[str, Any]:
        before = self.began_from and self.began_from.to_json()
        return {name: each for name, each in {**vars(self), "began_from": before}.items() if each is not None}


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What the manifest knows of a classifier.

    ``file``: its weights in ``pretrained/``, with the checksum ``provenance.sha256``. ``mirror``: it averages over the
    picture and its mirror image. ``data``, ``recipe``, ``seed``, ``epochs``, ``validation``: of its training.
    ``learning_curve``: its epochs. ``margin_error``: see `spatial_viz.models.inference.calibrate`. ``grid``: of the
    adversaries, in words. ``accuracies``: by the key of an adversary, such as ``worst_of_10``.
    """

    name: str
    file: str
    architecture: Architecture
    mirror: bool = False
    data: str
    recipe: str
    seed: int
    epochs: int
    validation: int
    provenance: Provenance
    learning_curve: tuple[Mapping[str, float | None], ...]
    margin_error: float
    grid: str
    accuracies: Mapping[str, MeasuredAccuracy]

    @property
    def sha256(self) -> str:
        return self.provenance.sha256

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """ValueError where it has something that no card has, or lacks what every one has."""
        if not isinstance(value, dict):
            raise ValueError(f"a card must be values by name; got {type(value).__name__}")
        about, left = f"the card {value.get('name')}", dict(value)
        accuracies: dict[str, Any] = {}
        for key in value:
            adversary, _, what = key.rpartition("_")
            if what in _MEASURED:
                accuracies.setdefault(adversary, {})[what] = left.pop(key)
        parts = {
            part: {field.name: left.pop(field.name) for field in fields(kind) if field.name in left}
            for part, kind in (("architecture", Architecture), ("provenance", Provenance))
        }
        card = read_fields(cls, {**left, **parts, "accuracies": accuracies}, about)
        if missing := [key for key in _ADVERSARIES if key not in card.accuracies]:
            raise ValueError(f"{about} has no accuracy of the adversary {missing[0]}")
        if not card.learning_curve or any(_EPOCH - epoch.keys() for epoch in card.learning_curve):
            raise ValueError(f"{about} has no learning curve with {', '.join(sorted(_EPOCH))}")
        return card

    def to_json(self) -> dict[str, Any]:
        provenance = self.provenance.to_json()
        stored = {
            "name": self.name,
            "file": self.file,
            "sha256": provenance.pop("sha256"),
            **self.architecture.to_json(),
            **({"mirror": True} if self.mirror else {}),
            "data": self.data,
            "recipe": self.recipe,
            "seed": self.seed,
            "epochs": self.epochs,
            "validation": self.validation,
            **provenance,
            "learning_curve": list(self.learning_curve),
            "margin_error": self.margin_error,
            "grid": self.grid,
        }
        return stored | {f"{key}_{what}": getattr(each, what)
                         for key, each in self.accuracies.items() for what in _MEASURED}  # fmt: skip


def read_cards(path: Path) -> tuple[ModelCard, ...]:
    """The cards of a manifest.

    Raises
    ------
    CorruptFile: it is no manifest, or a card has something that no card has, or lacks what every one has.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("schema") != SCHEMA or not isinstance(content["models"], list):
            raise ValueError(f"it is no manifest of schema {SCHEMA}")
        return tuple(map(ModelCard.from_json, content["models"]))
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise CorruptFile(f"{path} is damaged ({error}); restore it or install the package again") from error


def manifest_text(cards: Iterable[ModelCard]) -> str:
    """What `read_cards` reads."""
    content = {"schema": SCHEMA, "models": [card.to_json() for card in cards]}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
