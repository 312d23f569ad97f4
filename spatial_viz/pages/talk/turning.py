"""Steps 3 to 5 of the lecture: turning a picture by hand, the worst cases, and how often they are wrong."""

from __future__ import annotations

from spatial_viz.pages import explore
from spatial_viz.pages.talk.step import Step, Talk, landscape_of


def _turn(talk: Talk) -> None:
    explore.embedded(talk.view)


def _warm_turn(talk: Talk) -> None:
    landscape_of(talk)


STEPS = (
    Step(
        title="Turn it yourself",
        text=(
            "A **rotation** of at most 30° and a **shift** of about a tenth of the picture: drag it, turn it by its "
            "handle. Every pixel changes, so the ℓ∞ distance is huge, and the picture is the same."
        ),
        note="Let the class call out angles and shifts. Ask before you let go: what will it say?",
        sources="Engstrom et al., *Exploring the Landscape of Spatial Robustness*, ICML 2019, section 2.",
        show=_turn,
        warm=_warm_turn,
    ),
)
