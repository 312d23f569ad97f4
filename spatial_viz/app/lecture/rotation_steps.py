"""Steps 3 to 5 of the lecture: turning a picture by hand, the worst cases, and how often classifiers are wrong."""

from __future__ import annotations

import dataclasses

import streamlit as st

from spatial_viz.app import url_state
from spatial_viz.app.components import wall
from spatial_viz.app.lecture.accuracies import bars, results
from spatial_viz.app.lecture.step import (
    Step,
    Talk,
    data_of,
    has_landscape,
    landscape_of,
    missing,
    of_sample,
    partner,
    pictures,
)
from spatial_viz.app.pages import explore
from spatial_viz.app.widgets import plain
from spatial_viz.data.images import SMALL, data_uri, tensor_to_picture
from spatial_viz.data.samples import Sample, class_names, samples
from spatial_viz.figures.descriptions import describe_failure
from spatial_viz.figures.text import percent
from spatial_viz.landscape.dataset import class_name, label_of, worst_case
from spatial_viz.lecture.figures import describe_accuracy
from spatial_viz.lecture.headline_accuracies import DATA, Group, measured, published_group, recipe_group
from spatial_viz.transforms.geometry import warp

WALL, UNKNOWN = "talk-wall", "?"
LOOK_AGAIN = 2.0  # seconds, while the wall fills
PAPER = "Engstrom et al., *Exploring the Landscape of Spatial Robustness*, ICML 2019"


# --- By hand --------------------------------------------------------------------------------------------------------


def _turn(talk: Talk) -> None:
    explore.embedded(talk.view, distance=True)


def _warm_turn(talk: Talk) -> None:
    landscape_of(talk)


# --- The worst cases ------------------------------------------------------------------------------------------------


def _samples(talk: Talk) -> list[Sample]:
    return samples(data_of(talk))


def _worst_cases(talk: Talk) -> None:
    """The talk's picture beside its worst case, and the wall of all pictures."""
    view, landscape = talk.view, landscape_of(talk)
    worst = worst_case(landscape)
    turned = warp(view.image[None], worst.transform.tensor(), view.padding)[0]
    natural, label = int(landscape["natural_predicted"]), label_of(landscape)
    heading = "The worst case" if worst.misclassified else "The strongest transform"
    left, right = st.columns([4, 5], gap="medium")
    with left:
        pictures(talk, [
            (view.image, "The picture", _verdict(class_name(landscape, natural), natural == label,
                                                 float(landscape["natural_confidence"]))),
            (turned, heading, _verdict(worst.name, not worst.misclassified, worst.confidence)),
        ])  # fmt: skip
        words = worst.transform.describe().capitalize()
        st.markdown(f"{words}. {plain(describe_failure(landscape))}.")
    with right:
        _wall(talk)


def _verdict(name: str, right: bool, share: float) -> str:
    return f"{'✓' if right else '✕'} {name}, {percent(share)}"


def _wall(talk: Talk) -> None:
    """All samples, each at its worst as soon as it is swept. A click makes one the talk's picture."""
    filled = all(has_landscape(of_sample(talk, sample)) for sample in _samples(talk))
    fills = not filled and max(talk.view.classifier.input_size) <= SMALL
    st.fragment(_tiles, run_every=LOOK_AGAIN if fills else None)(talk, filled)


def _tiles(talk: Talk, was_filled: bool) -> None:
    names = class_names(data_of(talk))
    items = []
    for sample in _samples(talk):
        tile = of_sample(talk, sample)
        image, caption = tile.view.image, UNKNOWN
        if has_landscape(tile):
            worst = worst_case(landscape_of(tile))
            moved = worst.transform.tensor()
            image = warp(image[None], moved, tile.view.padding)[0]
            caption = f"✕ {worst.name}" if worst.misclassified else f"✓ {worst.name}"
        label = f"{names[sample.label]} ({sample.name}), at its worst: {caption}"
        items.append({"id": sample.name, "label": label, "caption": caption,
                      "src": data_uri(tensor_to_picture(image))})  # fmt: skip
    wall(items, WALL, on_click=lambda: _choose(st.session_state[WALL]["clicked"]))
    filled = all(item["caption"] != UNKNOWN for item in items)
    if st.session_state.pop("talk_chosen", None) or (filled and not was_filled):
        st.rerun()  # the whole page is about another picture now, or need not look again


def _choose(name: str) -> None:
    url_state.put("picture", name)
    st.session_state["talk_chosen"] = name
    url_state.assign("source", "Samples")


def _warm_worst_cases(talk: Talk) -> None:
    landscape_of(talk)
    if max(talk.view.classifier.input_size) <= SMALL:
        for sample in _samples(talk):
            landscape_of(of_sample(talk, sample))


# --- How often ------------------------------------------------------------------------------------------------------


def _groups(talk: Talk) -> tuple[Group | None, Group | None]:
    """What is known of the standard classifier of this data set: measured here, and published."""
    dataset = data_of(talk)
    ours = recipe_group(measured(results()), partner(talk, "standard") or talk.view.classifier.name, "standard")
    theirs = published_group(results(), dataset) if dataset in DATA else None
    if theirs is not None:
        theirs = dataclasses.replace(theirs, bars=tuple(bar for bar in theirs.bars if bar.training == "standard"))
    return (each if each is not None and each.bars else None for each in (ours, theirs))  # type: ignore[return-value]


def _how_often(talk: Talk) -> None:
    ours, theirs = _groups(talk)
    name, state = data_of(talk), st.session_state
    with st.container(horizontal=True, vertical_alignment="bottom"):
        guess = st.slider("Of 100 test pictures, how many are right as they are and at every turn and shift?",
                          0, 100, 50, key="guess", width=900)  # fmt: skip
        if st.button("Show the answer", key="answer"):
            state["answered"] = name
    shown = state.get("answered") == name
    height = round(0.45 * talk.height)
    for column, group, key in zip(st.columns(2, gap="large"), (ours, theirs), ("ours", "theirs"), strict=True):
        with column:
            if group is None:
                what = "this classifier is measured" if key == "ours" else "this data set is published"
                missing(f"No accuracy of {what} yet.")
                continue
            seen = group.bars if shown else tuple(bar for bar in group.bars if bar.adversary == "natural")
            bars(talk, dataclasses.replace(group, bars=seen), f"often-{key}", height=height, rows=2)
    accuracies = [_kept_of(group) for group in (ours, theirs) if group is not None]
    if shown and any(accuracies):
        st.markdown(f"You guessed **{guess}** of 100. It is {' and '.join(filter(None, accuracies))}.")


def _kept_of(group: Group) -> str:
    """The grid accuracy, in the words of its bar."""
    words = [describe_accuracy(bar.share, group.published) for bar in group.bars if bar.adversary == "grid"]
    return f"**{words[0]}** ({'published' if group.published else 'measured'})" if words else ""


def _warm_how_often(talk: Talk) -> None:
    results()


STEPS = (
    Step(
        title="Turn it yourself",
        text=(
            "Now add nothing and only move the picture: a **rotation** of at most 30°, a **shift** of at most about a "
            "tenth of it. Call out numbers! And watch the ℓ∞ distance: it is huge, and we still see the same."
        ),
        note=(
            "Let the class call out angles and shifts, and before you let go, ask what the classifier will say. While "
            "you drag, the answer is interpolated from a grid; when you let go, it is computed. The maps show the "
            "loss: minus the logarithm of the probability of the true class; bright is bad."
        ),
        sources=f"{PAPER}, section 2: within ±30° and about ±10 % of the picture.",
        show=_turn,
        warm=_warm_turn,
    ),
    Step(
        title="Not robust",
        text=(
            "The **worst case** of a picture is the rotation and shift, within these limits, that confuses the "
            "classifier most. All pictures of the wall stand at their worst: click one to see it beside the original."
        ),
        note=(
            "Go from picture to picture, one click each. A cross means misclassified, a tick still right. None of "
            "these pictures is hard for us. The picture clicked goes on with you through the next steps."
        ),
        sources=f"{PAPER}; the pictures come with the package foolbox.",
        show=_worst_cases,
        warm=_warm_worst_cases,
    ),
    Step(
        title="How often?",
        text=(
            "**Natural accuracy** is the share of test pictures that a classifier gets right as they are, **grid "
            "accuracy** the share that it gets right at every rotation and shift of a grid. Guess first!"
        ),
        note=(
            "Ask for a show of hands, set the slider, then show the answer. Solid bars are measured by this project, "
            "with their 95 % intervals; hatched ones are published. The grid has 31 rotations, 5 × 5 shifts: 775."
        ),
        sources="Published: the talk's slides (ICML 2019). Measured: the classifiers' own cards, and the page Results.",
        show=_how_often,
        warm=_warm_how_often,
    ),
)
