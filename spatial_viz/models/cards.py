"""The cards in the manifest: what stands on each, so that a damaged one is noticed when it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_viz.errors import CorruptFile

SCHEMA = 1
_ALWAYS = {
    "name": str, "file": str, "sha256": str, "network": str, "class_names": [str], "input_size": [int], "mean": [float],
    "std": [float], "data": str, "recipe": str, "seed": int, "epochs": int, "validation": int, "versions": dict,
    "command": str, "hours": float, "learning_curve": [dict], "margin_error": float, "grid": str,
}  # fmt: skip
_SOMETIMES = {"hardware": str, "mirror": bool, "began_from": dict}
_MEASURED = {"pictures": int, "accuracy": float, "low": float, "high": float}
_ADVERSARIES = ("natural", "random", "worst_of_10", "grid")  # those that every card tells of
_EPOCH = {"epoch": int, "loss": float, "candidates": int, "validation_accuracy": (float, type(None))}
_BEFORE = {"sha256": str, "command": str, "hours": float}


def read_cards(path: Path) -> tuple[dict[str, Any], ...]:
    """The cards of a manifest.

    Raises
    ------
    CorruptFile: it is no manifest, or a card has something that no card has, or lacks what every one has.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("schema") != SCHEMA or not isinstance(content["models"], list):
            raise ValueError(f"it is no manifest of schema {SCHEMA}")
        for card in content["models"]:
            _check(card)
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise CorruptFile(f"{path} is damaged ({error}); restore it or install the package again") from error
    return tuple(content["models"])


def _check(card: Any) -> None:
    """ValueError where it is no card."""
    if not isinstance(card, dict):
        raise ValueError(f"a card is {type(card).__name__}")
    measured = {key.rpartition("_")[0] for key in card if key.rpartition("_")[2] in _MEASURED} | {*_ADVERSARIES}
    expected = _ALWAYS | {f"{name}_{end}": kind for name in measured for end, kind in _MEASURED.items()}
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


def _has(told: Any, kinds: Mapping[str, Any], name: str) -> None:
    for key, kind in kinds.items():
        if not isinstance(told, dict) or key not in told or not _is(told[key], kind):
            raise ValueError(f"the card {name} has no {key}, or one that makes no sense")


def _is(value: Any, kind: Any) -> bool:
    if isinstance(kind, tuple):
        return any(_is(value, each) for each in kind)
    if isinstance(kind, list):
        return isinstance(value, list) and len(value) > 0 and all(_is(each, kind[0]) for each in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind)
