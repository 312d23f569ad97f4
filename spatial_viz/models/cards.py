"""The cards in the manifest: what is known of a shipped classifier, checked when it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from spatial_viz.errors import CorruptFile

SCHEMA = 1
_BUILT_FROM = {"network": str, "class_names": [str], "input_size": [int], "mean": [float], "std": [float]}
_ALWAYS = _BUILT_FROM | {
    "name": str, "file": str, "sha256": str, "data": str, "recipe": str, "seed": int, "epochs": int, "validation": int,
    "versions": dict, "command": str, "hours": float, "learning_curve": [dict], "margin_error": float, "grid": str,
}  # fmt: skip
_SOMETIMES = {"hardware": str, "mirror": bool, "began_from": dict}
_MEASURED = {"pictures": int, "accuracy": float, "low": float, "high": float}
_ADVERSARIES = ("natural", "random", "worst_of_10", "grid")  # those that every card tells of
_EPOCH = {"epoch": int, "loss": float, "candidates": int, "validation_accuracy": (float, type(None))}
_BEFORE = {"sha256": str, "command": str, "hours": float}


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
    def from_json(cls, value: Any, name: str = "") -> Self:
        """ValueError where something is missing; ``name`` is that of the classifier, for the sentence."""
        _has(value, _BUILT_FROM, name)
        height, width = value["input_size"]
        return cls(
            value["network"], tuple(value["class_names"]), (height, width), tuple(value["mean"]), tuple(value["std"])
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "class_names": list(self.class_names),
            "input_size": list(self.input_size),
            "mean": list(self.mean),
            "std": list(self.std),
        }


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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Provenance:
        before = value.get("began_from")
        return cls(
            value["sha256"], value["command"], value["hours"], value.get("hardware"), value.get("versions"),
            None if before is None else cls.from_json(before),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        stored = {
            "sha256": self.sha256,
            "command": self.command,
            "hours": self.hours,
            "hardware": self.hardware,
            "versions": self.versions,
            "began_from": self.began_from and self.began_from.to_json(),
        }
        return {key: value for key, value in stored.items() if value is not None}


@dataclass(frozen=True)
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
    mirror: bool
    data: str
    recipe: str
    seed: int
    epochs: int
    validation: int
    provenance: Provenance
    learning_curve: tuple[Mapping[str, Any], ...]
    margin_error: float
    grid: str
    accuracies: Mapping[str, MeasuredAccuracy]

    @property
    def sha256(self) -> str:
        return self.provenance.sha256

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """ValueError where it has something that no card has, or lacks what every one has."""
        measured = _check(value)
        return cls(
            value["name"], value["file"], Architecture.from_json(value, value["name"]), value.get("mirror", False),
            value["data"], value["recipe"], value["seed"], value["epochs"], value["validation"],
            Provenance.from_json(value), tuple(value["learning_curve"]), value["margin_error"], value["grid"],
            {key: MeasuredAccuracy(*(value[f"{key}_{what}"] for what in _MEASURED)) for key in measured},
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        provenance = self.provenance.to_json()
        stored = {
            "name": self.name,
            "file": self.file,
            "sha256": provenance.pop("sha256"),
            **self.architecture.to_json(),
            "mirror": self.mirror or None,
            "data": self.data,
            "recipe": self.recipe,
            "seed": self.seed,
            "epochs": self.epochs,
            "validation": self.validation,
            "versions": provenance.pop("versions"),
            **provenance,
            "learning_curve": [dict(epoch) for epoch in self.learning_curve],
            "margin_error": self.margin_error,
            "grid": self.grid,
        }
        stored |= {f"{key}_{what}": getattr(each, what) for key, each in self.accuracies.items() for what in _MEASURED}
        return {key: each for key, each in stored.items() if each is not None}


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


def _check(card: Any) -> list[str]:
    """The keys of its adversaries; ValueError where it is no card."""
    if not isinstance(card, dict):
        raise ValueError(f"a card is {type(card).__name__}")
    keys = (key.rpartition("_") for key in card)
    measured = list(dict.fromkeys((*(name for name, _, what in keys if what in _MEASURED), *_ADVERSARIES)))
    expected = _ALWAYS | {f"{name}_{what}": kind for name in measured for what, kind in _MEASURED.items()}
    _has(card, expected, str(card.get("name")))
    unknown = card.keys() - expected.keys() - _SOMETIMES.keys()
    if unknown:
        raise ValueError(f"the card {card['name']} says {min(unknown)}, which no card does")
    _has(card, {key: kind for key, kind in _SOMETIMES.items() if key in card}, card["name"])
    for epoch in card["learning_curve"]:
        _has(epoch, _EPOCH, card["name"])
    before = card.get("began_from")
    while before is not None:
        _has(before, _BEFORE, card["name"])
        before = before.get("began_from")
    return measured


def _has(value: Any, kinds: Mapping[str, Any], name: str) -> None:
    for key, kind in kinds.items():
        if not isinstance(value, dict) or key not in value or not _is(value[key], kind):
            raise ValueError(f"the card {name} has no {key}, or one that makes no sense")


def _is(value: Any, kind: Any) -> bool:
    if isinstance(kind, tuple):
        return any(_is(value, each) for each in kind)
    if isinstance(kind, list):
        return isinstance(value, list) and len(value) > 0 and all(_is(each, kind[0]) for each in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind)
