"""A training in progress: the network, what moves it, and one step after the other."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spatial_viz.errors import InvalidInput, MissingFile
from spatial_viz.models.devices import fast_at_bf16
from spatial_viz.models.networks import WhitenedConvNet, build_network, load_weights
from spatial_viz.training.adversaries import worst_candidate, worst_noise
from spatial_viz.training.data import PictureSet, augment, to_images
from spatial_viz.training.distributed import Team
from spatial_viz.training.plan import TrainingPlan, candidates_at, epsilon_at
from spatial_viz.training.recipes import find_recipe
from spatial_viz.transforms.grids import TransformGrid, draw_transforms, paper_shift


class Training:
    """Everything that changes from step to step, and how it does.

    Parameters
    ----------
    pictures: those to train on, in memory; they move to a GPU that has room for them.
    team: the processes that share the work.

    ``step`` counts the steps that are done, ``loss`` is their running mean, ``seconds`` what they took.
    """

    def __init__(self, plan: TrainingPlan, pictures: PictureSet, team: Team) -> None:
        self.plan, self.team = plan, team
        self.recipe = find_recipe(plan.recipe, plan.data)
        self.steps_per_epoch = steps_per_epoch(len(pictures), plan)
        self.total = self.steps_per_epoch * plan.epochs
        height, width = pictures.pictures.shape[1:3]
        across, down = (self.recipe.translation * paper_shift(side) / paper_shift(32) for side in (width, height))
        self.limits = TransformGrid(self.recipe.rotation, across, down, (1, 1, 1))
        normalise, self.core = _networks(plan, pictures)
        self.network: nn.Module = nn.Sequential(normalise, self.core)
        self.network.to(team.device).to(memory_format=torch.channels_last)
        self.pictures = replace(pictures, pictures=_held(pictures.pictures, team.device))
        if plan.sync_batch_norm:
            if team.device.type != "cuda":
                raise InvalidInput("batch norm is computed together on GPUs only; leave --sync-batch-norm out")
            self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        self.called = team.wrap(self.network)
        self.optimiser = _optimiser(self.network, plan)
        self.average = Lookahead(self.network)
        self.step, self.loss, self.seconds = 0, 0.0, 0.0

    @property
    def epoch(self) -> int:
        """The one that the next step belongs to, from 0."""
        return self.step // self.steps_per_epoch

    @property
    def candidates(self) -> int:
        """How many random transforms each picture has at the next step."""
        return candidates_at(self.recipe, self.epoch, self.plan)

    @property
    def learning_rate(self) -> float:
        """Of the next step. One cycle: linear warm-up, then linear decay to zero (Smith, *Super-convergence*, 2018)."""
        plan, progress = self.plan, self.step / self.total
        if progress < plan.warm_up:
            return plan.learning_rate * (0.1 + 0.9 * progress / plan.warm_up)
        return plan.learning_rate * (1 - progress) / (1 - plan.warm_up)

    def next_batch(self) -> Tensor:
        """The places of the pictures of the next step, of all processes together."""
        generator = torch.Generator().manual_seed(self.plan.seed * 1000 + self.epoch)
        order = torch.randperm(len(self.pictures), generator=generator)
        first = self.step % self.steps_per_epoch * self.plan.batch
        return order[first : first + self.plan.batch]

    def advance(self) -> int:
        """Make one step and say how many pictures it took; draws are keyed by the places of the pictures."""
        started = time.monotonic()
        plan, recipe, device = self.plan, self.recipe, self.team.device
        batch, epoch, candidates = self.next_batch(), self.epoch, self.candidates
        places = self.team.share(batch)
        images = augment(self.pictures, places, epoch, plan.seed, recipe.crop).to(device)
        labels = self.pictures.labels[places].to(device)
        natural = images if recipe.invariance else None
        if recipe.epsilon:
            epsilon = epsilon_at(recipe, (self.step + 1) / self.total, plan)
            images = worst_noise(self.network, images, labels, epsilon)
        if candidates:
            draws = draw_transforms(self.limits, places.numpy() + epoch * len(self.pictures), candidates, plan.seed)
            images = worst_candidate(self.network, images, labels, draws.to(device))
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * group["times"]
        loss = _step(self, images, labels, natural, len(places) / len(batch))
        self.team.average_statistics(self.network)
        self.step += 1
        if plan.averaging and (self.step % plan.averaging == 0 or self.step == self.total):
            self.average.step(self.network, 0.95**5 * (self.step / self.total) ** 3)
        self.loss = 0.98 * self.loss + 0.02 * loss if self.loss else loss
        self.seconds += time.monotonic() - started
        return len(batch)

    def content(self) -> dict[str, Any]:
        """What a checkpoint keeps. All random draws are functions of seed and place, so there is no generator in it."""
        state = {"step": self.step, "loss": self.loss, "seconds": self.seconds}
        return {
            "network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(),
            "average": self.average.average, "state": state,
        }  # fmt: skip

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to what `content` gave."""
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.average.average = {name: value.to(self.team.device) for name, value in saved["average"].items()}
        state = saved["state"]
        self.step, self.loss, self.seconds = state["step"], state["loss"], state["seconds"]


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
    """Mean and standard deviation per channel of uint8 N×H×W×C pictures, in [0, 1], rounded to four digits; a channel
    that is the same everywhere, which nothing could be divided by, has 1."""
    values = pictures[:: max(1, len(pictures) // 5000)].float().div(255).flatten(0, 2)
    mean, std = values.mean(0).tolist(), values.std(0).tolist()
    return tuple(round(value, 4) for value in mean), tuple(round(value, 4) or 1.0 for value in std)


def _held(pictures: Tensor, device: torch.device) -> Tensor:
    """The pictures on the device where they leave it room to work, else where they are."""
    room = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    return pictures.to(device) if pictures.nbytes < room / 4 else pictures


def steps_per_epoch(count: int, plan: TrainingPlan) -> int:
    """How many batches ``count`` pictures make.

    A rest that is no whole batch is left out unless the plan says otherwise: the order is new in every epoch, so no
    picture stays out for good, and every step has the statistics of a whole batch. A rest with fewer than two pictures
    for each process is left out in any case: one picture alone tells batch norm nothing.
    """
    least = 2 * plan.processes
    if plan.batch < least:
        raise InvalidInput(f"{plan.processes} processes need a batch of {least} or more; got {plan.batch}")
    whole, rest = divmod(count, plan.batch)
    steps = whole + (plan.partial_batch and rest >= least)
    if not steps:
        raise InvalidInput(
            f"a batch of {plan.batch} needs as many training pictures; {count} are left "
            f"beside those for validation. Lower --batch or --validation, or add --partial-batch"
        )
    return steps


def _networks(plan: TrainingPlan, pictures: PictureSet) -> tuple[nn.Module, nn.Module]:
    """The normalisation, and the network that is trained behind it."""
    torch.manual_seed(plan.seed)
    normalise = Normalise(*channel_statistics(pictures.pictures))
    channels = pictures.pictures.shape[3]
    core = build_network(plan.network, classes=len(pictures.class_names), channels=channels)
    if plan.initial:
        if not Path(plan.initial).is_file():
            raise MissingFile(f"there are no weights at {plan.initial}; train them first, or leave --initial out")
        try:
            load_weights(core, load_file(plan.initial), shallower=True)
        except (SafetensorError, RuntimeError) as error:
            raise InvalidInput(
                f"{plan.initial} does not hold the weights of a {plan.network} for {len(pictures.class_names)} classes "
                f"and {channels} channels: {error}"
            ) from error
    elif isinstance(core, WhitenedConvNet):
        core.whiten(normalise(to_images(pictures.pictures[:: max(1, len(pictures) // 5000)])))
    return normalise, core


def _optimiser(network: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum. Vectors, which are biases and batch norm's scales, learn faster; a step shrinks them
    by as much as the other weights all the same."""
    vectors = [p for p in network.parameters() if p.ndim <= 1 and p.requires_grad]
    weights = [p for p in network.parameters() if p.ndim > 1 and p.requires_grad]
    groups = [
        {"params": weights, "times": 1.0, "weight_decay": plan.weight_decay},
        {"params": vectors, "times": plan.bias_rate, "weight_decay": plan.weight_decay / plan.bias_rate},
    ]
    return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=plan.momentum,
                           nesterov=plan.momentum > 0, fused=True)  # fmt: skip


def _step(run: Training, images: Tensor, labels: Tensor, natural: Tensor | None, share: float) -> float:
    """Move the weights by this process's ``share`` of a batch and by those of the others; the mean loss over all.

    ``natural``: the natural pictures, to whose predictions those for ``images`` are pulled.
    """
    run.network.train()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=fast_at_bf16(images.device)):
        logits = run.called(images if natural is None else torch.cat((images, natural))).float()
    loss = F.cross_entropy(logits[: len(labels)], labels, label_smoothing=run.plan.label_smoothing)
    if natural is not None:
        worst, as_they_are = logits.log_softmax(1).chunk(2)
        loss = loss + run.recipe.invariance * F.kl_div(worst, as_they_are, log_target=True, reduction="batchmean")
    run.optimiser.zero_grad(set_to_none=True)
    # The team averages the gradients, and the shares may differ in size.
    (loss * (share * run.team.size)).backward()
    run.optimiser.step()
    return run.team.mean(loss, share)
