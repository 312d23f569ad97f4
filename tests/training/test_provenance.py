"""What a card tells about the trainings behind it."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import typer
from toys import model_card

from spatial_viz.cli import main
from spatial_viz.errors import InvalidInput, MissingFile
from spatial_viz.models.cards import Provenance
from spatial_viz.models.networks import NETWORKS
from spatial_viz.training import provenance
from spatial_viz.training.log import log
from spatial_viz.training.plan import TrainingPlan, plan_from
from spatial_viz.training.provenance import command_of, provenance_of


def finished(folder: Path, plan: TrainingPlan, hours: float, weights: bytes = b"") -> Path:
    """What a training leaves that `provenance_of` reads; a run with ``weights`` is one that another may begin from."""
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(asdict(plan)))
    (folder / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "seconds": hours * 3600}) + "\n")
    (folder / "weights.safetensors").write_bytes(weights)
    return folder


def made(weights: bytes, command: str, hours: float, began_from: Provenance | None = None) -> Provenance:
    versions = {"spatial_viz": "0", "torch": "0"}
    return Provenance(hashlib.sha256(weights).hexdigest(), command, hours, None, versions, began_from)


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> dict[str, Provenance]:
    """A manifest whose second card is the third of a chain of trainings that were published one after the other."""
    oldest = made(b"oldest", "train oldest", 1.0)
    older = made(b"older", "train older", 3.0, oldest)
    newest = made(b"newest", "train newest", 7.0, older)
    cards = [model_card(f"toy/{number}", 0.9, 0.1, provenance=each)
             for number, each in enumerate((made(b"other", "", 9.0), newest))]  # fmt: skip
    monkeypatch.setattr(provenance, "manifest", lambda: cards)
    return {"oldest": oldest, "older": older, "newest": newest}


@pytest.mark.parametrize("which", ["oldest", "older", "newest"])
def test_weights_that_were_published_once_are_known_for_good(
    which: str, replaced: dict[str, Provenance], tmp_path: Path
) -> None:
    initial = tmp_path / "kept.safetensors"
    initial.write_bytes(which.encode())
    plan = TrainingPlan("standard", initial=str(initial))
    known = provenance_of(finished(tmp_path / "run", plan, 2.0), "0" * 64)
    assert known == Provenance("0" * 64, command_of(plan), 2 + replaced[which].hours, began_from=replaced[which])


def test_a_run_that_began_from_such_a_run_tells_both(replaced: dict[str, Provenance], tmp_path: Path) -> None:
    initial = tmp_path / "kept.safetensors"
    initial.write_bytes(b"oldest")
    first_plan = TrainingPlan("worst-of-10-30", initial=str(initial))
    first = finished(tmp_path / "first", first_plan, 2.0, b"weights of nobody's card")
    second_plan = TrainingPlan("invariant-30", initial=str(first / "weights.safetensors"))
    known = provenance_of(finished(tmp_path / "second", second_plan, 4.0), "0" * 64)
    both = f"{command_of(first_plan)} --out {first} && {command_of(second_plan)}"
    assert known == Provenance("0" * 64, both, 4 + 2 + 1, began_from=replaced["oldest"])


def test_weights_that_nobody_knows_are_refused(replaced: dict[str, Provenance], tmp_path: Path) -> None:
    initial = tmp_path / "found.safetensors"
    initial.write_bytes(b"from somewhere")
    with pytest.raises(
        InvalidInput, match=r"nobody knows how .*found.safetensors \(\w{8}…\), from which .*run began, was trained"
    ):
        provenance_of(finished(tmp_path / "run", TrainingPlan("standard", initial=str(initial)), 1.0), "")


def test_weights_that_are_gone_are_asked_for(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", TrainingPlan("standard", initial=str(tmp_path / "gone.safetensors")), 1.0)
    with pytest.raises(MissingFile, match=r"began from .*gone.safetensors, which is no longer there"):
        provenance_of(run, "")


def test_weights_that_took_the_place_of_those_that_a_training_began_from_are_not_taken_for_them(
    replaced: dict[str, Provenance], tmp_path: Path
) -> None:
    first = finished(tmp_path / "first", TrainingPlan("standard"), 1.0, b"older")
    plan = TrainingPlan("standard", initial=str(first / "weights.safetensors"))
    run = finished(tmp_path / "run", plan, 2.0)
    log(run, {"hardware": "x", "versions": {}, "began_from": hashlib.sha256(b"older").hexdigest()})
    assert provenance_of(run, "").began_from is None and provenance_of(run, "").hours == 3.0
    (first / "weights.safetensors").write_bytes(b"newest")
    assert provenance_of(run, "").began_from == replaced["older"]
    (first / "weights.safetensors").unlink()
    assert provenance_of(run, "").began_from == replaced["older"]
    log(run, {"hardware": "x", "versions": {}, "began_from": hashlib.sha256(b"oldest").hexdigest()})  # begun anew
    assert provenance_of(run, "").began_from == replaced["oldest"]


def test_the_machines_and_versions_are_those_that_trained(tmp_path: Path) -> None:
    first = finished(tmp_path / "first", TrainingPlan("standard"), 1.0)
    second = finished(tmp_path / "second", TrainingPlan("standard", initial=str(first / "weights.safetensors")), 1.0)
    for run, machines in ((first, ["a slow one"]), (second, ["a fast one", "a slow one", "a fast one"])):
        for machine in machines:
            log(run, {"hardware": machine, "versions": {"torch": machine}})
    known = provenance_of(second, "")
    assert known.hardware == "a slow one, then a fast one" and known.versions == {"torch": "a fast one"}


def test_plans_of_earlier_and_later_versions() -> None:
    settings = asdict(TrainingPlan("standard", seed=3))
    for added in ("partial_batch", "processes", "sync_batch_norm"):
        del settings[added]
    assert plan_from(settings) == TrainingPlan("standard", seed=3)
    with pytest.raises(InvalidInput, match="a setting 'moon_phase'"):
        plan_from({**settings, "moon_phase": 1})


def test_the_command_on_a_card_makes_the_same_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = TrainingPlan(
        "invariant-30", str(tmp_path / "own pictures"), "small-resnet", epochs=3, batch=32, learning_rate=0.1,
        weight_decay=0.1, momentum=0.9, label_smoothing=0.1, warm_up=0.1, bias_rate=1.0, averaging=0, seed=3,
        validation=7, initial=str(tmp_path / "w.safetensors"), partial_batch=True, sync_batch_norm=True, size=24,
        mirrored=False,
    )  # fmt: skip
    default = TrainingPlan("standard")
    same = [name for name, value in asdict(asked).items() if value == getattr(default, name)]
    assert same == ["processes"], "every other setting is to be on the command line"
    made: list[TrainingPlan] = []
    monkeypatch.setattr("spatial_viz.training.data.read", lambda *_: None)
    monkeypatch.setattr("spatial_viz.training.loop.train", lambda plan, *_: made.append(plan))
    for each in (asked, default):
        words = shlex.split(command_of(each).removeprefix("python -m spatial_viz "))
        typer.main.get_command(main.app).main(words, standalone_mode=False)
    assert made == [asked, default]
    two = command_of(replace(default, processes=2))
    assert two == command_of(default).replace("python -m", "torchrun --nproc-per-node 2 -m")


def test_the_help_names_every_network() -> None:
    options = typer.main.get_command(main.app).get_command(None, "train").params  # type: ignore[attr-defined]
    text = next(option.help for option in options if option.name == "network")
    assert all(name in text for name in NETWORKS)
