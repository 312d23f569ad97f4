"""Compare: one picture, two to four classifiers (or one in several ways) under one pose, one scale and one camera."""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import plotly.graph_objects as go
import streamlit as st
import xarray as xr

from spatial_viz.app import downloads, url_state
from spatial_viz.app.background import BackgroundJobs
from spatial_viz.app.comparison_picker import Comparison, choose_comparison
from spatial_viz.app.components import explorer, linked_surfaces
from spatial_viz.app.pose import Plane, answer_at, display_plane, let_go, link_pose, linked_pose, pose_now, pose_planes
from spatial_viz.app.view import View
from spatial_viz.app.widgets import BARE, HEAD_HEIGHT, guarded, heading, plain, progress_bar, theme_of_page
from spatial_viz.errors import SpatialVizError
from spatial_viz.explorer.payload import GLOSSARY, Pane, explorer_payload
from spatial_viz.figures import heatmaps
from spatial_viz.figures.comparison import (
    check_comparable,
    comparison_rows,
    difference_end,
    difference_map,
    telling_transform,
)
from spatial_viz.figures.style import Theme, loss_max
from spatial_viz.figures.surfaces import surface
from spatial_viz.figures.text import percent
from spatial_viz.landscape.cache import cached_sweep
from spatial_viz.landscape.dataset import DIMS, label_of, misclassified, worst_case
from spatial_viz.landscape.vote_shares import vote_shares
from spatial_viz.transforms.transform import Transform

EXPLORER = "compare-explorer"
EXPLORER_HEIGHT = 700  # pixels, of the skeleton that keeps its place
FIGURE_HEIGHT = 470
SLICES = {"rotation × dx": ("rotation", "dx"), "rotation × dy": ("rotation", "dy"), "dx × dy": ("dx", "dy")}
ORDINALS = ("first", "second", "third", "fourth")
WORST = "at its worst value"
SHARE = (
    "How many of ten voters take the picture for the true class. A classifier alone has one vote: all or nothing. The "
    "losses of the two come about in different ways, so they are not compared."
)


@dataclass(frozen=True)
class Compared:
    """Who is compared, and the landscape of each, in shares of votes where the comparison is."""

    comparison: Comparison
    landscapes: tuple[xr.Dataset, ...]

    @property
    def quantity(self) -> Literal["loss", "share"]:
        return "share" if self.comparison.in_votes else "loss"

    @property
    def views(self) -> list[View]:
        return [each.view for each in self.comparison.contestants]


def page() -> None:
    """The page, from top to bottom; it stops early where there is nothing to show."""
    view: View | None = st.session_state["view"]
    if view is None:
        return
    try:
        head = st.container(height=HEAD_HEIGHT, border=False).empty()
        comparison = choose_comparison(view)
        if len(comparison.contestants) < 2:
            head.html(heading("Who shall be compared?", 1))
            st.info("A comparison needs two: choose another one above.", icon=":material/compare:")
            return
        place = st.container()
        with place:
            compared = _compared(comparison, head)
            head.html(heading(_story(compared), 1))
            live(compared)
        st.html(_table(comparison_rows(comparison.titles, compared.landscapes)))
        landscapes(compared)
        _draw_downloads(view, compared)
    except SpatialVizError as error:
        st.error(plain(error), icon=":material/error:")


def _compared(comparison: Comparison, head: Any) -> Compared:
    """The answer to the question that the page now shows."""
    state = st.session_state
    known: Compared | None = state.get("compared")
    if known is not None and known.comparison.question == comparison.question:
        return known
    if "background" not in state:
        state["background"] = BackgroundJobs()
    state["background"].pause()  # it would only be in the way
    waiting = st.empty()
    if known is None:
        waiting.skeleton(height=EXPLORER_HEIGHT)
    swept = []
    for number, (title, view) in enumerate(((each.title, each.view) for each in comparison.contestants), start=1):
        with progress_bar(head, f"Sweeping {number} of {len(comparison.contestants)}, {plain(title)}") as progress:
            landscape = cached_sweep(
                view.classifier, view.image, view.label, view.grid.axes(), view.padding, progress=progress
            )
        swept.append(vote_shares(landscape, view.classifier) if comparison.in_votes else landscape)
    waiting.empty()
    state["compared"], state["compare_figures"] = Compared(comparison, tuple(swept)), {}
    state["compare_rev"] = state.get("compare_rev", 0) + 1
    if EXPLORER in state:
        state[EXPLORER]["pose"] = None  # the pose of the link, which the limits may have changed under
    return state["compared"]


def forget() -> None:
    """Begin anew, with the pose that the address says."""
    st.session_state.pop("compared", None)


# --- Words ----------------------------------------------------------------------------------------------------------


def _story(compared: Compared) -> str:
    shares = [percent(float(misclassified(each).mean())) for each in compared.landscapes]
    if not any(misclassified(each).any() for each in compared.landscapes):
        return "No turn or shift of the grid fools any of them"
    if len(shares) == 2:
        return f"The same turns and shifts: {shares[0]} of them fail, against {shares[1]}"
    return f"The same turns and shifts: {', '.join(shares[:-1])} and {shares[-1]} of them fail"


def _table(rows: Sequence[dict[str, str]]) -> str:
    """A row for each contestant; on a narrow page each becomes a block of its own."""
    columns = list(rows[0])
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = ""
    for row in rows:
        title, *cells = (html.escape(row[name]) for name in columns)
        described = (
            f'<td data-name="{html.escape(n)}">{cell}</td>' for n, cell in zip(columns[1:], cells, strict=True)
        )
        body += f'<tr><th scope="row">{title}</th>{"".join(described)}</tr>'
    return (
        f"<style>{TABLE}</style><table class='sv-table'><caption>Natural prediction, share of the grid that fails, and "
        f"the worst case of each</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    )


TABLE = """
.sv-table { border-collapse: collapse; width: 100%; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
.sv-table caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.sv-table :is(th, td) { text-align: left; font-weight: 400; padding: 0.3rem 0.9rem 0.3rem 0; vertical-align: top; }
.sv-table tr { border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
.sv-table thead tr { border-top: 0; }
.sv-table thead th { opacity: 0.75; }
.sv-table tbody th { font-weight: 600; }
@media (max-width: 700px) {
  .sv-table thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .sv-table :is(tbody, tr, th, td) { display: block; }
  .sv-table :is(th, td) { padding: 0.1rem 0; }
  .sv-table tr { padding: 0.4rem 0; }
  .sv-table td { display: grid; grid-template-columns: 9.5rem 1fr; }
  .sv-table td::before { content: attr(data-name); opacity: 0.75; }
}
"""


def _notes(compared: Compared) -> list[str]:
    """What a reader of these landscapes has to know, in sentences."""
    contestants, landscapes = compared.comparison.contestants, compared.landscapes
    notes = []
    if contestants[0].view.label is None:
        notes.append("Nobody labelled this picture: each is held against its own prediction for it as it is.")
    else:
        wrong = [int(each["natural_predicted"]) != label_of(each) for each in landscapes]
        if all(wrong):
            notes.append("None of them is right about the picture as it is.")
        elif any(wrong):
            names = " and ".join(each.title for each, bad in zip(contestants, wrong, strict=True) if bad)
            notes.append(f"Wrong about the picture as it is: {names}.")
    sturdy = [each.title for each, ds in zip(contestants, landscapes, strict=True) if not misclassified(ds).any()]
    if sturdy:
        notes.append(f"No transform of the grid changes the verdict of {' and '.join(sturdy)}.")
    if len({each.view.classifier.resize for each in contestants}) > 1:
        notes.append(
            f"All get the pixels that {contestants[0].title} would get; on its own, each crops a little differently."
        )
    return notes


# --- The live explorers ---------------------------------------------------------------------------------------------


@st.fragment
@guarded
def live(compared: Compared) -> None:
    """The explorers. A pose let go of re-runs this fragment alone, and so does the wish for denser maps."""
    state, grid, pose = st.session_state, compared.views[0].grid, _pose(compared)
    panes = _panes(compared, pose, state["background"], state["compare_rev"])
    wanted = len(compared.views) * len(_planes(compared, pose))
    state["asked"] = state.get("asked", 0) + 1
    payload = explorer_payload(
        panes,
        pose=pose,
        rev=state["compare_rev"],
        refining=state["asked"] if sum(len(pane.planes) for pane in panes) < wanted else 0,
        exact=_exact(compared, panes, pose),
        limits=grid.limits,
        notes=_notes(compared),
        glossary=GLOSSARY | {"share of votes": SHARE},
    )
    explorer(payload, key=EXPLORER, on_pose_change=lambda: _pose_let_go(compared), on_rest=lambda: _refine(compared))


def _exact(compared: Compared, panes: Sequence[Pane], pose: Transform) -> dict[str, Any]:
    """What the classifiers themselves say at a pose; asked once, however often denser maps arrive meanwhile."""
    state = st.session_state
    question = (state["compare_rev"], *pose)
    if state.get("compare_exact", (None,))[0] != question:
        answers = [answer_at(view, pane, pose) for view, pane in zip(compared.views, panes, strict=True)]
        state["compare_exact"] = (question, {"pose": pose, "panes": answers})
    exact: dict[str, Any] = state["compare_exact"][1]
    return exact


def _pose(compared: Compared) -> Transform:
    """The pose let go of or linked to; by default one that tells the contestants apart."""
    return let_go(EXPLORER) or linked_pose(compared.views[0].grid) or telling_transform(compared.landscapes)


def _pose_let_go(compared: Compared) -> None:
    st.session_state["background"].pause()  # the exact answers come first
    pose = _pose(compared)
    link_pose(pose)
    if not any(pose):
        url_state.put("pose", pose.to_query())  # here a link without a pose means another one


def _panes(compared: Compared, pose: Transform, background: BackgroundJobs, rev: int) -> list[Pane]:
    """The explorers, with the display planes that are there. Asks no session: exports are made outside one."""
    panes = []
    for number, (each, landscape) in enumerate(zip(compared.comparison.contestants, compared.landscapes, strict=True)):
        refined = (background.get(("compare", rev, number, *key)) for key in _planes(compared, pose))
        planes = [plane for plane in refined if plane is not None]
        panes.append(Pane(landscape, each.view.image, each.view.classifier.class_names, each.title, planes))
    return panes


def _planes(compared: Compared, pose: Transform) -> list[Plane]:
    """The display planes that each explorer shows at a pose."""
    return pose_planes(compared.views[0].grid, pose, ("rotation",))


def _refine(compared: Compared) -> None:
    """Have the display planes that are shown computed."""
    rev, pose = st.session_state["compare_rev"], _pose(compared)
    st.session_state["background"].submit(
        {("compare", rev, number, *key): functools.partial(_plane, compared, view, key)
         for key in _planes(compared, pose) for number, view in enumerate(compared.views)}
    )  # fmt: skip


def _plane(compared: Compared, view: View, plane: Plane, progress: Any) -> xr.Dataset:
    swept = display_plane(view, plane, progress)
    return vote_shares(swept, view.classifier) if compared.comparison.in_votes else swept


# --- Below the fold -------------------------------------------------------------------------------------------------


@st.fragment
@guarded
def landscapes(compared: Compared) -> None:
    """Maps, surfaces and differences of one slice, on one scale; its controls re-run this part alone."""
    st.html(heading("The landscapes, on one scale"))
    shown = _choose_slice(compared)
    if shown is None:
        st.info(
            "Nothing moves: let rotation or shift move in the sidebar's spatial limits.", icon=":material/crop_free:"
        )
        return
    cached = st.session_state["compare_figures"]
    cached["shown"] = shown
    drawn = _drawn(compared, *shown, theme_of_page(), cached)
    titles, count = compared.comparison.titles, len(compared.landscapes)
    columns = st.columns(2 if count == 4 else count)
    for number, (title, figure) in enumerate(zip(titles, drawn.maps, strict=True)):
        with columns[number % len(columns)]:
            st.markdown(f"**{plain(title)}**")
            st.plotly_chart(figure, theme=None, config=BARE, key=f"compare-map-{number}", alt=figure.layout.meta["alt"])
    linked_surfaces(list(zip(titles, drawn.surfaces, strict=True)), key="compare-surfaces")
    _difference(compared, *shown)


@dataclass(frozen=True)
class Drawn:
    maps: list[go.Figure]
    surfaces: list[go.Figure]


def _choose_slice(compared: Compared) -> tuple[str, str, float | Literal["max"]] | None:
    """The two axes shown, and where the third is held, the same for all; None where no two axes move."""
    moving = {dim for dim in DIMS if compared.landscapes[0].sizes[dim] > 1}
    slices = {name: axes for name, axes in SLICES.items() if set(axes) <= moving}
    if not slices:
        return None
    held = {WORST: None} | {f"where the {word} is worst": each
                            for word, each in zip(ORDINALS, compared.landscapes, strict=False)}  # fmt: skip
    with st.container(horizontal=True):
        x, y = slices[url_state.segments("Slice", slices, key="slice")]
        where = url_state.selectbox("The third axis", held, key="third_axis", width=240)
    of = held[where]
    if of is None:
        return x, y, "max"
    fixed = next(dim for dim in DIMS if dim not in (x, y))
    return x, y, float(getattr(worst_case(of), fixed))


def _drawn(
    compared: Compared, x: str, y: str, at: float | Literal["max"], theme: Theme, cached: dict[Any, Any]
) -> Drawn:
    """The figures of a slice, made once and then ``cached``."""
    if (x, y, at, theme) not in cached:
        quantity, all_of = compared.quantity, compared.landscapes
        top = 1.0 if quantity == "share" else loss_max(*all_of)
        shown: Any = {"at": at, "quantity": quantity, "theme": theme, "value_max": top}
        cached[x, y, at, theme] = Drawn(
            [heatmaps.heatmap(each, x, y, **shown) for each in all_of],
            [surface(each, x, y, **shown) for each in all_of],
        )
    drawn: Drawn = cached[x, y, at, theme]
    return drawn


def _difference(compared: Compared, x: str, y: str, at: float | Literal["max"]) -> None:
    if not compared.comparison.one_picture:
        return
    st.html(heading("Who is worse off, and where?"))
    titles, all_of = compared.comparison.titles, compared.landscapes
    pairs = {f"{titles[a]} minus {titles[b]}": (a, b) for a, b in combinations(range(len(titles)), 2)}
    name = next(iter(pairs))
    if len(pairs) > 1:
        name = url_state.selectbox("Difference", pairs, key="difference")
    a, b = pairs[name]
    try:
        check_comparable(all_of[a], all_of[b])
    except SpatialVizError as error:
        st.info(plain(error), icon=":material/difference:")
        return
    figure = _difference_map(compared, (a, b), x, y, at, theme_of_page())
    st.session_state["compare_figures"]["pair"] = (a, b)
    st.plotly_chart(figure, theme=None, config=BARE, key="compare-difference", alt=figure.layout.meta["alt"])


def _difference_map(
    compared: Compared, pair: tuple[int, int], x: str, y: str, at: float | Literal["max"], theme: Theme
) -> go.Figure:
    (a, b), titles, all_of = pair, compared.comparison.titles, compared.landscapes
    return difference_map(
        all_of[a], all_of[b], x, y, titles=(titles[a], titles[b]), at=at, quantity=compared.quantity,
        theme=theme, value_max=difference_end(all_of, compared.quantity),
    )  # fmt: skip


def _draw_downloads(view: View, compared: Compared) -> None:
    state, now, titles = st.session_state, pose_now(), compared.comparison.titles
    background, rev, cached = state["background"], state["compare_rev"], state["compare_figures"]
    now.pose = _pose(compared)

    def draw(theme: Theme) -> list[go.Figure]:
        if "shown" not in cached:
            return []
        x, y, at = cached["shown"]
        drawn = _drawn(compared, x, y, at, theme, cached)
        named = [*zip(titles, drawn.maps, strict=True), *zip(titles, drawn.surfaces, strict=True)]
        last = [_difference_map(compared, cached["pair"], x, y, at, theme)] if "pair" in cached else []
        return [downloads.named(figure, title) for title, figure in named] + last

    title = f"{' and '.join(titles)}: {view.title}"
    page = downloads.explorer_download(view, lambda: _panes(compared, now(), background, rev), draw, now, title)
    trajectories = [
        way
        for each, landscape in zip(compared.comparison.contestants, compared.landscapes, strict=True)
        if not compared.comparison.in_votes  # its losses are not to be shown beside those of the classifier alone
        for way in downloads.trajectory_downloads(each.view, landscape, each.title)
    ]
    charts = {f"compare-map-{number}": f"the map of {each}" for number, each in enumerate(titles)}
    charts |= {f"compare-surfaces:{number}": f"the surface of {each}" for number, each in enumerate(titles)}
    if compared.comparison.one_picture:
        charts["compare-difference"] = "the difference"
    downloads.download_section(view, title, [page, *trajectories], charts, "take-compare")
