"""One folder per run: its card, a Parquet table per shard, and with full landscapes a Zarr store per shard.

A shard is there whole or not at all: killed at any moment, a run goes on where it was. Beside every shard lie its
checksums, so bits that turn later are noticed; shards of earlier versions have none and are read without.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr
from filelock import FileLock, Timeout

from spatial_viz.errors import CorruptFile, InvalidInput, MissingFile, SpatialVizError
from spatial_viz.evaluation.cards import SCHEMA, RunCard
from spatial_viz.evaluation.plan import EvaluationPlan, digest
from spatial_viz.evaluation.shards import ShardResult, columns_of
from spatial_viz.files import intact, replace_file, replace_folder

QUESTION = ("classifiers", "data", "plan")
"""What a run is about; the rest of its card says where and by what it was answered."""
AGAIN = "remove the table of that shard (.parquet), and run again with --resume"


class Run:
    """A run on disk, locked while it is open for writing.

    Parameters
    ----------
    store: the folder of all runs; this one's is named after what is asked.
    card: what it is about, and where and by what it is answered.
    resume: go on where an earlier one stopped; without it a run that is there already is refused.
    first_hashes: of its classifiers as versions up to 0.3 hashed them (`Classifier.first_hash`): a run of theirs about
        the same is this one.

    Raises
    ------
    InvalidInput: a run is there already, was made by something else, or is being written by another process.
    CorruptFile: a folder that is no run of ours.
    SpatialVizError: a disk that cannot be written.
    """

    def __init__(self, store: Path, card: RunCard, resume: bool, first_hashes: Sequence[str | None] = ()) -> None:
        earlier = card.with_hashes(first_hashes)
        if earlier and (run_folder(store, earlier) / "card.json").is_file():
            card = earlier
        self.folder, self.card = run_folder(store, card), card
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / "lock")
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:
                raise InvalidInput(f"another process is writing to {self.folder}; wait for it") from error
        try:
            self._begin(resume)
        except BaseException:
            self._lock.release()
            raise

    def _begin(self, resume: bool) -> None:
        if not (self.folder / "card.json").exists():
            strangers = [entry.name for entry in self.folder.iterdir() if entry.name != "lock"]
            if strangers:
                raise CorruptFile(f"{self.folder} holds {strangers[0]} but no card: it is no run; choose another store")
            with _writing(self.folder):
                _write_json(self.folder / "card.json", self.card.to_json())
            return
        stored = read_card(self.folder)
        if not resume:
            raise InvalidInput(f"{self.folder} holds this run already; add --resume to go on, or choose another store")
        ours, theirs = (dict(_flat(card.to_json())) for card in (self.card, stored))
        changed = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        if changed:
            key = changed[0]
            raise InvalidInput(
                f"{self.folder} was made with another {key} ({theirs.get(key)}; now {ours.get(key)}), and results must "
                "not be mixed; choose another store"
            )

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._lock.release()

    def has(self, classifier: int, shard: int) -> bool:
        """Whether a shard of one of the card's classifiers is there.

        Raises
        ------
        CorruptFile: it is, and is not what was written.
        """
        path = _table_path(self.folder, classifier, shard)
        if path.is_file():
            _refuse_damaged(path)
        return path.is_file()

    def write(self, classifier: int, shard: int, result: ShardResult, seconds: float) -> None:
        """Put a shard into the run; the table comes last, and counts."""
        facts = {"unreadable": result.unreadable, "seconds": round(seconds, 3)}
        table = pa.Table.from_pandas(result.table, preserve_index=False).replace_schema_metadata(
            {"spatial_viz": json.dumps(facts)}
        )
        with _writing(self.folder):
            if result.landscapes is not None:
                _write_landscapes(_landscape_path(self.folder, classifier, shard), result.landscapes)
            replace_file(
                _table_path(self.folder, classifier, shard),
                lambda partial: pq.write_table(table, partial, compression="zstd"),
                with_checksum=True,
            )


def run_folder(store: Path, card: RunCard) -> Path:
    """Where the run of a card lies: the name is made of what it is about."""
    stored = card.to_json()
    name = f"{_slug(card.data.name)}-{card.data.split}"
    return store / f"{name}-{digest({key: stored[key] for key in QUESTION})[:8]}"


def read_card(folder: Path) -> RunCard:
    """The card of a run."""
    path = folder / "card.json"
    if not path.is_file():
        raise MissingFile(f"there is no run in {folder}: it has no card.json")
    try:
        return RunCard.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, OSError, RecursionError) as error:
        raise CorruptFile(f"{path} is no run card of schema {SCHEMA} ({error}); choose another store") from error


def read_table(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Every picture that a run has answered so far, and what else the shards tell.

    Returns
    -------
    The rows of all shards with the column ``classifier`` (its name), and {``unreadable``: files left out,
    ``seconds``: spent, ``shards``: done, ``shards_in_all``}.
    """
    card = read_card(folder)
    parts: list[pd.DataFrame] = []
    facts: dict[str, Any] = {"unreadable": [], "seconds": 0.0, "shards": 0}
    per_classifier = -(-card.data.pictures // card.plan.shard)
    facts["shards_in_all"] = per_classifier * len(card.classifiers)
    for number, classifier in enumerate(card.classifiers):
        for shard in range(per_classifier):
            path = _table_path(folder, number, shard)
            if not path.is_file():
                continue
            frame, shard_facts = _read_shard(path, card.plan)
            nameless = set(map(str, frame["label"])) - classifier.class_names.keys()
            if nameless:
                raise CorruptFile(f"{folder / 'card.json'} does not name class {min(nameless)}; choose another store")
            frame.insert(0, "classifier", classifier.name)
            parts.append(frame)
            facts["shards"] += 1
            facts["seconds"] += shard_facts["seconds"]
            facts["unreadable"] += shard_facts["unreadable"] if number == 0 else []
    return (pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()), facts


def _read_shard(path: Path, plan: EvaluationPlan) -> tuple[pd.DataFrame, dict[str, Any]]:
    _refuse_damaged(path)
    try:
        table = pq.read_table(path)
        stored = json.loads(table.schema.metadata[b"spatial_viz"])
        facts = {"seconds": float(stored["seconds"]), "unreadable": list(stored["unreadable"])}
        frame = table.to_pandas()
        missing = columns_of(plan).keys() - set(frame.columns)
        if missing:
            raise ValueError(f"it has no column {min(missing)}")
    except Exception as error:  # pyarrow raises whatever the broken file makes it raise
        raise CorruptFile(f"{path} cannot be read ({error}); {AGAIN}") from error
    return frame, facts


def open_landscapes(folder: Path, classifier: int = 0) -> xr.Dataset:
    """The landscapes of a run with ``full``: image × rotation × dy × dx, checked, and then read as they are needed.

    Raises
    ------
    MissingFile: there are none. CorruptFile: one is not what was written.
    """
    tables = sorted(folder.glob(f"{classifier:02d}-*.parquet"))  # a shard without a table does not count
    paths = [path for table in tables if (path := table.with_suffix(".zarr")).is_dir()]
    if not paths:
        raise MissingFile(f"the run in {folder} kept no landscapes; evaluate with full (--full) to have them")
    for path in paths:
        _refuse_damaged(path)
    try:
        parts = [xr.open_zarr(path, chunks=None, consolidated=False) for path in paths]
        return xr.concat(parts, dim="image", data_vars="minimal", coords="minimal", compat="override", join="override")
    except Exception as error:  # zarr raises whatever a broken folder makes it raise
        raise CorruptFile(
            f"the landscapes in {folder} cannot be read ({error}); remove that folder and evaluate again"
        ) from error


def _refuse_damaged(path: Path) -> None:
    if intact(path) is False:
        raise CorruptFile(f"{path} is damaged: it is not what its checksum beside it says; {AGAIN}")


def runs_in(store: Path) -> list[Path]:
    """The folders of all runs in a store, in the order of their names."""
    return sorted(path.parent for path in store.glob("*/card.json"))


def _write_landscapes(path: Path, landscapes: xr.Dataset) -> None:
    """A Zarr store with one chunk a variable; one that no table belongs to is replaced."""
    whole = {name: {"chunks": variable.shape} for name, variable in landscapes.data_vars.items()}
    replace_folder(path, lambda partial: landscapes.to_zarr(partial, encoding=whole, consolidated=False))


def _table_path(folder: Path, classifier: int, shard: int) -> Path:
    return folder / f"{classifier:02d}-{shard:05d}.parquet"


def _landscape_path(folder: Path, classifier: int, shard: int) -> Path:
    return folder / f"{classifier:02d}-{shard:05d}.zarr"


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2)
    replace_file(path, lambda partial: partial.write_text(text + "\n", encoding="utf-8"))


class _writing:  # noqa: N801
    """What goes wrong while writing is one sentence."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, pa.ArrowException)) and not isinstance(error, SpatialVizError):
            raise SpatialVizError(
                f"{self.folder} cannot be written ({getattr(error, 'strerror', None) or error}). What is done is kept: "
                "make room, and go on with --resume"
            ) from error


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in Path(name).name).strip("-") or "pictures"


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Every leaf of JSON by its path."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _flat(inner, f"{prefix}.{key}" if prefix else key)]
    return [(prefix, json.dumps(value, sort_keys=True))]
