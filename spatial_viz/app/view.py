"""What the shared controls ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from spatial_viz.models.classifier import Classifier
from spatial_viz.transforms.geometry import Padding
from spatial_viz.transforms.grids import TransformGrid


@dataclass(frozen=True)
class View:
    """What the visitor chose: everything that decides the landscape."""

    classifier: Classifier
    image: Tensor
    label: int | None
    grid: TransformGrid
    padding: Padding
    title: str

    @property
    def question(self) -> tuple[Any, ...]:
        return (self.classifier.name, self.image.numpy().tobytes(), self.label, self.grid, self.padding)
