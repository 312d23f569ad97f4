"""What a run found about every picture of one classifier, small enough to ship: the verdict of every grid cell as bits.

A run with landscapes, a run without, and a summary file all give a `Summary`, so whoever looks at one sees them alike.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from spatial_viz.data.samples import CLASS_NAMES, class_names
from spatial_viz.errors import CorruptFile, InvalidInput, MissingFile
from spatial_viz.evaluation.cards import RunCard
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.store import open_landscapes, read_card, read_table
from spatial_viz.files import replace_file
from spatial_viz.models.registry import dataset_of
from spatial_viz.transforms.grids import AXES, TransformGrid

SCHEMA = 1
VERDICTS = ("robust", "broken", "wrong as it is")
_STORED = {"index": np.int64, "label": np.int32, "natural": np.int32, "loss": np.float32, "cell": np.int32,
           "predicted": np.int32, "wrong": np.uint8, "pixels": np.uint32}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Summary:
    """One classifier on N pictures of a run.

    ``card``: of the run, with this classifier alone. ``index``: places in the data set; ``label``, ``natural``: true
    class and natural prediction. ``cell``: the number in grid order of the worst transform, or where ``wrong`` is None
    of the one that broke the picture (−1: none did, or the grid has no cell for it), with ``loss`` and ``predicted``
    there. ``robust``: N verdicts. ``wrong``: N × ⌈cells / 8⌉ bytes, the bits of `numpy.packbits`, set where the
    transform is misclassified; None for a run that kept no landscapes. ``pixels``: checksums by which pictures are
    found again in another layout of the data set; None where nobody took them.
    """

    card: RunCard
    index: np.ndarray
    label: np.ndarray
    natural: np.ndarray
    robust: np.ndarray
    cell: np.ndarray
    loss: np.ndarray
    predicted: np.ndarray
    wrong: np.ndarray | None
    pixels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def classifier(self) -> str:
        return self.card.classifiers[0].name

    @property
    def plan(self) -> EvaluationPlan:
        return self.card.plan

    @cached_property
    def grid(self) -> TransformGrid:
        return self.plan.grid(self.card.classifiers[0].picture_size)

    def name_of(self, label: int) -> str:
        """What a class is called; by its number where neither the run nor the data set of the classifier says."""
        known = self.card.classifiers[0].class_names
        if str(label) in known:
            return known[str(label)]
        dataset = dataset_of(self.classifier)
        if not self.plan.restrict and dataset in (*CLASS_NAMES, "imagenet") and label < len(class_names(dataset)):
            return class_names(dataset)[label]
        return f"class {label}"

    def failing(self) -> np.ndarray:
        """The share of the grid that is misclassified, N."""
        return np.bitwise_count(self._bits()).sum(1, dtype=np.int64) / len(self.grid)

    def failing_map(self) -> np.ndarray:
        """The share of the pictures that each transform breaks, rotation × dy × dx."""
        counts = np.zeros(len(self.grid), np.int64)
        for start in range(0, len(self), 4096):
            block = self._bits()[start : start + 4096]
            counts += np.unpackbits(block, axis=1, count=len(self.grid)).sum(0, dtype=np.int64)
        return (counts / max(1, len(self))).reshape(self.grid.shape)

    def confusion(self) -> pd.DataFrame:
        """How many pictures of a true class (rows) are taken for which class (columns) at their worst transform."""
        self._bits()
        return pd.crosstab(pd.Series(self.label, name="true"), pd.Series(self.predicted, name="worst case"))

    def mistakes(self) -> pd.Series:
        """Pictures per (true class, worst-case class), where these differ; most frequent first."""
        counts = self.confusion().stack()
        astray = counts.index.get_level_values(0) != counts.index.get_level_values(1)
        return counts[astray & (counts > 0)].sort_values(ascending=False, kind="stable")

    def table(self) -> pd.DataFrame:
        """A row per picture: index, label, natural, verdict (of `VERDICTS`), cell, loss, predicted, rotation, dx, dy
        (degrees, pixels; NaN where there is no cell), and share, NaN where the run kept no landscapes."""
        verdict = np.where(self.natural != self.label, VERDICTS[2], np.where(self.robust, VERDICTS[0], VERDICTS[1]))
        transforms = np.full((len(self), 3), np.nan)
        available = self.cell >= 0
        transforms[available] = self.grid.transforms().numpy()[self.cell[available]]
        share = np.full(len(self), np.nan) if self.wrong is None else self.failing()
        columns = {"index": self.index, "label": self.label, "natural": self.natural, "verdict": verdict,
                   "cell": self.cell, "loss": self.loss, "predicted": self.predicted, "share": share}  # fmt: skip
        return pd.DataFrame(columns | dict(zip(AXES, transforms.T, strict=True)))

    def _bits(self) -> np.ndarray:
        if self.wrong is None:
            raise InvalidInput(
                "this run kept one transform per picture, not the verdict on every transform; evaluate with --full"
            )
        return self.wrong


def summarise(folder: Path, classifier: int = 0) -> Summary:
    """What a run says about one of its classifiers, as far as it has got.

    Raises
    ------
    InvalidInput: no such classifier, or a run without the adversary grid.
    MissingFile, CorruptFile: no run, or one that cannot be read.
    """
    card = read_card(folder)
    if not 0 <= classifier < len(card.classifiers):
        raise InvalidInput(f"the run in {folder} has {len(card.classifiers)} classifiers; got number {classifier}")
    if "grid" not in card.plan.adversaries:
        raise InvalidInput(f"the run in {folder} did not try the grid; evaluate with the adversary grid")
    card = replace(card, classifiers=(card.classifiers[classifier],))
    rows, _ = read_table(folder)
    if len(rows):
        rows = rows[rows["classifier"] == card.classifiers[0].name]
    if not len(rows):
        none = np.zeros(0)
        return _typed(Summary(card, none, none, none, none, none, none, none, None))
    label, natural = rows["label"].to_numpy(), rows["natural_predicted"].to_numpy()
    full = card.plan.full
    kind = "worst" if full else "breaking"
    loss, predicted = rows[f"{kind}_loss"].to_numpy(), rows[f"{kind}_predicted"].to_numpy()
    transforms = rows[[f"{kind}_{axis}" for axis in AXES]].to_numpy(np.float64, copy=True)
    if not full:
        astray = natural != label  # nothing was tried on these: the natural picture is its own counter-example
        transforms[astray] = 0.0
        loss = np.where(astray, rows["natural_loss"].to_numpy(), loss)
        predicted = np.where(predicted < 0, natural, predicted)
    index, robust = rows["index"].to_numpy(), rows["grid_robust"].to_numpy()
    summary = Summary(card, index, label, natural, robust, label, loss, predicted, None)
    summary = replace(summary, cell=_cells(summary.grid, transforms))
    return _typed(replace(summary, wrong=_verdicts(folder, classifier, summary)) if full else summary)


def write_summary(summary: Summary, path: Path) -> None:
    """Write a compact ``.npz`` without pickles; about 100 bytes per picture on the paper's grid.

    Raises
    ------
    InvalidInput: a run that kept no landscapes has nothing that a table would not say.
    """
    summary._bits()
    arrays = {name: getattr(summary, name) for name in _STORED if getattr(summary, name) is not None}
    card = np.frombuffer(json.dumps(summary.card.to_json(), ensure_ascii=False).encode(), np.uint8)

    def write(partial: Path) -> None:
        with open(partial, "wb") as handle:  # given a name, numpy would add an ending
            np.savez_compressed(handle, schema=np.int64(SCHEMA), card=card, robust=summary.robust, **arrays)

    replace_file(path, write)


def read_summary(path: Path) -> Summary:
    """Read back what `write_summary` wrote.

    Raises
    ------
    MissingFile, CorruptFile: nothing there, or something else.
    """
    if not path.is_file():
        raise MissingFile(f"there is no summary {path}; a run with --full can be summarised into one")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if int(arrays.pop("schema")) != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        summary = Summary(RunCard.from_json(json.loads(bytes(arrays.pop("card")))), **arrays)
        _check(summary)
    except Exception as error:  # numpy and zipfile raise whatever the broken file makes them raise
        raise CorruptFile(
            f"{path} is no summary of a run ({error}); remove it, or install the package again"
        ) from error
    return summary


def pixel_checksum(pixels: np.ndarray) -> int:
    """CRC-32 of a picture's 8-bit values, as the data set gives them."""
    return zlib.crc32(np.ascontiguousarray(pixels).tobytes())


def _typed(summary: Summary) -> Summary:
    """As it would be read back from a file."""
    values = {name: getattr(summary, name) for name in _STORED}
    return replace(
        summary, **{name: each.astype(_STORED[name]) for name, each in values.items() if each is not None},
        robust=summary.robust.astype(bool),
    )  # fmt: skip


def _check(summary: Summary) -> None:
    cells = len(summary.grid)
    for name, kind in {**_STORED, "robust": np.bool_}.items():
        values = getattr(summary, name)
        if values is None and name == "pixels":
            continue
        shape = (len(summary.index), -(-cells // 8)) if name == "wrong" else (len(summary.index),)
        if values.dtype != kind or values.shape != shape:
            raise ValueError(f"{name} is {values.dtype} of shape {values.shape}")
    for name, least, end in (("label", 0, None), ("natural", 0, None), ("predicted", 0, None), ("cell", -1, cells)):
        values = getattr(summary, name)
        if len(values) and (values.min() < least or (end is not None and values.max() >= end)):
            raise ValueError(f"{name} is out of range")


def _cells(grid: TransformGrid, transforms: np.ndarray) -> np.ndarray:
    """The cell numbers, in grid order, of N transforms (rotation, dx, dy); −1 where the grid has no such cell."""
    places, known = [], np.ones(len(transforms), bool)
    for number, axis in enumerate(AXES):
        away = np.abs(transforms[:, [number]] - np.array(grid.values(axis)))
        away = np.where(np.isnan(away), np.inf, away)
        places.append(away.argmin(1))
        known &= away.min(1) < 1e-3
    rotation, dx, dy = places
    _, dys, dxs = grid.shape
    return np.where(known, (rotation * dys + dy) * dxs + dx, -1)


def _verdicts(folder: Path, classifier: int, summary: Summary) -> np.ndarray:
    """The bits of a run with landscapes, in the order of its table; a shard without a table does not count."""
    landscapes = open_landscapes(folder, classifier)
    try:
        places = pd.Index(landscapes["image"].values).get_indexer(pd.Index(summary.index))
        if (places < 0).any():
            raise ValueError("some that its tables name are missing")
        predicted = landscapes["predicted"].values[places].reshape(len(summary), len(summary.grid))
    except Exception as error:  # zarr raises whatever a broken folder without checksums makes it raise
        raise CorruptFile(
            f"the landscapes in {folder} cannot be read ({error}); remove that folder and evaluate again"
        ) from error
    return np.packbits(predicted != summary.label[:, None], axis=1)
