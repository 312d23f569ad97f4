"""The training loop: one for all recipes, with checkpoints from which a killed run goes on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from spatial_viz.errors import InvalidInput, MissingFile, SpatialVizError
from spatial_viz.files import replace
from spatial_viz.geometry import warp
from spatial_viz.grids import TransformGrid, draw_transforms, paper_shift
from spatial_viz.losses import cross_entropy
from spatial_viz.networks import WhitenedConvNet, build_network, fold_batch_norm, load_weights
from spatial_viz.runner import fast_at_bf16
from spatial_viz.training.data import PictureSet, augment, split_validation, to_images
from spatial_viz.training.hardware import hardware
from spatial_viz.training.metrics import log
from spatial_viz.training.recipes import TrainingPlan, candidates_at, find_recipe
from spatial_viz.version import VERSION

EVALUATION_BATCH = 512
CHECKPOINT_SECONDS = 180


def train(plan: TrainingPlan, data: PictureSet, out: Path, device: str = "cpu", resume: bool = False) -> nn.Module:
    """Train by ``plan`` on ``data``; write checkpoints, metrics and the final float16 weights into ``out``.

    ``out`` receives ``plan.json``, ``metrics.jsonl`` (a line per epoch), ``checkpoint.pt`` and at the end
    ``weights.safetensors``. With ``resume`` a run that was cut off goes on where its last checkpoint stands.

    Source: robust optimisation, Engstrom et al., ICML 2019, section 4.
    """
    recipe = find_recipe(plan.recipe, plan.data)
    training, validation = split_validation(data, plan.validation)
    mean, std = channel_statistics(training.pictures)
    torch.manual_seed(plan.seed)
    height, width, channels = data.pictures.shape[1:]
    core = build_network(plan.network, classes=len(data.class_names), channels=channels)
    if plan.initial:
        if not Path(plan.initial).is_file():
            raise MissingFile(f"there are no weights at {plan.initial}; train them first, or leave --initial out")
        load_weights(core, load_file(plan.initial))
    elif isinstance(core, WhitenedConvNet):
        core.whiten(Normalise(mean, std)(to_images(training.pictures[:: max(1, len(training) // 5000)])))
    network = nn.Sequential(Normalise(mean, std), core).to(device).to(memory_format=torch.channels_last)
    optimiser = _optimiser(network, plan)
    average = Lookahead(network)
    steps_per_epoch = len(training) // plan.batch
    if not steps_per_epoch:
        raise InvalidInput(
            f"a batch of {plan.batch} needs as many training pictures; {len(training)} are left of {len(data)} "
            f"after {plan.validation} for validation. Lower --batch or --validation"
        )
    total = steps_per_epoch * plan.epochs
    state = _start(out, plan, network, optimiser, average, resume)
    across, down = (recipe.translation * paper_shift(side) / paper_shift(32) for side in (width, height))
    limits = TransformGrid(recipe.rotation, across, down, (1, 1, 1))

    versions = {"spatial_viz": VERSION, "torch": torch.__version__}
    log(out, {"hardware": hardware(torch.device(device)), "versions": versions})
    saved_at = time.monotonic()
    seconds = state["seconds"]
    for epoch in range(state["step"] // steps_per_epoch, plan.epochs):
        order = torch.randperm(len(training), generator=torch.Generator().manual_seed(plan.seed * 1000 + epoch))
        candidates = candidates_at(recipe, epoch, plan)
        first = state["step"] - epoch * steps_per_epoch
        bar = tqdm(
            _batches(order, plan.batch, first, steps_per_epoch),
            initial=first, total=steps_per_epoch, desc=f"epoch {epoch + 1}/{plan.epochs}", mininterval=5,
        )  # fmt: skip
        for indices in bar:
            started = time.monotonic()
            images = augment(training, indices, epoch, plan.seed, recipe.crop).to(device)
            labels = training.labels[indices].to(device)
            natural = images if recipe.invariance else None
            if recipe.epsilon:
                images = worst_noise(network, images, labels, recipe.epsilon)
            if candidates:
                draws = draw_transforms(limits, indices.numpy() + epoch * len(training), candidates, plan.seed)
                images = worst_candidate(network, images, labels, draws.to(device))
            rate = _learning_rate(plan, state["step"] / total)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["times"]
            loss = _step(network, optimiser, images, labels, plan.label_smoothing, natural, recipe.invariance)
            if not math.isfinite(loss):
                raise SpatialVizError(
                    f"the loss became {loss} in epoch {epoch + 1}, step {state['step']}; "
                    f"the last good checkpoint is in {out}. Lower --learning-rate"
                )
            state["step"] += 1
            if plan.averaging and (state["step"] % plan.averaging == 0 or state["step"] == total):
                average.step(network, 0.95**5 * (state["step"] / total) ** 3)
            state["loss"] = 0.98 * state["loss"] + 0.02 * loss if state["loss"] else loss
            seconds += time.monotonic() - started
            bar.set_postfix(loss=f"{state['loss']:.3f}", lr=f"{rate:.3f}", refresh=False)
            if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                _save(out, plan, network, optimiser, average, {**state, "seconds": seconds})
                saved_at = time.monotonic()
        accuracy = natural_accuracy(network, validation)
        log(out, {"epoch": epoch + 1, "loss": state["loss"], "learning_rate": rate, "candidates": candidates,
                   "validation_accuracy": accuracy, "seconds": round(seconds, 1)})  # fmt: skip
        _save(out, plan, network, optimiser, average, {**state, "seconds": seconds})
    save_weights(core, out / "weights.safetensors")
    return network


class Normalise(nn.Module):
    """(x - mean) / std per channel, for pictures in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Lookahead:
    """A running average of a network's weights and batch-norm statistics to which the network is set back.

    Source: Zhang et al., *Lookahead optimizer*, NeurIPS 2019; the growing ``decay`` is Jordan's (2024).
    """

    def __init__(self, network: nn.Module) -> None:
        self.average = {k: v.clone() for k, v in network.state_dict().items() if v.is_floating_point()}

    @torch.no_grad()
    def step(self, network: nn.Module, decay: float) -> None:
        """average ← decay · average + (1 − decay) · weights; weights ← average."""
        for name, value in network.state_dict().items():
            if name in self.average:
                self.average[name].lerp_(value, 1 - decay)
                value.copy_(self.average[name])


def channel_statistics(pictures: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of uint8 N×H×W×C pictures, in [0, 1], rounded to four digits."""
    values = pictures[:: max(1, len(pictures) // 5000)].float().div(255).flatten(0, 2)
    return tuple(round(v, 4) for v in values.mean(0).tolist()), tuple(round(v, 4) for v in values.std(0).tolist())


@torch.no_grad()
def worst_candidate(network: nn.Module, images: Tensor, labels: Tensor, draws: Tensor) -> Tensor:
    """Of each picture's candidate transforms (``draws``: N×k×3) apply the one with the highest loss.

    The losses are those of the network in evaluation mode with batch norm folded, in bf16 where that is fast: they
    only choose.
    """
    if draws.shape[1] == 1:
        return warp(images, draws[:, 0]).contiguous(memory_format=torch.channels_last)
    dtype = torch.bfloat16 if fast_at_bf16(images.device) else torch.float32
    judge = fold_batch_norm(network).to(dtype)
    worst = torch.full((len(images),), -math.inf, device=images.device)
    chosen = torch.empty_like(images)
    for candidate in draws.unbind(1):
        warped = warp(images, candidate).contiguous(memory_format=torch.channels_last)
        loss = cross_entropy(judge(warped.to(dtype)), labels)
        higher = loss > worst
        worst = torch.where(higher, loss, worst)
        chosen[higher] = warped[higher]
    network.train()
    return chosen


@torch.no_grad()
def natural_accuracy(network: nn.Module, data: PictureSet) -> float:
    """Share of the pictures that are classified correctly as they are, in fp32."""
    device = next(network.parameters()).device
    folded = fold_batch_norm(network)
    correct = 0
    for start in range(0, len(data), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        predicted = folded(to_images(data.pictures[part]).to(device)).argmax(1)
        correct += int((predicted == data.labels[part].to(device)).sum())
    network.train()
    return correct / max(1, len(data))


def save_weights(network: nn.Module, path: Path) -> None:
    """The state as float16 safetensors, contiguous, counters of batch norm left out."""
    state = {
        name: value.detach().cpu().to(torch.float16).contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    replace(path, lambda partial: save_file(state, partial))


def worst_noise(network: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """The pictures with ℓ∞ noise that raises the loss of the network in evaluation mode: foolbox's projected gradient
    descent, seven steps of a quarter of ``epsilon`` from the pictures themselves."""
    import foolbox

    model = foolbox.models.pytorch.PyTorchModel(network.eval(), bounds=(0, 1), device=images.device)
    attack = foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=7, random_start=False)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=fast_at_bf16(images.device)):
        noisy: Tensor = attack.run(model, images, foolbox.criteria.Misclassification(labels), epsilon=epsilon)
    network.train()
    return noisy.detach().contiguous(memory_format=torch.channels_last)


def _step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    smoothing: float,
    natural: Tensor | None,
    invariance: float,
) -> float:
    """``natural``: the pictures as they are, to whose predictions those for ``images`` are pulled."""
    network.train()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=fast_at_bf16(images.device)):
        logits = network(images if natural is None else torch.cat((images, natural))).float()
    loss = F.cross_entropy(logits[: len(labels)], labels, label_smoothing=smoothing)
    if natural is not None:
        worst, as_they_are = logits.log_softmax(1).chunk(2)
        loss = loss + invariance * F.kl_div(worst, as_they_are, log_target=True, reduction="batchmean")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def _optimiser(network: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum. A step shrinks biases by as much as weights, however fast they learn."""
    biases = [p for p in network.parameters() if p.ndim <= 1 and p.requires_grad]
    weights = [p for p in network.parameters() if p.ndim > 1 and p.requires_grad]
    groups = [
        {"params": weights, "times": 1.0, "weight_decay": plan.weight_decay},
        {"params": biases, "times": plan.bias_rate, "weight_decay": plan.weight_decay / plan.bias_rate},
    ]
    return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=plan.momentum, nesterov=True, fused=True)


def _learning_rate(plan: TrainingPlan, progress: float) -> float:
    """One cycle: linear warm-up, then linear decay to zero (Smith, *Super-convergence*, 2018)."""
    if progress < plan.warm_up:
        return plan.learning_rate * (0.1 + 0.9 * progress / plan.warm_up)
    return plan.learning_rate * (1 - progress) / (1 - plan.warm_up)


def _batches(order: Tensor, batch: int, first: int, count: int) -> Iterator[Tensor]:
    for step in range(first, count):
        yield order[step * batch : (step + 1) * batch]


def _start(
    out: Path, plan: TrainingPlan, network: nn.Module, optimiser: Any, average: Lookahead, resume: bool
) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    if not checkpoint.exists() or not resume:
        if checkpoint.exists():
            raise InvalidInput(f"{out} holds a checkpoint already; add --resume to go on, or choose another --out")
        replace(out / "plan.json", lambda partial: partial.write_text(json.dumps(asdict(plan), indent=2)))
        return {"step": 0, "loss": 0.0, "seconds": 0.0}
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if saved["plan"] != asdict(plan):
        changed = [name for name, value in asdict(plan).items() if saved["plan"].get(name) != value]
        raise InvalidInput(f"the checkpoint in {out} was made with another {', '.join(changed)}; choose another --out")
    network.load_state_dict(saved["network"])
    optimiser.load_state_dict(saved["optimiser"])
    average.average = saved["average"]
    return saved["state"]


def _save(
    out: Path, plan: TrainingPlan, network: nn.Module, optimiser: Any, average: Lookahead, state: dict[str, Any]
) -> None:
    content = {
        "plan": asdict(plan), "network": network.state_dict(), "optimiser": optimiser.state_dict(),
        "average": average.average, "state": state,
    }  # fmt: skip
    replace(out / "checkpoint.pt", lambda partial: torch.save(content, partial))
