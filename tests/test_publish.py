"""From a finished training to its card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from spatial_viz.errors import InvalidInput
from spatial_viz.training import publish
from spatial_viz.training.publish import _history, command_of
from spatial_viz.training.recipes import TrainingPlan


def finished(folder: Path, plan: TrainingPlan, hours: float, weights: bytes = b"") -> Path:
    """What a training leaves that `_history` reads; a run with ``weights`` is one that another may begin from."""
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(asdict(plan)))
    (folder / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "seconds": hours * 3600}) + "\n")
    (folder / "weights.safetensors").write_bytes(weights)
    return folder


def entry(weights: bytes, command: str, hours: float, **more: Any) -> dict[str, Any]:
    versions = {"spatial_viz": "0", "torch": "0"}
    return {
        "sha256": hashlib.sha256(weights).hexdigest(),
        "command": command,
        "hours": hours,
        "versions": versions,
        **more,
    }


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A manifest whose second card is the third of a chain of trainings that were published one after the other."""
    oldest = entry(b"oldest", "train oldest", 1.0)
    older = entry(b"older", "train older", 3.0, began_from=oldest)
    newest = {"name": "toy/worst", **entry(b"newest", "train newest", 7.0, began_from=older)}
    monkeypatch.setattr(publish, "manifest", lambda: ({"name": "toy/other", **entry(b"other", "", 9.0)}, newest))
    return {"oldest": oldest, "older": older, "newest": {k: v for k, v in newest.items() if k != "name"}}


@pytest.mark.parametrize("which", ["oldest", "older", "newest"])
def test_weights_that_were_published_once_are_known_for_good(
    which: str, replaced: dict[str, Any], tmp_path: Path
) -> None:
    initial = tmp_path / "kept.safetensors"
    initial.write_bytes(which.encode())
    plan = TrainingPlan("standard", initial=str(initial))
    told = _history(finished(tmp_path / "run", plan, 2.0))
    assert told == {"command": command_of(asdict(plan)), "hours": 2 + replaced[which]["hours"],
                    "began_from": replaced[which]}  # fmt: skip


def test_a_run_that_began_from_such_a_run_tells_both(replaced: dict[str, Any], tmp_path: Path) -> None:
    initial = tmp_path / "kept.safetensors"
    initial.write_bytes(b"oldest")
    first_plan = TrainingPlan("worst-of-10-30", initial=str(initial))
    first = finished(tmp_path / "first", first_plan, 2.0, b"weights of nobody's card")
    second_plan = TrainingPlan("invariant-30", initial=str(first / "weights.safetensors"))
    told = _history(finished(tmp_path / "second", second_plan, 4.0))
    both = f"{command_of(asdict(first_plan))} --out {first} && {command_of(asdict(second_plan))}"
    assert told == {"command": both, "hours": 4 + 2 + 1, "began_from": replaced["oldest"]}


def test_weights_that_nobody_knows_are_refused(replaced: dict[str, Any], tmp_path: Path) -> None:
    initial = tmp_path / "found.safetensors"
    initial.write_bytes(b"from somewhere")
    with pytest.raises(InvalidInput, match=r"nobody knows how .*found.safetensors was trained"):
        _history(finished(tmp_path / "run", TrainingPlan("standard", initial=str(initial)), 1.0))
