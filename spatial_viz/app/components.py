"""The thin Streamlit adapter: explorer, gallery, what is taken along, the hands of the lecture; registered once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import streamlit as st
from streamlit import runtime

from spatial_viz.explorer.assets import script, style


@cache
def _renderer(name: str) -> Any:
    # The text goes inline: file names would need an installed distribution.
    return st.components.v2.component(f"spatial_viz_{name}", css=style(name), js=script(name))


@cache
def _surfaces() -> Any:
    # Plotly's own styles go to the page, where a shadow root would not see them.
    return st.components.v2.component(
        "spatial_viz_surfaces", css=style("surfaces"), js=script("surfaces"), isolate_styles=False
    )


@cache
def _hands() -> Any:
    return st.components.v2.component("spatial_viz_presenter", js=script("presenter"), isolate_styles=False)


@cache
def _address_bar() -> Any:
    return st.components.v2.component("spatial_viz_address", js=script("address"))


def explorer(
    payload: dict[str, Any], key: str, on_pose_change: Callable[[], None], on_rest: Callable[[], None]
) -> None:
    """Draw the explorer. ``on_pose_change`` is called when the visitor has let go of a pose, which then lies in
    ``st.session_state[key]["pose"]`` as ``{"rotation", "dx", "dy", "seq"}``; before the first it is None. ``on_rest``
    is called again and again while the payload says ``refining`` and the picture rests.

    To move the picture from Python, set that state before this call (None for home) and raise the payload's ``rev``.
    """
    _renderer("explorer")(
        key=key, data=payload, default={"pose": None}, on_pose_change=on_pose_change, on_rest_change=on_rest
    )


def gallery(items: Sequence[dict[str, str]], selected: str, key: str, on_click: Callable[[], None]) -> None:
    """Draw thumbnails ``{"id", "label", "src"}`` to click; ``on_click`` finds the id in
    ``st.session_state[key]["clicked"]``.
    """
    _renderer("gallery")(key=key, data={"items": list(items), "selected": selected}, on_clicked_change=on_click)


def wall(items: Sequence[dict[str, str]], key: str, on_click: Callable[[], None]) -> None:
    """Draw larger pictures with a ``caption`` each, to click like those of `gallery`; none of them is selected."""
    _renderer("gallery")(key=key, data={"items": list(items), "wall": True}, on_clicked_change=on_click)


def download_bar(name: str, figures: Mapping[str, str], left_out: str, key: str) -> None:
    """Draw what saves pictures of the page's charts and copies the link to the view.

    ``figures`` are the keys of the charts and what each is called; ``name`` begins the names of the files. The link is
    the browser's address; ``left_out`` says what it does not carry.
    """
    charts = [{"key": chart, "name": words} for chart, words in figures.items()]
    data = {"file": name, "figures": charts, "note": left_out}
    _renderer("downloads")(key=key, data=data)


def address_bar(data: dict[str, Any], key: str) -> None:
    """Nothing to see: bring the browser's address to what ``data`` says, see ``address.js``."""
    st.html("<style>:has(> [class*='st-key-address-place']) { display: none }</style>")  # its parent has the gap
    with st.container(key=f"address-place-{key}"):
        _address_bar()(key=key, data=data)


def linked_surfaces(figures: Sequence[tuple[str, go.Figure]], key: str) -> None:
    """Draw figures of one scene each, with their titles, under one camera: who turns one turns all.

    What a screen reader says comes from the ``alt`` in each figure's ``layout.meta``.
    """
    path = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    # As st.image does with a picture: far too large to be sent along with the figures.
    source = runtime.get_instance().media_file_mgr.add(str(path), "text/javascript", f"plotly-{key}")
    shown = [
        {"title": title, "alt": (figure.layout.meta or {}).get("alt", title), "figure": json.loads(figure.to_json())}
        for title, figure in figures
    ]
    _surfaces()(key=key, data={"plotly": source, "figures": shown})


def lecture_style(full: bool) -> None:
    """The looks of the lecture page, before anything of it is drawn; on the full screen with large type."""
    st.html(f"<style>{style('presenter')}{style('presenter-full') if full else ''}</style>")


def lecture_hands(
    step: int, count: int, title: str, full: bool, key: str, on_turn: Callable[[], None], on_full: Callable[[], None]
) -> None:
    """The keys and the full screen of the lecture page, which shows step number ``step`` of ``count``.

    ``on_turn`` finds the number of the step asked for in ``st.session_state[key]["turn"]``, ``on_full`` whether the
    lecture shall fill the screen in ``st.session_state[key]["full"]``. The size of the window is kept in
    ``st.session_state[key]["screen"]``, ``{"width", "height"}`` in CSS pixels, or None as long as it is not known.
    """
    screen = st.session_state.get(key, {}).get("screen")
    data = {"step": step, "count": count, "title": title, "full": full, "screen": screen}
    _hands()(
        key=key, data=data, default={"screen": None}, on_turn_change=on_turn, on_full_change=on_full,
        on_screen_change=lambda: None, width="content",
    )  # fmt: skip
