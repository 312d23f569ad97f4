"""The training pictures: decoded once, brought to one size, held as uint8, augmented in batches."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spatial_viz.data.datasets import PictureFolder
from spatial_viz.data.folders import validation_folder
from spatial_viz.data.images import fit, picture_to_tensor
from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.data.selection import Pictures, is_folder, select_pictures
from spatial_viz.errors import InvalidInput, PictureError, warn
from spatial_viz.files import readable
from spatial_viz.models.cards import Architecture
from spatial_viz.transforms.grids import keyed_uniform

NOT_MIRRORED = ("mnist",)
"""Data sets whose pictures mean something else in the mirror."""
SMALLEST, LARGEST = 16, 64
"""Sides in pixels: the networks need the one, and pictures get no larger than the other unless asked for."""
LIMIT = 512  # pixels, of a side that is asked for: more is a slip of the keyboard, and would not fit into memory
NAMED = 20  # files that cannot be read; of more, the number


@dataclass(frozen=True)
class PictureSet:
    """``pictures``: uint8 N×H×W×C; ``labels``: int64 N; ``class_names``: K names; ``mirrored``: whether a picture
    means the same in the mirror, so that training may flip it; ``held_out``: that many at the end are for validation
    (0: none is marked, and `split_validation` chooses)."""

    pictures: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    mirrored: bool = True
    held_out: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> PictureSet:
        return replace(self, pictures=self.pictures[indices], labels=self.labels[indices], held_out=0)


def read(
    name: str,
    root: Path | None = None,
    split: str = "train",
    download: bool = False,
    size: int | None = None,
    mirrored: bool = True,
    tell: Callable[[str], object] | None = None,
) -> PictureSet:
    """Every picture of a data set or of any labelled folder, decoded by several threads, all at one size.

    Parameters
    ----------
    name: cifar10, mnist, imagenette, imagenet, or the path of a folder with a folder per class in it, or with
        ``train/`` and perhaps ``val/``, which have them. The pictures of ``val/`` are then the ones held out.
    root, split: where the data set lies (by default ``data/`` and its name), and which part of it.
    size: side in pixels of the squares that the pictures become: the shorter side resized, the centre cropped, exactly
        as a classifier does with any picture. By default they stay as they are where they have one size of at most 64
        pixels; else the side is the median of their shorter sides, between 16 and 64.
    mirrored: whether a picture means the same in the mirror. Digits never do.
    tell: is told in a sentence which folders were taken, what was left out or resized, and which files could not be
        read; by default all but the resizing becomes warnings.

    Raises
    ------
    InvalidInput, MissingFile: nothing there; fewer than two classes; a class without a picture that can be read;
        ``val/`` with other classes; pictures that are too small.
    """
    if size is not None and not SMALLEST <= size <= LIMIT:
        raise InvalidInput(f"--size takes {SMALLEST} to {LIMIT} pixels; got {size}")
    chosen = select_pictures(name, root, split, None, None, download)
    if len(chosen.classes) < 2:
        inner = Path(name) / chosen.classes[0]
        hint = f"; if the classes are in there, give {inner}" if any(map(Path.is_dir, inner.glob("*"))) else ""
        raise InvalidInput(
            f"a classifier needs at least two classes; {readable(name)} has only {chosen.classes[0]!r}{hint}"
        )
    parts, remarks = [chosen], [*chosen.remarks]
    beside = validation_folder(Path(name), chosen.dataset.root) if split == "train" and is_folder(name) else None
    if beside:
        folder, instead = beside
        parts.append(select_pictures(str(folder), None, "", None, None))
        remarks += [*instead, *parts[1].remarks]
        if parts[1].classes != chosen.classes:
            theirs, ours = (", ".join(part.classes[:10]) for part in reversed(parts))
            where = readable(chosen.dataset.root)
            raise InvalidInput(f"{readable(folder)} must have the class folders of {where}: {ours}; got {theirs}")
    for remark in dict.fromkeys(remarks):
        (tell or warn)(remark)
    height, width = _common_size(parts, size, tell or (lambda _: None))
    if min(height, width) < SMALLEST:
        raise InvalidInput(f"pictures of {width}×{height} pixels are too small to train on; --size makes them larger")
    return _decoded(parts, (height, width), mirrored and name not in NOT_MIRRORED, tell or warn)


def _decoded(parts: list[Pictures], size: tuple[int, int], mirrored: bool, tell: Callable[[str], object]) -> PictureSet:
    """Grey only where all pictures are."""

    def one(place: tuple[Pictures, int]) -> Tensor | str:
        pictures, number = place
        try:
            picture = fit(pictures.dataset[pictures.indices[number]][0], None, size)
            grey = picture.mode in ("L", "1", "F") or picture.mode.startswith("I")
            image = picture_to_tensor(picture, 1 if grey else 3)
        except PictureError as error:
            return str(error)
        return image.mul_(255).round_().to(torch.uint8).permute(1, 2, 0)

    places = [(pictures, number) for pictures in parts for number in range(len(pictures))]
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        decoded = list(pool.map(one, places))
    unreadable = [why for why in decoded if isinstance(why, str)]
    if unreadable:
        listed = unreadable[:NAMED] + [f"and {len(unreadable) - NAMED:,} more"] * (len(unreadable) > NAMED)
        tell("\n  ".join([f"{len(unreadable):,} of {len(places):,} files are left out:", *listed]))
    good = [(place, image) for place, image in zip(places, decoded, strict=True) if isinstance(image, Tensor)]
    labels = torch.tensor([pictures.labels[number] for (pictures, number), _ in good], dtype=torch.int64)
    held_out = sum(pictures is not parts[0] for (pictures, _), _ in good)
    classes = parts[0].classes
    for name, count in zip(classes, labels[: len(labels) - held_out].bincount(minlength=len(classes)), strict=True):
        if not count:
            raise InvalidInput(
                f"the class {name!r} has no training picture that can be read; mend its files or remove it"
            )
    if len(parts) > 1 and not held_out:
        raise InvalidInput(f"no picture in {parts[1].name} can be read; mend them or remove the folder")
    channels = max(image.shape[2] for _, image in good)
    stacked = torch.stack([image.expand(-1, -1, channels) for _, image in good])
    return PictureSet(stacked, labels, classes, mirrored, held_out)


def _common_size(parts: list[Pictures], side: int | None, tell: Callable[[str], object]) -> tuple[int, int]:
    """(height, width) that all pictures get."""
    looks = (_size(pictures, number) for pictures in parts for number in range(len(pictures)))
    readable = (size for size in looks if size)
    sizes = list(islice(readable, 1) if parts[0].name in CLASS_NAMES else readable)  # those are many, and all alike
    if not sizes:
        return (side or LARGEST,) * 2  # decoding says what is wrong with them
    smallest, largest = min(sizes), max(sizes)
    if side is None and smallest == largest and max(smallest) <= LARGEST:
        return smallest[1], smallest[0]
    if side is None:
        side = min(LARGEST, max(SMALLEST, int(statistics.median(map(min, sizes)))))
    if (smallest, largest) != ((side, side), (side, side)):
        shorter = sorted({min(size) for size in sizes})
        tell(
            f"the pictures, {' to '.join(map(str, dict.fromkeys((shorter[0], shorter[-1]))))} pixels at their shorter "
            f"side, become {side}×{side}: the shorter side resized, the centre cropped; --size takes another"
        )
    return side, side


def _size(pictures: Pictures, number: int) -> tuple[int, int] | None:
    """(width, height); None where that cannot be read."""
    dataset, index = pictures.dataset, pictures.indices[number]
    if isinstance(dataset, PictureFolder):
        return dataset.size(index)
    size: tuple[int, int] = dataset[index][0].size
    return size


def default_validation(data: PictureSet) -> int:
    """How many pictures are held out where nobody says: those marked, else a tenth, at most 5,000."""
    return data.held_out or min(len(data) // 10, 5000)


def split_validation(data: PictureSet, count: int) -> tuple[PictureSet, PictureSet]:
    """(training, validation): ``count`` pictures held out at random, as many of each class as of any other; or those
    that are marked.

    The same pictures whatever the seed of a training: one that begins from the weights of another holds out what that
    one held out, if the count is the same; of a smaller count, a part of it.
    """
    if data.held_out:
        if count != data.held_out:
            raise InvalidInput(
                f"the folder has {data.held_out:,} pictures for validation of its own; leave --validation {count} out"
            )
        everything = torch.arange(len(data))
        return data.subset(everything[: -data.held_out]), data.subset(everything[-data.held_out :])
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data), generator=generator)
    # Deal the shuffled pictures out class by class: rank within the class first, then the class.
    labels = data.labels[order]
    rank = torch.zeros_like(labels)
    for label in range(len(data.class_names)):
        members = (labels == label).nonzero()[:, 0]
        rank[members] = torch.arange(len(members))
    dealt = order[torch.argsort(rank, stable=True)]
    training, validation = data.subset(dealt[count:].sort().values), data.subset(dealt[:count].sort().values)
    left = training.labels.bincount(minlength=len(data.class_names))
    if not left.all():
        raise InvalidInput(
            f"{count:,} of {len(data):,} pictures held out for validation leave none of the class "
            f"{data.class_names[int(left.argmin())]!r} to train on; lower --validation"
        )
    return training, validation


def architecture_of(network: str, data: PictureSet, mean: tuple[float, ...], std: tuple[float, ...]) -> Architecture:
    """All that makes a classifier of the weights of ``network`` trained on ``data``."""
    height, width = data.pictures.shape[1:3]
    return Architecture(network, tuple(data.class_names), (height, width), mean, std)


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
        pad = torch.tensor([max(1, height // 8), max(1, width // 8)])
        shifts = keyed_uniform(seed, keys[:, None], np.array(epoch + 1), np.arange(2)[None])
        offsets = (torch.from_numpy(shifts) * (2 * pad + 1)).long() - pad
        rows, columns = _reflect(rows + offsets[:, :1], height), _reflect(columns + offsets[:, 1:], width)
    places = (part.to(data.pictures.device) for part in (indices[:, None, None], rows[:, :, None], columns[:, None, :]))
    return to_images(data.pictures[tuple(places)])


def _reflect(index: Tensor, size: int) -> Tensor:
    return (size - 1) - ((size - 1) - index.abs()).abs()
