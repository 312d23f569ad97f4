"""What a pass in bf16 leaves open when no gap between two logits is off by more than a ``margin_error``."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from spatial_viz.models.losses import cross_entropy


def close_calls(logits: Tensor, margin_error: float) -> Tensor:
    """True for rows whose two best classes are so close that bf16 might have swapped them; N×K → N."""
    best = logits.topk(2, dim=1).values
    return (best[:, 0] - best[:, 1]) <= margin_error


def could_be_worst(logits: Tensor, exact: Tensor, label: int, margin_error: float) -> Iterator[Tensor]:
    """Rows to compute again, a few at a time, until no approximate row can hold the highest loss.

    The loss is log(1 + S) with S = Σ exp(z_j - z_label). If no gap is off by more than ``margin_error``, the true
    loss is at most log(1 + S·exp(margin_error)). Between steps the caller replaces these rows of ``logits`` and sets
    ``exact``.
    """
    labels = torch.full((len(logits),), label)
    candidates = logits.argmax(1) != label  # certain: the close calls have been computed again
    if not candidates.any():
        candidates[:] = True
    step = 8  # the first few mostly settle it
    while True:
        loss = cross_entropy(logits, labels)
        highest = torch.log1p(torch.expm1(loss.double()) * math.exp(margin_error))
        open_rows = candidates & ~exact
        proven = loss[candidates & exact].max() if (candidates & exact).any() else torch.tensor(-math.inf)
        rows = (open_rows & (highest >= proven)).nonzero()[:, 0]
        if not len(rows):
            return
        yield rows[loss[rows].argsort(descending=True)][:step]
        step *= 2


def largest_move(approximate: Tensor, true: Tensor) -> float:
    """By how much the gap between any two logits of a row differs at most: the spread of the row's errors."""
    error = approximate - true
    return float((error.amax(1) - error.amin(1)).max())
