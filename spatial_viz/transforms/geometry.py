"""THE warp: rotate by degrees, then translate by pixels, in one bilinear resampling."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_viz.errors import InvalidInput

Padding = Literal["black", "reflect", "edge"]
PADDINGS: tuple[str, ...] = get_args(Padding)


def check_padding(padding: str) -> None:
    if padding not in PADDINGS:
        raise InvalidInput(f"padding must be one of {', '.join(PADDINGS)}; got {padding!r}")


def warp(images: Tensor, transforms: Tensor, padding: Padding = "black") -> Tensor:
    """Rotate, then translate, each picture by its own transform.

    Convention
    ----------
    * A transform is ``(rotation, dx, dy)``: rotation in degrees, positive turns the picture counter-clockwise
      as displayed; ``dx`` and ``dy`` in pixels, positive moves the picture right and down.
    * The picture is rotated about its centre ``((W-1)/2, (H-1)/2)`` first and translated second. Pixel centres lie on
      integers, axis order is N×C×H×W, and a unit of x is as long as a unit of y: non-square pictures do not shear.
    * One bilinear resampling. Outside the picture: ``black`` is 0, ``edge`` repeats the border pixel, ``reflect``
      mirrors about the centre of the border pixel (no pixel twice).

    Parameters
    ----------
    images: N×C×H×W or 1×C×H×W, any floating dtype and device. One picture with many transforms is not copied in memory.
    transforms: N×3, or 1×3 for one transform of every picture. Gradients flow to it, and to ``images``.

    Returns
    -------
    N×C×H×W tensor of the dtype of ``images``. Coordinates are computed in at least float32.

    Raises
    ------
    InvalidInput: shapes that do not match, an integer dtype, an unknown padding.

    Examples
    --------
    >>> picture = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    >>> warp(picture, torch.tensor([[90.0, 0.0, 0.0]])).round(decimals=3)  # a quarter turn to the left
    tensor([[[[2., 4.],
              [1., 3.]]]])
    >>> warp(picture, torch.tensor([[0.0, 1.0, 0.0]])).round(decimals=3)  # one pixel to the right
    tensor([[[[0., 1.],
              [0., 3.]]]])

    Source: Engstrom et al., ICML 2019, section 3 (rotation θ and translation δu, δv of the pixel grid).
    """
    check_padding(padding)
    if images.ndim != 4 or not images.is_floating_point():
        raise InvalidInput(
            f"images must be a floating N×C×H×W tensor; got {images.dtype} of shape {tuple(images.shape)}"
        )
    if transforms.ndim != 2 or transforms.shape[1] != 3:
        raise InvalidInput(
            f"transforms must be an N×3 tensor of (rotation, dx, dy); got shape {tuple(transforms.shape)}"
        )
    count = max(len(images), len(transforms))
    if len(images) not in (1, count) or len(transforms) not in (1, count):
        raise InvalidInput(
            f"{len(images)} pictures and {len(transforms)} transforms do not match: "
            "give as many of each, or one of either"
        )
    precision = torch.promote_types(images.dtype, torch.float32)
    height, width = images.shape[2:]
    x, y = _source_coordinates(transforms.to(images.device, precision), height, width)
    if padding == "reflect":
        x, y = _mirror(x, width), _mirror(y, height)
    # grid_sample with align_corners=False reads pixel p at (2p + 1) / size - 1; unlike the other mode it also
    # works for sizes of one pixel.
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    warped = F.grid_sample(
        images.to(precision).expand(count, -1, -1, -1),
        grid.expand(count, -1, -1, -1),
        mode="bilinear",
        padding_mode="zeros" if padding == "black" else "border",
        align_corners=False,
    )
    return warped.to(images.dtype)


def _source_coordinates(transforms: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where in the input each output pixel is read: the inverse of the transform. Two N×H×W tensors in pixels."""
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    angle, dx, dy = torch.deg2rad(transforms[:, 0]), transforms[:, 1], transforms[:, 2]
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    rows = torch.arange(height, device=transforms.device, dtype=transforms.dtype)
    columns = torch.arange(width, device=transforms.device, dtype=transforms.dtype)
    u = (columns - centre_x)[None, None, :] - dx[:, None, None]
    v = (rows - centre_y)[None, :, None] - dy[:, None, None]
    # With y downwards, a counter-clockwise turn takes (x, y) to (x cos + y sin, y cos - x sin); this is its inverse.
    return u * cos - v * sin + centre_x, u * sin + v * cos + centre_y


def _mirror(position: Tensor, size: int) -> Tensor:
    """Fold coordinates into [0, size - 1], mirroring about the outermost pixel centres."""
    if size == 1:
        return torch.zeros_like(position)
    last = size - 1
    return last - (torch.remainder(position, 2 * last) - last).abs()
