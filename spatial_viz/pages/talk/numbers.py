"""The accuracies that steps of the lecture show, published and measured."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from spatial_viz.classifiers import manifest
from spatial_viz.evaluation.milestones import Group, groups
from spatial_viz.evaluation.published import all_results
from spatial_viz.lecture_figures import accuracy_bars
from spatial_viz.memory import Memory
from spatial_viz.pages.choosing import plain
from spatial_viz.pages.results import stamp
from spatial_viz.pages.talk.step import Talk, chart

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
