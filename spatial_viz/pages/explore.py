"""Explore: one picture, one classifier, its loss landscape, and the worst case beside the original."""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import streamlit as st
import torch
import xarray as xr
from torch import Tensor

from spatial_viz import exports, figures
from spatial_viz.cache import cached_sweep
from spatial_viz.classifiers import Classifier, Entry, catalogue, load_classifier
from spatial_viz.errors import SpatialVizError
from spatial_viz.explorer.component import explorer, gallery
from spatial_viz.explorer.payload import GLOSSARY, Pane, exact_answer, explorer_payload
from spatial_viz.geometry import PADDINGS, Padding, warp
from spatial_viz.grids import TransformGrid
from spatial_viz.images import class_names, load_image, samples, tensor_to_picture
from spatial_viz.landscape import (
    DIMS,
    card_of,
    class_name,
    label_of,
    misclassified,
    to_bytes,
    to_csv,
    transform_words,
    worst_case,
)
from spatial_viz.losses import cross_entropy
from spatial_viz.sweeps import exact_logits, refined_axes, sweep_axes

EXPLORER = "explorer"  # the key of the component; its state holds the pose last let go of
EXPLORER_HEIGHT = 645  # pixels, of the component and of the skeleton that keeps its place
GRANULARITIES = {"paper: 31 × 5 × 5": (31, 5, 5), "coarse: 11 × 3 × 3": (11, 3, 3), "fine: 61 × 9 × 9": (61, 9, 9)}
DISPLAY = (61, 25, 25)  # values of rotation, dy and dx on a display plane
OPENING = {"cifar10": "cifar10/6"}  # the picture a first visitor sees: right as it is, wrong on a third of the grid
SOURCES = ("Samples", "Upload", "Camera")


@dataclass(frozen=True)
class View:
    """What the visitor chose: everything that decides the landscape."""

    classifier: Classifier
    image: Tensor
    label: int | None
    grid: TransformGrid
    padding: Padding
    title: str

    @property
    def question(self) -> tuple[Any, ...]:
        return (self.classifier.name, self.image.numpy().tobytes(), self.label, self.grid, self.padding)


def page() -> None:
    """The page, from top to bottom; it stops early where there is nothing to show."""
    view = choose()
    if view is None:
        return
    st.markdown("##### How far can you turn and move this picture before the classifier is wrong?")
    place = st.empty()
    try:
        if st.session_state.get("question") != view.question:
            _sweep(view, place)
        with place.container():
            live(view)
        if _refine(view):  # the landscape is on the page by now
            st.rerun()
        details(view)
    except SpatialVizError as error:
        place.error(_plain(error), icon=":material/error:")


# --- Choosing -------------------------------------------------------------------------------------------------------


def choose() -> View | None:
    """The sidebar; None, with the reason on the page, where the choice leads to nothing."""
    try:
        with st.sidebar:
            classifier = _choose_classifier()
            gallery_place = st.container()
            grid, padding = _choose_limits(classifier)  # drawn first: a bad picture must not take the limits away
            with gallery_place:
                picked = _choose_picture(classifier)
    except SpatialVizError as error:
        st.error(_plain(error), icon=":material/error:")
        return None
    if picked is None:
        st.info("Choose a picture in the sidebar, or take one with the camera.", icon=":material/add_photo_alternate:")
        return None
    image, label, title = picked
    return View(classifier, image, label, grid, padding, title)


def _choose_classifier() -> Classifier:
    entries = {entry.name: entry for entry in catalogue()}
    # Not bound to the URL by Streamlit, which would put the marked label there: a link has to outlive a download.
    linked = st.query_params.get("classifier")
    if "classifier" not in st.session_state and linked in entries:
        st.session_state["classifier"] = linked
    name = st.selectbox(
        "Classifier", list(entries), format_func=lambda name: _marked(entries[name]), key="classifier",
        on_change=lambda: st.query_params.update(classifier=st.session_state["classifier"]),
    )  # fmt: skip
    entry = entries[name]
    if "natural_accuracy" in entry.card:
        st.caption(
            f"{entry.card['natural_accuracy']:.1%} of the test pictures right as they are, "
            f"{entry.card['grid_accuracy']:.1%} under every transform of the paper's grid."
        )
    with st.spinner(f"Loading {entry.name}…", show_time=True):
        return _classifier(entry.name)


def _marked(entry: Entry) -> str:
    return entry.name if entry.available else f"{entry.name} (not on this machine)"


@st.cache_resource(max_entries=4, show_spinner=False)
def _classifier(name: str) -> Classifier:
    return load_classifier(name)


def _choose_picture(classifier: Classifier) -> tuple[Tensor, int | None, str] | None:
    """(prepared picture, label or None, title), or None where there is no picture yet."""
    source = st.segmented_control(
        "Picture", SOURCES, default="Samples", required=True, key="source", bind="query-params"
    )
    if source == "Samples":
        return _choose_sample(classifier)
    if source == "Upload":
        upload = st.file_uploader("A picture of your own", key="upload", label_visibility="collapsed")
    else:
        upload = st.camera_input("Take a picture", key="camera", label_visibility="collapsed")
    if upload is None:
        return None
    return classifier.prepare(load_image(upload.getvalue(), upload.name)), None, upload.name


def _choose_sample(classifier: Classifier) -> tuple[Tensor, int, str]:
    dataset = classifier.name.split("/")[0]
    items = _thumbnails(dataset)
    names = [item["id"] for item in items]
    wanted = st.query_params.get("picture")
    chosen = wanted if wanted in names else OPENING.get(dataset, names[0])
    clicked = gallery(items, chosen, key=f"gallery-{dataset}", on_change=lambda: _link_picture(f"gallery-{dataset}"))
    name = clicked if clicked in names else chosen
    sample = samples(dataset)[names.index(name)]
    return classifier.prepare(load_image(sample.path)), sample.label, f"{class_names(dataset)[sample.label]} ({name})"


def _link_picture(key: str) -> None:
    """Put the picture that was clicked into the URL."""
    chosen = st.session_state[key].get("selected")
    if chosen:
        st.query_params["picture"] = chosen


@st.cache_data(show_spinner=False)
def _thumbnails(dataset: str) -> list[dict[str, str]]:
    names = class_names(dataset)
    items = []
    for sample in samples(dataset):
        picture = load_image(sample.path)
        picture.thumbnail((96, 96))
        stream = io.BytesIO()
        picture.convert("RGB").save(stream, "PNG")
        source = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
        items.append({"id": sample.name, "label": names[sample.label], "src": source})
    return items


def _choose_limits(classifier: Classifier) -> tuple[TransformGrid, Padding]:
    paper = TransformGrid.paper(classifier.input_size)
    with st.expander("Spatial limits", expanded=False):
        rotation = st.slider("Rotation, ± degrees", 0, 90, int(paper.rotation), key="rotation", bind="query-params")
        share = st.slider("Shift, % of the paper's limit", 0, 300, 100, step=10, key="shift", bind="query-params",
                          help="100 % is about a tenth of the picture: 3 pixels of 32, 24 of 224.")  # fmt: skip
        size = st.selectbox("Granularity", list(GRANULARITIES), key="granularity", bind="query-params",
                            help=GLOSSARY["grid"])  # fmt: skip
        padding = st.selectbox("Padding", PADDINGS, key="padding", bind="query-params", help=GLOSSARY["padding"])
    scale = share / 100
    granularity = GRANULARITIES.get(size or "", (31, 5, 5))
    return TransformGrid(float(rotation), paper.dx * scale, paper.dy * scale, granularity), padding or "black"  # type: ignore[return-value]


# --- The landscape --------------------------------------------------------------------------------------------------


def _sweep(view: View, place: Any) -> None:
    """Ask the question that the page now shows, and forget what belonged to the one before."""
    place.skeleton(height=EXPLORER_HEIGHT)
    with _progress("Sweeping the grid") as progress:
        started = time.perf_counter()
        landscape = _landscape(view, {dim: np.array(view.grid.values(dim)) for dim in DIMS}, progress)
        seconds = time.perf_counter() - started
    state = st.session_state
    first = "question" not in state
    state["question"], state["landscape"], state["planes"], state["seconds"] = view.question, landscape, {}, seconds
    state["rev"] = state.get("rev", 0) + 1
    if not first:  # the first landscape opens at the pose of the link
        _link_pose({})
    if EXPLORER in state:
        state[EXPLORER]["pose"] = None


def _landscape(view: View, axes: dict[str, np.ndarray], progress: Any = None) -> xr.Dataset:
    return cached_sweep(view.classifier, view.image, view.label, axes, view.padding, progress=progress)


def _landscape_once(view: View, axes: dict[str, np.ndarray], progress: Any = None) -> xr.Dataset:
    return sweep_axes(view.classifier, view.image, view.label, axes, progress=progress, padding=view.padding)


@contextmanager
def _progress(text: str) -> Iterator[Any]:
    """A callback for a sweep; it shows a bar once the sweep has taken half a second."""
    place = st.empty()
    started = time.perf_counter()

    def show(done: int, total: int) -> None:
        st.session_state.get("question")  # a rerun that the visitor asked for in the meantime starts here
        if time.perf_counter() - started > 0.5:
            place.progress(done / total, f"{text}: {done:,} of {total:,} transforms")

    yield show
    place.empty()


def _refine(view: View) -> bool:
    """Compute the display planes of the explorer's pose; whether there was anything to do."""
    pose = _pose(view)
    planes: dict[tuple[str, float], xr.Dataset] = st.session_state["planes"]
    moving = {dim for dim, values in zip(DIMS, view.grid.shape, strict=True) if values > 1}
    wanted = {(fixed, pose[fixed]) for fixed in ("rotation", "dy") if moving >= set(DIMS) - {fixed}}
    missing = sorted(wanted - planes.keys())
    for fixed, value in missing:
        axes = refined_axes(view.grid, DISPLAY, **{fixed: value})
        with _progress("Refining the maps") as progress:
            # Only what others will ask for, too, is worth a place on the disk.
            sweep = _landscape if value in view.grid.values(fixed) else _landscape_once
            planes[fixed, value] = sweep(view, axes, progress)
    for key in [key for key in planes if key not in wanted]:
        del planes[key]
    return bool(missing)


# --- The live explorer ----------------------------------------------------------------------------------------------


@st.fragment
def live(view: View) -> None:
    """The explorer. A pose let go of re-runs this fragment alone: first the exact answer, then denser maps."""
    landscape: xr.Dataset = st.session_state["landscape"]
    pose = _pose(view)
    pane = Pane(
        landscape=landscape,
        image=view.image,
        label=label_of(landscape),
        class_names=view.classifier.class_names,
        worst=worst_case(landscape),
        title=view.classifier.name,
        padding=view.padding,
        labelled=view.label is not None,
        planes=list(st.session_state["planes"].values()),
    )
    payload = explorer_payload(
        [pane],
        pose=pose,
        rev=st.session_state["rev"],
        exact=_exact(view, pane, pose),
        limits={axis: getattr(view.grid, axis) for axis in ("rotation", "dx", "dy")},
        notes=_notes(view, landscape),
    )
    explorer(payload, key=EXPLORER, on_pose_change=lambda: _pose_let_go(view))
    if st.session_state.pop("let_go", False) and _refine(view):
        st.rerun(scope="fragment")


def _pose_let_go(view: View) -> None:
    st.session_state["let_go"] = True
    _link_pose(_pose(view))


def _pose(view: View) -> dict[str, float]:
    """The pose the explorer is in, as far as the server knows: let go of, or linked to."""
    pose = st.session_state.get(EXPLORER, {}).get("pose") or _linked_pose(view.grid)
    return {axis: float(pose.get(axis, 0.0)) for axis in ("rotation", "dx", "dy")}


def _link_pose(pose: dict[str, float]) -> None:
    """Keep the pose in the URL; the unmoved picture needs none."""
    if any(pose.values()):
        st.query_params["pose"] = ",".join(f"{pose[axis]:g}" for axis in ("rotation", "dx", "dy"))
    else:
        st.query_params.pop("pose", None)


def _linked_pose(grid: TransformGrid) -> dict[str, float]:
    """The pose that the URL asks for, within the limits; nonsense means the unmoved picture."""
    try:
        values = [float(part) for part in st.query_params.get("pose", "").split(",")]
    except ValueError:
        return {}
    if len(values) != 3 or not all(map(math.isfinite, values)):
        return {}
    limits = (grid.rotation, grid.dx, grid.dy)
    clamped = (min(limit, max(-limit, value)) for value, limit in zip(values, limits, strict=True))
    return dict(zip(("rotation", "dx", "dy"), clamped, strict=True))


def _exact(view: View, pane: Pane, pose: dict[str, float]) -> dict[str, Any]:
    transform = torch.tensor([[pose["rotation"], pose["dx"], pose["dy"]]], dtype=torch.float32)
    logits = exact_logits(view.classifier, view.image, transform, padding=view.padding)
    probabilities = logits.softmax(1)[0]
    answer = exact_answer(
        pane,
        predicted=int(probabilities.argmax()),
        loss=float(cross_entropy(logits, torch.tensor([pane.label]))),
        confidence=float(probabilities.max()),
        probabilities=probabilities.numpy(),
    )
    return {"pose": pose, "panes": [answer]}


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
    card = card_of(landscape)
    device = "on the CPU, no GPU was found" if card["device"] == "cpu" else f"on {card['device']}"
    precise = "in bf16, close calls again in fp32" if card["precision"] == "bf16" else "in fp32"
    return f"{landscape['loss'].size} transforms {device}, {precise}."


# --- Below the fold -------------------------------------------------------------------------------------------------

SLICES = {
    "rotation × shift right": ("rotation", "dx"),
    "rotation × shift down": ("rotation", "dy"),
    "shift right × shift down": ("dx", "dy"),
}
THIRD: dict[str, Literal["max"] | None] = {"as in the worst case": None, "maximised over": "max"}


def details(view: View) -> None:
    """The surface, a slice chooser, downloads, and what the words mean."""
    landscape: xr.Dataset = st.session_state["landscape"]
    moving = {dim for dim in DIMS if landscape.sizes[dim] > 1}
    slices = {name: axes for name, axes in SLICES.items() if set(axes) <= moving}
    theme: figures.Theme = "dark" if st.context.theme.type == "dark" else "light"
    if slices:
        st.subheader("The landscape from the side", anchor=False)
        with st.container(horizontal=True):
            name = st.segmented_control("Slice", list(slices), default=next(iter(slices)), required=True, key="slice",
                                        bind="query-params")  # fmt: skip
            third = st.segmented_control("The third axis", list(THIRD), default=next(iter(THIRD)), required=True,
                                         key="third", bind="query-params")  # fmt: skip
        x, y = slices.get(name or "", next(iter(slices.values())))
        at = THIRD[third or next(iter(THIRD))]
        refined = _refined_slice(view, landscape, x, y) if at is None else None
        left, right = st.columns([3, 2])
        surface = figures.surface(landscape, x, y, at=at, theme=theme, refined=refined)
        flat = figures.heatmap(landscape, x, y, at=at, theme=theme, refined=refined)
        alt = figures.alt_text(landscape)
        left.plotly_chart(surface, theme=None, key="surface", alt=alt)
        right.plotly_chart(flat, theme=None, key="heatmap", alt=alt)
    _downloads(view, landscape)
    with st.expander("What do these words mean?"):
        for term, text in GLOSSARY.items():
            st.markdown(f"**{term.capitalize()}.** {text}")
        st.markdown(
            "After Engstrom, Tran, Tsipras, Schmidt, Mądry: *Exploring the Landscape of Spatial Robustness*, ICML 2019."
        )


def _refined_slice(view: View, landscape: xr.Dataset, x: str, y: str) -> xr.Dataset:
    """The display plane through the worst case."""
    fixed = next(dim for dim in DIMS if dim not in (x, y))
    value = float(getattr(worst_case(landscape), fixed))
    with _progress("Refining the surface") as progress:
        return _landscape(view, refined_axes(view.grid, DISPLAY, **{fixed: value}), progress)


def _downloads(view: View, landscape: xr.Dataset) -> None:
    worst = worst_case(landscape)
    name = f"{view.classifier.name}-{view.title}".replace("/", "-").replace(" ", "-")
    transform = torch.tensor([[worst.rotation, worst.dx, worst.dy]], dtype=torch.float32)

    def picture() -> bytes:
        stream = io.BytesIO()
        tensor_to_picture(warp(view.image[None], transform, view.padding)[0]).save(stream, "PNG")
        return stream.getvalue()

    def page_of_figures() -> str:
        return exports.landscape_page(view.image, landscape, f"{view.classifier.name}: {view.title}")

    st.caption(f"Take it along. Worst case: {transform_words(worst.rotation, worst.dx, worst.dy)}.")
    with st.container(horizontal=True):
        for label, data, file, mime in (
            ("Figures (HTML)", page_of_figures, f"{name}.html", "text/html"),
            ("Landscape (NetCDF)", lambda: to_bytes(landscape), f"{name}.nc", "application/x-netcdf"),
            ("Landscape (CSV)", lambda: to_csv(landscape), f"{name}.csv", "text/csv"),
            ("Worst-case picture (PNG)", picture, f"{name}-worst-case.png", "image/png"),
        ):
            st.download_button(label, data, file, mime, on_click="ignore", icon=":material/download:")


def _plain(error: Exception) -> str:
    """An error's text for Streamlit, which would read it as Markdown: names of files and classes stay as they are."""
    return "".join(f"\\{char}" if char in r"\`*_{}[]()<>#+-!|~$:" else char for char in str(error))
