"""Explore: one picture, one classifier, its loss landscape, and the worst case beside the original."""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import xarray as xr

from spatial_viz.app import downloads, url_state
from spatial_viz.app.background import BackgroundJobs
from spatial_viz.app.components import explorer, linked_surfaces
from spatial_viz.app.pose import Plane, answer_at, display_plane, link_pose, pose_now, pose_of, pose_planes
from spatial_viz.app.view import View
from spatial_viz.app.widgets import BARE, HEAD_HEIGHT, guarded, heading, plain, progress_bar, theme_of_page
from spatial_viz.errors import SpatialVizError
from spatial_viz.explorer.payload import GLOSSARY, Pane, explorer_payload
from spatial_viz.figures import heatmaps
from spatial_viz.figures.descriptions import alt_text
from spatial_viz.figures.style import Theme
from spatial_viz.figures.surfaces import surface
from spatial_viz.figures.worst_case import worst_case_figure
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.cache import cached_sweep
from spatial_viz.landscape.dataset import DIMS, class_name, misclassified, worst_case
from spatial_viz.transforms.transform import Transform

EXPLORER = "explorer"  # the key of the component; its state holds the pose last let go of
EXPLORER_HEIGHT = 645  # pixels, of the component and of the skeleton that keeps its place
FIGURE_HEIGHT = 470  # pixels, of the figures below it and of their skeletons
MAPS = ("rotation", "dy")  # what the explorer's two maps hold fixed


def page() -> None:
    """The page, from top to bottom; it stops early where there is nothing to show."""
    view: View | None = st.session_state["view"]
    if view is None:
        return
    head = st.container(height=HEAD_HEIGHT, border=False).empty()
    place, below = st.container(), st.container()
    try:
        with place:
            waiting = st.empty()
            if st.session_state.get("question") != view.question:
                if "question" not in st.session_state:
                    waiting.skeleton(height=EXPLORER_HEIGHT)
                _sweep(view, head)
                waiting.empty()
        head.html(heading("How far can you turn and move it?", 1))
        with below:
            chosen = _choose_slice()
        with place:
            live(view)
        with below:
            details(view, *chosen)
    except SpatialVizError as error:
        st.error(plain(error), icon=":material/error:")


# --- The landscape --------------------------------------------------------------------------------------------------


def _sweep(view: View, head: Any) -> None:
    """Ask the question that the page now shows, and forget what belonged to the one before."""
    state = st.session_state
    if "background" not in state:
        state["background"] = BackgroundJobs()
    state["background"].pause()  # it would only be in the way
    with progress_bar(head, "Sweeping the grid") as progress:
        landscape = cached_sweep(
            view.classifier, view.image, view.label, view.grid.axes(), view.padding, progress=progress
        )
    first = "question" not in state
    state["question"], state["landscape"], state["figures"] = view.question, landscape, {}
    state["rev"] = state.get("rev", 0) + 1
    if not first:  # the first landscape opens at the pose of the link
        link_pose(Transform())
    if EXPLORER in state:
        state[EXPLORER]["pose"] = None


def forget() -> None:
    """Begin anew, with the pose that the address says."""
    st.session_state.pop("question", None)


def _refine(view: View) -> None:
    """Have the display planes that are shown computed."""
    rev = st.session_state["rev"]
    planes = {(rev, *key): functools.partial(display_plane, view, key) for key in _shown(view)}
    st.session_state["background"].submit({**planes, **st.session_state.get("warming", {})})


def _shown(view: View) -> list[Plane]:
    """The display planes that the page shows: through the explorer's pose, and that of the surface."""
    surface: Plane | None = st.session_state["surface_plane"]
    planes = pose_planes(view.grid, pose_of(EXPLORER, view.grid), MAPS)
    return list(dict.fromkeys([*planes, *([surface] if surface else [])]))


def _refined(plane: Plane) -> xr.Dataset | None:
    """A display plane of the landscape shown, once it is there."""
    refined: xr.Dataset | None = st.session_state["background"].get((st.session_state["rev"], *plane))
    return refined


# --- The live explorer ----------------------------------------------------------------------------------------------


def embedded(view: View, distance: bool = False) -> None:
    """The explorer alone, for another page, with the pose that all pages share, and on demand the ℓ∞ distance."""
    if st.session_state.get("question") != view.question:
        place = st.empty()
        _sweep(view, place)
        place.empty()
    st.session_state["surface_plane"] = None
    live(view, distance)


@st.fragment
@guarded
def live(view: View, distance: bool = False) -> None:
    """The explorer. A pose let go of re-runs this fragment alone, and so does the wish for denser maps."""
    _live(view, distance)
    surface: Plane | None = st.session_state["surface_plane"]
    if st.session_state.get("surface_awaited") and surface and _refined(surface) is not None:
        st.session_state["surface_awaited"] = False
        st.rerun()


def _live(view: View, distance: bool) -> None:
    landscape: xr.Dataset = st.session_state["landscape"]
    incomplete = any(_refined(key) is None for key in _shown(view))
    pose = pose_of(EXPLORER, view.grid)
    planes = [plane for key in pose_planes(view.grid, pose, MAPS) if (plane := _refined(key)) is not None]
    pane = Pane(landscape, view.image, view.classifier.class_names, view.classifier.name, planes)
    st.session_state["asked"] = st.session_state.get("asked", 0) + 1
    payload = explorer_payload(
        [pane],
        pose=pose,
        rev=st.session_state["rev"],
        refining=st.session_state["asked"] if incomplete else 0,
        exact={"pose": pose, "panes": [answer_at(view, pane, pose)]},
        limits=view.grid.limits,
        notes=_notes(view, landscape),
        distance=distance,
    )
    explorer(payload, key=EXPLORER, on_pose_change=lambda: _pose_let_go(view), on_rest=lambda: _refine(view))


def _pose_let_go(view: View) -> None:
    st.session_state["background"].pause()  # the exact answer comes first
    link_pose(pose_of(EXPLORER, view.grid))


def _notes(view: View, landscape: xr.Dataset) -> list[str]:
    """What a reader of this landscape has to know, in sentences."""
    notes = []
    natural = class_name(landscape, int(landscape["natural_predicted"]))
    broken = bool(misclassified(landscape).any())
    if view.label is None:
        notes.append(f"Nobody labelled this picture: it is held against its own natural prediction, {natural}.")
    elif int(landscape["natural_predicted"]) != view.label:
        notes.append(f"The classifier is wrong about the picture as it is: it says {natural}.")
    if not broken:
        notes.append("The picture survives the whole grid: no transform changes the verdict.")
    steps = [np.diff(landscape[dim].values[:2]) for dim in ("rotation", "dx")]
    apart = [f"{float(step[0]):g}{unit}" for step, unit in zip(steps, ("°", " px"), strict=True) if len(step)]
    notes.append(f"Grid cells are {' and '.join(apart)} apart. {_hardware(landscape)}")
    return notes


def _hardware(landscape: xr.Dataset) -> str:
    known = attributes_of(landscape)
    device = "on the CPU, no GPU was found" if known.device == "cpu" else f"on {known.device}"
    precise = "in bf16, close calls again in fp32" if known.precision == "bf16" else "in fp32"
    return f"{landscape['loss'].size} transforms {device}, {precise}."


# --- Below the fold -------------------------------------------------------------------------------------------------

SLICES = {"rotation × dx": ("rotation", "dx"), "rotation × dy": ("rotation", "dy"), "dx × dy": ("dx", "dy")}
THIRD: dict[str, Literal["max"] | None] = {"as in the worst case": None, "maximised over": "max"}


def _choose_slice() -> tuple[str, str, Literal["max"] | None]:
    """The two axes that the surface shows, and what becomes of the third."""
    landscape: xr.Dataset = st.session_state["landscape"]
    state = st.session_state
    state["surface_plane"] = None
    moving = {dim for dim in DIMS if landscape.sizes[dim] > 1}
    slices = {name: axes for name, axes in SLICES.items() if set(axes) <= moving}
    if not slices:
        return "", "", None
    st.html(heading("The landscape from the side"))
    with st.container(horizontal=True):
        x, y = slices[url_state.segments("Slice", slices, key="slice")]
        at = THIRD[url_state.segments("The third axis", THIRD, key="third")]
    if at is None:
        fixed = next(dim for dim in DIMS if dim not in (x, y))
        state["surface_plane"] = (fixed, float(getattr(worst_case(landscape), fixed)))
    return x, y, at


def details(view: View, x: str, y: str, at: Literal["max"] | None) -> None:
    """The surface and the map of a slice, downloads, and what the words mean."""
    landscape: xr.Dataset = st.session_state["landscape"]
    if x:
        left, right = st.columns([3, 2])
        made = _figures(landscape, x, y, at)
        # Drawn once, when it is complete: a surface that is drawn again forgets how the visitor has turned it.
        st.session_state["surface_awaited"] = made is None
        if made is None:
            left.skeleton(height=FIGURE_HEIGHT)
            right.skeleton(height=FIGURE_HEIGHT)
        else:
            alt = alt_text(landscape)
            with left:
                linked_surfaces([("", made[0])], key="surface")
            right.plotly_chart(made[1], theme=None, config=BARE, key="heatmap", alt=alt)
    _draw_downloads(view, landscape, x, y, at)
    with st.expander("What do these words mean?"):
        for term, text in GLOSSARY.items():
            st.markdown(f"**{term.capitalize()}.** {text}")
        st.markdown(
            "After Engstrom, Tran, Tsipras, Schmidt, Mądry: *Exploring the Landscape of Spatial Robustness*, ICML 2019."
        )


def _figures(landscape: xr.Dataset, x: str, y: str, at: Literal["max"] | None) -> tuple[go.Figure, go.Figure] | None:
    """Surface and heat map of a slice; None while the plane that they show is being refined."""
    theme = theme_of_page()
    cached: dict[Any, tuple[go.Figure, go.Figure]] = st.session_state["figures"]
    if (x, y, at, theme) not in cached:
        plane: Plane | None = st.session_state["surface_plane"]
        refined = _refined(plane) if plane else None
        if plane and refined is None:
            return None
        cached[x, y, at, theme] = _drawn(landscape, x, y, at, theme, refined)
    return cached[x, y, at, theme]


def _drawn(
    landscape: xr.Dataset, x: str, y: str, at: Literal["max"] | None, theme: Theme, refined: xr.Dataset | None
) -> tuple[go.Figure, go.Figure]:
    return (
        surface(landscape, x, y, at=at, theme=theme, refined=refined),
        heatmaps.heatmap(landscape, x, y, at=at, theme=theme, refined=refined),
    )


def _draw_downloads(view: View, landscape: xr.Dataset, x: str, y: str, at: Literal["max"] | None) -> None:
    state, classifier = st.session_state, view.classifier
    background, rev, shown, now = state["background"], state["rev"], state["surface_plane"], pose_now()
    now.pose = pose_of(EXPLORER, view.grid)

    def refined(plane: Plane | None) -> xr.Dataset | None:
        result: xr.Dataset | None = plane and background.get((rev, *plane))
        return result

    def panes() -> list[Pane]:
        planes = [each for plane in pose_planes(view.grid, now(), MAPS) if (each := refined(plane)) is not None]
        return [Pane(landscape, view.image, classifier.class_names, classifier.name, planes)]

    def draw(theme: Theme) -> list[go.Figure]:
        drawn = list(_drawn(landscape, x, y, at, theme, refined(shown))) if x else []
        return [worst_case_figure(view.image, landscape, theme=theme), *drawn]

    name = f"{classifier.name}: {view.title}"
    page = downloads.explorer_download(view, panes, draw, now, name)
    charts = {"surface": "the surface", "heatmap": "the map beside it"} if x else {}
    downloads.download_section(
        view, name, [page, *downloads.landscape_downloads(view, landscape)], charts, "take-explore"
    )
