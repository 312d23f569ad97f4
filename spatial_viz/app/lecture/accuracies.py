"""The accuracies that steps of the lecture show, published and measured."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from spatial_viz.app.lecture.step import Talk, chart
from spatial_viz.app.memoize import Memory
from spatial_viz.app.pages.results import stamp
from spatial_viz.app.widgets import plain
from spatial_viz.evaluation.results import all_results
from spatial_viz.lecture.figures import accuracy_bars
from spatial_viz.lecture.headline_accuracies import Group, groups
from spatial_viz.models.registry import manifest

_RESULTS = Memory(2)


def results() -> pd.DataFrame:
    """The table of all results, read again when a run or a shipped file changes. Safe on any thread."""
    table: pd.DataFrame = _RESULTS.get(stamp(), lambda: all_results()[0])
    return table


def all_groups() -> tuple[Group, ...]:
    """The groups of accuracies that the lecture is about."""
    return groups(results(), manifest())


def bars(talk: Talk, group: Group, key: str, *, height: int, rows: int | None = None) -> None:
    """A group of accuracies under its title, with its source; ``height`` in pixels is that of the bars alone."""
    figure = accuracy_bars(group, talk.theme, rows=rows, height=height)
    st.markdown(f"**{plain(group.title)}**")
    chart(talk, figure, key, alt=figure.layout.meta["alt"])
    st.caption(plain(group.about))
