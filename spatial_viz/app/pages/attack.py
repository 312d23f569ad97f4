"""Attack: why first-order methods get lost here, and how small ℓ∞ noise is beside a turn."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import torch
import xarray as xr
from torch import Tensor

from spatial_viz.app import downloads, url_state
from spatial_viz.app.components import linked_surfaces
from spatial_viz.app.pages.attack_results import draw_part, enlarged, kept, part_drawings
from spatial_viz.app.pages.attack_vote import vote
from spatial_viz.app.pose import linked_pose
from spatial_viz.app.view import View
from spatial_viz.app.widgets import BARE, HEAD_HEIGHT, guarded, heading, plain, progress_bar
from spatial_viz.attacks.base import Attack, AttackResult
from spatial_viz.attacks.linf import Linf
from spatial_viz.attacks.spatial import FirstOrder, GridSearch, Refine
from spatial_viz.errors import SpatialVizError
from spatial_viz.explorer.payload import Pane
from spatial_viz.figures import attacks as attack_figures
from spatial_viz.figures.descriptions import alt_text
from spatial_viz.figures.style import Theme, loss_max
from spatial_viz.figures.surfaces import surface
from spatial_viz.figures.text import decimal, percent
from spatial_viz.figures.worst_case import worst_case_figure
from spatial_viz.landscape.cache import cached_sweep
from spatial_viz.landscape.dataset import label_of, severity_order, worst_case
from spatial_viz.landscape.noise_plane import noise_landscape
from spatial_viz.landscape.relief import PEAK, describe_peaks
from spatial_viz.lecture.headline_accuracies import BETWEEN_THE_POINTS
from spatial_viz.models.inference import exact_logits
from spatial_viz.models.losses import cross_entropy
from spatial_viz.transforms.geometry import warp

STARTS, STEPS = 12, 100  # of the first-order attack on the page
MOST_DRAWS = 100


def page() -> None:
    """The page, from top to bottom."""
    view: View | None = st.session_state["view"]
    if view is None:
        return
    if "background" in st.session_state:
        st.session_state["background"].pause()  # what Explore still wanted would only be in the way
    try:
        head = st.container(height=HEAD_HEIGHT, border=False).empty()
        with progress_bar(head, "Sweeping the grid") as progress:
            landscape = cached_sweep(
                view.classifier, view.image, view.label, view.grid.axes(), view.padding, progress=progress
            )
        head.html(heading("Why does the gradient get lost where exhaustive search does not?", 1))
        if landscape.sizes["rotation"] == 1 or landscape.sizes["dx"] == 1:
            st.info("Nothing to search: let rotation and shift move in the sidebar's spatial limits.")
        else:
            searching(view, landscape)
        st.divider()
        noise(view, landscape)
        st.divider()
        vote(view, landscape)
        st.divider()
        _draw_downloads(view, landscape)
    except SpatialVizError as error:
        st.error(plain(error), icon=":material/error:")


# --- Search ---------------------------------------------------------------------------------------------------------


@st.fragment
@guarded
def searching(view: View, landscape: xr.Dataset) -> None:
    """The attacks on one landscape: k draws, first-order paths, the grid; a table, and how far each start got."""
    label = label_of(landscape)
    runs = kept(view, "attacks", lambda: _run_attacks(view, label))
    draws = view.grid.draw(MOST_DRAWS)
    losses, fooled = kept(view, "draws", lambda: _outcomes(view, draws, label))
    k = url_state.slider("k, the number of random draws", 1, MOST_DRAWS, 10, key="k")
    order = severity_order(fooled[:k], losses[:k], *draws[:k].numpy().T)
    first_order: AttackResult = runs["first-order"][0]
    assert first_order.paths is not None and first_order.path_losses is not None
    paths, path_losses = first_order.paths[0].numpy(), first_order.path_losses[0].numpy()
    drawn = draws[:k].numpy()

    def draw(theme: Theme) -> dict[str, go.Figure]:
        return {
            "attack-map": attack_figures.attack_map(
                landscape, drawn, fooled[:k], int(order[0]), paths, path_losses, theme
            ),
            "attack-surface": attack_figures.attack_surface(landscape, drawn, losses[:k], paths, path_losses, theme),
            "starts": attack_figures.starts_figure(landscape, path_losses, theme),
        }

    left, right = st.columns(2)
    made, alt = draw_part(view, "search", draw), alt_text(landscape)
    left.plotly_chart(
        made["attack-map"], theme=None, config=BARE, key="attack-map",
        alt=f"{alt} First-order paths and random draws lie on it.",
    )  # fmt: skip
    with right:
        linked_surfaces([("", made["attack-surface"])], key="attack-surface")
    st.caption(
        "White rings are draws that stay correct, white crosses draws that fool; the thick ring is the worst so far. "
        "Turquoise lines are first-order paths, begun at the first draws: play them, or pull the slider. The "
        "diamond is the grid's worst case."
    )
    left, right = st.columns([2, 1])
    with left:
        _table(view, landscape, runs, k, (losses, fooled, order))
    right.plotly_chart(made["starts"], theme=None, config=BARE, key="starts", alt="Loss per start.")
    for title, text in why(_peaks(view, landscape)).items():
        st.markdown(f"**{title}** {text}")


def why(peaks: str) -> dict[str, str]:
    """What each search does; ``peaks`` are those of the landscape, in words."""
    return {
        "The grid": (
            "tries every combination of evenly spaced rotations and shifts. There are three parameters only, so a few "
            f"hundred forward passes do. Between its points there can be worse: {BETWEEN_THE_POINTS}."
        ),
        "The gradient": (
            f"says which way the loss rises right here. On this grid the loss has {peaks}, {decimal(PEAK)} nats or "
            "more above the way to a higher one. A path that climbs comes to rest on one of them or on a smaller bump, "
            "wherever the highest may be."
        ),
        "Worst of k": (
            "looks at k random transforms and keeps the most severe. It does not climb, so it cannot come to rest on a "
            "low peak; the table says how far k draws and a path came here."
        ),
        "Severity": (
            "orders transforms: misclassified before correct, then the higher loss. The loss is minus the logarithm of "
            "the probability of the true class."
        ),
    }


def _peaks(view: View, landscape: xr.Dataset) -> str:
    return str(kept(view, "peaks", lambda: describe_peaks(landscape)))


def _run_attacks(view: View, label: int) -> dict[str, tuple[AttackResult, float]]:
    """Each attack once on this picture, with its seconds."""
    attacks: list[Attack] = [
        GridSearch(granularity=view.grid.granularity),
        FirstOrder(steps=STEPS, restarts=STARTS),
        Refine(granularity=view.grid.granularity),
    ]
    place = st.empty()
    runs = {}
    for number, attack in enumerate(attacks):
        place.progress(number / len(attacks), f"Attacking: {attack.name}")
        started = time.perf_counter()
        result = attack(view.classifier, view.image[None], torch.tensor([label]), view.grid, padding=view.padding)
        runs[attack.name] = (result, time.perf_counter() - started)
    place.empty()
    return runs


def _outcomes(view: View, transforms: Tensor, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Loss and verdict at every transform."""
    logits = exact_logits(view.classifier, view.image, transforms, padding=view.padding)
    labels = torch.full((len(logits),), label)
    return cross_entropy(logits, labels).numpy(), (logits.argmax(1) != labels).numpy()


def _table(view: View, landscape: xr.Dataset, runs: dict[str, Any], k: int, draws: tuple[Any, Any, Any]) -> None:
    top = float(worst_case(landscape).loss)
    losses, fooled, order = draws
    each = view.classifier.passes_per_query
    verdict = "fooled" if view.label is not None else "changed"
    rows = []
    for name, (result, seconds) in runs.items():
        passes = f"{int(result.passes):,}" + (
            f" + {int(result.backward_passes):,} back" if result.backward_passes else ""
        )
        title = f"first-order, {STARTS} starts × {STEPS} steps" if name == "first-order" else name
        rows.append((title, float(result.losses), bool(result.success), passes, f"{seconds:.2f}"))
    result = runs["first-order"][0]
    path = result.paths[0, 0]
    along, wrong = kept(view, "one start", lambda: _outcomes(view, path, label_of(landscape)))
    first = int(severity_order(wrong, along, *path.numpy().T)[0])
    rows.insert(
        1,
        (
            f"first-order, 1 start × {STEPS} steps",
            float(along[first]),
            bool(wrong[first]),
            f"{each * (STEPS + 1):,} + {each * STEPS:,} back",
            "–",
        ),
    )
    rows.insert(1, (f"worst of {k}", float(losses[order[0]]), bool(fooled[order[0]]), f"{each * k:,}", "–"))
    table = [
        {"attack": name, "loss": round(loss, 2), verdict: "yes" if won else "no",
         "of the grid's": percent(loss / top) if top > 0 else "–", "passes": passes, "seconds": seconds}
        for name, loss, won, passes, seconds in rows
    ]  # fmt: skip
    st.dataframe(table, hide_index=True, key="attack-table")


# --- Noise ----------------------------------------------------------------------------------------------------------


@st.fragment
@guarded
def noise(view: View, landscape: xr.Dataset) -> None:
    """The ℓ∞ attack on the same picture, and its distances beside those of the worst rotation."""
    st.html(heading("Small noise, large turn: what does “small” mean?"))
    epsilon = url_state.slider("ε, the most that a pixel may change, in steps of 1/255", 1, 32, 8, key="epsilon")
    label = label_of(landscape)
    place = st.empty()
    attack = Linf(epsilon=epsilon / 255)
    with progress_bar(place, "Attacking by noise", "steps") as progress:
        result: AttackResult = kept(view, ("linf", epsilon), lambda: attack(
            view.classifier, view.image[None], torch.tensor([label]), view.grid, padding=view.padding,
            report=lambda done, total: progress(round(done * attack.steps), total * attack.steps)))  # fmt: skip
    assert result.noise is not None
    change = result.noise[0]
    worst = worst_case(landscape)
    at = worst.transform.tensor()
    turned = warp(view.image[None], at, view.padding)[0]
    factor = max(1, int(0.5 / max(float(change.abs().max()), 1 / 255)))
    natural = exact_logits(view.classifier, view.image, torch.zeros(1, 3), padding=view.padding).softmax(1)[0]
    names = view.classifier.class_names
    shown = [
        (view.image, "The picture", f"{names[int(natural.argmax())]}, {percent(float(natural.max()))}"),
        ((change * factor + 0.5).clamp(0, 1), f"The noise, × {factor}", "grey means no change"),
        ((view.image + change).clamp(0, 1), "With the noise",
         f"{names[int(result.predicted)]}, {percent(float(result.confidence))}"),
        (turned, "The worst turn and shift", f"{worst.name}, {percent(worst.confidence)}"),
    ]  # fmt: skip
    for column, (picture, title, words) in zip(st.columns(4), shown, strict=True):
        with column:
            st.image(enlarged(picture), width="stretch", alt=f"{title}: {words}")
            st.markdown(f"**{title}**  \n{plain(words)}")
    if not change.any():
        st.markdown("No noise within this ε made the answer worse.")
        return
    with progress_bar(place, "Drawing the plane of noise", "pictures") as progress:
        plane = kept(view, ("plane", epsilon), lambda: noise_landscape(
            view.classifier, view.image, change, view.label, progress=progress))  # fmt: skip
    top = loss_max(plane, landscape)  # one scale for both

    def draw(theme: Theme) -> dict[str, go.Figure]:
        both = {"noise-surface": surface(plane, "adversarial", "random", theme=theme, value_max=top)}
        if landscape.sizes["rotation"] > 1 and landscape.sizes["dx"] > 1:
            both["spatial-surface"] = surface(landscape, theme=theme, value_max=top)
        return both

    linked_surfaces([("", figure) for figure in draw_part(view, "noise", draw).values()], key="noise-surfaces")
    st.caption(
        "The loss over this noise and random signs of its size, with the picture above at the edge: "
        f"{describe_peaks(plane)}. That over rotation and shift has {_peaks(view, landscape)} on the whole grid."
    )
    rows = []
    for title, difference in (("noise", change), ("worst turn and shift", turned - view.image)):
        size = float(difference.abs().max()) * 255
        rows.append(
            {"change": title, "ℓ∞ distance": f"{size:.0f}/255", "ℓ2 distance": f"{float(difference.norm()):.2f}"}
        )
    st.dataframe(rows, hide_index=True, key="distances")
    times = float((turned - view.image).norm() / change.norm())
    st.markdown(
        f"In ℓ2 the turn is **{decimal(times, 1)} times** as far from the picture as the noise, and only an ε of the "
        "ℓ∞ distance in the table would allow it; yet what it shows is the same. ℓ∞ distance is the largest change of "
        "any pixel; ℓ2 distance the root of the summed squares, with pixels from 0 to 1."
    )


# --- Vote -----------------------------------------------------------------------------------------------------------


# --- Taking it along ------------------------------------------------------------------------------------------------

FIGURES = {
    "attack-map": "the attacks on the map", "attack-surface": "the attacks on the surface", "starts": "the starts",
    "noise-surfaces:0": "the surface over noise", "noise-surfaces:1": "the surface over rotation and shift",
    "tally": "the tally",
}  # fmt: skip


def _draw_downloads(view: View, landscape: xr.Dataset) -> None:
    """The page with the explorer and all figures, the numbers, pictures of the figures, the link."""
    classifier, drawings, linked = view.classifier, part_drawings(view), linked_pose(view.grid)
    pane = Pane(landscape, view.image, classifier.class_names, classifier.name)

    def draw(theme: Theme) -> list[go.Figure]:
        made = [figure for draw in list(drawings.values()) for figure in draw(theme).values()]
        return [worst_case_figure(view.image, landscape, theme=theme), *made]

    name = f"{classifier.name}: attacks on {view.title}"
    page = downloads.explorer_download(view, lambda: [pane], draw, lambda: linked, name)
    files = [page, *downloads.landscape_downloads(view, landscape)]
    downloads.download_section(view, name, files, FIGURES, "take-attack")


# --- Helpers --------------------------------------------------------------------------------------------------------
