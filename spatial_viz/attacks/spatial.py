"""Attacks: one call shape, one result type. Each looks for the most severe transform within the spatial limits.

The criterion (what counts as fooled) and the objective (what is made large) are the caller's. Every number of a result
is computed in fp32, and is reproduced by warping the picture with the transform found and adding the noise found.

Source: Engstrom et al., ICML 2019, section 4 (first-order, worst-of-k, grid) and its combination with ℓ∞ noise.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from spatial_viz.attacks.base import ROWS, Attack, AttackResult, Query, Report, at_least, misclassified, targeted
from spatial_viz.errors import InvalidInput, did_you_mean
from spatial_viz.landscape.dataset import worst_case
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.inference import Runner
from spatial_viz.models.losses import cross_entropy
from spatial_viz.transforms.grids import AXES, TransformGrid, check_cost, draw_transforms, keyed_uniform

__all__ = [
    "Attack", "AttackResult", "Combined", "FirstOrder", "GridSearch", "Linf", "Random", "Refine", "WorstOfK",
    "make_attack", "misclassified", "targeted",
]  # fmt: skip


@dataclass(frozen=True)
class GridSearch(Attack):
    """Exhaustive search over a grid: the worst case of the loss landscape.

    Source: Engstrom et al., ICML 2019, section 4 ("grid search").
    """

    granularity: tuple[int, int, int] = (31, 5, 5)
    name: ClassVar[str] = "grid"

    def search(self, query: Query, report: Report) -> None:
        grid = replace(query.limits, granularity=self.granularity)
        for picture in range(len(query.images)):
            if query.criterion is misclassified and query.objective == "cross-entropy":
                image, label = query.images[picture], int(query.labels[picture])
                swept = sweep(query.classifier, image, label, grid, device=query.device, padding=query.padding)
                worst = worst_case(swept)
                query.ask(torch.tensor([picture]), torch.tensor([[worst.rotation, worst.dx, worst.dy]]))
                query.count(torch.tensor([picture]), times=len(grid) - 1)
                query.fooled[picture] = int((swept["predicted"] != label).sum())
                query.tried[picture] = len(grid)
            else:
                query.ask_all(torch.full((len(grid),), picture), grid.transforms())
            report(picture + 1, len(query.images))


@dataclass(frozen=True)
class WorstOfK(Attack):
    """The worst of k random transforms, drawn uniformly and continuously within the limits.

    Source: Engstrom et al., ICML 2019, section 4 ("worst-of-k").
    """

    k: int = 10
    name: ClassVar[str] = "worst-of-k"

    def __post_init__(self) -> None:
        at_least("k", self.k, 1)
        check_cost(f"k = {self.k:,}", self.k, "a smaller k")

    def search(self, query: Query, report: Report) -> None:
        for pictures in query.every.split(max(1, ROWS // self.k)):
            draws = draw_transforms(query.limits, query.indices[pictures].numpy(), self.k, query.seed)
            query.ask_all(pictures.repeat_interleave(self.k), draws.flatten(0, 1))
            report(int(pictures[-1]) + 1, len(query.images))


@dataclass(frozen=True)
class Random(WorstOfK):
    """A single random transform."""

    k: int = 1
    name: ClassVar[str] = "random"


@dataclass(frozen=True)
class FirstOrder(Attack):
    """Projected gradient ascent on (rotation, dx, dy) through the differentiable warp, from random starts.

    A step goes ``step_size`` (degrees, pixels, pixels; by default a thirtieth of each limit) along the sign of each
    gradient, then back into the limits. Every transform on the way counts, not just the last. ``starts``: transforms
    (degrees, pixels, pixels) to begin from, for every picture, in the place of ``restarts`` random ones.

    Source: Engstrom et al., ICML 2019, section 4 ("first-order method"): 200 steps.
    """

    steps: int = 200
    step_size: tuple[float, float, float] | None = None
    restarts: int = 1
    starts: tuple[tuple[float, float, float], ...] = ()
    name: ClassVar[str] = "first-order"

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 0)
        at_least("restarts", self.restarts, 1)
        if not all(len(start) == 3 for start in self.starts):
            raise InvalidInput(f"starts must be triples (degrees, px, px); got {self.starts}")
        check_cost(
            f"restarts = {self.restarts:,} with steps = {self.steps:,}",
            (len(self.starts) or self.restarts) * (self.steps + 1), "fewer restarts or steps",
        )  # fmt: skip
        if self.step_size is not None and not (len(self.step_size) == 3 and all(size >= 0 for size in self.step_size)):
            raise InvalidInput(f"step_size must be three numbers (degrees, px, px), 0 or more; got {self.step_size}")

    def search(self, query: Query, report: Report) -> None:
        if self.starts:
            within = torch.tensor(self.starts).clamp(-query.reach, query.reach)
            starts = within.expand(len(query.images), -1, -1)
        else:
            starts = draw_transforms(query.limits, query.indices.numpy(), self.restarts, query.seed)
        step = query.reach / 30 if self.step_size is None else torch.tensor(self.step_size)
        _ascend(query, starts, self.steps, step, report)


@dataclass(frozen=True)
class Refine(Attack):
    """Grid search, then gradient ascent from the ``top`` most severe cells: what lies between the grid points?

    Never behind the grid in the severity order, because the grid's answer is among the candidates. A step is a
    twentieth of the grid's spacing.
    """

    granularity: tuple[int, int, int] = (31, 5, 5)
    top: int = 5
    steps: int = 20
    name: ClassVar[str] = "refine"

    def __post_init__(self) -> None:
        at_least("top", self.top, 1)
        at_least("steps", self.steps, 0)
        check_cost(
            f"top = {self.top:,} with steps = {self.steps:,}", self.top * (self.steps + 1), "fewer cells or steps"
        )

    def search(self, query: Query, report: Report) -> None:
        grid = replace(query.limits, granularity=self.granularity)
        cells = grid.transforms()
        starts = torch.zeros(len(query.images), min(self.top, len(grid)), 3)
        for picture in range(len(query.images)):
            rows = torch.full((len(grid),), picture)
            order = query.severity(rows, cells, query.ask(rows, cells))
            starts[picture] = cells[order[: self.top].copy()]
            report(picture + 1, len(query.images))
        _ascend(query, starts, self.steps, spacing(grid) / 20, report)


def spacing(grid: TransformGrid) -> Tensor:
    """The distance between neighbouring values of (rotation, dx, dy); 0 where there is one value."""
    pairs = zip(AXES, grid.granularity, strict=True)
    return torch.tensor([2 * getattr(grid, axis) / (n - 1) if n > 1 else 0.0 for axis, n in pairs])


def _ascend(query: Query, starts: Tensor, steps: int, step: Tensor, report: Report) -> None:
    """Follow the gradient from N×R×3 starts; the paths are kept in the query, NaN where they did not come to."""
    count, restarts = starts.shape[:2]
    paths = torch.full((count, restarts, steps + 1, 3), torch.nan)
    losses = torch.full((count, restarts, steps + 1), torch.nan)
    query.paths, query.path_losses = paths, losses
    for chunk in query.every.split(max(1, ROWS // restarts)):
        pictures = chunk.repeat_interleave(restarts)
        at = starts[chunk].flatten(0, 1)
        for number in range(steps + 1):
            if number < steps:
                logits, slope = query.ask_slope(pictures, at)
            else:
                logits, slope = query.ask(pictures, at), torch.zeros_like(at)
            paths[chunk, :, number] = at.unflatten(0, (-1, restarts))
            losses[chunk, :, number] = cross_entropy(logits, query.labels[pictures]).unflatten(0, (-1, restarts))
            at = (at + step * slope.sign()).clamp(-query.reach, query.reach)
            report(int(chunk[0]) + len(chunk) * (number + 1) / (steps + 1), count)


@dataclass(frozen=True)
class Linf(Attack):
    """Noise within ±epsilon at every pixel, by foolbox's projected gradient descent with a keyed random start.

    Nothing moves: the limits are not used. Criterion and objective are the usual ones.

    Source: Madry et al., *Towards deep learning models resistant to adversarial attacks*, ICLR 2018.
    """

    epsilon: float = 8 / 255
    steps: int = 40
    name: ClassVar[str] = "linf"

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)
        check_cost(f"steps = {self.steps:,}", self.steps, "fewer steps")
        if not 0 <= self.epsilon <= 1:
            raise InvalidInput(f"epsilon must be between 0 and 1, the range of a pixel; got {self.epsilon:g}")

    def search(self, query: Query, report: Report) -> None:
        if query.criterion is not misclassified or query.objective != "cross-entropy":
            raise InvalidInput("the noise raises the cross-entropy of the true class; it has no other objective")
        pictures = query.at(query.best()[0])
        query.noise = torch.zeros_like(pictures)
        if not self.epsilon:
            return
        keys = query.indices.numpy()[:, None], np.arange(pictures[0].numel())[None]
        unit = torch.from_numpy(keyed_uniform(query.seed, np.array(1), *keys)).float().reshape(pictures.shape)
        noisy = pictures + self.epsilon * (2 * unit - 1)
        count, size = len(pictures), (pictures.shape[-2], pictures.shape[-1])

        def ask(network: nn.Module, rows: Tensor) -> Tensor:
            return _linf_step(query.runner, network, pictures[rows], noisy[rows], query.labels[rows], self.epsilon)

        for number in range(self.steps):
            done = 0
            with contextlib.closing(query.runner.batches("fp32", count, size, ask)) as parts:
                for found in parts:
                    these = slice(done, done + len(found))
                    noisy[these], query.noise[these] = found, found - pictures[these]
                    query.count(query.every[these])
                    query.count(query.every[these], backward=True)
                    done += len(found)
                    report((number * count + done) / self.steps, count)


def _linf_step(
    runner: Runner, network: nn.Module, pictures: Tensor, noisy: Tensor, labels: Tensor, epsilon: float
) -> Tensor:
    """One step of foolbox's projected gradient descent around pictures, from where the noise has brought them."""
    import foolbox

    class Step(foolbox.attacks.LinfPGD):
        def get_random_start(self, x0: Any, epsilon: float) -> Any:
            return type(x0)(noisy.to(runner.device))

    model = foolbox.models.pytorch.PyTorchModel(_Logits(runner, network).eval(), bounds=(0, 1), device=runner.device)
    criterion = foolbox.criteria.Misclassification(labels.to(runner.device))
    with torch.enable_grad():
        return Step(steps=1).run(model, pictures.to(runner.device), criterion, epsilon=epsilon).cpu()


class _Logits(nn.Module):
    """A classifier for foolbox: pictures in [0, 1] → logits."""

    def __init__(self, runner: Runner, network: nn.Module) -> None:
        super().__init__()
        self.runner, self.network = runner, network

    def forward(self, images: Tensor) -> Tensor:
        return self.runner.classify(images, network=self.network)


@dataclass(frozen=True)
class Combined(Attack):
    """ℓ∞ noise on top of the transform that a spatial attack found: the two add up.

    Source: Engstrom et al., ICML 2019, on combining spatial and ℓ∞-bounded perturbations.
    """

    spatial: Attack = field(default_factory=GridSearch)
    noise: Linf = field(default_factory=Linf)
    name: ClassVar[str] = "combined"

    def search(self, query: Query, report: Report) -> None:
        self.spatial.search(query, report)
        self.noise.search(query, report)


ATTACKS: dict[str, type[Attack]] = {
    kind.name: kind for kind in (GridSearch, WorstOfK, Random, FirstOrder, Refine, Linf, Combined)
}


def make_attack(name: str, **settings: Any) -> Attack:
    """An attack by its name; of the settings it takes those that it has.

    >>> make_attack("worst-of-k", k=3, steps=7).k
    3
    """
    if name not in ATTACKS:
        raise InvalidInput(f"unknown attack {name!r}{did_you_mean(name, ATTACKS)}")
    if name == "combined":
        own = {key: settings[key] for key in ("criterion", "objective") if key in settings}
        return Combined(spatial=make_attack("grid", **settings), noise=make_attack("linf", **settings), **own)  # type: ignore[arg-type]
    taken = {each.name for each in fields(ATTACKS[name])} - ({"k"} if name == "random" else set())
    return ATTACKS[name](**{key: value for key, value in settings.items() if key in taken})
