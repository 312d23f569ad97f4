"""What the page Compare holds against each other: classifiers, or one with several paddings, on a black canvas, or with
a vote."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, get_args

import streamlit as st
import torch

from spatial_viz.app import sidebar, url_state
from spatial_viz.app.view import View
from spatial_viz.app.widgets import plain
from spatial_viz.defences.black_canvas import BlackCanvas
from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.explorer.payload import GLOSSARY, MAX_PANES
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.registry import catalogue, dataset_of
from spatial_viz.models.sources.base import ClassifierEntry
from spatial_viz.transforms.geometry import PADDINGS, Padding
from spatial_viz.transforms.grids import TransformGrid

MODES = ("Classifiers", "Paddings", "Black canvas", "Majority vote")
NOBODY = "nobody"  # in a link: the visitor has taken all others away


@dataclass(frozen=True)
class Contestant:
    """One of those that are compared: what it is called, and the view that decides its landscape."""

    title: str
    view: View


@dataclass(frozen=True)
class Comparison:
    """Who is compared. ``in_votes``: in shares of votes, since their losses are not of one kind. ``one_picture``: all
    get the same pixels, so that one landscape may be subtracted from another."""

    contestants: tuple[Contestant, ...]
    in_votes: bool = False
    one_picture: bool = True

    @property
    def question(self) -> tuple[Any, ...]:
        """Everything that decides the landscapes and how they are shown."""
        return (self.in_votes, *(each.view.question for each in self.contestants))

    @property
    def titles(self) -> tuple[str, ...]:
        return tuple(each.title for each in self.contestants)


def choose_comparison(view: View) -> Comparison:
    """The controls at the top of the page; what is wrong with a choice is said below them."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        mode = url_state.segments("Compare", MODES, key="compare")
        if mode == "Paddings":
            return _paddings(view)
        if mode == "Black canvas":
            st.caption(
                "The picture alone, and in the middle of a canvas so large that no turn or shift loses a pixel: what "
                "still fails there is not due to lost content."
            )
            return _canvas(view)
        if mode == "Majority vote":
            st.caption("One classifier alone, and by the majority of its answers to ten random turns and shifts.")
            return _vote(view)
        names = _choose_others(view)
    return _classifiers(view, names)


# --- Classifiers ----------------------------------------------------------------------------------------------------


def _choose_others(view: View) -> list[str]:
    """The names of the classifiers that the first one, that of the sidebar, is compared with."""
    entries = {entry.name: entry for entry in catalogue()}
    offered = [name for name, entry in entries.items() if not reason_against(view.classifier, entry)]
    linked = url_state.get("against")
    wanted = [name for name in linked.split(",") if name and name not in (view.classifier.name, NOBODY)]
    chosen = [name for name in dict.fromkeys(wanted) if name in offered][: MAX_PANES - 1]
    url_state.show("against", NOBODY if linked == NOBODY else ",".join(chosen))
    if not chosen and linked != NOBODY:
        chosen = _most_unlike(entries[view.classifier.name], [entries[name] for name in offered])
    key = "against_chosen"
    st.session_state[key] = chosen
    st.multiselect(
        f"{view.classifier.name} against", offered, key=key, max_selections=MAX_PANES - 1,
        format_func=lambda name: sidebar.marked(entries[name]), help=_not_offered(view.classifier, entries),
        on_change=lambda: url_state.put("against", ",".join(st.session_state[key]) or NOBODY),
    )  # fmt: skip
    unknown = [name for name in wanted if name not in entries]
    if unknown:
        _warn(f"The link names {', '.join(unknown)[:80]}, and there is no such classifier; it is left out.")
    unfit = [name for name in wanted if name in entries and name not in offered]
    if unfit:
        _warn(f"{unfit[0]} is left out: {reason_against(view.classifier, entries[unfit[0]])}.")
    return chosen


def _most_unlike(first: ClassifierEntry, others: list[ClassifierEntry]) -> list[str]:
    """The one at hand that is robust where the first is not, or the other way round: the most telling comparison; none
    with a mirror, so that the training is what differs."""

    def robust(entry: ClassifierEntry) -> float:
        return entry.card.accuracies["grid"].accuracy if entry.card else 0.0

    trained = [entry for entry in others if not (entry.card and entry.card.mirror)]
    by_contrast = sorted(trained, key=lambda entry: (not entry.available, -abs(robust(entry) - robust(first))))
    return [entry.name for entry in by_contrast[:1]]


def reason_against(first: Classifier, entry: ClassifierEntry) -> str:
    """Why a classifier cannot be compared with the first, from what its card says; empty where it can."""
    architecture = entry.card and entry.card.architecture
    if entry.name == first.name:
        return "it is the first one already"
    if entry.dataset != dataset_of(first.name) or (architecture and architecture.class_names != first.class_names):
        return "it knows other classes"
    if architecture and architecture.input_size != first.input_size:
        return "it takes pictures of another size"
    return ""


def _not_offered(first: Classifier, entries: dict[str, ClassifierEntry]) -> str:
    """Who is not in the list, and why, in Markdown."""
    reasons: dict[str, list[str]] = {}
    for entry in entries.values():
        reason = reason_against(first, entry)
        if reason and entry.name != first.name:
            reasons.setdefault(reason, []).append(entry.name)
    grouped = [f"{plain(', '.join(names))} ({reason})" for reason, names in reasons.items()]
    offered = f"All that know the same classes as {plain(first.name)}; the sidebar chooses that one."
    return f"{offered} Not offered: {'; '.join(grouped)}." if grouped else offered


def _classifiers(view: View, names: list[str]) -> Comparison:
    contestants = [Contestant(view.classifier.name, view)]
    for name in names:
        try:
            with st.spinner(f"Loading {name}…", show_time=True):
                classifier = sidebar.cached_classifier(name)
        except SpatialVizError as error:
            _warn(f"{name} is left out: {error}")
            continue
        if (classifier.class_names, classifier.input_size, classifier.channels) != (
            view.classifier.class_names, view.classifier.input_size, view.classifier.channels,
        ):  # fmt: skip
            _warn(f"{name} is left out: it knows other classes, or takes other pictures.")
            continue
        # The very same pixels for all, as the first one gets them.
        contestants.append(Contestant(name, dataclasses.replace(view, classifier=classifier)))
    return Comparison(tuple(contestants))


# --- One classifier in several ways ---------------------------------------------------------------------------------


def _paddings(view: View) -> Comparison:
    chosen = url_state.multiselect("Paddings", PADDINGS, usual=PADDINGS[:2], key="paddings", help=GLOSSARY["padding"])
    views = [dataclasses.replace(view, padding=padding) for padding in get_args(Padding) if padding in chosen]
    return Comparison(tuple(Contestant(f"padding {each.padding}", each) for each in views))


def _canvas(view: View) -> Comparison:
    canvas = _on_canvas(view.classifier.name, view.grid)
    on_canvas = dataclasses.replace(view, classifier=canvas, image=canvas.prepare(view.image))
    contestants = (Contestant("the picture alone", view), Contestant("on a black canvas", on_canvas))
    return Comparison(contestants, one_picture=False)


def _vote(view: View) -> Comparison:
    vote = _voted(view.classifier.name, view.grid, view.padding)
    voted = dataclasses.replace(view, classifier=vote)
    contestants = (Contestant("alone, one vote", view), Contestant("majority of ten votes", voted))
    return Comparison(contestants, in_votes=True)


@st.cache_resource(max_entries=4, show_spinner=False)
def _voted(name: str, grid: TransformGrid, padding: Padding) -> MajorityVote:
    return MajorityVote(sidebar.cached_classifier(name), grid, padding=padding)


@st.cache_resource(max_entries=4, show_spinner=False)
def _on_canvas(name: str, grid: TransformGrid) -> BlackCanvas:
    canvas = BlackCanvas(sidebar.cached_classifier(name), grid)
    try:
        with torch.inference_mode():
            canvas.logits(torch.zeros(1, canvas.channels, *canvas.input_size))
    except torch.OutOfMemoryError:  # says nothing about the network
        raise
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InvalidInput(
            f"{name} takes no picture of {' × '.join(map(str, canvas.input_size))} pixels, the size of the canvas; "
            "choose a convolutional classifier"
        ) from error
    return canvas


def _warn(text: str) -> None:
    st.warning(plain(text), icon=":material/warning:")
