"""The pictures of an evaluation: which ones, under which class of the classifier, decoded a shard at a time."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatial_viz.cli.parsing import readable
from spatial_viz.data.datasets import DATASETS, first_per_class, load_dataset
from spatial_viz.data.samples import CLASS_NAMES, class_names
from spatial_viz.errors import InvalidInput, MissingFile, PictureError, SpatialVizError
from spatial_viz.models.registry import Classifier

IMAGENET_CLASSES = 1000


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """ImageNet's 1,000 class identifiers; the place of one is its class index."""
    text = resources.files("spatial_viz.evaluation").joinpath("imagenet_wnids.txt").read_text(encoding="ascii")
    return tuple(text.split())


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


@dataclass
class Shard:
    """Decoded pictures: N×C×H×W in [0, 1], their data set indices, their labels among the classifier's classes, and
    the files that could not be read (name, why)."""

    images: Tensor
    indices: Tensor
    labels: Tensor
    unreadable: list[tuple[str, str]]


def choose(
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


def class_map(pictures: Pictures, classifier: Classifier) -> list[int]:
    """For every class of the data set, the index of the classifier's class: that of the same name, else that of the
    ImageNet identifier.

    Raises
    ------
    InvalidInput: classes that the classifier does not know, or has twice.
    """
    names, known = pictures.classes, classifier.class_names
    if names == known:
        return list(range(len(names)))
    wnids = tuple(getattr(pictures.dataset, "wnids", names))
    if not set(wnids) & set(known) and all(re.fullmatch("n[0-9]{8}", name) for name in wnids):
        _check_imagenet(classifier)
        places = {wnid: index for index, wnid in enumerate(imagenet_wnids())}
        unknown = [wnid for wnid in wnids if wnid not in places]
        if unknown:
            raise InvalidInput(f"{unknown[0]} is none of ImageNet's 1,000 classes; remove that class folder")
        return [places[wnid] for wnid in wnids]
    missing = [name for name in names if name not in known]
    if missing:
        raise InvalidInput(
            f"{classifier.name} has no class {missing[0]!r}; its classes are "
            f"{', '.join(known[:10])}{' …' if len(known) > 10 else ''}. Name the class folders by its classes, or "
            "choose a classifier of these pictures"
        )
    twice = [name for name in names if known.count(name) > 1]
    if twice:
        raise InvalidInput(
            f"{classifier.name} has {known.count(twice[0])} classes called {twice[0]!r}; name the class folders by "
            "ImageNet's identifiers, or rename that one"
        )
    return [known.index(name) for name in names]


def decode(pictures: Pictures, places: Sequence[int], classifier: Classifier, classes: Sequence[int]) -> Shard:
    """The pictures at ``places`` of the chosen ones, prepared for the classifier; files that cannot be read are named.

    ``classes`` is what `class_map` says.
    """

    def one(place: int) -> Tensor | str:
        try:
            return classifier.prepare(pictures.dataset[pictures.indices[place]][0])
        except PictureError as error:
            return str(error)

    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        decoded = list(pool.map(one, places))
    good = [(place, image) for place, image in zip(places, decoded, strict=True) if isinstance(image, Tensor)]
    shape = (0, classifier.channels, *classifier.input_size)
    return Shard(
        torch.stack([image for _, image in good]) if good else torch.zeros(shape),
        torch.tensor([pictures.indices[place] for place, _ in good], dtype=torch.int64),
        torch.tensor([classes[pictures.labels[place]] for place, _ in good], dtype=torch.int64),
        [(pictures.file(place), why) for place, why in zip(places, decoded, strict=True) if isinstance(why, str)],
    )


def _check_imagenet(classifier: Classifier) -> None:
    if classifier.class_names != class_names("imagenet"):
        raise InvalidInput(
            f"the class folders are named by ImageNet's identifiers, and {classifier.name} is no classifier of "
            f"ImageNet's {IMAGENET_CLASSES:,} classes; choose one such as imagenet/resnet50"
        )


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
