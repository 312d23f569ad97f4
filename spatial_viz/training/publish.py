"""From a finished training to a file in ``pretrained/`` and its card; accuracies are measured with that file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from spatial_viz.classifiers import load_classifier, manifest, pretrained_folder
from spatial_viz.errors import InvalidInput
from spatial_viz.evaluation.pictures import choose
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.run import evaluate
from spatial_viz.files import replace
from spatial_viz.grids import TransformGrid
from spatial_viz.runner import calibrate
from spatial_viz.training.data import read, split_validation, to_images
from spatial_viz.training.loop import channel_statistics
from spatial_viz.version import VERSION

CALIBRATION_PICTURES, CALIBRATION_TRANSFORMS = 200, 25


def publish(run: Path, root: Path | None = None, pictures: int = 1000) -> dict[str, Any]:
    """Copy the weights of ``run`` into ``pretrained/``, measure them, and put their card into the manifest.

    Parameters
    ----------
    run: the ``--out`` folder of a finished training.
    root: the data set's folder with ``train/`` and ``test/``; by default ``data/`` and its name.
    pictures: how many test pictures the grid accuracy is measured on; the first of every class.
    """
    weights = run / "weights.safetensors"
    if not weights.is_file() or not (run / "plan.json").is_file():
        raise InvalidInput(f"{run} holds no finished training: it needs plan.json and {weights.name}")
    plan = json.loads((run / "plan.json").read_text())
    name = f"{plan['data']}/{plan['recipe']}"
    root = root or Path("data") / plan["data"]
    data = read(plan["data"], root, "train")
    choose(plan["data"], root, "test", pictures, None)  # refuses what cannot be measured before anything is written
    history = _history(run)
    training, validation = split_validation(data, plan["validation"])
    mean, std = channel_statistics(training.pictures)
    file = f"{name.replace('/', '-')}.safetensors"
    replace(pretrained_folder() / file, lambda partial: partial.write_bytes(weights.read_bytes()))
    card: dict[str, Any] = {
        "name": name,
        "file": file,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "network": plan["network"],
        "class_names": list(data.class_names),
        "input_size": list(data.pictures.shape[1:3]),
        "mean": mean,
        "std": std,
        "data": plan["data"],
        "recipe": plan["recipe"],
        "seed": plan["seed"],
        "epochs": plan["epochs"],
        "validation": plan["validation"],
        **history,
        "hours": round(history["hours"], 2),
        "versions": {"spatial_viz": VERSION, "torch": torch.__version__},
    }
    _write(card)
    classifier = load_classifier(name)
    draws = TransformGrid.paper(classifier.input_size).draw(CALIBRATION_TRANSFORMS, seed=1)
    spread = torch.linspace(0, len(validation) - 1, CALIBRATION_PICTURES).long()  # over all classes
    held_out = to_images(validation.pictures[spread]).contiguous()
    card["margin_error"] = classifier.margin_error = round(calibrate(classifier, held_out, draws) + 5e-4, 3)

    for adversary, limit in (("natural", None), ("grid", pictures)):
        report = evaluate(classifier, plan["data"], EvaluationPlan((adversary,)), root=root, limit=limit)
        card[f"{adversary}_pictures"] = report.results[0].n
        card[f"{adversary}_accuracy"] = round(report.results[0].accuracy, 6)
        card["grid"] = f"{report.run['classifiers'][0]['grid']}, {report.run['plan']['padding']}"
    _write(card)
    return card


def _history(run: Path) -> dict[str, Any]:
    """The ``command`` of a training and its ``hours``, after those of the training it began from; that one is known
    by its folder, or by the checksum of weights that are published, or were before others took their place."""
    plan = json.loads((run / "plan.json").read_text())
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    own = {"command": command_of(plan), "hours": last["seconds"] / 3600}
    if plan["initial"] is None:
        return own
    initial = Path(plan["initial"])
    if (initial.parent / "plan.json").is_file():
        before = _history(initial.parent)
        own["command"] = f"{before['command']} --out {initial.parent} && {own['command']}"
        return {**before, **own, "hours": before["hours"] + own["hours"]}
    checksum = hashlib.sha256(initial.read_bytes()).hexdigest()
    published = next((entry for entry in _ever_published() if entry["sha256"] == checksum), None)
    if published is None:
        raise InvalidInput(f"nobody knows how {initial} was trained: publish it first, or keep plan.json beside it")
    told = ("sha256", "command", "hours", "versions", "began_from")
    began_from = {key: published[key] for key in told if key in published}
    return {**own, "hours": began_from["hours"] + own["hours"], "began_from": began_from}


def _ever_published() -> Iterator[dict[str, Any]]:
    """The cards of the manifest, and what each says about the weights that its training began from, and so on."""
    for card in manifest():
        entry: dict[str, Any] | None = card
        while entry:
            yield entry
            entry = entry.get("began_from")


def command_of(plan: dict[str, Any]) -> str:
    """The command line that trains by ``plan``."""
    options = (f"--{name.replace('_', '-')} {value}" for name, value in plan.items() if value is not None)
    return " ".join(("python -m spatial_viz train", *options))


def _write(card: dict[str, Any]) -> None:
    """Put a card into the manifest, in the place of an earlier one of that name."""
    path = pretrained_folder() / "manifest.json"
    cards = {entry["name"]: entry for entry in (manifest() if path.is_file() else ())}
    cards[card["name"]] = card
    text = json.dumps({"schema": 1, "models": list(cards.values())}, indent=2, ensure_ascii=False)
    replace(path, lambda partial: partial.write_text(text + "\n", encoding="utf-8"))
