"""The pictures of a summary, found again in the data set on this machine, whichever layout it has there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from spatial_viz.data.datasets import DATASETS
from spatial_viz.data.images import fit, picture_to_tensor
from spatial_viz.data.selection import Pictures, select_pictures
from spatial_viz.errors import MissingFile, SpatialVizError
from spatial_viz.evaluation.cards import RunCard
from spatial_viz.evaluation.results import shipped_folder, store_folder
from spatial_viz.evaluation.store import read_card, runs_in
from spatial_viz.evaluation.summary import Summary, pixel_checksum, read_summary, summarise
from spatial_viz.transforms.geometry import warp

PROBES = 3  # pictures whose pixels are compared before the places of a data set are trusted


@dataclass(frozen=True, eq=False)
class LocatedPictures:
    """``pictures``: the whole data set; ``places``: where in it the pictures of the summary are, N."""

    pictures: Pictures
    places: np.ndarray


@dataclass(frozen=True)
class BrowsableRun:
    """One classifier of a run of the store, or a summary that ships: what it is called, and where it lies."""

    title: str
    path: Path
    number: int
    classifier: str
    data: str
    full: bool

    @classmethod
    def of(cls, card: RunCard, path: Path, number: int) -> BrowsableRun:
        classifier, data, plan = card.classifiers[number], card.data, card.plan
        about = [f"{data.pictures:,} pictures of {Path(data.name).name}, {data.split}"]
        about += [f"vote of {plan.vote}"] if plan.vote else []
        about += [",".join(map(str, plan.granularity)), plan.padding]
        about += ["every verdict" if plan.full else "one verdict a picture", path.stem[-24:]]
        return cls(f"{classifier.name}: {' · '.join(about)}", path, number, classifier.name, data.name, bool(plan.full))

    def read(self) -> Summary:
        """What it says about every picture."""
        return read_summary(self.path) if self.path.suffix == ".npz" else summarise(self.path, self.number)


def data_set(name: str, split: str) -> Pictures:
    """All pictures of a data set in ``data/``, or of a labelled folder.

    Raises
    ------
    MissingFile: it is not there; the message has the command that fetches it.
    InvalidInput: a folder that is there, and whose splits or classes cannot be told apart.
    """
    try:
        return select_pictures(name, None, split, None, None)
    except SpatialVizError as error:
        if name not in DATASETS and Path(name).is_dir():
            raise
        raise MissingFile(f"the pictures of {name} are not on this machine. {how_to_fetch(name, split)}") from error


def fetch_command(name: str, split: str) -> str | None:
    """What fetches a data set; None for those that are not to be had by a command."""
    if name not in ("cifar10", "mnist", "imagenette"):
        return None
    call = f"load_dataset('{name}', 'data/{name}', '{split}', download=True)"
    return f'python -c "from spatial_viz.data.datasets import load_dataset; {call}"'


def how_to_fetch(name: str, split: str) -> str:
    """One sentence."""
    command = fetch_command(name, split)
    if command:
        return f"Fetch them with: {command}"
    if name in DATASETS:
        return f"Put them into data/{name}/{split}/, a folder per class."
    return f"The run read them from the folder {name}; put them back there."


def find_pictures(summary: Summary, pictures: Pictures) -> LocatedPictures:
    """Where the pictures of a summary are in ``pictures``, a whole data set.

    Their places are taken where labels and pixels agree; a data set of another layout is searched by pixels.

    Raises
    ------
    SpatialVizError: the pictures there are others.
    """
    if _agrees(summary, pictures):
        return LocatedPictures(pictures, summary.index)
    data = getattr(pictures.dataset, "data", None)
    if summary.pixels is not None and data is not None:
        known = pd.Index([pixel_checksum(np.asarray(each)) for each in data])
        first = pd.Series(np.arange(len(known)), known).groupby(level=0).first()
        places = first.reindex(summary.pixels).to_numpy()
        if not np.isnan(places).any():
            return LocatedPictures(pictures, places.astype(np.int64))
    name = summary.card.data.name
    raise SpatialVizError(f"the pictures of {name} on this machine are not those of this run, or in another order")


def with_checksums(summary: Summary, pictures: Pictures) -> Summary:
    """The summary with the checksums by which its pictures are found in any layout."""
    sums = [_checksum(pictures, place) for place in summary.index.tolist()]
    return replace(summary, pixels=np.array(sums, np.uint32))


def worst_pictures(summary: Summary, located: LocatedPictures, rows: Sequence[int]) -> Tensor:
    """The pictures number ``rows`` of the summary at their worst transform, or as they are where there is none.

    Returns
    -------
    float32 len(rows)×3×H×W in [0, 1], H and W as the classifier sees pictures (its own resize is not applied).
    """
    size = summary.card.classifiers[0].picture_size
    images = [
        picture_to_tensor(fit(located.pictures.dataset[int(located.places[row])][0], None, size), 3) for row in rows
    ]
    transforms = torch.zeros(len(images), 3)
    cells = torch.from_numpy(summary.cell[list(rows)].astype(np.int64))
    transforms[cells >= 0] = summary.grid.transforms()[cells[cells >= 0]]
    return warp(torch.stack(images), transforms, summary.plan.padding)


def _agrees(summary: Summary, pictures: Pictures) -> bool:
    """Whether classes correspond one to one at the summary's places, and a few pictures are the same."""
    labels = np.asarray(pictures.labels)
    if len(summary) and summary.index.max() >= len(labels):
        return False
    pairs = set(zip(labels[summary.index].tolist(), summary.label.tolist(), strict=True))
    if not len(pairs) == len({theirs for theirs, _ in pairs}) == len({ours for _, ours in pairs}):
        return False
    if summary.pixels is None:
        return True
    probes: Any = np.unique(np.linspace(0, len(summary) - 1, PROBES).astype(int)) if len(summary) else ()
    return all(_checksum(pictures, int(summary.index[at])) == summary.pixels[at] for at in probes)


def _checksum(pictures: Pictures, place: int) -> int:
    return pixel_checksum(np.asarray(pictures.dataset[place][0]))


def data_names(entries: Sequence[BrowsableRun]) -> dict[str, str]:
    """How a link may call the data sets there are: their names, and the last part of folders that runs are about."""
    folders = [entry.data for entry in entries]
    return {Path(name).name: name for name in (*folders, *(each for each in DATASETS if each != "folder"))}


def browsable(store: Path | None = None, shipped: Path | None = None) -> tuple[list[BrowsableRun], list[str]]:
    """Every classifier of every run that tried the grid, those with all verdicts first, and a sentence for each run or
    file that cannot be read. By default the folders of `store_folder` and `shipped_folder`."""
    entries: list[BrowsableRun] = []
    problems: list[str] = []
    for folder in runs_in(store or store_folder()):
        try:
            card = read_card(folder)
            if "grid" in card.plan.adversaries:
                entries += [BrowsableRun.of(card, folder, number) for number in range(len(card.classifiers))]
        except SpatialVizError as error:
            problems.append(str(error))
    for path in sorted((shipped or shipped_folder()).glob("*.npz")):
        try:
            entries.append(BrowsableRun.of(read_summary(path).card, path, 0))
        except SpatialVizError as error:
            problems.append(str(error))
    return sorted(entries, key=lambda entry: (not entry.full, entry.title)), problems
