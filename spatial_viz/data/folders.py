"""Folders in ImageFolder layout, and their splits: which pictures are there, and what was left out."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from spatial_viz.data.images import reason
from spatial_viz.errors import InvalidInput, MissingFile
from spatial_viz.files import readable

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
        if not walk.listed[label]:
            left = f" ({_and(walk.words(label))} left out)" if walk.left[label] else ""
            raise InvalidInput(
                f"the class folder {readable(folder)} has no pictures{left}; expected files that end in "
                f"{', '.join(EXTENSIONS)}, or remove the folder"
            )
        samples += [(Path(*place), label) for place in sorted(walk.listed[label])]
    return Listing(classes, samples, walk.remarks())


class _Walk:
    """All folders below the class folders of ``root``.

    ``listed``: (folder, file name) of the pictures of every class; ``left``: how many of each kind were left out.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        real = Path(os.path.realpath(root))
        self.seen = {str(folder) for folder in (real, *real.parents)}  # a link to one of these is a loop
        self.listed: list[list[tuple[str, str]]] = []
        self.left: list[Counter[tuple[str, str]]] = []

    def go(self, folders: Sequence[Path]) -> None:
        """Real folders first, so that a link never takes a folder away from the class that it belongs to."""
        self.listed, self.left = [[] for _ in folders], [Counter() for _ in folders]
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
                    self.listed[label].append((folder, entry.name))
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
    matches, instead = splits.named.get(kind or "", []), False
    if kind == "test" and not matches and "val" in splits.named:
        matches, instead = splits.named["val"], True
    exact = [folder for folder in matches if folder == own] or list(filter(_is_named_exactly, matches))
    matches = exact if len(exact) == 1 else matches
    if len(matches) != 1:
        present = ", ".join(readable(folder.name) for each in splits.named.values() for folder in each)
        what = "several folders that may be" if matches else "no"
        raise InvalidInput(
            f"{shown} has {what} split {split!r}; its splits are {present}: give the folder of one itself"
        )
    chosen = _unwrapped(matches[0])
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
