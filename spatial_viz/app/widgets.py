"""Small pieces of a page."""

from __future__ import annotations

import functools
import html
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from spatial_viz.app import url_state
from spatial_viz.errors import SpatialVizError
from spatial_viz.figures.style import Theme
from spatial_viz.models.engine import Progress

HEAD_HEIGHT = 48  # pixels, of a page's heading, or of the progress bar in its place


# Plotly's buttons would lie on the titles, above all on a phone, where they never go.
BARE = {"displayModeBar": False}


@contextmanager
def progress_bar(
    place: Any, text: str, unit: str = "transforms", above: Callable[[], str] | None = None
) -> Iterator[Progress]:
    """A callback for long work; once that has taken half a second it shows a bar, four times a second, and over it
    what ``above`` gives, in HTML."""
    due, bar = time.perf_counter() + 0.5, None

    def show(done: int, total: int) -> None:
        nonlocal due, bar
        st.session_state.get("question")  # a rerun that the visitor asked for in the meantime starts here
        if time.perf_counter() > due:
            due += 0.25
            if bar is None:
                with place.container():
                    if above:
                        st.html(above())
                    bar = st.empty()
            bar.progress(done / total, f"{text}: {done:,} of {total:,} {unit}")

    yield show
    place.empty()


def guarded(section: Callable[..., None]) -> Callable[..., None]:
    """A part of a page that shows its errors itself, and brings the address up to date: a fragment that runs again has
    no page around it.
    """

    @functools.wraps(section)
    def shown(*arguments: Any) -> None:
        try:
            section(*arguments)
        except SpatialVizError as error:
            st.error(plain(error), icon=":material/error:")
        url_state.write(f"address-{section.__name__}")

    return shown


def theme_of_page() -> Theme:
    """For figures, which do not follow the page by themselves."""
    return "dark" if st.context.theme.type == "dark" else "light"


def heading(text: str, level: int = 2) -> str:
    """The heading of a page (level 1) or of a part of it, as HTML for ``st.html``."""
    size, above, line = {1: ("1.3rem", "0", 1.15), 2: ("1.15rem", "1rem", 1.25)}[level]  # two lines in HEAD_HEIGHT
    style = f"margin:{above} 0 0;padding:0;font-size:{size};font-weight:600;line-height:{line}"
    return f'<h{level} style="{style}">{html.escape(text)}</h{level}>'


def plain(text: object) -> str:
    """A text, or that of an error, for Streamlit, which reads Markdown: names of files and classes stay as they are."""
    return "".join(f"\\{char}" if char in r"\`*_{}[]()<>#+-!|~$:" else char for char in str(text))
