"""TransformGrid: spatial limits and granularity → transforms; random draws from the same limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatial_viz.errors import InvalidInput
from spatial_viz.transforms.transform import Transform

AXES = Transform._fields
MAX_TRANSFORMS = 250_000
"""More transforms than this per picture are refused: on a laptop it would be minutes to hours."""


@dataclass(frozen=True)
class TransformGrid:
    """Every rotation × dx × dy within ``±rotation`` degrees, ``±dx`` and ``±dy`` pixels of the model's input.

    Parameters
    ----------
    rotation, dx, dy: the spatial limits; 0 holds that axis at 0.
    granularity: number of values of (rotation, dx, dy), evenly spaced over the limits; 1 means the single value 0.

    Raises
    ------
    InvalidInput: negative, infinite or NaN limits, rotation beyond 180, granularity below 1, or too many transforms.

    Examples
    --------
    >>> grid = TransformGrid.paper(32)
    >>> len(grid), grid.dx, grid.values("dx")
    (775, 3.0, (-3.0, -1.5, 0.0, 1.5, 3.0))
    >>> grid.transforms()[0]
    tensor([-30.,  -3.,  -3.])
    """

    rotation: float = 30.0
    dx: float = 3.0
    dy: float = 3.0
    granularity: tuple[int, int, int] = (31, 5, 5)

    def __post_init__(self) -> None:
        for axis in AXES:
            limit = getattr(self, axis)
            if not isinstance(limit, (int, float)) or not math.isfinite(limit) or limit < 0:
                unit = "degrees" if axis == "rotation" else "pixels"
                raise InvalidInput(f"the limit of {axis} must be a number of {unit}, 0 or more; got {limit!r}")
            object.__setattr__(self, axis, float(limit))
        if self.rotation > 180:
            raise InvalidInput(f"the limit of rotation must be at most 180 degrees; got {self.rotation:g}")
        granularity = tuple(self.granularity) if isinstance(self.granularity, Sequence) else (self.granularity,)
        if len(granularity) != 3 or not all(isinstance(n, (int, np.integer)) and n >= 1 for n in granularity):
            raise InvalidInput(
                "granularity must be three whole numbers of at least 1, in the order rotation, dx, dy "
                f"(the paper's is 31,5,5); got {','.join(map(str, granularity))}"
            )
        # An axis that may not move has one value, whatever granularity was asked for.
        effective = tuple(int(n) if getattr(self, axis) > 0 else 1 for axis, n in zip(AXES, granularity, strict=True))
        object.__setattr__(self, "granularity", effective)
        check_cost(
            f"granularity {','.join(map(str, granularity))}", math.prod(effective),
            "fewer values per axis (the paper: 31,5,5 = 775)",
        )  # fmt: skip

    @classmethod
    def paper(cls, input_size: int | tuple[int, int]) -> TransformGrid:
        """The paper's grid for pictures of ``input_size`` (int or (H, W)) pixels: ±30°, about ±10 %, 31×5×5 = 775.

        Source: Engstrom et al., ICML 2019, section 5; ±3 px at 32 and ±24 px at 224.
        """
        height, width = (input_size, input_size) if isinstance(input_size, int) else input_size
        return cls(30.0, float(paper_shift(width)), float(paper_shift(height)))

    def __len__(self) -> int:
        return math.prod(self.granularity)

    def values(self, axis: str) -> tuple[float, ...]:
        """The values of one axis, ascending, in degrees or pixels."""
        limit, count = getattr(self, axis), self.granularity[AXES.index(axis)]
        if count == 1:
            return (0.0,)
        return tuple(float(v) for v in np.linspace(-limit, limit, count))

    def axes(self) -> dict[str, np.ndarray]:
        """The values of the landscape's dimensions, in the order of `shape`."""
        return {axis: np.array(self.values(axis)) for axis in ("rotation", "dy", "dx")}

    @property
    def limits(self) -> Transform:
        """The largest rotation and shifts."""
        return Transform(self.rotation, self.dx, self.dy)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lengths of the landscape's dimensions (rotation, dy, dx)."""
        rotations, dxs, dys = self.granularity
        return rotations, dys, dxs

    @cached_property
    def _table(self) -> Tensor:
        axes = (torch.tensor(self.values(axis)) for axis in ("rotation", "dy", "dx"))
        rotation, dy, dx = torch.meshgrid(*axes, indexing="ij")
        return torch.stack((rotation.flatten(), dx.flatten(), dy.flatten()), dim=1)

    def transforms(self) -> Tensor:
        """All transforms, float32 len×3 of (rotation, dx, dy), in grid order: dx runs fastest, then dy."""
        return self._table.clone()

    def draw(self, count: int, seed: int = 0, picture: int = 0) -> Tensor:
        """``count`` random transforms, continuous and uniform within the limits: float32 count×3.

        Draw k depends on (seed, picture, k) alone, so a larger count only adds to a smaller one.
        """
        if count < 1:
            raise InvalidInput(f"the number of random transforms must be at least 1; got {count}")
        return draw_transforms(self, np.array([picture]), count, seed)[0]


def check_cost(setting: str, passes: int, instead: str) -> None:
    """Refuse a setting that takes more than MAX_TRANSFORMS forward passes for every picture."""
    if passes > MAX_TRANSFORMS:
        raise InvalidInput(
            f"{setting} means {passes:,} forward passes for every picture; "
            f"at most {MAX_TRANSFORMS:,} are allowed. Choose {instead}"
        )


def paper_shift(size: int) -> int:
    """The paper's translation limit in whole pixels for a side of ``size`` pixels: 3 on 32, 24 on 224."""
    return size * 24 // 224


def draw_transforms(grid: TransformGrid, pictures: np.ndarray, count: int, seed: int) -> Tensor:
    """Random transforms of many pictures: float32 len(pictures)×count×3, keyed by (seed, picture index, draw)."""
    unit = keyed_uniform(seed, pictures[:, None, None], np.arange(count)[None, :, None], np.arange(3)[None, None, :])
    limits = np.array(grid.limits)
    return torch.from_numpy(((2 * unit - 1) * limits).astype(np.float32))


def keyed_uniform(seed: int, *keys: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) that are a pure function of the seed and of integer keys (broadcast together).

    A chain of SplitMix64 finalisers (Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, 2014):
    no state, hence the same draw in any batch, order or process.
    """
    state = _mix(np.uint64(seed & 0xFFFFFFFFFFFFFFFF))
    with np.errstate(over="ignore"):
        for key in keys:
            state = _mix(state ^ (np.asarray(key).astype(np.uint64) * np.uint64(0xD1342543DE82EF95)))
    return (state >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def _mix(x: Any) -> Any:
    with np.errstate(over="ignore"):
        x = np.asarray(x, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
