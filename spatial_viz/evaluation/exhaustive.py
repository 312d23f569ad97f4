"""Which pictures does the grid break? Exact, and with as few forward passes as that takes.

One misclassified transform settles a picture, so a picture is dropped once it is broken, and the extremes, which break
most pictures, are tried first. The verdicts are those of the full sweep, whatever the order. (An order that adapts to
what broke the shard's pictures so far was tried: 2 % fewer passes for those that break, too little for its keep.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spatial_viz.landscape.sweeps import check_finite
from spatial_viz.models.devices import fast_batch
from spatial_viz.models.inference import Inference
from spatial_viz.models.losses import cross_entropy
from spatial_viz.transforms.geometry import Padding
from spatial_viz.transforms.grids import TransformGrid

ROWS = 512
"""Questions asked at once: so many that batches are full, so few that little is asked about broken pictures."""


@dataclass
class Broken:
    """Per picture, all N long: whether no transform of the grid breaks it, the first that did (NaN: none), the
    cross-entropy and the class there, and how many forward passes the search took."""

    robust: Tensor
    transforms: Tensor
    losses: Tensor
    predicted: Tensor
    passes: Tensor


def break_pictures(
    runner: Inference,
    images: Tensor,
    labels: Tensor,
    grid: TransformGrid,
    padding: Padding,
    standing: Tensor,
    indices: Tensor,
    report: Callable[[int], None] | None = None,
) -> Broken:
    """Search the grid for one misclassified transform for every picture that is still ``standing``.

    Parameters
    ----------
    images, labels: N×C×H×W in [0, 1], N.
    standing: N times whether the picture is to be tried; the others (naturally misclassified) count as broken.
    indices: N numbers by which an error names a picture.
    report: called with the number of standing pictures after every round.
    """
    table, count = extremes_first(grid), len(images)
    images = images.to(runner.device)  # once, not in every round
    at_once = max(ROWS, fast_batch(runner.device, runner.precision, (images.shape[-2], images.shape[-1])))
    result = Broken(
        standing.clone(),
        torch.full((count, 3), torch.nan),
        torch.full((count,), torch.nan),
        torch.full((count,), -1),
        torch.zeros(count, dtype=torch.int64),
    )
    while len(table) and result.robust.any():
        alive = result.robust.nonzero()[:, 0]
        now, table = table.tensor_split([-(-at_once // len(alive))])
        pictures = alive.repeat(len(now))  # transform by transform, so that every batch mixes pictures
        transforms = now.repeat_interleave(len(alive), 0)
        logits, in_fp32, passes = runner.answer(images, transforms, pictures, padding)
        check_finite(logits, transforms, runner.name, indices[pictures])
        predicted = logits.argmax(1)
        wrong = (predicted != labels[pictures]).reshape(len(now), -1)
        result.passes[alive] += passes.reshape(len(now), -1).sum(0)
        fallen = wrong.any(0).nonzero()[:, 0]
        if len(fallen):
            rows = wrong[:, fallen].int().argmax(0) * len(alive) + fallen  # the first transform, in the order tried
            numbers = alive[fallen]
            approximate = rows[~in_fp32[rows]]
            if len(approximate):  # what is stored is computed in fp32
                logits[approximate] = runner.exact(images, transforms[approximate], pictures[approximate], padding)
            result.robust[numbers] = False
            result.transforms[numbers] = transforms[rows]
            result.losses[numbers] = cross_entropy(logits[rows], labels[numbers])
            result.predicted[numbers] = logits[rows].argmax(1)
        if report:
            report(int(result.robust.sum()))
    return result


def extremes_first(grid: TransformGrid) -> Tensor:
    """The transforms of a grid, those nearest to the spatial limits first, else in grid order; len×3."""
    table = grid.transforms()
    limits = torch.tensor(grid.limits).clamp(min=1e-9)
    return table[(table.abs() / limits).sum(1).argsort(descending=True, stable=True)]
