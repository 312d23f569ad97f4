"""Download and share: what Explore, Attack and Compare let a visitor keep, and the link to what is shown."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st
import xarray as xr
from PIL import Image

from spatial_viz.app.components import download_bar
from spatial_viz.app.sidebar import SOURCES
from spatial_viz.app.view import View
from spatial_viz.app.widgets import heading, theme_of_page
from spatial_viz.data.images import tensor_to_picture
from spatial_viz.explorer.payload import Pane
from spatial_viz.export.html import Draw, explorer_page
from spatial_viz.export.video import ffmpeg, save_animation, to_gif
from spatial_viz.export.worst_case_frames import draw_trajectory
from spatial_viz.figures.text import escaped
from spatial_viz.landscape.dataset import to_bytes, to_csv, worst_case
from spatial_viz.landscape.sweeps import pixel_hash
from spatial_viz.lecture.handout import Chosen, handout, usual_classifiers
from spatial_viz.models.registry import dataset_of, load_classifier
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.transform import Transform

MOST_SHOWN = 6  # pictures in a handout


@dataclass(frozen=True)
class Download:
    """One file to download; ``make`` runs when it is asked for, outside the page: the session is not at hand."""

    label: str
    make: Callable[[], bytes | str]
    ending: str
    mime: str


def download_section(view: View, name: str, files: Sequence[Download], figures: Mapping[str, str], key: str) -> None:
    """The section at the end of a page.

    Parameters
    ----------
    name: begins the names of the files.
    figures: the keys of the page's charts, and what each is called; ``KEY:NUMBER`` is one of several under a key.
    """
    st.html(heading("Download and share"))
    stem = file_name(name)
    with st.container(horizontal=True):
        for download in files:
            st.download_button(
                download.label, download.make, f"{stem}{download.ending}", download.mime, on_click="ignore",
                icon=":material/download:", key=f"{key}-{download.ending}",
            )  # fmt: skip
    download_bar(name, figures, left_out(), key=key)


def left_out() -> str:
    """What no link to this view carries."""
    if st.session_state.get("source", SOURCES[0]) == SOURCES[0]:
        return ""
    return "Your picture is not part of the link: whoever opens it chooses one of their own."


def explorer_download(
    view: View, panes: Callable[[], Sequence[Pane]], draw: Draw | None, pose: Callable[[], Transform | None], title: str
) -> Download:
    """The page with the live explorer and the figures of ``draw``; all are asked when it is."""
    return Download(
        "Page that works offline (HTML)",
        lambda: explorer_page(panes(), title, picture=view.title, pose=pose(), draw=draw), ".html", "text/html",
    )  # fmt: skip


def landscape_downloads(view: View, landscape: xr.Dataset) -> list[Download]:
    """The way to the worst case, the picture there, and the numbers behind a landscape."""
    worst = worst_case(landscape)
    transform = worst.transform.tensor()

    def picture() -> bytes:
        stream = io.BytesIO()
        tensor_to_picture(warp(view.image[None], transform, view.padding)[0]).save(stream, "PNG")
        return stream.getvalue()

    return [
        *trajectory_downloads(view, landscape),
        Download("Worst-case picture (PNG)", picture, "-worst-case.png", "image/png"),
        Download("Landscape (NetCDF)", lambda: to_bytes(landscape), ".nc", "application/x-netcdf"),
        Download("Landscape (CSV)", lambda: to_csv(landscape), ".csv", "text/csv"),
    ]


def trajectory_downloads(view: View, landscape: xr.Dataset, name: str = "") -> list[Download]:
    """The way to the worst case, as a GIF and where this machine can make one as an MP4; with a ``name`` where the page
    has several."""
    theme = theme_of_page()

    def frames() -> list[Image.Image]:
        return draw_trajectory(view.classifier, view.image, landscape, picture=view.title, theme=theme)

    def film() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "way.mp4")
            save_animation(path, frames())
            return path.read_bytes()

    title, stem = f"Trajectory to the worst case{f': {name}' if name else ''}", f"{file_name(name)}-way"
    trajectories = [Download(f"{title} (GIF)", lambda: to_gif(frames()), f"{stem}.gif", "image/gif")]
    if ffmpeg() is not None:
        trajectories.append(Download(f"{title} (MP4)", film, f"{stem}.mp4", "video/mp4"))
    return trajectories


def note_picture(view: View) -> None:
    """Remember a picture that the lecture has shown, for its handout: the last few of them."""
    shown: dict[str, View] = st.session_state.setdefault("talk_pictures", {})
    key = pixel_hash(view.image)
    shown.pop(key, None)
    shown[key] = view
    for old in list(shown)[:-MOST_SHOWN]:
        del shown[old]


def handout_button(view: View, link: str) -> None:
    """The lecture on paper, with the pictures that it has shown; ``link`` is "" where nobody else can open it."""
    classifier = view.classifier
    dataset = dataset_of(classifier.name)
    names = usual_classifiers(dataset)
    names = names if classifier.name in names else [classifier.name, *names]
    shown = [each for each in st.session_state.get("talk_pictures", {}).values()
             if dataset_of(each.classifier.name) == dataset] or [view]  # fmt: skip

    def make() -> bytes:
        models = [classifier if name == classifier.name else load_classifier(name) for name in names]
        pictures = [Chosen(classifier.prepare(each.image), each.label, each.title) for each in shown]
        return handout(pictures, models, grid=view.grid, padding=view.padding, link=link)

    of = "the picture shown" if len(shown) == 1 else f"the {len(shown)} pictures shown"
    st.download_button(
        f"Handout with {of} (PDF)", make, "handout.pdf", "application/pdf", on_click="ignore",
        icon=":material/description:", key="handout",
    )  # fmt: skip


def named(figure: go.Figure, title: str) -> go.Figure:
    """A copy of a figure with a line above its title, for pages where nothing else says what it belongs to."""
    layout = figure.layout
    return go.Figure(figure).update_layout(
        title_text=f"<b>{escaped(title)}</b><br>{layout.title.text}",
        height=layout.height + 22, margin_t=layout.margin.t + 22,
    )  # fmt: skip


def file_name(text: str) -> str:
    """Without what file systems or readers of addresses stumble over."""
    return re.sub(r"[^\w.()=-]+", "-", text).strip("-")
