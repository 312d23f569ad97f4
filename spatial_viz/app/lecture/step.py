"""What a step of the lecture is, and what all steps share: the landscapes, what is kept, and how things are drawn.

A module of this folder exports ``STEPS``; `spatial_viz.app.lecture.page` shows them in order. A step draws its one
demonstration with ``show`` on a page that has already its heading and its sentences. What takes longer than a moment is
asked for through `landscape_of` and `kept`, and in the same words by ``warm``, which runs on a thread of its own while
the step before is shown: then ``show`` finds the answers there. ``warm`` must not call Streamlit. A step that nobody
warmed draws what it knows already, first of all by `looks`, and replaces that once it knows more.

A step shows no more than fits on a projector below heading and sentences: give `chart` the whole height with
``height=talk.height``, or a share of it.
"""

from __future__ import annotations

import dataclasses
import html
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import torch
import xarray as xr
from torch import Tensor

from spatial_viz.app import sidebar
from spatial_viz.app.memoize import Memory
from spatial_viz.app.view import View
from spatial_viz.app.widgets import BARE
from spatial_viz.data.images import SMALL, data_uri, load_image, tensor_to_picture
from spatial_viz.data.samples import Sample
from spatial_viz.figures.style import Theme, enlarged
from spatial_viz.figures.text import spread
from spatial_viz.landscape.cache import cached_sweep, is_cached
from spatial_viz.landscape.sweeps import pixel_hash, sweep_axes
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.engine import Progress
from spatial_viz.models.inference import exact_logits
from spatial_viz.models.registry import dataset_of, manifest, without_mirrors
from spatial_viz.transforms.grids import TransformGrid

DRAWING = 1.0  # seconds in which a browser draws what it has been sent; it does so on the same cores as the app
PROJECTOR = 700  # pixels of a demonstration: less has no room for the largest type
_MEMORY = Memory(256)
_FIGURES = Memory(8)  # they are large


@dataclass(frozen=True)
class Talk:
    """What a step is about: the choice so far, and how it is looked at.

    ``height``: pixels that the demonstration may take from top to bottom. ``progress`` is called in the midst of long
    work, with (done, in all); on the thread that warms a step it raises once nobody waits for that step any more.
    """

    view: View
    theme: Theme = "light"
    full_screen: bool = False
    height: int = 560
    progress: Progress | None = None

    @property
    def type_scale(self) -> float:
        """How much larger the type in figures is on the full screen."""
        return (1.6 if self.height >= PROJECTOR else 1.25) if self.full_screen else 1.0


@dataclass(frozen=True)
class Step:
    """One screen of the lecture.

    ``title``: a few words. ``text``: one or two plain sentences, in which terms are defined where they first appear.
    ``note``: for the presenter, on demand. ``sources``: where it all comes from. All four are Markdown. ``show`` draws
    the demonstration; ``warm`` finds out what ``show`` will need.
    """

    title: str
    text: str
    note: str
    sources: str
    show: Callable[[Talk], None]
    warm: Callable[[Talk], None] | None = None


Look = Callable[[Talk], xr.Dataset]  # as `landscape_of`


# --- Answers --------------------------------------------------------------------------------------------------------


def classifier_of(talk: Talk, name: str | None = None) -> Classifier:
    """The classifier of the talk, or another of the catalogue by its name."""
    return talk.view.classifier if name in (None, talk.view.classifier.name) else sidebar.cached_classifier(name)


def under(talk: Talk, name: str) -> Talk:
    """The same talk with another classifier of the catalogue, and the picture as that one takes it."""
    classifier = classifier_of(talk, name)
    image = classifier.prepare(talk.view.image)
    return dataclasses.replace(talk, view=dataclasses.replace(talk.view, classifier=classifier, image=image))


def of_sample(talk: Talk, sample: Sample) -> Talk:
    """The same talk about another picture."""
    image = talk.view.classifier.prepare(load_image(sample.path))
    return dataclasses.replace(talk, view=dataclasses.replace(talk.view, image=image, label=sample.label))


def talk_label(talk: Talk) -> int:
    """The true class of the picture; of one that nobody labelled, what it is taken for as it is."""
    view = talk.view
    natural = kept(talk, "natural", lambda: exact_logits(view.classifier, view.image, torch.zeros(1, 3)))
    return int(natural.argmax()) if view.label is None else view.label


def landscape_of(talk: Talk) -> xr.Dataset:
    """The landscape of the talk's picture, grid and padding under its classifier."""
    view = talk.view
    return kept(talk, "landscape", lambda: cached_sweep(
        view.classifier, view.image, view.label, view.grid.axes(), view.padding, progress=talk.progress))  # fmt: skip


def has_landscape(talk: Talk) -> bool:
    """Whether what `landscape_of` finds is at hand."""
    return is_kept(talk, "landscape")


def can_be_searched(talk: Talk) -> bool:
    """Whether rotation and shift both move, so that there is a map over them."""
    return all(len(talk.view.grid.values(axis)) > 1 for axis in ("rotation", "dx"))


def looks(*talks: Talk) -> Iterator[Look]:
    """Ways to the landscapes of some talks on one grid, to be drawn one after the other.

    Where it takes a while until they are known, the first way finds what a few of the grid's transforms tell, and the
    browser has time to draw that.
    """
    grid = talks[0].view.grid
    few = math.prod(map(len, _some_of(grid).values()))
    if few <= len(grid) / 4 and not all(map(_at_hand, talks)):
        yield _first_look
        leave_cores(talks[0], time.monotonic() + DRAWING, lambda: all(map(has_landscape, talks)))
    yield landscape_of


def leave_cores(talk: Talk, until: float, needless: Callable[[], bool] = lambda: False) -> None:
    """Wait until ``until`` on the clock of `time.monotonic`, so that the browser has the cores of this machine; no
    longer once that is ``needless``."""
    while time.monotonic() < until and not needless():
        if talk.progress:
            talk.progress(0, len(talk.view.grid))
        time.sleep(0.02)


def _first_look(talk: Talk) -> xr.Dataset:
    """A landscape that is at hand; else one of only some values of every axis."""
    if _at_hand(talk):
        return landscape_of(talk)
    view = talk.view
    return kept(talk, "first look", lambda: sweep_axes(
        view.classifier, view.image, view.label, _some_of(view.grid), padding=view.padding,
        progress=talk.progress))  # fmt: skip


def _at_hand(talk: Talk) -> bool:
    """Whether a landscape is in memory, or on the disk, where `demo` puts those of a lecture."""
    view = talk.view
    return has_landscape(talk) or is_cached(view.classifier, view.image, view.label, view.grid.axes(), view.padding)


def _some_of(grid: TransformGrid) -> dict[str, np.ndarray]:
    """Of every axis of the grid the ends and some values between them; 99 of the paper's 775 transforms."""
    few = {"rotation": 11, "dy": 3, "dx": 3}
    return {axis: values[spread(len(values) - 1, few[axis])] for axis, values in grid.axes().items()}


def data_of(talk: Talk) -> str:
    """The data set of the talk's classifier."""
    return dataset_of(talk.view.classifier.name)


def partner(talk: Talk, recipe: str, dataset: str | None = None) -> str | None:
    """The shipped classifier of the same data set (or of another) that was trained by a recipe; None where none is.

    The talk's own comes first, if it was trained so.
    """
    dataset = dataset or data_of(talk)
    names = [card.name for card in without_mirrors(manifest())
             if dataset_of(card.name) == dataset and card.recipe == recipe]  # fmt: skip
    return talk.view.classifier.name if talk.view.classifier.name in names else next(iter(names), None)


def kept(talk: Talk, key: Any, make: Callable[[], Any]) -> Any:
    """The answer to a question about the talk's choice, found by ``make`` once and then kept in memory.

    ``key`` (hashable) says what is asked beyond picture, label, classifier, grid and padding. Safe on any thread.
    """
    return _MEMORY.get((_question(talk), key), make)


def kept_figure(talk: Talk, key: Any, make: Callable[[], go.Figure]) -> go.Figure:
    """As `kept`, for a figure that takes long to write down."""
    figure: go.Figure = _FIGURES.get((_question(talk), key), make)
    return figure


def forget(talk: Talk, key: Any) -> None:
    """The answer kept under ``key`` is found anew when it is asked for again."""
    _MEMORY.forget((_question(talk), key))


def is_kept(talk: Talk, key: Any) -> bool:
    """Whether the answer that is kept under ``key`` is at hand."""
    return (_question(talk), key) in _MEMORY


def _question(talk: Talk) -> tuple[Any, ...]:
    """As `View.question`, with a checksum in the place of the pixels."""
    view = talk.view
    return (view.classifier.name, pixel_hash(view.image), view.label, view.grid, view.padding)


# --- Drawing --------------------------------------------------------------------------------------------------------


def chart(
    talk: Talk, figure: go.Figure, key: str, *, alt: str, height: int | None = None, config: dict[str, Any] = BARE,
    place: Any = st, on_select: Callable[[], None] | None = None,
) -> None:  # fmt: skip
    """Draw a Plotly figure, with larger type on the full screen. ``height`` in pixels; by default the figure's own.

    ``on_select`` is called when a point has been clicked, which then is in ``st.session_state[key]["selection"]``.
    """
    if height is not None:
        figure.update_layout(height=height)
    if talk.type_scale > 1:
        figure = enlarged(figure, talk.type_scale)
    place.plotly_chart(figure, theme=None, config=config, key=key, alt=alt,
                       on_select=on_select or "ignore", selection_mode="points")  # fmt: skip


def pictures(
    talk: Talk, shown: Sequence[tuple[Tensor, str, str]], place: Any = st, *, signs: Sequence[str] = (),
    framed: Collection[int] = (),
) -> None:  # fmt: skip
    """Pictures (C×H×W in [0, 1]) in a row, each with a title and words below, which are plain text.

    ``signs``: what stands between them, such as + and =. ``framed``: the numbers of pictures that have a frame.
    """
    parts = []
    for number, (image, title, words) in enumerate(shown):
        few = " class='sv-few'" if max(image.shape[-2:]) <= SMALL else ""
        parts.append(
            f"<figure{' class=sv-framed' if number in framed else ''}>"
            f"<img{few} src='{data_uri(tensor_to_picture(image))}' alt='{html.escape(f'{title}: {words}')}'>"
            f"<figcaption><b>{html.escape(title)}</b>{html.escape(words)}</figcaption></figure>"
        )
        if number < len(signs):
            parts.append(f"<span class='sv-sign'>{html.escape(signs[number])}</span>")
    place.html(f"<div class='sv-row'>{''.join(parts)}</div>")


def missing(text: str) -> None:
    """Say in a sentence (Markdown) what is not there, where a demonstration would need it."""
    st.info(text, icon=":material/inventory_2:")


def watched(talk: Talk, progress: Progress) -> Talk:
    """The same talk, whose long work tells how far it is."""
    return dataclasses.replace(talk, progress=progress)
