"""Labelled pictures by the thousand: folders in ImageFolder layout and torchvision's data sets."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

from PIL import Image
from torch.utils.data import Dataset

from spatial_viz.cli.parsing import readable
from spatial_viz.data.images import load_image, reason, upright_size
from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.errors import InvalidInput, MissingFile, did_you_mean, warn

Sample = TypeVar("Sample")
DATASETS = ("cifar10", "mnist", "imagenette", "imagenet", "folder")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as a picture in a class folder: exactly torchvision's list, so that both see the same data set."""
SPLITS = {
    "train": ("train", "training", "trainset"),
    "val": ("val", "valid", "validation", "valset", "dev"),
    "test": ("test", "testing", "testset"),
}
"""The words by which a folder is known as a split."""
_NAMED = 6  # of endings, folders and the like; of more, the number


class Listing(NamedTuple):
    """``classes``: names in sorted order; ``samples``: (path, class index) by class, then folder, then file name;
    ``remarks``: what was left out, in a sentence."""

    classes: list[str]
    samples: list[tuple[Path, int]]
    remarks: list[str]


def class_folders(root: str | Path) -> Listing:
    """The classes and pictures of a folder in torchvision's ImageFolder layout ``root/<class>/**/<picture>``.

    Extensions count in either case; hidden files and folders do not, at any depth. Links are followed, and every real
    folder counts once.

    Raises
    ------
    MissingFile: ``root`` does not exist.
    InvalidInput: a file, a folder without class folders, a folder of splits, a class folder without pictures.
    """
    root = Path(root)
    shown = readable(root)
    if not root.exists():
        raise MissingFile(f"there is no folder {shown}; expected one with a folder per class in it")
    if not root.is_dir():
        raise InvalidInput(f"{shown} is not a folder; expected one with a folder per class in it")
    try:
        os.listdir(root)
    except OSError as error:
        raise InvalidInput(f"{shown} cannot be opened ({reason(error)}); check that it may be read") from error
    folders = _folders(root)
    if not folders:
        raise InvalidInput(f"{shown} has no class folders; expected a folder per class with its pictures in it")
    splits = _splits(root)
    if splits.surely:
        names = ", ".join(readable(folder.name) for each in splits.named.values() for folder in each)
        first = next(iter(splits.named.values()))[0]
        raise InvalidInput(f"{shown} holds splits ({names}), not classes; give {readable(first)}")
    classes = [readable(folder.name) for folder in folders]
    if twice := [name for name, count in Counter(classes).items() if count > 1]:
        raise InvalidInput(f"{shown} has two class folders called {twice[0]!r}; rename one")
    walk = _Walk(root)
    walk.go(folders)
    samples: list[tuple[Path, int]] = []
    for label, folder in enumerate(folders):
        if not walk.found[label]:
            left = f" ({_and(walk.words(label))} left out)" if walk.left[label] else ""
            raise InvalidInput(
                f"the class folder {readable(folder)} has no pictures{left}; expected files that end in "
                f"{', '.join(EXTENSIONS)}, or remove the folder"
            )
        samples += [(Path(*place), label) for place in sorted(walk.found[label])]
    return Listing(classes, samples, walk.remarks())


class _Walk:
    """All folders below the class folders of ``root``.

    ``found``: (folder, file name) of the pictures of every class; ``left``: how many of each kind were left out.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        real = Path(os.path.realpath(root))
        self.seen = {str(folder) for folder in (real, *real.parents)}  # a link to one of these is a loop
        self.found: list[list[tuple[str, str]]] = []
        self.left: list[Counter[tuple[str, str]]] = []

    def go(self, folders: Sequence[Path]) -> None:
        """Real folders first, so that a link never takes a folder away from the class that it belongs to."""
        self.found, self.left = [[] for _ in folders], [Counter() for _ in folders]
        ordered = sorted(enumerate(folders), key=lambda entry: entry[1].is_symlink())
        to_visit = [(label, str(folder)) for label, folder in ordered]
        while to_visit:
            to_visit = sorted(link for label, folder in to_visit for link in self._visit(label, folder))

    def _visit(self, label: int, top: str) -> list[tuple[int, str]]:
        """Walk from ``top``; the links to folders that are met."""
        links, waiting, left = [], [top], self.left[label]
        while waiting:
            folder = waiting.pop()
            real = os.path.realpath(folder)
            if real in self.seen:
                left["link", ""] += 1
                continue
            self.seen.add(real)
            entries = _entries(folder)
            if entries is None:
                left["closed", ""] += 1
            for entry in entries or ():
                hidden, is_picture = entry.name.startswith("."), entry.name.lower().endswith(EXTENSIONS)
                if _is_folder(entry):
                    if hidden:
                        left["hidden folder", ""] += 1
                    elif entry.is_symlink():
                        links.append((label, entry.path))
                    else:
                        waiting.append(entry.path)
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    left["dangling", ""] += 1
                elif is_picture and not hidden:
                    self.found[label].append((folder, entry.name))
                elif is_picture:
                    left["hidden picture", ""] += 1
                elif not hidden:
                    left["ending", os.path.splitext(entry.name)[1].lower()] += 1
        return links

    def words(self, label: int | None = None) -> list[str]:
        """What was left out, of one class or of all."""
        left = sum(self.left, Counter()) if label is None else self.left[label]
        endings = Counter({ending: count for (kind, ending), count in left.items() if kind == "ending"})
        words = []
        if endings:
            listed = [f"{count:,} {ending or 'without one'}" for ending, count in endings.most_common(_NAMED)]
            listed += ["others"] * (len(endings) > _NAMED)
            words.append(f"{_count(endings.total(), 'file')} by ending ({', '.join(listed)})")
        words += [_count(left[kind, ""], kind) for kind in ("hidden picture", "hidden folder") if left[kind, ""]]
        if left["link", ""]:
            words.append(f"{_count(left['link', ''], 'link')} to folders that are there already")
        if left["dangling", ""]:
            words.append(f"{_count(left['dangling', ''], 'link')} to nothing")
        if left["closed", ""]:
            words.append(f"{_count(left['closed', ''], 'folder')} that cannot be opened")
        return words

    def remarks(self) -> list[str]:
        words = self.words()
        loose = len(_pictures(self.root))
        words += [f"{_count(loose, 'picture')} in no class folder"] * bool(loose)
        known = f"; pictures end in {', '.join(EXTENSIONS)}" if any("by ending" in word for word in words) else ""
        return [f"left out of {readable(self.root)}: {_and(words)}{known}"] if words else []


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _and(words: Sequence[str]) -> str:
    """
    >>> _and(["1 file", "2 links", "3 folders"])
    '1 file, 2 links and 3 folders'
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


# --- Splits ---------------------------------------------------------------------------------------------------------


def split_kind(name: str) -> str | None:
    """The split that a folder is by the words of its name: ``train``, ``val`` or ``test``; None: no one of them.

    >>> [split_kind(name) for name in ("Training", "seg_train", "images-val", "TestSet", "train2017", "contest")]
    ['train', 'train', 'val', 'test', 'train', None]
    """
    words = {word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", name)}
    kinds = [kind for kind, known in SPLITS.items() if words & set(known)]
    return kinds[0] if len(kinds) == 1 else None


def split_folder(root: Path, split: str) -> tuple[Path, list[str]]:
    """The folder of a split of a labelled folder, which is ``root`` itself where its folders are classes; and what is
    to be said about the choice, a sentence each.

    Raises
    ------
    InvalidInput: no such split, or several folders that may be it.
    """
    shown, splits, kind = readable(root), _splits(root), split_kind(split)
    if not splits.named:
        if kind is None:
            raise InvalidInput(f"{shown} has no split {split!r}: its folders are classes; leave the split out")
        return root, []
    if splits.others and not splits.surely:
        ((folder,), *_) = splits.named.values()
        raise InvalidInput(
            f"{shown} has {readable(folder.name)}, which looks like a split, beside {_listed(splits.others)}, which do "
            f"not; give {readable(folder)} for the pictures of that split, or rename it if it is a class"
        )
    remarks = [f"left out of {shown}: {_listed(splits.others)}, no splits"] if splits.others else []
    own = root / split
    if kind is None and own.is_dir():
        return own, remarks
    found, instead = splits.named.get(kind or "", []), False
    if kind == "test" and not found and "val" in splits.named:
        found, instead = splits.named["val"], True
    exact = [folder for folder in found if folder == own] or list(filter(_is_named_exactly, found))
    found = exact if len(exact) == 1 else found
    if len(found) != 1:
        there = ", ".join(readable(folder.name) for each in splits.named.values() for folder in each)
        what = "several folders that may be" if found else "no"
        raise InvalidInput(f"{shown} has {what} split {split!r}; its splits are {there}: give the folder of one itself")
    chosen = _unwrapped(found[0])
    name = readable(chosen.relative_to(root))
    if instead:
        remarks.insert(0, f"{shown} has no test split, so the pictures for validation in {name} are taken")
    elif chosen != own:
        remarks.insert(0, f"the split {split!r} of {shown} is {name}")
    return chosen, remarks


def has_split(root: Path, kind: str) -> bool:
    """Whether a labelled folder has a split of its own of the kind, one of SPLITS."""
    return kind in _splits(root).named


def validation_folder(root: Path, train: Path) -> tuple[Path, list[str]] | None:
    """The folder of the validation pictures that belong to the split ``train`` of ``root``, or lie beside it where
    that is ``root`` itself, as `split_folder` gives it; None where there is none."""
    for place in dict.fromkeys((root, train.parent)):
        named = _splits(place).named if split_kind(train.name) == "train" else {}
        if "val" in named and train in map(_unwrapped, named.get("train", [])):
            return split_folder(place, "val")
    return None


@dataclass(frozen=True)
class _Splits:
    """``named``: the folders of every split that have class folders; ``others``: the folders beside them; ``surely``:
    whether these can be no classes."""

    named: dict[str, list[Path]]
    others: list[Path]
    surely: bool


def _splits(root: Path) -> _Splits:
    """What looks like splits in a folder.

    A class may be called as a split is. Then there are other classes, and its pictures lie in it directly.
    """
    kinds = {folder: split_kind(folder.name) for folder in _folders(root) if _entries(folder) != []}
    others = [folder for folder, kind in kinds.items() if kind is None]
    all_of_them = not others and (len(set(kinds.values())) > 1 or any(map(_is_named_exactly, kinds)))
    named: dict[str, list[Path]] = {}
    for folder, kind in kinds.items():
        if kind and (all_of_them or (_folders(folder) and not _pictures(folder))):
            named.setdefault(kind, []).append(folder)
    return _Splits(named, others, bool(named) and (not others or len(named) > 1))


def _is_named_exactly(folder: Path) -> bool:
    return any(folder.name.lower() in words for words in SPLITS.values())


def _unwrapped(folder: Path) -> Path:
    """The folder with the class folders: archives often hold ``seg_train/seg_train/<class>``."""
    inner = _folders(folder)
    same = len(inner) == 1 and split_kind(inner[0].name) == split_kind(folder.name) and not _pictures(inner[0])
    return inner[0] if same else folder


def _entries(folder: str | Path) -> list[os.DirEntry[str]] | None:
    """None where it cannot be opened."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _folders(root: Path) -> list[Path]:
    """The folders in a folder in sorted order, without hidden ones."""
    return [root / name for name in sorted(e.name for e in _entries(root) or () if _is_folder(e) and e.name[0] != ".")]


def _pictures(folder: Path) -> list[str]:
    """The names of the pictures that lie in a folder directly."""
    names = (entry.name for entry in _entries(folder) or () if not _is_folder(entry))
    return [name for name in names if name.lower().endswith(EXTENSIONS) and name[0] != "."]


def _listed(folders: Iterable[Path]) -> str:
    names = [readable(folder.name) for folder in folders]
    return ", ".join(names[:_NAMED] + [f"{len(names) - _NAMED} more"] * (len(names) > _NAMED))


# --- Data sets ------------------------------------------------------------------------------------------------------


def first_per_class(samples: Sequence[tuple[Sample, int]], count: int) -> list[tuple[Sample, int]]:
    """ "The first N pictures" of a labelled folder: the first ``count`` / classes files of every class.

    Parameters
    ----------
    samples: (path or number, class index) in the order of :func:`class_folders`.
    count: how many in all; a multiple of the number of classes.

    Raises
    ------
    InvalidInput: a count that is no positive multiple of the number of classes, or more than a class has.
    """
    groups: dict[int, list[tuple[Sample, int]]] = {}
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
    there = folder.is_dir()
    try:
        return make(download)
    # torchvision raises RuntimeError for what is missing; a failed download or a broken archive raises almost anything.
    except Exception as error:
        if download:
            raise MissingFile(
                f"{name} could not be downloaded to {root} ({reason(error)}); "
                f"check the network, or put its pictures into {root / split}/<class>/"
            ) from error
        state = "is incomplete or damaged; remove it and" if there else "is missing;"
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
