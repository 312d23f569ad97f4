"""The pictures of an evaluation, decoded a shard at a time under the classifier's classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import resources

import torch
from torch import Tensor

from spatial_viz.data.samples import class_names
from spatial_viz.data.selection import Pictures
from spatial_viz.errors import InvalidInput, PictureError
from spatial_viz.models.classifier import Classifier

IMAGENET_CLASSES = 1000


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """ImageNet's 1,000 class identifiers; the place of one is its class index."""
    text = resources.files("spatial_viz.evaluation").joinpath("imagenet_wnids.txt").read_text(encoding="ascii")
    return tuple(text.split())


@dataclass
class Shard:
    """Decoded pictures: N×C×H×W in [0, 1], their data set indices, their labels among the classifier's classes, and
    the files that could not be read (name, why)."""

    images: Tensor
    indices: Tensor
    labels: Tensor
    unreadable: list[tuple[str, str]]


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
