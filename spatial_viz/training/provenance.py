"""How a finished training came about: its commands, hours and machines, back to fresh weights."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from spatial_viz.errors import InvalidInput, MissingFile
from spatial_viz.files import checksum
from spatial_viz.models.cards import Provenance
from spatial_viz.models.registry import manifest
from spatial_viz.training.log import read_metrics
from spatial_viz.training.plan import TrainingPlan, plan_from

THEN = ", then "  # between the machines of a training that moved


def plan_in(run: Path) -> TrainingPlan:
    """The plan of the training in the folder ``run``."""
    return plan_from(json.loads((run / "plan.json").read_text(encoding="utf-8")))


def provenance_of(run: Path, sha256: str) -> Provenance:
    """How the weights of that checksum came about, which the training in ``run`` has left, after those of the training
    that it began from.

    That one is known by its folder, or by the checksum of weights that are published, or were before others took their
    place; then it stands by itself in ``began_from``.
    """
    plan, metrics = plan_in(run), read_metrics(run)
    own = Provenance(sha256, command_of(plan), metrics.epochs[-1]["seconds"] / 3600)
    if metrics.starts:  # on the machine that trained, which need not be this one
        machines = _each_once(start["hardware"] for start in metrics.starts)
        own = replace(own, hardware=machines, versions=metrics.starts[-1]["versions"])
    if plan.initial is None:
        return own
    initial = Path(plan.initial)
    weights = _began_from(run, initial)
    if (initial.parent / "plan.json").is_file() and initial.is_file() and checksum(initial) == weights:
        before = provenance_of(initial.parent, weights)
        return replace(
            own,
            command=f"{before.command} --out {shlex.quote(str(initial.parent))} && {own.command}",
            hours=before.hours + own.hours,
            hardware=_each_once(filter(None, (before.hardware, own.hardware))) or None,
            versions=own.versions or before.versions,
            began_from=before.began_from,
        )
    published = next((each for each in _ever_published() if each.sha256 == weights), None)
    if published is None:
        raise InvalidInput(
            f"nobody knows how {initial} ({weights[:8]}…), from which {run} began, was trained: publish it first, or "
            "keep it with plan.json beside it"
        )
    return replace(own, hours=published.hours + own.hours, began_from=published)


def _began_from(run: Path, initial: Path) -> str:
    """The checksum of the weights that a training began from; earlier versions did not write it down."""
    checksums = [start["began_from"] for start in read_metrics(run).starts if "began_from" in start]
    if not checksums and not initial.is_file():
        raise MissingFile(f"{run} began from {initial}, which is no longer there; put it back")
    return checksums[-1] if checksums else checksum(initial)


def _each_once(machines: Iterable[str]) -> str:
    return THEN.join(dict.fromkeys(machine for several in machines for machine in several.split(THEN)))


def _ever_published() -> Iterator[Provenance]:
    """Of the cards of the manifest, and of the weights that each training began from, and so on."""
    for card in manifest():
        known: Provenance | None = card.provenance
        while known:
            yield known
            known = known.began_from


def command_of(plan: TrainingPlan) -> str:
    """The command line that trains by ``plan``."""
    words = ["python" if plan.processes == 1 else f"torchrun --nproc-per-node {plan.processes}", "-m spatial_viz train"]
    for name, value in asdict(plan).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            default = getattr(TrainingPlan, name)
            words += [] if value == default else [f"--{option}" if value else f"--no-{option}"]
        elif value is not None and name != "processes":  # torchrun has said how many
            words.append(f"--{option} {shlex.quote(str(value))}")
    return " ".join(words)
