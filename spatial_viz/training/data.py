"""The training pictures: decoded once, held as uint8, augmented in batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatial_viz.datasets import PictureFolder, load_dataset
from spatial_viz.errors import InvalidInput
from spatial_viz.grids import keyed_uniform
from spatial_viz.images import CLASS_NAMES

NOT_MIRRORED = ("mnist",)
"""Data sets whose pictures mean something else in the mirror."""


@dataclass(frozen=True)
class PictureSet:
    """``pictures``: uint8 N×H×W×C; ``labels``: int64 N; ``class_names``: K names; ``mirrored``: whether a picture
    means the same in the mirror, so that training may flip it."""

    pictures: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    mirrored: bool = True

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> PictureSet:
        return replace(self, pictures=self.pictures[indices], labels=self.labels[indices])


def read(name: str, root: Path, split: str, download: bool = False) -> PictureSet:
    """Every picture of a data set (`spatial_viz.datasets.load_dataset`), decoded; all must have one size and mode."""
    dataset: Any = load_dataset(name, root, split, download)
    with ThreadPoolExecutor() as pool:
        samples = list(pool.map(dataset.__getitem__, range(len(dataset))))
    grey = all(picture.mode == "L" for picture, _ in samples)
    pictures = [np.asarray(picture.convert("L" if grey else "RGB")) for picture, _ in samples]
    height, width = pictures[0].shape[:2]
    for number, picture in enumerate(pictures):
        if picture.shape[:2] != (height, width):
            came = f"{picture.shape[1]}×{picture.shape[0]}"
            where = dataset.samples[number][0] if isinstance(dataset, PictureFolder) else f"picture {number}"
            raise InvalidInput(f"all pictures must be {width}×{height} pixels, as the first; {where} has {came}")
    stacked = torch.from_numpy(np.stack(pictures))
    names = CLASS_NAMES.get(name) or tuple(map(str, dataset.classes))
    labels = torch.tensor([label for _, label in samples])
    return PictureSet(stacked[..., None] if grey else stacked, labels, names, name not in NOT_MIRRORED)


def split_validation(data: PictureSet, count: int) -> tuple[PictureSet, PictureSet]:
    """(training, validation): ``count`` pictures held out at random, as many of each class as of any other.

    The same pictures whatever the seed of a training: one that begins from the weights of another holds out what
    that one held out.
    """
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data), generator=generator)
    # Deal the shuffled pictures out class by class: rank within the class first, then the class.
    labels = data.labels[order]
    rank = torch.zeros_like(labels)
    for label in range(len(data.class_names)):
        members = (labels == label).nonzero()[:, 0]
        rank[members] = torch.arange(len(members))
    dealt = order[torch.argsort(rank, stable=True)]
    return data.subset(dealt[count:].sort().values), data.subset(dealt[:count].sort().values)


def to_images(pictures: Tensor) -> Tensor:
    """uint8 N×H×W×C → float32 N×C×H×W in [0, 1], channels last in memory."""
    return pictures.permute(0, 3, 1, 2).float().div_(255)


def augment(data: PictureSet, indices: Tensor, epoch: int, seed: int, crop: bool) -> Tensor:
    """Flip where the pictures allow it, and crop where asked, those at ``indices``: float32 B×C×H×W in [0, 1].

    Each draw is keyed by (seed, picture, epoch). Flips alternate from epoch to epoch after a random start, so that both
    sides are seen equally often (Jordan, *94% on CIFAR-10 in 3.29 seconds*, 2024).
    """
    height, width = data.pictures.shape[1:3]
    keys = indices.numpy()
    rows = torch.arange(height).expand(len(indices), -1)
    columns = torch.arange(width).expand(len(indices), -1)
    if data.mirrored:
        flip = torch.from_numpy((keyed_uniform(seed, keys, np.array(0)) < 0.5) ^ bool(epoch % 2))
        columns = torch.where(flip[:, None], width - 1 - columns, columns)
    if crop:
        pad = max(1, height // 8)
        shifts = keyed_uniform(seed, keys[:, None], np.array(epoch + 1), np.arange(2)[None])
        offsets = torch.from_numpy((shifts * (2 * pad + 1)).astype(np.int64) - pad)
        rows, columns = _reflect(rows + offsets[:, :1], height), _reflect(columns + offsets[:, 1:], width)
    return to_images(data.pictures[indices[:, None, None], rows[:, :, None], columns[:, None, :]])


def _reflect(index: Tensor, size: int) -> Tensor:
    return (size - 1) - ((size - 1) - index.abs()).abs()
