"""The training loop: one for all recipes, with checkpoints from which a killed run goes on."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from spatial_viz.attacks.spatial import WorstOfK
from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.export.html import to_html
from spatial_viz.figures.training import training_figure
from spatial_viz.files import checksum
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.networks import fold_batch_norm
from spatial_viz.models.registry import DESCRIPTION, WEIGHTS
from spatial_viz.training.checkpoints import CHECKPOINT, begin, fingerprint, pack, write, write_weights
from spatial_viz.training.data import PictureSet, architecture_of, split_validation, to_images
from spatial_viz.training.distributed import Team
from spatial_viz.training.hardware import hardware
from spatial_viz.training.log import forget_after, log, read_metrics
from spatial_viz.training.plan import TrainingPlan
from spatial_viz.training.trainer import Training, channel_statistics
from spatial_viz.transforms.grids import TransformGrid
from spatial_viz.version import VERSION

EVALUATION_BATCH = 512
ATTACKED = 500
"""Validation pictures that are attacked after every epoch."""
CHECKPOINT_SECONDS = 180
LOG_STEPS = 10
PAGE = "training.html"


def train(plan: TrainingPlan, data: PictureSet, out: Path, resume: bool = False, team: Team | None = None) -> nn.Module:
    """Train by ``plan`` on ``data``; write checkpoints, metrics and the final float16 weights into ``out``.

    ``out`` receives ``plan.json``, ``classifier.json`` (for `spatial_viz.models.registry.load_classifier`),
    ``metrics.jsonl`` (see `spatial_viz.training.log`), ``training.html`` (its curves, after every epoch),
    ``checkpoint.pt`` and at the end ``weights.safetensors``. With ``resume`` a run that was cut off goes on where its
    last checkpoint stands. ``team``: the processes that share the work, and this one's device; by default this one
    alone, on the CPU.

    Source: robust optimisation, Engstrom et al., ICML 2019, section 4.
    """
    team = team or Team()
    if plan.processes != team.size:
        raise InvalidInput(
            f"the plan is for {plan.processes} processes, and there is {team.size}; "
            f"start it with torchrun --nproc-per-node {plan.processes}"
        )
    training, validation = split_validation(data, plan.validation)
    run = Training(plan, training, team)
    mark: dict[str, Any] = {"plan": asdict(plan), "pictures": fingerprint(data)}
    saved = team.agree(lambda: begin(out, plan, mark["pictures"], resume))
    if team.leads:
        architecture = architecture_of(plan.network, training, *channel_statistics(training.pictures))
        write(out / DESCRIPTION, json.dumps(architecture.to_json(), ensure_ascii=False, indent=2).encode())
    if saved is not None:
        run.restore(saved)
    keeper = Keeper(out, run, mark, validation) if team.leads and run.step < run.total else None
    with contextlib.closing(keeper) if keeper else contextlib.nullcontext():
        while run.step < run.total:
            if keeper:
                keeper.before_step()
            taken = _advance(run, out)
            if keeper:
                keeper.after_step(taken)
    if team.leads:
        write_weights(run.core, out / WEIGHTS)
        write(out / CHECKPOINT, pack({**mark, **run.content()}))
    return run.network


class Keeper:
    """What the first process does beside training: checkpoints, metrics, the page with the curves, the progress bar.

    ``mark`` says which training the checkpoints belong to.
    """

    def __init__(self, out: Path, run: Training, mark: dict[str, Any], validation: PictureSet) -> None:
        self.out, self.run, self.mark, self.validation = out, run, mark, validation
        self.name = f"{run.plan.data}, {run.plan.recipe}, {run.plan.network}"
        forget_after(out, run.step, run.steps_per_epoch)
        versions = {"spatial_viz": VERSION, "torch": torch.__version__}
        start: dict[str, Any] = {"hardware": hardware(run.team.device, run.team.size), "versions": versions}
        if run.plan.initial and not run.step:
            start["began_from"] = checksum(Path(run.plan.initial))
        log(out, start)
        self.waiting: bytes | None = None
        self.saved_at = time.monotonic()
        self.pictures, self.seconds = 0, run.seconds  # of training, at the last line about a step
        in_epoch = min(len(run.pictures), run.steps_per_epoch * run.plan.batch)
        self.bar = tqdm(
            total=run.plan.epochs * in_epoch, initial=run.step * in_epoch // run.steps_per_epoch, unit=" pictures",
            unit_scale=True, mininterval=1 if sys.stderr.isatty() else 60,
        )  # fmt: skip

    def close(self) -> None:
        self.bar.close()

    def before_step(self) -> None:
        run = self.run
        self.epoch, self.candidates, self.rate = run.epoch + 1, run.candidates, run.learning_rate
        self.bar.set_description(f"epoch {self.epoch}/{run.plan.epochs}", refresh=False)
        begins = run.step % run.steps_per_epoch == 0
        if run.step and (begins or time.monotonic() - self.saved_at > CHECKPOINT_SECONDS):
            # Written once the next loss is known to be finite, so that one can go on from every checkpoint.
            self.waiting = pack({**self.mark, **run.content()})

    def after_step(self, taken: int) -> None:
        run = self.run
        if self.waiting is not None:
            write(self.out / CHECKPOINT, self.waiting)
            self.waiting, self.saved_at = None, time.monotonic()
        self.pictures += taken
        self.bar.update(taken)
        self.bar.set_postfix(loss=f"{run.loss:.3f}", learning_rate=f"{self.rate:.3f}", refresh=False)
        facts = {"loss": run.loss, "learning_rate": self.rate}
        if run.step % LOG_STEPS == 0:
            pace = round(self.pictures / max(run.seconds - self.seconds, 1e-9), 1)
            done = round(run.step / run.steps_per_epoch, 4)
            log(self.out, {"step": run.step, "epochs_done": done, **facts, "pictures_per_second": pace})
            self.pictures, self.seconds = 0, run.seconds
        if run.step % run.steps_per_epoch == 0:
            log(self.out, {"epoch": self.epoch, **facts, "candidates": self.candidates,
                           "validation_accuracy": natural_accuracy(run.network, self.validation),
                           "validation_worst_of_10": accuracy_under_attack(run.network, self.validation),
                           "seconds": round(run.seconds, 1)})  # fmt: skip
            self.draw()

    def draw(self) -> None:
        """The curves so far, as a page."""
        metrics = read_metrics(self.out)
        page = to_html([training_figure(metrics.epochs, metrics.steps)], f"{self.name}: training")
        write(self.out / PAGE, page.encode())


def _advance(run: Training, out: Path) -> int:
    """One step; a loss that is no number ends the training in all processes alike."""
    epoch, number = run.epoch + 1, run.step % run.steps_per_epoch + 1
    taken = run.advance()
    if not math.isfinite(run.loss):
        resumable = (out / CHECKPOINT).is_file()
        raise SpatialVizError(
            f"the loss became {run.loss} in epoch {epoch}, step {number} of {run.steps_per_epoch}; "
            f"{f'the last good checkpoint is {out / CHECKPOINT}' if resumable else 'there is no checkpoint yet'}. "
            "Lower --learning-rate"
        )
    return taken


@torch.no_grad()
def natural_accuracy(network: nn.Module, data: PictureSet) -> float | None:
    """Share of the pictures that are classified correctly as they are, in fp32; None where there are none."""
    if not len(data):
        return None
    device = next(network.parameters()).device
    folded = fold_batch_norm(network)
    correct = 0
    for part in torch.arange(len(data)).split(EVALUATION_BATCH):
        predicted: Tensor = folded(to_images(data.pictures[part]).to(device)).argmax(1)
        correct += int((predicted == data.labels[part].to(device)).sum())
    return correct / len(data)


def accuracy_under_attack(network: nn.Module, data: PictureSet) -> float | None:
    """Share of up to 500 of the pictures that stay right as they are and at ten random transforms within the paper's
    limits, always the same ones; None where there are no pictures."""
    if not len(data):
        return None
    count, height, width, channels = data.pictures.shape
    places = torch.arange(count) if count <= ATTACKED else torch.linspace(0, count - 1, ATTACKED).long()  # all classes
    classifier = Classifier(
        network, class_names=data.class_names, input_size=(height, width),
        mean=(0.0,) * channels, std=(1.0,) * channels,  # the network normalises
    )  # fmt: skip
    images, limits = to_images(data.pictures[places]), TransformGrid.paper((height, width))
    device = str(next(network.parameters()).device)
    try:
        result = WorstOfK(k=10)(classifier, images, data.labels[places], limits, indices=places, device=device)
    except SpatialVizError:
        return 0.0  # answers that are no numbers; the next loss, or the end of the training, says what to do about it
    finally:
        network.train()
    if not result.complete:
        raise KeyboardInterrupt  # an attack keeps what it has when it is interrupted; the training ends
    return float(result.robust.double().mean())
