"""A toy classifier with a closed-form landscape, and the most robust of those that ship."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spatial_viz.evaluation.intervals import wilson
from spatial_viz.models.cards import MeasuredAccuracy, ModelCard
from spatial_viz.models.registry import manifest, without_mirrors

SIZE = 32
RADIUS = 8.0  # pixels from the centre to the blob of the toy picture


class Centroid(nn.Module):
    """Two classes; the second logit is ``a·X + b·Y + c`` of the picture's centre of mass (X right, Y down)."""

    a, b, c = 0.2, 0.5, -2.5

    def forward(self, x: Tensor) -> Tensor:
        grey = x.mean(1)
        height, width = grey.shape[1:]
        columns = torch.arange(width, dtype=x.dtype, device=x.device) - (width - 1) / 2
        rows = torch.arange(height, dtype=x.dtype, device=x.device) - (height - 1) / 2
        mass = grey.sum((1, 2))
        right = (grey * columns).sum((1, 2)) / mass
        down = (grey * rows[:, None]).sum((1, 2)) / mass
        second = self.a * right + self.b * down + self.c
        return torch.stack((torch.zeros_like(second), second), dim=1)


def blob(right: float, down: float, size: int = SIZE, width: float = 1.5) -> Tensor:
    position = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    square = (position[None, :] - right) ** 2 + (position[:, None] - down) ** 2
    return torch.exp(-square / (2 * width**2)).float()[None]


def toy_logit(rotation: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The second logit in closed form: the blob turns counter-clockwise about the centre, then moves."""
    angle = np.deg2rad(rotation)
    right, down = RADIUS * np.cos(angle) + dx, -RADIUS * np.sin(angle) + dy
    return Centroid.a * right + Centroid.b * down + Centroid.c


def model_card(name: str, natural: float, grid: float, **changes: Any) -> ModelCard:
    """A card as those that ship, of ``DATA/RECIPE``, with such accuracies of 10,000 (natural and random) and of 1,000
    test pictures (worst of ten and grid)."""
    data, recipe = name.split("/")
    easy, hard = (10_000, natural), (1000, grid)
    shares = {"natural": easy, "random": easy, "worst_of_10": hard, "grid": hard}
    accuracies = {key: MeasuredAccuracy(n, share, *wilson(round(share * n), n)) for key, (n, share) in shares.items()}
    return replace(manifest()[0], name=name, data=data, recipe=recipe, accuracies=accuracies, **changes)


def most_robust(data: str) -> ModelCard:
    """The card of the shipped classifier of a data set, of those without a mirror, that is right most often at every
    transform of the grid."""
    trained = [card for card in without_mirrors(manifest()) if card.data == data]
    return max(trained, key=lambda card: card.accuracies["grid"].accuracy)


class Net(nn.Module):
    """A linear network, and anything that it holds beside it."""

    scale = 1.0

    def __init__(self, **held: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3, 4)
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.mean((2, 3))) * self.scale
