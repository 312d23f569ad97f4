"""The bundled sample pictures, the names of their classes, and how a picture is named on the command line."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image
from torch import Tensor

from spatial_viz.data.images import load_image, picture_to_tensor
from spatial_viz.errors import InvalidInput, MissingFile, did_you_mean
from spatial_viz.files import readable

# torchvision is imported inside the function that needs it: it doubles the time that importing this module takes.

SAMPLE_DATASETS = ("cifar10", "mnist", "imagenet")
CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "mnist": tuple("0123456789"),
}


@dataclass(frozen=True)
class Sample:
    """A labelled picture at hand without a network. ``label``: class index; ``dataset``: one of SAMPLE_DATASETS."""

    dataset: str
    index: int
    label: int
    path: Path

    @property
    def name(self) -> str:
        """``"cifar10/0"``, as :func:`find_sample` takes it."""
        return f"{self.dataset}/{self.index}"


def samples(dataset: str | None = None) -> list[Sample]:
    """The 20 pictures each of CIFAR-10, MNIST and ImageNet in the installed foolbox, in this order and by index.

    Raises
    ------
    InvalidInput: an unknown ``dataset``.
    MissingFile: foolbox is not installed, or without its pictures.
    """
    if dataset is not None and dataset not in SAMPLE_DATASETS:
        raise InvalidInput(f"there are no sample pictures of {dataset!r}{did_you_mean(dataset, SAMPLE_DATASETS)}")
    spec = importlib.util.find_spec("foolbox")  # finds the folder without the cost of importing the package
    places = list(spec.submodule_search_locations or ()) if spec else []
    folder = Path(places[0], "data") if places else None
    available = []
    for path in folder.glob("*_*_*.*") if folder else ():
        match = re.fullmatch(r"(cifar10|mnist|imagenet)_(\d+)_(\d+)\.(?:png|jpg)", path.name)
        if match and dataset in (None, match[1]):
            available.append(Sample(match[1], int(match[2]), int(match[3]), path))
    if not available:
        where = f"expected them in {folder}" if folder else "it is not installed"
        raise MissingFile(f"the sample pictures come with the package foolbox, and {where}; run: pip install foolbox")
    return sorted(available, key=lambda sample: (SAMPLE_DATASETS.index(sample.dataset), sample.index))


OPENING = {"cifar10": 6}  # right as it is, wrong on a quarter of the paper's grid


def opening_sample(dataset: str) -> Sample:
    """The picture of a data set that a first visitor sees."""
    known = samples(dataset)
    return next((sample for sample in known if sample.index == OPENING.get(dataset)), known[0])


def find_sample(name: str) -> Sample:
    """The sample called ``DATASET/INDEX``.

    Raises
    ------
    InvalidInput: another form, an unknown data set, an index out of range.

    Examples
    --------
    >>> find_sample("cifar10/0").label  # a cat
    3
    """
    match = re.fullmatch(r"([^/]*)/([0-9]{1,9})", name)
    if not match:
        raise InvalidInput(f"a sample is named DATASET/INDEX, such as cifar10/0; got {name!r}")
    return _sample(match[1], int(match[2]))


def load_sample(dataset: str, index: int) -> tuple[Tensor, int]:
    """A bundled picture at its native size, and its class index.

    Returns
    -------
    float32 C×H×W in [0, 1] (cifar10 3×32×32, mnist 1×28×28, imagenet 3×512×512, but for one of
    3×683×1024), and the label.

    Raises
    ------
    InvalidInput: an unknown data set, an index out of range.
    """
    sample = _sample(dataset, index)
    return picture_to_tensor(load_image(sample.path), 1 if dataset == "mnist" else 3), sample.label


def _sample(dataset: str, index: int) -> Sample:
    by_index = {sample.index: sample for sample in samples(dataset)}
    if index not in by_index:
        raise InvalidInput(f"the samples of {dataset} are numbered {min(by_index)} to {max(by_index)}; got {index!r}")
    return by_index[index]


def named_picture(text: str) -> tuple[Image.Image, Sample | None]:
    """A picture as the command line names it: the path of a file, or ``sample:DATASET/INDEX``; and the sample that it
    is, if it is one.

    Raises
    ------
    InvalidInput, PictureError: as `find_sample` and `load_image`.
    """
    if not text.startswith("sample:"):
        return load_image(text), None
    sample = find_sample(text.removeprefix("sample:"))
    return load_image(sample.path), sample


def called(text: str) -> str:
    """What a caption calls a picture of `named_picture`.

    >>> called("sample:cifar10/6"), called("holiday/beach.jpg")
    ('cifar10/6', 'beach.jpg')
    """
    return text.removeprefix("sample:") if text.startswith("sample:") else readable(Path(text).name)


def class_names(dataset: str) -> tuple[str, ...]:
    """The names of the classes by class index: of ``cifar10`` (10), ``mnist`` (10) or ``imagenet`` (1000).

    ImageNet's come from torchvision and are not unique: "crane" and "maillot" occur twice.

    Raises
    ------
    InvalidInput: an unknown data set.
    """
    if dataset == "imagenet":
        return _imagenet_names()
    if dataset not in CLASS_NAMES:
        known = (*CLASS_NAMES, "imagenet")
        raise InvalidInput(f"the class names of {dataset!r} are not known{did_you_mean(dataset, known)}")
    return CLASS_NAMES[dataset]


@cache
def _imagenet_names() -> tuple[str, ...]:
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
