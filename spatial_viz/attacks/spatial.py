"""Spatial attacks. Each looks for the most severe transform within the spatial limits.

The criterion (what counts as fooled) and the objective (what is made large) are the caller's. Every number of a result
is computed in fp32, and is reproduced by warping the picture with the transform found and adding the noise found.

Source: Engstrom et al., ICML 2019, section 4 (first-order, worst-of-k, grid).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from spatial_viz.attacks.base import ROWS, Attack, Report, SearchState, at_least, misclassified
from spatial_viz.errors import InvalidInput
from spatial_viz.landscape.dataset import worst_case
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.losses import cross_entropy
from spatial_viz.transforms.grids import AXES, TransformGrid, check_cost, draw_transforms


@dataclass(frozen=True)
class GridSearch(Attack):
    """Exhaustive search over a grid: the worst case of the loss landscape.

    Source: Engstrom et al., ICML 2019, section 4 ("grid search").
    """

    granularity: tuple[int, int, int] = (31, 5, 5)
    name: ClassVar[str] = "grid"

    def search(self, query: SearchState, report: Report) -> None:
        grid = replace(query.limits, granularity=self.granularity)
        for picture in range(len(query.images)):
            if query.criterion is misclassified and query.objective == "cross-entropy":
                image, label = query.images[picture], int(query.labels[picture])
                swept = sweep(query.classifier, image, label, grid, device=query.device, padding=query.padding)
                worst = worst_case(swept)
                query.ask(torch.tensor([picture]), worst.transform.tensor())
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

    def search(self, query: SearchState, report: Report) -> None:
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

    def search(self, query: SearchState, report: Report) -> None:
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

    def search(self, query: SearchState, report: Report) -> None:
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


def _ascend(query: SearchState, starts: Tensor, steps: int, step: Tensor, report: Report) -> None:
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
                logits, slope = query.value_and_grad(pictures, at)
            else:
                logits, slope = query.ask(pictures, at), torch.zeros_like(at)
            paths[chunk, :, number] = at.unflatten(0, (-1, restarts))
            losses[chunk, :, number] = cross_entropy(logits, query.labels[pictures]).unflatten(0, (-1, restarts))
            at = (at + step * slope.sign()).clamp(-query.reach, query.reach)
            report(int(chunk[0]) + len(chunk) * (number + 1) / (steps + 1), count)
