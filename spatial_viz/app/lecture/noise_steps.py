"""Steps 1 and 2 of the lecture: small noise that fools a classifier, and what “small” means."""

from __future__ import annotations

import streamlit as st
import torch
from torch import Tensor

from spatial_viz.app.lecture.step import Step, Talk, chart, kept, pictures, talk_label
from spatial_viz.attacks.base import AttackResult
from spatial_viz.attacks.linf import Linf
from spatial_viz.figures.norms import NORMS, balls_figure, describe_distance, distance
from spatial_viz.figures.text import percent, short
from spatial_viz.models.inference import exact_logits
from spatial_viz.transforms.geometry import warp

EPSILONS = (1, 2, 4, 8, 16)  # in steps of 1/255
OPENING = 4
STEPS_OF_NOISE = 20


def _attacked(talk: Talk, epsilon: int) -> AttackResult:
    """The ℓ∞ attack on the talk's picture."""
    view, label = talk.view, torch.tensor([talk_label(talk)])
    return kept(talk, ("linf", epsilon), lambda: Linf(epsilon / 255, STEPS_OF_NOISE)(
        view.classifier, view.image[None], label, view.grid, padding=view.padding))  # fmt: skip


def attack_noise(talk: Talk, epsilon: int) -> Tensor:
    """The noise that the attack within ``epsilon`` (in steps of 1/255) adds, C×H×W; zero where none made it worse."""
    result = _attacked(talk, epsilon)
    assert result.noise is not None
    return result.noise[0]


def chosen_epsilon() -> int:
    """The ε that the lecturer has chosen in the first step; the second goes on with it."""
    return int(st.session_state.get("talk_epsilon", OPENING))


def _two_pictures(talk: Talk) -> None:
    place, label = st.container(), talk_label(talk)
    epsilon = st.select_slider(
        "ε, the most that a pixel may change, in steps of 1/255", EPSILONS, chosen_epsilon(), key="epsilon_slider",
        width=620,
    )  # fmt: skip
    st.session_state["talk_epsilon"] = epsilon
    result, noise = _attacked(talk, epsilon), attack_noise(talk, epsilon)
    names = talk.view.classifier.class_names
    natural = _answer(talk, talk.view.image)
    factor = max(1, int(0.5 / max(float(noise.abs().max()), 1 / 255)))

    def said(index: int, share: float) -> str:
        return f"{'✓' if index == label else '✕'} {names[index]}, {percent(share)}"

    shown = [
        (talk.view.image, "The picture", said(*natural)),
        ((noise * factor + 0.5).clamp(0, 1), f"The noise, × {factor}", "grey: no change"),
        (talk.view.image + noise, "With the noise", said(int(result.predicted), float(result.confidence))),
    ]
    with place:
        pictures(talk, shown, signs=("+", "="))
        if int(result.predicted) == natural[0]:
            st.markdown("At this ε the classifier does not change its mind. Allow a little more.")


def _answer(talk: Talk, image: Tensor) -> tuple[int, float]:
    """What the classifier takes a picture for, and how sure it is."""
    probabilities = exact_logits(talk.view.classifier, image, torch.zeros(1, 3)).softmax(1)[0]
    return int(probabilities.argmax()), float(probabilities.max())


def _warm_two_pictures(talk: Talk) -> None:
    for epsilon in (OPENING, *EPSILONS):
        _attacked(talk, epsilon)


def _small(talk: Talk) -> None:
    norm = st.segmented_control("Norm", NORMS, default=NORMS[0], required=True, key="norm") or NORMS[0]
    epsilon, image = chosen_epsilon(), talk.view.image
    right = max(1, image.shape[-1] // 32)
    noise = attack_noise(talk, epsilon)
    changes = [
        ("With the noise", noise),
        ("A little brighter", (image + 16 / 255).clamp(0, 1) - image),
        (f"{right} px to the right", _moved(talk, 0, right) - image),
        ("Turned by 5°", _moved(talk, 5, 0) - image),
    ]
    left, side = st.columns([2, 5], vertical_alignment="center")
    figure = balls_figure(norm, talk.theme, round(0.62 * talk.height))
    chart(talk, figure, "balls", alt=figure.layout.meta["alt"], place=left)
    size = distance(noise, norm)
    shown = [
        (image + change, title, f"{describe_distance(change, norm)}{_times(distance(change, norm), size)}")
        for title, change in changes
    ]
    pictures(talk, shown, side)


def _times(size: float, of: float) -> str:
    """How a distance compares with that of the noise."""
    return f", {short(round(size / of, 1 if size < 10 * of else 0))} × the noise" if of and size != of else ""


def _moved(talk: Talk, rotation: float, dx: float) -> Tensor:
    return warp(talk.view.image[None], torch.tensor([[rotation, dx, 0.0]]), talk.view.padding)[0]


def _warm_small(talk: Talk) -> None:
    _attacked(talk, OPENING)


STEPS = (
    Step(
        title="Two pictures, one difference",
        text=(
            "A **classifier** is a program that says what a picture shows. Add a little noise, not random but made for "
            "this picture, and it may change its mind; **ε** is the most that any pixel may change."
        ),
        note=(
            "Show the third picture first and ask what it is. Then the noise: it is magnified, else it would hardly be "
            "seen. Pull ε down until the classifier holds. A tick means the right class, a cross a wrong one; the "
            "percentage is how sure the classifier is."
        ),
        sources=(
            "Noise: projected gradient descent of Madry et al., ICLR 2018. Small noise that fools: Szegedy et al., "
            "*Intriguing properties of neural networks*, ICLR 2014."
        ),
        show=_two_pictures,
        warm=_warm_two_pictures,
    ),
    Step(
        title="What does small mean?",
        text=(
            "The **ℓ∞ distance** of two pictures is the largest change of any pixel, **ℓ2** the root of the summed "
            "squares, **ℓ1** the sum; an **ℓp ball** is all that lies within ε. Do small ℓp norms capture every sense "
            "of small?"
        ),
        note=(
            "All four show the same thing to us. In each of the norms, ask which of them is the near one; below each "
            "stands its distance as a multiple of the noise's. Pixels count from 0 to 1."
        ),
        sources="Engstrom et al., *Exploring the Landscape of Spatial Robustness*, ICML 2019, section 1.",
        show=_small,
        warm=_warm_small,
    ),
)
