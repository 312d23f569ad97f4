"""Steps 6 to 9 of the lecture: the search for the worst transform, by hand, by gradient, and exhaustively."""

from __future__ import annotations

import time

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import torch
import xarray as xr

from spatial_viz.app.components import linked_surfaces
from spatial_viz.app.lecture.noise_steps import OPENING, attack_noise, chosen_epsilon
from spatial_viz.app.lecture.places import TRIES, Place, start_places, try_places
from spatial_viz.app.lecture.step import (
    Step,
    Talk,
    can_be_searched,
    chart,
    forget,
    is_kept,
    kept,
    kept_figure,
    landscape_of,
    leave_cores,
    looks,
    missing,
    pictures,
    talk_label,
)
from spatial_viz.app.widgets import plain
from spatial_viz.attacks.base import AttackResult
from spatial_viz.attacks.spatial import FirstOrder
from spatial_viz.figures import attacks as attack_figures
from spatial_viz.figures import grid_search, heatmaps
from spatial_viz.figures.descriptions import alt_text
from spatial_viz.figures.style import enlarged, loss_max
from spatial_viz.figures.surfaces import surface
from spatial_viz.figures.text import decimal
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.cache import remember as remember_landscape
from spatial_viz.landscape.dataset import worst_case
from spatial_viz.landscape.noise_plane import noise_landscape
from spatial_viz.landscape.relief import PEAK, describe_peaks
from spatial_viz.landscape.sweeps import sweep_axes
from spatial_viz.lecture.headline_accuracies import BETWEEN_THE_POINTS
from spatial_viz.transforms.geometry import warp

ASCENT = 60  # steps of a path; two thirds of a limit would do to cross it
MAP_FIRST = 0.4  # seconds for a map before the surfaces come, which keep the browser busy for as long as they are drawn
BELOW_SURFACES = 44  # pixels
NOISE_PLANE, PEAKS, TIMED = "noise-plane", "peaks", "timed"  # what answers are kept under
PAPER = "Engstrom et al., *Exploring the Landscape of Spatial Robustness*, ICML 2019"


def _searchable(talk: Talk) -> bool:
    """Whether there is something to search; else the page says what to do."""
    if can_be_searched(talk):
        return True
    missing("Nothing to search: let rotation and shift move in the sidebar's spatial limits.")
    return False


def _warm_landscape(talk: Talk) -> None:
    landscape_of(talk)


# --- Places that the audience calls out -----------------------------------------------------------------------------


# --- The question ---------------------------------------------------------------------------------------------------

QUESTION = (
    r"\min_{\theta} \;\; \underset{\text{pictures}}{\text{mean}} \;\; \max_{\text{turn, shift}} \; \text{loss}_\theta"
)


def _key_question(talk: Talk) -> None:
    if not _searchable(talk):
        return
    tries = try_places.chosen(talk)
    left, right = st.columns([5, 3], gap="large")
    with left:
        try_places.ask(talk, "Try")
        place = st.empty()
    with right:
        st.latex(QUESTION)
        st.markdown("Find the network θ whose loss is small on average, even at the **worst** turn and shift of each "
                    "picture.")  # fmt: skip
        words = st.empty()
        uncovered = st.toggle("Uncover the map", key="uncovered")
    if not tries:
        words.markdown(f"You have {TRIES} tries: click the map, or call out an angle and a shift.")
    draw = grid_search.uncovered_map if uncovered else grid_search.hidden_map
    for look in looks(talk):
        landscape = look(talk)
        figure = draw(landscape, tries, talk.theme)
        covered = f"A map over rotation and shift right, covered but for {len(tries)} cells that were tried."
        alt = alt_text(landscape) if uncovered else covered
        # Mounted anew after every try, so that the same cell can be clicked again.
        key = f"tries-map-{len(tries)}-{uncovered}-{look.__name__}"
        chart(talk, figure, key, alt=alt, height=round(0.8 * talk.height), place=place,
              on_select=None if uncovered or look is not landscape_of else try_places.clicked(key, figure))  # fmt: skip
    if tries:
        best, top = grid_search.best_try(landscape, tries), worst_case(landscape).loss
        words.markdown(f"Your best of {len(tries)}: loss **{decimal(best)}**."
                       + (f" The worst there is: **{decimal(top)}**." if uncovered else ""))  # fmt: skip


# --- By gradient ----------------------------------------------------------------------------------------------------


def _opening(talk: Talk) -> list[Place]:
    """Three starts for the audience to begin with."""
    return [(round(rotation, 1), round(dx, 2)) for rotation, dx, _ in talk.view.grid.draw(3).tolist()]


def _climb(talk: Talk, starts: tuple[Place, ...]) -> AttackResult:
    """The first-order attack from some starts."""
    view, attack = talk.view, FirstOrder(steps=ASCENT, starts=tuple((*start, 0.0) for start in starts))
    return kept(talk, ("climb", starts), lambda: attack(
        view.classifier, view.image[None], torch.tensor([talk_label(talk)]), view.grid, padding=view.padding,
        report=lambda done, total: talk.progress and talk.progress(round(done * ASCENT), ASCENT)))  # fmt: skip


def _first_order(talk: Talk) -> None:
    if not _searchable(talk):
        return
    starts = start_places.chosen(talk, _opening(talk))
    start_places.ask(talk, "Start here")
    opening = tuple(_opening(talk))  # these three climb together, whatever comes later by itself
    together = [opening] if tuple(starts[: len(opening)]) == opening else []
    alone = starts[len(opening) * len(together) :]
    batches = [*together, *((start,) for start in alone)]
    left, right = st.columns([5, 3], gap="medium")
    place, height = left.empty(), round(0.82 * talk.height)
    for look in () if all(is_kept(talk, ("climb", each)) for each in together) else looks(talk):
        seen = look(talk)
        figure = grid_search.uncovered_map(seen, [], talk.theme)
        chart(talk, figure, f"starts-map-{look.__name__}", alt=alt_text(seen), height=height, place=place)
    landscape = landscape_of(talk)
    results = [_climb(talk, each) for each in batches]
    paths = np.concatenate(
        [each.paths[0].numpy() for each in results if each.paths is not None] or [np.zeros((0, 1, 3))]
    )
    losses = np.concatenate(
        [each.path_losses[0].numpy() for each in results if each.path_losses is not None] or [np.zeros((0, 1))]
    )
    if not starts:
        figure = grid_search.uncovered_map(landscape, [], talk.theme)
    else:
        figure = attack_figures.attack_map(landscape, np.zeros((0, 3)), np.zeros(0, bool), 0, paths, losses, talk.theme)
    grid_search.add_click_layer(figure, landscape)
    key = f"starts-map-{len(starts)}"
    chart(talk, figure, key, alt=f"{alt_text(landscape)} First-order paths from {len(starts)} starts lie on it.",
          height=height, on_select=start_places.clicked(key, figure), place=place)  # fmt: skip
    with right:
        if not starts:
            st.markdown("Click the map, or call out a start.")
            return
        passes = sum(int(each.passes) + int(each.backward_passes) for each in results)
        st.markdown(describe_reached(losses, float(landscape["loss"].max()), passes))
        figure = attack_figures.starts_figure(landscape, losses, talk.theme)
        chart(talk, figure, "reached", alt="The highest loss on the way from each start, beside the grid's worst case.",
              height=round(0.62 * talk.height))  # fmt: skip


def describe_reached(losses: np.ndarray, highest: float, passes: int) -> str:
    """How far R paths came (R×S losses on their way), and how many of them are stuck: nothing gained in the last third
    of the steps, and never half as high as the grid's ``highest`` loss."""
    best, last = losses.max(1), max(1, losses.shape[1] // 3)
    ends = dict.fromkeys(f"**{decimal(float(each))}**" for each in (best.min(), best.max()))
    message = (
        f"Reached: {' to '.join(ends)}, where the grid's highest loss is **{decimal(highest)}**, in {passes:,} "
        "passes forward and backward."
    )
    stuck = int(((best - losses[:, :-last].max(1) < 0.01) & (best < highest / 2)).sum())
    if stuck:
        message += f" **Stuck: {stuck} of {len(best)}**, less than half as high and no gain in the last {last} steps."
    return message


def _warm_first_order(talk: Talk) -> None:
    landscape_of(talk)
    _climb(talk, tuple(_opening(talk)))


# --- The landscape --------------------------------------------------------------------------------------------------


def _noise_plane(talk: Talk, epsilon: int) -> xr.Dataset | None:
    """The loss over the noise of the first step and random signs; None where no noise made the answer worse."""
    view, noise = talk.view, attack_noise(talk, epsilon)
    return kept(talk, (NOISE_PLANE, epsilon), lambda: noise_landscape(
        view.classifier, view.image, noise, view.label, progress=talk.progress) if noise.any() else None)  # fmt: skip


def _landscapes(talk: Talk) -> None:
    if not _searchable(talk):
        return
    left, right = st.columns([4, 10])
    left.markdown("**Turns and shifts, from above**")
    height, from_above = round(0.9 * talk.height), left.empty()

    def draw_map(landscape: xr.Dataset, key: str, top: float | None = None) -> None:
        figure = heatmaps.heatmap(landscape, "rotation", "dx", theme=talk.theme, value_max=top)
        chart(talk, figure, key, alt=alt_text(landscape), height=height, place=from_above)

    epsilon = chosen_epsilon()
    for look in () if is_kept(talk, (NOISE_PLANE, epsilon)) else looks(talk):
        draw_map(look(talk), f"talk-heatmap-{look.__name__}")
    landscape, plane = landscape_of(talk), _noise_plane(talk, epsilon)
    top = loss_max(landscape, *([] if plane is None else [plane]))  # one scale for all three
    draw_map(landscape, "talk-heatmap", top)
    leave_cores(talk, time.monotonic() + MAP_FIRST)
    shown = {f"Turns and shifts: {_peaks(talk)}":
             surface(landscape, theme=talk.theme, value_max=top)}  # fmt: skip
    if plane is not None:
        shown[f"Noise within {epsilon}/255: {describe_peaks(plane)}"] = surface(
            plane, "adversarial", "random", theme=talk.theme, value_max=top
        )
    for figure in shown.values():
        figure.update_layout(height=height - BELOW_SURFACES)
    drawn = [(title, enlarged(figure, talk.type_scale)) for title, figure in shown.items()]
    with right:
        linked_surfaces(drawn, "talk-surfaces")
        if plane is None:
            missing(f"No noise within {epsilon}/255 made the answer worse, so there is no landscape of it to show.")


def _peaks(talk: Talk) -> str:
    return str(kept(talk, PEAKS, lambda: describe_peaks(landscape_of(talk))))


def _warm_landscapes(talk: Talk) -> None:
    _peaks(talk)
    _noise_plane(talk, OPENING)


# --- Exhaustively ---------------------------------------------------------------------------------------------------


def _sweep_here(talk: Talk) -> tuple[xr.Dataset, float]:
    """The grid, asked now on this machine, and the seconds that it took."""
    view, axes = talk.view, talk.view.grid.axes()
    started = time.perf_counter()
    landscape = sweep_axes(view.classifier, view.image, view.label, axes, padding=view.padding, progress=talk.progress)
    seconds = time.perf_counter() - started
    remember_landscape(view.classifier, view.image, view.label, axes, landscape)
    return landscape, seconds


def _timed(talk: Talk) -> tuple[xr.Dataset, float]:
    return kept(talk, TIMED, lambda: _sweep_here(talk))


def _exhaustive(talk: Talk) -> None:
    left, right = st.columns([5, 3], gap="large")
    view, place = talk.view, right.empty()
    if not is_kept(talk, TIMED):
        pictures(talk, [(view.image, "The picture", "to be turned and shifted")], place)
    landscape, seconds = _timed(talk)
    worst = worst_case(landscape)
    with place.container():
        turned = warp(view.image[None], worst.transform.tensor(), view.padding)[0]
        natural, passes = int(landscape["natural_predicted"]), landscape["loss"].size * view.classifier.passes_per_query
        pictures(talk, [
            (view.image, "The picture", view.classifier.class_names[natural]),
            (turned, "The worst case" if worst.misclassified else "The strongest", worst.name),
        ])  # fmt: skip
        st.markdown(
            f"**{passes:,} forward passes** in **{seconds:.1f} seconds**, right here, "
            f"{_where(landscape)}.  \n{worst.transform.describe().capitalize()}: "
            f"{plain(worst.name)}, loss **{decimal(worst.loss)}**."
        )
        st.button("Measure again", icon=":material/timer:", key="measure-again", on_click=forget, args=(talk, TIMED))
    with left:  # last, for it takes longest to draw
        chart(
            talk, _filling(talk, landscape), "filling", alt=f"The grid, which fills cell by cell. {alt_text(landscape)}"
        )


def _filling(talk: Talk, landscape: xr.Dataset) -> go.Figure:
    """The grid that fills; its hundreds of frames take a while to write down."""
    height = round(0.95 * talk.height)
    question = ("filling", talk.theme, height)
    return kept_figure(talk, question, lambda: grid_search.filling_figure(landscape, talk.theme, height))


def _where(landscape: xr.Dataset) -> str:
    device = attributes_of(landscape).device
    return f"on {'the CPU' if device == 'cpu' else plain(device)}"


def _warm_exhaustive(talk: Talk) -> None:
    _filling(talk, _timed(talk)[0])


STEPS = (
    Step(
        title="Can we train better?",
        text=(
            "Against small noise one lesson helped: **train on worst-case inputs**, not on the pictures as they are. "
            "For that, the worst rotation and shift of each picture has to be found. How?"
        ),
        note=(
            "The map is covered. Have the class call out angles and shifts, ten in all, then uncover it. Of the shifts "
            "up and down each cell shows the worst. The loss is minus the logarithm of the probability of the true "
            "class: 0 is perfect, and the higher, the worse."
        ),
        sources=f"Training on worst-case inputs: Madry et al., ICLR 2018. The question for turns: {PAPER}, section 4.",
        show=_key_question,
        warm=_warm_landscape,
    ),
    Step(
        title="Attempt 1: first-order methods",
        text=(
            "A **gradient** tells which way the loss rises right here; a **first-order method** follows it uphill step "
            "by step, as it does against noise. Choose where to start: does the path reach the highest point?"
        ),
        note=(
            "Click the map or call out a start, then play the paths. The diamond is the grid's worst case, so far "
            "unknown to the method. The bars show how far each start got. A path also moves up and down, which the map "
            "does not show: each cell is the worst of these shifts."
        ),
        sources=f"{PAPER}, section 4 (“first-order method”); ours takes {ASCENT} steps of a thirtieth of each limit.",
        show=_first_order,
        warm=_warm_first_order,
    ),
    Step(
        title="The landscape",
        text=(
            "The **loss landscape** is the loss at every turn and shift; on the right, with small noise instead. A "
            f"**peak** stands {decimal(PEAK)} or more above any way to a higher place."
        ),
        note=(
            "Turn the surfaces by hand. The noise is that of the first step, along one axis, and random signs along "
            "the other: the diamond at the edge is the picture that the first step showed. All of it is as it comes "
            "out for this picture; others have more peaks or fewer. Choose one from the wall of step 4. Peaks are "
            "those of the whole grid, and smaller bumps can stop a climb, too. The white outline encloses what is "
            "misclassified; all three have one scale."
        ),
        sources=f"{PAPER}, figure 2. Noise: projected gradient descent within the ε of the first step; random signs.",
        show=_landscapes,
        warm=_warm_landscapes,
    ),
    Step(
        title="Attempt 2: exhaustive search",
        text=(
            "There are only three numbers to try: rotation, shift right, shift down. So try them all, on a **grid**: "
            "each cell is one transform, one **forward pass**, that is one question to the network."
        ),
        note=(
            "Play it, or pull the slider. Each column is a rotation; within it the rows are the shifts down, and in "
            "each of these bands the shifts right. Seconds and passes are measured on this machine for this picture. "
            f"The grid is not everything: {BETWEEN_THE_POINTS}."
        ),
        sources=f"{PAPER}, section 4 (“grid search”): 31 rotations × 5 × 5 shifts = 775.",
        show=_exhaustive,
        warm=_warm_exhaustive,
    ),
)
