"""Bounded on-disk cache of landscapes, shared by command line and app. No pictures are kept, only what they led to."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import xarray as xr
from torch import Tensor

from spatial_viz.errors import SpatialVizError
from spatial_viz.files import checksum_path, intact, replace_file
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.dataset import DIMS, SCHEMA, load, to_bytes
from spatial_viz.landscape.sweeps import pixel_hash, sweep_axes
from spatial_viz.models.classifier import Classifier, is_known
from spatial_viz.models.engine import Progress
from spatial_viz.models.inference import Runner, runner_for
from spatial_viz.version import VERSION

MAX_BYTES = 200_000_000
"""The least recently used landscapes go beyond this; one of 775 transforms has about 100 kB."""


_LOCKS: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def cache_folder() -> Path:
    """The user's cache folder, or the one that SPATIAL_VIZ_CACHE names."""
    named = os.environ.get("SPATIAL_VIZ_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("spatial_viz")) / "landscapes"


def cached_sweep(
    classifier: Classifier,
    image: Tensor,
    label: int | None,
    axes: dict[str, np.ndarray],
    padding: str = "black",
    device: str = "auto",
    precision: Any = "auto",
    progress: Progress | None = None,
) -> xr.Dataset:
    """`spatial_viz.landscape.sweeps.sweep_axes`, from the cache where the same question was answered before."""
    path = _path_for(runner_for(classifier, device, precision), classifier, image, label, axes, padding)
    with _LOCKS[path.name]:  # visitors are threads: who asks the same question meanwhile waits for the one answer
        cached = _load(path)
        if cached is not None:
            return cached
        landscape = sweep_axes(classifier, image, label, axes, device, precision, progress, padding)  # type: ignore[arg-type]
        remember(classifier, image, label, axes, landscape)
        return landscape


def is_cached(
    classifier: Classifier, image: Tensor, label: int | None, axes: dict[str, np.ndarray], padding: str = "black"
) -> bool:
    """Whether `cached_sweep` has the answer on the disk."""
    return _is_intact(_path_for(runner_for(classifier), classifier, image, label, axes, padding))


def _is_intact(path: Path) -> bool:
    """Whether under a path lies what was written there; it then counts as used just now."""
    try:
        if not intact(path):
            return False
        for each in (checksum_path(path), path):
            each.touch()
    except OSError:
        return False
    return True


def _load(path: Path) -> xr.Dataset | None:
    """What lies under a path; None where nothing does, or something that is not as it was written: either way it is to
    be computed."""
    try:
        return load(path) if _is_intact(path) else None
    except (SpatialVizError, OSError):
        return None


def remember(
    classifier: Classifier, image: Tensor, label: int | None, axes: dict[str, np.ndarray], landscape: xr.Dataset
) -> None:
    """Keep a landscape under the question that it answers; a cache that cannot be written is no reason to fail."""
    known = attributes_of(landscape)
    if not is_known(known.classifier_hash):
        return
    path = _path(classifier, known.classifier_hash, known.margin_error, image, label, axes, known.padding)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = to_bytes(landscape)
        replace_file(path, lambda partial: partial.write_bytes(content), with_checksum=True)
        _trim(path.parent)
    except (SpatialVizError, OSError):
        return


def _path_for(
    runner: Runner, classifier: Classifier, image: Tensor, label: int | None, axes: dict[str, np.ndarray], padding: str
) -> Path:
    return _path(classifier, runner.hash, runner.margin_error, image, label, axes, padding)


def _path(
    classifier: Classifier, state: str, margin_error: float | None, image: Tensor, label: int | None,
    axes: dict[str, np.ndarray], padding: str,
) -> Path:  # fmt: skip
    """Where the answer lies of a classifier in one ``state`` (its hash); ``margin_error``: None asks it in fp32."""
    question = [
        SCHEMA, VERSION, classifier.name, state, margin_error, classifier.loss_name, pixel_hash(image), label,
        [[float(value) for value in axes[dim]] for dim in DIMS], padding,
    ]  # fmt: skip
    return cache_folder() / f"{hashlib.sha256(json.dumps(question).encode()).hexdigest()}.nc"


def _trim(folder: Path) -> None:
    files = sorted((entry.stat().st_mtime, entry.stat().st_size, entry) for entry in folder.glob("*.nc*"))
    excess = sum(size for _, size, _ in files) - MAX_BYTES
    for _, size, entry in files:
        if excess <= 0:
            return
        entry.unlink(missing_ok=True)
        excess -= size
