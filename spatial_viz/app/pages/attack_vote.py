"""The last part of the Attack page: what a vote buys."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import xarray as xr

from spatial_viz.app.pages.attack_results import draw_part, enlarged, kept, memory_of
from spatial_viz.app.pose import linked_pose
from spatial_viz.app.view import View
from spatial_viz.app.widgets import BARE, guarded, heading, plain, progress_bar
from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.figures import attacks as attack_figures
from spatial_viz.figures.style import Theme
from spatial_viz.figures.text import decimal, percent
from spatial_viz.landscape.cache import cached_sweep
from spatial_viz.landscape.dataset import label_of, misclassified, worst_case
from spatial_viz.models.inference import exact_logits
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.transform import Transform


@st.fragment
@guarded
def vote(view: View, landscape: xr.Dataset) -> None:
    """Ten transforms of the picture at one pose, their votes, and the verdict with and without them."""
    st.html(heading("What does a majority vote buy?"))
    worst, label = worst_case(landscape), label_of(landscape)
    poses = {"the worst case": worst.transform, "the picture as it is": Transform()}
    linked = linked_pose(view.grid)
    if linked and any(linked):
        poses["the pose from Explore"] = linked
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.segmented_control("Vote on", list(poses), default="the worst case", required=True, key="vote_on")
        if st.button("Draw again", icon=":material/casino:"):
            st.session_state["vote_seed"] = st.session_state.get("vote_seed", 0) + 1
    seed = st.session_state.get("vote_seed", 0)
    pose = poses[chosen or "the worst case"]
    voted = kept(view, ("vote", seed), lambda: MajorityVote(
        view.classifier, view.grid, seed=seed, padding=view.padding))  # fmt: skip
    image = warp(view.image[None], pose.tensor(), view.padding)
    transforms, probabilities = voted.ballots(image)
    single = exact_logits(view.classifier, view.image, pose.tensor(), padding=view.padding).softmax(1)[0]
    each = probabilities[0].argmax(1).numpy()
    names = view.classifier.class_names
    seen = warp(image, transforms[0], view.padding)
    for row in (range(5), range(5, 10)):
        for column, number in zip(st.columns(5), row, strict=True):
            right = each[number] == label
            with column:
                caption = f"{'✓' if right else '✕'} {names[each[number]]}"
                st.image(enlarged(seen[number]), width="stretch", alt=f"What voter {number + 1} sees: {caption}")
                st.caption(plain(caption))
    verdict = int(voted.logits(image).argmax())
    left, right_side = st.columns([2, 3])
    votes = np.bincount(each, minlength=len(names))

    def draw(theme: Theme) -> dict[str, go.Figure]:
        return {"tally": attack_figures.tally_figure(landscape, names, votes, label, theme)}

    tally = draw_part(view, "vote", draw)["tally"]
    left.plotly_chart(tally, theme=None, config=BARE, key="tally", alt="Votes per class.")
    with right_side:
        st.markdown(
            f"The picture {plain(pose.describe())}:  \n"
            f"single classifier: **{plain(names[int(single.argmax())])}** {_tick(int(single.argmax()) == label)}  \n"
            f"vote of ten: **{plain(names[verdict])}** {_tick(verdict == label)}"
        )
        st.caption("Ten random transforms within the same limits; the class with the most votes wins, a tie goes to "
                   "the higher mean probability. "
                   f"Every answer costs {voted.passes_per_query} forward passes.")  # fmt: skip
        key = ("vote-grid", seed)
        passes = voted.passes_per_query * landscape["loss"].size
        if key in memory_of(view) or st.button(f"Sweep the vote over the grid ({passes:,} passes)"):
            place = st.empty()
            with progress_bar(place, "Sweeping the vote") as progress:
                swept = kept(view, key, lambda: cached_sweep(
                    voted, view.image, label, view.grid.axes(), view.padding, progress=progress))  # fmt: skip
            held, held_single = (1 - float(misclassified(each).mean()) for each in (swept, landscape))
            st.markdown(
                f"The vote holds on **{percent(held)}** of the grid, the single classifier on {percent(held_single)}. "
                f"The highest vote loss is {decimal(float(swept['loss'].max()))} nats; it comes from counted votes and "
                "is not to be compared with the loss of a single classifier."
            )


def _tick(right: bool) -> str:
    return "✓" if right else "✕"
