"""From a finished training to a file in ``pretrained/`` and its card; accuracies are measured with that file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from spatial_viz.classifiers import Classifier, load_classifier, manifest, pretrained_folder
from spatial_viz.datasets import first_per_class
from spatial_viz.errors import InvalidInput
from spatial_viz.files import replace
from spatial_viz.grids import TransformGrid
from spatial_viz.runner import calibrate, runner_for
from spatial_viz.training.data import PictureSet, read, split_validation, to_images
from spatial_viz.training.loop import Normalise, channel_statistics, natural_accuracy
from spatial_viz.version import VERSION

CALIBRATION_PICTURES, CALIBRATION_TRANSFORMS = 200, 50


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
    data, test = (read(plan["data"], root, split) for split in ("train", "test"))
    first_per_class(list(enumerate(test.labels.tolist())), pictures)  # before anything is written
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
        "command": _commands(plan),
        "hours": round(_hours(run), 2),
        "versions": {"spatial_viz": VERSION, "torch": torch.__version__},
    }
    _write(card)
    classifier = load_classifier(name)
    draws = TransformGrid.paper(classifier.input_size).draw(CALIBRATION_TRANSFORMS, seed=1)
    spread = torch.linspace(0, len(validation) - 1, CALIBRATION_PICTURES).long()  # over all classes
    held_out = to_images(validation.pictures[spread]).contiguous()
    card["margin_error"] = classifier.margin_error = round(calibrate(classifier, held_out, draws) + 5e-4, 3)

    card["natural_pictures"] = len(test)
    card["natural_accuracy"] = natural_accuracy(nn.Sequential(Normalise(mean, std), classifier.network), test)
    some = first_per_class(list(enumerate(test.labels.tolist())), pictures)
    grid = TransformGrid.paper(classifier.input_size)
    granularity = ",".join(map(str, grid.granularity))
    card["grid"] = f"{granularity} within ±{grid.rotation:g}°, dx ±{grid.dx:g} px, dy ±{grid.dy:g} px, black"
    card["grid_pictures"] = len(some)
    card["grid_accuracy"] = _grid(classifier, test.subset(torch.tensor([index for index, _ in some])))
    _write(card)
    return card


def _hours(run: Path) -> float:
    """Of this training and of those it began from."""
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    initial = json.loads((run / "plan.json").read_text())["initial"]
    return float(last["seconds"]) / 3600 + (_hours(Path(initial).parent) if initial else 0.0)


def _commands(plan: dict[str, Any]) -> str:
    """The command of this training, after that of the training it began from."""
    own = command_of(plan)
    if plan["initial"] is None:
        return own
    parent = Path(plan["initial"]).parent
    before = json.loads((parent / "plan.json").read_text())
    return f"{_commands(before)} --out {parent} && {own}"


def command_of(plan: dict[str, Any]) -> str:
    """The command line that trains by ``plan``."""
    options = (f"--{name.replace('_', '-')} {value}" for name, value in plan.items() if value is not None)
    return " ".join(("python -m spatial_viz train", *options))


def _grid(classifier: Classifier, data: PictureSet) -> float:
    """Share of the pictures that no transform of the paper's grid breaks; a picture is done once it is broken."""
    grid = TransformGrid.paper(classifier.input_size)
    transforms = grid.transforms()
    # The extremes break most pictures, so they come first.
    reach = (transforms.abs() / torch.tensor([grid.rotation, grid.dx, grid.dy])).sum(1)
    transforms = transforms[reach.argsort(descending=True, stable=True)]
    runner = runner_for(classifier)
    robust = 0
    for image, label in zip(tqdm(to_images(data.pictures), desc="grid"), data.labels.tolist(), strict=True):
        robust += all(
            bool((runner.logits(image, part, "black")[0].argmax(1) == label).all())
            for part in (transforms[:16], transforms[16:144], transforms[144:])
        )
    return robust / len(data)


def _write(card: dict[str, Any]) -> None:
    """Put a card into the manifest, in the place of an earlier one of that name."""
    path = pretrained_folder() / "manifest.json"
    cards = {entry["name"]: entry for entry in (manifest() if path.is_file() else ())}
    cards[card["name"]] = card
    text = json.dumps({"schema": 1, "models": list(cards.values())}, indent=2, ensure_ascii=False)
    replace(path, lambda partial: partial.write_text(text + "\n", encoding="utf-8"))
