"""Everything that the lecture needs, made ready: landscapes on the disk, weights fetched, the rest tried offline."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from spatial_viz.data.images import SMALL, load_image
from spatial_viz.data.samples import SAMPLE_DATASETS, Sample, opening_sample, samples
from spatial_viz.errors import CorruptFile, MissingFile, SpatialVizError
from spatial_viz.evaluation.results import all_results
from spatial_viz.export.html import landscape_page
from spatial_viz.export.worst_case_frames import draw_trajectory
from spatial_viz.landscape.cache import MAX_BYTES, cached_sweep, is_cached
from spatial_viz.landscape.dataset import worst_case
from spatial_viz.landscape.sweeps import display_axes
from spatial_viz.lecture.handout import Chosen, handout
from spatial_viz.lecture.headline_accuracies import groups
from spatial_viz.lecture.links import only_here
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.registry import catalogue, load_classifier, manifest
from spatial_viz.models.sources.base import ClassifierEntry
from spatial_viz.transforms.grids import TransformGrid

IMAGENET = "imagenet/resnet50"  # the paper's network
Tell = Callable[[str, int, int], None]
"""Called with (what is being swept, landscapes done, landscapes in all)."""


@dataclass(frozen=True)
class Ready:
    """One thing that the lecture needs. ``needed``: without it the lecture is not ready."""

    what: str
    ready: bool
    words: str
    seconds: float
    needed: bool = True


@dataclass(frozen=True)
class Question:
    """A landscape that the lecture will ask for."""

    image: Tensor
    label: int
    axes: dict[str, np.ndarray]


def prepare(imagenet: Sequence[str] = (IMAGENET,), offline: bool = False, tell: Tell | None = None) -> Iterator[Ready]:
    """Make all of it ready, one thing after the other.

    ``imagenet``: the names of torchvision's classifiers whose weights are to be fetched; with ``offline`` nothing is.

    Raises
    ------
    InvalidInput: there is no such classifier.
    """
    for name in imagenet:
        yield _fetched(name, offline)
    entries = [entry for entry in catalogue() if entry.available and entry.dataset in SAMPLE_DATASETS]
    for entry in entries:
        yield _swept(entry, tell)
    yield _offline(entries)


# --- Weights --------------------------------------------------------------------------------------------------------


def _fetched(name: str, offline: bool) -> Ready:
    what, started = f"weights of {name}", time.perf_counter()
    available = {entry.name: entry.available for entry in catalogue()}
    if offline and not available.get(name):
        return Ready(what, False, "not on this machine; without --offline they would be fetched", 0.0, needed=False)
    try:
        load_classifier(name)
    except (MissingFile, CorruptFile) as error:
        return Ready(what, False, str(error), time.perf_counter() - started, needed=False)
    words = "on this machine" if available.get(name) else "fetched"
    return Ready(what, True, words, time.perf_counter() - started, needed=False)


# --- Landscapes -----------------------------------------------------------------------------------------------------


def questions(classifier: Classifier, dataset: str) -> Iterator[Question]:
    """The landscapes that the pages ask for about the samples of a data set, with the limits they begin with.

    The paper's grid of every sample (where pictures are small), and the planes that are shown of the first one: through
    the unmoved picture and through the worst case.
    """
    grid, opening = TransformGrid.paper(classifier.picture_size), opening_sample(dataset)
    small = max(classifier.input_size) <= SMALL
    for sample in samples(dataset) if small else [opening]:
        yield _about(classifier, sample, grid.axes())
    first = _about(classifier, opening, grid.axes())
    worst = worst_case(cached_sweep(classifier, first.image, first.label, first.axes))
    places = dict.fromkeys([("rotation", 0.0), ("dy", 0.0), ("dy", worst.dy), ("rotation", worst.rotation)])
    for fixed, value in places:
        yield _about(classifier, opening, display_axes(grid, classifier.input_size, fixed, value))


def _about(classifier: Classifier, sample: Sample, axes: dict[str, np.ndarray]) -> Question:
    return Question(classifier.prepare(load_image(sample.path)), sample.label, axes)


def _swept(entry: ClassifierEntry, tell: Tell | None) -> Ready:
    started, count = time.perf_counter(), 0
    many = (len(samples(entry.dataset)) if _is_small(entry) else 1) + 4
    try:
        classifier = load_classifier(entry.name)
        for count, each in enumerate(questions(classifier, entry.dataset), start=1):
            cached_sweep(classifier, each.image, each.label, each.axes)
            if tell:
                tell(entry.name, min(count, many), many)
    except SpatialVizError as error:
        return Ready(entry.name, False, str(error), time.perf_counter() - started)
    return Ready(entry.name, True, f"{count} landscapes on the disk", time.perf_counter() - started)


def _is_small(entry: ClassifierEntry) -> bool:
    return entry.card is not None and max(entry.card.architecture.input_size) <= SMALL


# --- Without a network ----------------------------------------------------------------------------------------------


def _offline(entries: Sequence[ClassifierEntry]) -> Ready:
    """Everything once more, from the disk, with the network shut."""
    started = time.perf_counter()
    try:
        with no_network() as tried:
            missing = [problem for entry in entries for problem in _lacking(entry)]
            groups(all_results()[0], manifest())
            for entry in entries[:1]:
                _make_downloads(entry)
    except (SpatialVizError, OSError) as error:
        return Ready("without a network", False, str(error), time.perf_counter() - started)
    problems = [*missing, *(f"something asked for {address}" for address in dict.fromkeys(tried))]
    words = "; ".join(problems) or "classifiers, pictures, landscapes, results, offline page, animation and handout"
    return Ready("without a network", not problems, words, time.perf_counter() - started)


def _lacking(entry: ClassifierEntry) -> list[str]:
    """What the cache has not kept of a classifier's landscapes."""
    classifier = load_classifier(entry.name)
    gone = sum(not is_cached(classifier, each.image, each.label, each.axes)
               for each in questions(classifier, entry.dataset))  # fmt: skip
    if not gone:
        return []
    return [f"{gone} landscapes of {entry.name} did not stay on the disk, which keeps {MAX_BYTES // 10**6} MB of them"]


def _make_downloads(entry: ClassifierEntry) -> None:
    """What visitors take along, made once."""
    classifier = load_classifier(entry.name)
    first = next(questions(classifier, entry.dataset))
    landscape = cached_sweep(classifier, first.image, first.label, first.axes)
    landscape_page(first.image, landscape, entry.name)
    draw_trajectory(classifier, first.image, landscape, frames=2)
    handout([Chosen(first.image, first.label, entry.name)], [classifier])


@contextlib.contextmanager
def no_network() -> Iterator[list[str]]:
    """Refuse every connection that leaves this machine, in the whole process; gives the hosts that were asked for."""
    tried: list[str] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not only_here(str(address[0])):
            tried.append(str(address[0]))
            raise OSError(f"the network is shut, and something asked for {address[0]}")
        connect(self, address)

    def guarded_look_up(host: Any, *rest: Any, **named: Any) -> Any:
        if host and not only_here(str(host)):
            tried.append(str(host))
            raise OSError(f"the network is shut, and something asked for {host}")
        return look_up(host, *rest, **named)

    try:
        socket.socket.connect, socket.getaddrinfo = guarded, guarded_look_up  # type: ignore[assignment, method-assign]
        yield tried
    finally:
        socket.socket.connect, socket.getaddrinfo = connect, look_up  # type: ignore[method-assign]
