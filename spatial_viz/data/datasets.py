"""Labelled data sets by name: folders of pictures and torchvision's data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from PIL import Image
from torch.utils.data import Dataset

from spatial_viz.data.folders import class_folders, split_folder
from spatial_viz.data.images import load_image, reason, upright_size
from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.errors import InvalidInput, MissingFile, did_you_mean, warn
from spatial_viz.files import readable

Item = TypeVar("Item")
DATASETS = ("cifar10", "mnist", "imagenette", "imagenet", "folder")


# --- Splits ---------------------------------------------------------------------------------------------------------


# --- Data sets ------------------------------------------------------------------------------------------------------


def first_per_class(samples: Sequence[tuple[Item, int]], count: int) -> list[tuple[Item, int]]:
    """ "The first N pictures" of a labelled folder: the first ``count`` / classes files of every class.

    Parameters
    ----------
    samples: (path or number, class index) in the order of :func:`class_folders`.
    count: how many in all; a multiple of the number of classes.

    Raises
    ------
    InvalidInput: a count that is no positive multiple of the number of classes, or more than a class has.
    """
    groups: dict[int, list[tuple[Item, int]]] = {}
    for path, label in samples:
        groups.setdefault(label, []).append((path, label))
    if not groups:
        raise InvalidInput("there are no pictures to choose from; expected a list of (path, class index)")
    if count < 1 or count % len(groups):
        raise InvalidInput(
            f"the number of pictures must be a multiple of the {len(groups)} classes, so that each has as many; "
            f"got {count}, try {max(1, round(count / len(groups))) * len(groups)}"
        )
    each = count // len(groups)
    for label, group in groups.items():
        if len(group) < each:
            raise InvalidInput(
                f"{count} pictures need {each} of each class, and class {label} has {len(group)}; "
                f"ask for at most {min(map(len, groups.values())) * len(groups)}"
            )
    return [sample for label in sorted(groups) for sample in groups[label][:each]]


class PictureFolder(Dataset[tuple[Image.Image, int]]):
    """A folder in ImageFolder layout as a data set of (PIL picture, class index); errors as :func:`class_folders`.

    Reads through :func:`load_image`, so pictures come upright and a bad file is a PictureError that names it.
    ``remarks``: what was left out, and which folder was taken for a split, a sentence each.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.classes, self.samples, self.remarks = class_folders(root)
        self._told = False

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.samples[index]
        return load_image(path, tell=self._tell), label

    def _tell(self, text: str) -> None:
        """Of many such pictures, one is told of."""
        if not self._told:
            self._told = True
            warn(f"{text}; others of {readable(self.root)} may be like it")

    def size(self, index: int) -> tuple[int, int] | None:
        """(width, height) of the upright picture from its header alone; None where that cannot be read."""
        return upright_size(self.samples[index][0])


def load_dataset(
    name: str, root: str | Path, split: str = "test", download: bool = False
) -> Dataset[tuple[Image.Image, int]]:
    """A labelled data set as a torch Dataset of (PIL picture, class index), with ``len``.

    Parameters
    ----------
    name: ``cifar10``, ``mnist``, ``imagenette`` (labels 0 to 9, not ImageNet's), ``imagenet`` (never downloaded), or
        ``folder`` for any labelled folder.
    root: a folder with ``<split>/<class>/<picture>`` in it, or one that torchvision's own class of that name
        understands, or for ``folder`` also one with ``<class>/<picture>``.
    split: ``train`` or ``test``; the test pictures of Imagenette and ImageNet are those called ``val``. For
        ``folder`` see `split_folder`; an empty one is the folder itself.
    download: fetch it into ``root`` where it is missing, with a progress bar (Imagenette in its 320-pixel version).

    Raises
    ------
    InvalidInput: an unknown name or split, class folders that are not those of the data set, empty class folders.
    MissingFile: nothing there, something incomplete, or a download that failed.
    """
    root = Path(root)
    if name not in DATASETS:
        raise InvalidInput(f"there is no data set {name!r}{did_you_mean(name, DATASETS)}")
    if name == "folder":
        folder, remarks = split_folder(root, split) if split and root.is_dir() else (root, [])
        chosen = PictureFolder(folder)
        chosen.remarks = [*remarks, *chosen.remarks]
        return chosen
    splits = {"train": "train", "test": "test"}
    if name in ("imagenette", "imagenet"):
        splits |= {"test": "val", "val": "val"}
    if split not in splits:
        raise InvalidInput(f"{name} has no split {split!r}{did_you_mean(split, splits)}")
    for folder in (root / split, root / splits[split]):
        if folder.is_dir():
            listed = PictureFolder(folder)
            expected = CLASS_NAMES.get(name)
            if expected and tuple(listed.classes) != expected:  # any other names would give wrong labels silently
                raise InvalidInput(
                    f"{folder} should have the class folders of {name} ({', '.join(expected)}); "
                    f"got {', '.join(listed.classes[:10])}; use the data set 'folder' for pictures of your own"
                )
            return listed
    if name == "imagenet" and download:
        raise InvalidInput(f"ImageNet is not to be had without a licence; put its pictures into {root / split}/<wnid>/")
    folder, make = _torchvision_dataset(name, root, splits[split])
    available = folder.is_dir()
    try:
        return make(download)
    # torchvision raises RuntimeError for what is missing; a failed download or a broken archive raises almost anything.
    except Exception as error:
        if download:
            raise MissingFile(
                f"{name} could not be downloaded to {root} ({reason(error)}); "
                f"check the network, or put its pictures into {root / split}/<class>/"
            ) from error
        state = "is incomplete or damaged; remove it and" if available else "is missing;"
        raise MissingFile(
            f"{folder} {state} fetch it with download=True, or put the pictures of {name} into {root / split}/<class>/"
        ) from error


def _torchvision_dataset(
    name: str, root: Path, split: str
) -> tuple[Path, Callable[[bool], Dataset[tuple[Image.Image, int]]]]:
    """The folder that torchvision's class reads, and a function of ``download`` that makes it."""
    from torchvision import datasets

    if name == "imagenette":
        folders = {"320px": "imagenette2-320", "full": "imagenette2", "160px": "imagenette2-160"}
        size = next((size for size, folder in folders.items() if (root / folder).is_dir()), "320px")
        return root / folders[size], lambda download: cast(
            "Dataset[tuple[Image.Image, int]]", datasets.Imagenette(root, split, size, download)
        )
    if name == "imagenet":  # its archives, which torchvision unpacks
        return root / split, lambda _: cast("Dataset[tuple[Image.Image, int]]", datasets.ImageNet(root, split))
    kind, folder = {
        "cifar10": (datasets.CIFAR10, root / "cifar-10-batches-py"),
        "mnist": (datasets.MNIST, root / "MNIST" / "raw"),
    }[name]
    return folder, lambda download: cast(
        "Dataset[tuple[Image.Image, int]]", kind(root, train=split == "train", download=download)
    )
