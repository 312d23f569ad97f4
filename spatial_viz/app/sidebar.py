"""The sidebar: the choice of picture, classifier and spatial limits that all pages share."""

from __future__ import annotations

import re
from typing import Any

import streamlit as st
from torch import Tensor

from spatial_viz.app import url_state
from spatial_viz.app.components import gallery
from spatial_viz.app.view import View
from spatial_viz.app.widgets import plain
from spatial_viz.data.images import data_uri, load_image
from spatial_viz.data.samples import class_names, opening_sample, samples
from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.explorer.payload import GLOSSARY
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.registry import catalogue, load_classifier
from spatial_viz.models.sources.base import ClassifierEntry
from spatial_viz.transforms.geometry import PADDINGS, Padding
from spatial_viz.transforms.grids import TransformGrid

GRANULARITIES = ("31,5,5", "11,3,3", "61,9,9")  # the paper's first; as the command line writes them
SOURCES = ("Samples", "Upload", "Camera")


def chosen_view() -> View | None:
    """The sidebar; None, with the reason on the page, where the choice leads to nothing."""
    try:
        with st.sidebar:
            classifier, dataset = _choose_classifier()
            gallery_place = st.container()
            grid, padding = _choose_limits(classifier)  # drawn first: a bad picture must not take the limits away
            with gallery_place:
                picked = _choose_picture(classifier, dataset)
    except SpatialVizError as error:
        st.error(plain(error), icon=":material/error:")
        return None
    if picked is None:
        st.info("Choose a picture in the sidebar, or take one with the camera.", icon=":material/add_photo_alternate:")
        return None
    image, label, title = picked
    return View(classifier, image, label, grid, padding, title)


def hide_sidebar() -> None:
    """On a page without a choice: Streamlit leaves an empty sidebar where the page before had one. On a narrow screen
    it stays, since the way to the other pages is in it.
    """
    empty = "[data-testid='stApp']:not(:has([data-testid='stSidebarNav']))"
    parts = "[data-testid='stSidebar'], [data-testid='stExpandSidebarButton']"
    st.html(f"<style>{empty} :is({parts}) {{ display: none }}</style>")


def _choose_classifier() -> tuple[Classifier, str]:
    """The classifier and the data set whose pictures it knows."""
    entries = {entry.name: entry for entry in catalogue()}
    name = url_state.selectbox("Classifier", entries, format_func=lambda name: marked(entries[name]), key="classifier")
    entry = entries[name]
    if entry.card:
        mirror = " It averages its answers for the picture and its mirror image." if entry.card.mirror else ""
        st.caption(
            f"{entry.card.accuracies['natural'].accuracy:.1%} of the test pictures right as they are, "
            f"{entry.card.accuracies['grid'].accuracy:.1%} under every transform of the paper's grid.{mirror}"
        )
    with st.spinner(f"Loading {entry.name}…", show_time=True):
        return cached_classifier(entry.name), entry.dataset


def marked(entry: ClassifierEntry) -> str:
    return entry.name if entry.available else f"{entry.name} (not on this machine)"


@st.cache_resource(max_entries=8, show_spinner=False)
def cached_classifier(name: str) -> Classifier:
    if name not in {entry.name for entry in catalogue()}:  # a browser must not choose files of this machine
        raise InvalidInput(f"the app shows the classifiers of the catalogue, and {name!r} is none of them")
    return load_classifier(name)


def _choose_picture(classifier: Classifier, dataset: str) -> tuple[Tensor, int | None, str] | None:
    """(prepared picture, label or None, title), or None where there is no picture yet."""
    source = url_state.segments("Picture", SOURCES, key="source")
    if source == "Samples":
        return _choose_sample(classifier, dataset)
    if source == "Upload":
        upload = st.file_uploader("A picture of your own", key="upload", label_visibility="collapsed")
    else:
        upload = st.camera_input("Take a picture", key="camera", label_visibility="collapsed")
    if upload is None:
        return None
    picture = load_image(
        upload.getvalue(), upload.name, lambda text: st.warning(plain(text), icon=":material/warning:")
    )
    return classifier.prepare(picture), None, upload.name


def _choose_sample(classifier: Classifier, dataset: str) -> tuple[Tensor, int, str]:
    items = _thumbnails(dataset)
    names = [item["id"] for item in items]
    wanted, usual = url_state.get("picture"), opening_sample(dataset).name
    name = wanted if wanted in names else usual
    key = f"gallery-{dataset}"
    # A picture of a data set (`spatial_viz.app.dataset_image`): then none of these is the chosen one.
    elsewhere = of_data_set(wanted) is not None
    if not elsewhere:
        url_state.judge("picture", "" if wanted in ("", name) else (
            f"The link asks for the picture {url_state.quoted(wanted)}, which is none of the samples of {dataset}; "
            f"{name} is shown instead."
        ))  # fmt: skip
        url_state.show("picture", "" if name == usual else name)
    gallery(items, "" if elsewhere else name, key=key,
            on_click=lambda: url_state.put("picture", st.session_state[key]["clicked"]))  # fmt: skip
    sample = samples(dataset)[names.index(name)]
    return classifier.prepare(load_image(sample.path)), sample.label, f"{class_names(dataset)[sample.label]} ({name})"


def of_data_set(name: str) -> tuple[str, str, int] | None:
    """Data set, split and number where a picture is called ``DATA/SPLIT/NUMBER``, else None."""
    match = re.fullmatch(r"([^/]+)/(train|test|val)/([0-9]{1,7})", name)
    return None if match is None else (match[1], match[2], int(match[3]))


@st.cache_data(show_spinner=False)
def _thumbnails(dataset: str) -> list[dict[str, str]]:
    names = class_names(dataset)
    items = []
    for sample in samples(dataset):
        picture = load_image(sample.path)
        picture.thumbnail((96, 96))
        items.append({"id": sample.name, "label": names[sample.label], "src": data_uri(picture)})
    return items


def _choose_limits(classifier: Classifier) -> tuple[TransformGrid, Padding]:
    paper = TransformGrid.paper(classifier.picture_size)
    with st.expander("Spatial limits", expanded=False):
        rotation = url_state.slider("Rotation, ± degrees", 0, 90, int(paper.rotation), key="rotation")
        share = url_state.slider("Shift, % of the paper's limit", 0, 300, 100, step=10, key="shift",
                               help="100 % is about a tenth of the picture: 3 pixels of 32, 24 of 224.")  # fmt: skip
        size = url_state.selectbox(
            "Granularity: rotation, right, down", GRANULARITIES, key="granularity",
            help=f"{GLOSSARY['grid']} The paper's grid has {GRANULARITIES[0].replace(',', ' × ')} of them.",
        )  # fmt: skip
        padding = url_state.selectbox("Padding", PADDINGS, key="padding", help=GLOSSARY["padding"])
    scale = share / 100
    granularity = tuple(int(count) for count in size.split(","))
    return TransformGrid(float(rotation), paper.dx * scale, paper.dy * scale, granularity), padding  # type: ignore[arg-type]


def limit_settings(grid: TransformGrid, size: tuple[int, int]) -> dict[str, Any]:
    """What the controls of the spatial limits have to say for this grid, on pictures of (H, W) pixels; nothing where
    they cannot say it."""
    paper, granularity = TransformGrid.paper(size), ",".join(map(str, grid.granularity))
    share = round(10 * grid.dx / paper.dx) * 10 if paper.dx else 100
    settings = {"rotation": round(grid.rotation), "shift": share, "granularity": granularity}
    exact = settings["rotation"] == grid.rotation <= 90 and share <= 300 and granularity in GRANULARITIES
    same = all(abs(getattr(grid, axis) - getattr(paper, axis) * share / 100) < 1e-6 for axis in ("dx", "dy"))
    return settings if exact and same else {}
