"""One transform: a rotation about the picture's centre, then a shift."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_viz.errors import InvalidInput


class Transform(NamedTuple):
    """``rotation`` in degrees, positive counter-clockwise; ``dx`` and ``dy`` in pixels of the model's input, positive
    right and down. Without arguments the identity.

    >>> Transform(14, 3, -1.5).describe()
    'turned 14° left, moved 3 px right and 1.5 px up'
    >>> Transform.from_query("12,1.5,-2")
    Transform(rotation=12.0, dx=1.5, dy=-2.0)
    """

    rotation: float = 0.0
    dx: float = 0.0
    dy: float = 0.0

    @classmethod
    def from_query(cls, text: str) -> Transform:
        """What `to_query` wrote.

        Raises
        ------
        InvalidInput: these are not three numbers.
        """
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            values = []
        if len(values) != 3 or not all(map(math.isfinite, values)):
            raise InvalidInput(
                f"a transform is three numbers, rotation, dx and dy, such as 12,1.5,-2; got {text[:80]!r}"
            )
        return cls(*values)

    def to_query(self) -> str:
        """For an address: three numbers, with commas between them."""
        return ",".join(f"{value:g}" for value in self)

    def tensor(self) -> Tensor:
        """1×3, float32, as `spatial_viz.transforms.geometry.warp` takes it."""
        return torch.tensor([self], dtype=torch.float32)

    def within(self, limits: Transform) -> Transform:
        """The nearest transform that is at most ``limits`` to either side."""
        return Transform(*(min(limit, max(-limit, value)) for value, limit in zip(self, limits, strict=True)))

    def describe(self) -> str:
        """As one says it.

        >>> Transform().describe()
        'not moved at all'
        """
        turn, right, down = round(float(self.rotation), 1), round(float(self.dx), 2), round(float(self.dy), 2)
        moves = []
        if right:
            moves.append(f"{abs(right):g} px {'right' if right > 0 else 'left'}")
        if down:
            moves.append(f"{abs(down):g} px {'down' if down > 0 else 'up'}")
        parts = []
        if turn:
            parts.append(f"turned {abs(turn):g}° {'left' if turn > 0 else 'right'}")
        if moves:
            parts.append("moved " + " and ".join(moves))
        return ", ".join(parts) or "not moved at all"


IDENTITY = Transform()
