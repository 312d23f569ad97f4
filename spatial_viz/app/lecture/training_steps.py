"""Steps 10 to 12 of the lecture: robust optimisation, what it does to the landscape, and the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st
import torch

from spatial_viz.app.components import linked_surfaces
from spatial_viz.app.lecture.accuracies import all_groups, bars, results
from spatial_viz.app.lecture.explorers import Side, compared, sides_of
from spatial_viz.app.lecture.step import (
    Step,
    Talk,
    can_be_searched,
    chart,
    data_of,
    kept,
    landscape_of,
    missing,
    partner,
    pictures,
    talk_label,
    under,
)
from spatial_viz.figures.style import enlarged, loss_max
from spatial_viz.figures.surfaces import surface
from spatial_viz.figures.text import decimal
from spatial_viz.lecture.figures import curves_of, learning_curves
from spatial_viz.lecture.headline_accuracies import Group, published_group
from spatial_viz.models.inference import exact_logits
from spatial_viz.models.losses import cross_entropy
from spatial_viz.models.registry import manifest, without_mirrors
from spatial_viz.transforms.geometry import warp

CANDIDATES = 10  # random transforms of a training step
STANDARD, ROBUST = "standard", "worst-of-10-30"  # recipes
TRAININGS = {"standard training": STANDARD, "robust training": ROBUST}
SHOWN = ("By hand", "As surfaces")


# --- Robust optimisation --------------------------------------------------------------------------------------------


def _candidates(talk: Talk, seed: int) -> dict[str, Any]:
    """One training step on the talk's picture: the transforms, the losses and the predicted classes."""
    view = talk.view

    def ask() -> dict[str, Any]:
        draws, label = view.grid.draw(CANDIDATES, seed), talk_label(talk)
        logits = exact_logits(view.classifier, view.image, draws, padding=view.padding)
        losses = cross_entropy(logits, torch.full((CANDIDATES,), label))
        return {"pictures": warp(view.image[None], draws, view.padding), "losses": losses.tolist(),
                "predicted": logits.argmax(1).tolist(), "label": label}  # fmt: skip

    return kept(talk, ("candidates", seed), ask)


def _training_step(talk: Talk) -> None:
    state = st.session_state
    left, right = st.columns([3, 2], gap="medium")
    with left:
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Draw ten new ones", icon=":material/casino:", key="draw-candidates"):
                state["candidates_seed"] = state.get("candidates_seed", 0) + 1
            candidates = _candidates(talk, state.get("candidates_seed", 0))
            losses, names = candidates["losses"], talk.view.classifier.class_names
            worst = max(range(CANDIDATES), key=losses.__getitem__)
            average = decimal(sum(losses) / CANDIDATES)
            st.markdown(f"The numbers are losses, {average} on average. Only the framed one is learnt from.")
        shown = []
        for number, (picture, loss, predicted) in enumerate(
            zip(candidates["pictures"], losses, candidates["predicted"], strict=True)
        ):
            sign = "✓" if predicted == candidates["label"] else "✕"
            shown.append(
                (picture, f"{'worst: ' if number == worst else ''}{decimal(loss)}", f"{sign} {names[predicted]}")
            )
        for first in (0, CANDIDATES // 2):
            row = range(first, first + CANDIDATES // 2)
            pictures(talk, [shown[number] for number in row], framed=[worst - first] if worst in row else [])
    with right:
        _curves(talk)


def _warm_training_step(talk: Talk) -> None:
    _candidates(talk, 0)
    all_groups()


def _curves(talk: Talk) -> None:
    """How the shipped classifiers of this data set learned, by their cards."""
    dataset = data_of(talk)
    curves = curves_of([card for card in without_mirrors(manifest()) if card.data == dataset])
    if curves:
        figure = learning_curves(curves, talk.theme)
        chart(talk, figure, "learning-curves", alt=figure.layout.meta["alt"], height=_of_height(talk, 0.7))
    else:
        missing("No classifier of these pictures was trained by this project, so there is no learning curve to show.")
        group = next((each for each in all_groups() if _is_measured(each, dataset)), None)
        group = group or published_group(results(), "cifar10")
        bars(talk, group, "learned", height=_of_height(talk, 0.5))


def _is_measured(group: Group, dataset: str) -> bool:
    return not group.published and group.title.lower().replace("-", "").startswith(dataset)


# --- The landscape, flattened ---------------------------------------------------------------------------------------


def _flattened(talk: Talk) -> None:
    partners = {title: partner(talk, recipe) for title, recipe in TRAININGS.items()}
    names = {f"{title}: {name}": name for title, name in partners.items() if name is not None}
    if len(names) < len(partners):
        absent = [title for title, name in partners.items() if name is None]
        missing(
            f"No classifier with {' and '.join(absent)} is shipped for these pictures; choose a CIFAR-10 classifier in "
            "the sidebar to see both. What the paper found:"
        )
        bars(talk, published_group(results(), "imagenet"), "flattened-published", height=_of_height(talk, 0.6))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        shown = st.segmented_control("Shown", SHOWN, default=SHOWN[0], required=True, key="flattened_as",
                                     label_visibility="collapsed")  # fmt: skip
        words = st.container()
    talks = {title: under(talk, name) for title, name in names.items()}
    if shown == SHOWN[1] and can_be_searched(talk):
        words.markdown("Height and colour: the highest loss over all shifts up and down.")
        _surfaces(talk, sides_of(talks))
    else:
        compared(talks, "flattened")


def _surfaces(talk: Talk, sides: Sequence[Side]) -> None:
    """The landscapes over rotation and dx, each at its worst dy, on one scale and under one camera."""
    top = loss_max(*(side.landscape for side in sides))
    drawn = []
    for side in sides:
        figure = surface(side.landscape, at="max", theme=talk.theme, value_max=top)
        near = {axis: 0.82 * value for axis, value in figure.layout.scene.camera.eye.to_plotly_json().items()}
        figure.update_layout(title=None, margin_t=0, height=talk.height - 150, scene_camera_eye=near)
        drawn.append((side.title, enlarged(figure, talk.type_scale)))
    linked_surfaces(drawn, "flattened-surfaces")


def _warm_flattened(talk: Talk) -> None:
    for recipe in TRAININGS.values():
        name = partner(talk, recipe)
        if name is not None:
            landscape_of(under(talk, name))


# --- The numbers ----------------------------------------------------------------------------------------------------


def _build_up(talk: Talk) -> None:
    groups, state = all_groups(), st.session_state
    shown = min(state.get("numbers_shown", 1), len(groups))
    with st.container(horizontal=True, vertical_alignment="center"):
        # The page shows the new number at once: what a button does comes before the run that follows.
        st.button("More bars", icon=":material/bar_chart:", shortcut="b", key="numbers-more",
                  on_click=lambda: state.update(numbers_shown=shown + 1), disabled=shown == len(groups))  # fmt: skip
        st.button("All", key="numbers-all", on_click=lambda: state.update(numbers_shown=len(groups)),
                  disabled=shown == len(groups))  # fmt: skip
        st.button("From the beginning", key="numbers-first", on_click=lambda: state.update(numbers_shown=1),
                  disabled=shown == 1)  # fmt: skip
    across = len(groups) if len(groups) <= 4 else -(-len(groups) // 2)
    lines = [range(first, min(first + across, len(groups))) for first in range(0, len(groups), across)]
    rows = [max(len(groups[number].bars) for number in line) for line in lines]
    words = 140 if talk.full_screen else 110  # pixels, of the title and of where it comes from
    bar = max((talk.height - 110 - words * len(lines)) // sum(rows), 28)
    for line, most in zip(lines, rows, strict=True):
        for column, number in zip(st.columns(across, gap="medium"), line, strict=False):
            with column.container(height=words + bar * most, border=False, key=f"numbers-{number}"):
                if number < shown:
                    bars(talk, groups[number], f"numbers-bars-{number}", rows=most, height=bar * most)


def _warm_numbers(talk: Talk) -> None:
    all_groups()


def _of_height(talk: Talk, share: float) -> int:
    return round(share * talk.height)


STEPS = (
    Step(
        title="Robust optimisation",
        text=(
            "Train on the worst case. Trying all 775 transforms of every picture in every step would cost too much, so "
            "**worst-of-10 training** draws ten random turns and shifts and learns from the one with the highest loss."
        ),
        note=(
            "One picture, one training step. Draw a few times: which of the ten would the class have picked? Compare "
            "how far apart the ten losses lie with the standard and with a robust classifier of the sidebar. In the "
            "figure, validation accuracy is that on pictures which training did not use; the training loss of the "
            "robust classifier is that of its worst pictures."
        ),
        sources=(
            "Engstrom et al., *Exploring the Landscape of Spatial Robustness*, ICML 2019, on robust optimisation, "
            "after Madry et al., *Towards Deep Learning Models Resistant to Adversarial Attacks*, ICLR 2018. Learning "
            "curves: this project's own trainings, from the cards of the classifiers."
        ),
        show=_training_step,
        warm=_warm_training_step,
    ),
    Step(
        title="The landscape, flattened",
        text=(
            "The same picture before two classifiers, one trained as usual, one on the worst of ten. Move either: both "
            "follow. Bright is a high loss, and the outline encloses the transforms that fool the classifier."
        ),
        note=(
            "Both maps have one colour scale, so brightness may be compared. Where the robust landscape is flat, no "
            "search finds much, and a gradient has nothing to climb. Flatter is not flat: look for an outline on the "
            "right, too."
        ),
        sources=(
            "Engstrom et al., ICML 2019, on loss landscapes and robust optimisation. Classifiers: trained by this "
            "project; their cards have the commands."
        ),
        show=_flattened,
        warm=_warm_flattened,
    ),
    Step(
        title="The numbers",
        text=(
            "How often is the answer right: for the picture **as it is**, and in the **worst case**, when not one turn "
            "or shift of the grid may fool the classifier? Hatched bars are published, solid ones measured here."
        ),
        note=(
            "B brings the next bars. 93 → 3 → 71 on CIFAR-10 and 76 → 31 → 53 on ImageNet are the numbers to remember. "
            "Those of this project come from smaller networks, trained on two processor cores in hours; the thin lines "
            "are 95 % intervals: how far chance in the choice of pictures reaches."
        ),
        sources=(
            "Published: the talk's slides (ICML 2019). Measured: the cards of the shipped classifiers and stored runs, "
            "all of which are on the page Results."
        ),
        show=_build_up,
        warm=_warm_numbers,
    ),
)
