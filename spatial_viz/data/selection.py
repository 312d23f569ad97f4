"""Which pictures of a folder or data set are meant, and what each of them shows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spatial_viz.data.datasets import DATASETS, first_per_class, load_dataset
from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.errors import InvalidInput, MissingFile, SpatialVizError
from spatial_viz.files import readable


@dataclass
class Pictures:
    """The chosen pictures of a data set, not yet decoded.

    ``indices``: their places in the data set; ``labels``: the data set's class of each; ``classes``: its class names;
    ``remarks``: what was left out of its folder, and which one was taken for the split, a sentence each.
    """

    name: str
    dataset: Any
    classes: tuple[str, ...]
    indices: tuple[int, ...]
    labels: tuple[int, ...]
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    def hash(self) -> str:
        """SHA-256 over the chosen places and labels, and over name and size of every file (or over the pixels)."""
        state = hashlib.sha256(repr((self.name, self.classes, self.indices, self.labels)).encode())
        samples = _files(self.dataset)
        if samples is not None:
            for index in self.indices:
                path = Path(samples[index][0])
                state.update(os.fsencode(f"{path.parent.name}/{path.name} {path.stat().st_size}\n"))
        else:
            data = self.dataset.data
            for index in self.indices:
                state.update(np.ascontiguousarray(data[index]).tobytes())
        return state.hexdigest()

    def file(self, place: int) -> str:
        """What the picture at ``place`` of the chosen ones is called."""
        samples = _files(self.dataset)
        return f"number {self.indices[place]}" if samples is None else readable(samples[self.indices[place]][0])


def select_pictures(
    name: str, root: Path | None, split: str, limit: int | None, indices: Sequence[int] | None, download: bool = False
) -> Pictures:
    """The pictures of a data set, or of any labelled folder, that an evaluation is about.

    Parameters
    ----------
    name: cifar10, mnist, imagenette, imagenet, or the path of a folder with a folder per class in it.
    root: where the data set lies; by default ``data/`` and its name.
    limit: the first pictures, as many of every class; a multiple of the number of classes.
    indices: places in the data set, instead of ``limit``.

    Raises
    ------
    InvalidInput, MissingFile: nothing there, nothing chosen, or a choice that the data set does not have.
    """
    if limit is not None and indices is not None:
        raise InvalidInput("give limit or indices, not both")
    if is_folder(name):
        dataset: Any = load_dataset("folder", name, split)
    else:
        dataset = load_dataset(name, root or Path("data") / name, split, download)
    labels = _labels(dataset)
    chosen = list(range(len(labels)))
    if indices is not None:
        wrong = [index for index in indices if not 0 <= index < len(labels)]
        if wrong:
            raise InvalidInput(f"the pictures are numbered 0 to {len(labels) - 1}; got {wrong[0]}")
        chosen = list(dict.fromkeys(indices))
    elif limit is not None:
        chosen = [number for number, _ in first_per_class(list(enumerate(labels)), limit)]
    if not chosen:
        raise InvalidInput("there are no pictures to evaluate: the split or the choice is empty")
    classes = CLASS_NAMES.get(name) or tuple(map(_class_name, dataset.classes))
    remarks = tuple(getattr(dataset, "remarks", ()))
    return Pictures(name, dataset, classes, tuple(chosen), tuple(labels[index] for index in chosen), remarks)


def is_folder(name: str) -> bool:
    """Whether ``name`` is the path of a folder, and no data set's name.

    Raises
    ------
    MissingFile: it can only be a path, and there is no such folder.
    """
    if name in DATASETS:
        return False
    if not Path(name).is_dir() and len(Path(name).parts) > 1:
        raise MissingFile(f"there is no folder {name}; expected one with a folder per class in it")
    return Path(name).is_dir()


def _files(dataset: Any) -> list[tuple[Any, int]] | None:
    """(path, label) of every picture where the data set is files (torchvision's Imagenette keeps them elsewhere)."""
    return getattr(dataset, "samples", None) or getattr(dataset, "_samples", None)


def _labels(dataset: Any) -> list[int]:
    files = _files(dataset)
    if files is not None:
        return [int(label) for _, label in files]
    if not hasattr(dataset, "targets"):
        raise SpatialVizError(f"{type(dataset).__name__} does not say its labels without decoding every picture")
    return [int(label) for label in dataset.targets]


def _class_name(name: Any) -> str:
    """torchvision's ImageNet data sets give several names to a class."""
    return str(name if isinstance(name, str) else name[0])
