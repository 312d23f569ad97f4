"""Live explorers side by side in a step of the lecture: they share one pose and one colour scale."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st
import xarray as xr

from spatial_viz.app.components import explorer
from spatial_viz.app.lecture.step import Look, Talk, landscape_of, looks
from spatial_viz.app.pose import answer_at, let_go, link_pose, pose_of
from spatial_viz.app.view import View
from spatial_viz.explorer.payload import Pane, explorer_payload
from spatial_viz.transforms.transform import Transform


@dataclasses.dataclass(frozen=True)
class Side:
    """What one explorer shows: a picture and its landscape under a classifier, called ``title``."""

    title: str
    view: View
    landscape: xr.Dataset


def sides_of(talks: Mapping[str, Talk], look: Look = landscape_of) -> list[Side]:
    """What some talks are about, by their titles."""
    return [Side(title, talk.view, look(talk)) for title, talk in talks.items()]


def compared(
    talks: Mapping[str, Talk],
    key: str,
    opens_at: Callable[[Side], Transform] | None = None,
    shared: bool = True,
) -> None:
    """Explorers of what some talks on one grid are about, by their titles; by a first look at their landscapes, where
    it takes a while until they are known. Who lets go meanwhile is answered after that.

    ``opens_at`` tells their pose from the first of them; by default it is the one that all pages share. A pose let go
    of is shared, too, unless it is not ``shared`` because it has other limits.
    """
    ways = looks(*talks.values())
    first = next(ways)
    place = st if first is landscape_of else st.empty()  # what is emptied loses the focus and a drag
    for look in itertools.chain([first], ways):
        sides = sides_of(talks, look)
        pose = opens_at and opens_at(sides[0])
        if look is not first:
            pose = let_go(f"{key}-{first.__name__}") or pose
        with place.container():
            _explorers(sides, f"{key}-{look.__name__}", pose, shared)


def _explorers(sides: Sequence[Side], key: str, pose: Transform | None, shared: bool) -> None:
    state, grid = st.session_state, sides[0].view.grid
    question = tuple(side.view.question for side in sides)
    if state.get(f"{key}-question") != question:
        state[f"{key}-question"], state[f"{key}-rev"] = question, state.get(f"{key}-rev", 0) + 1
        if key in state:
            state[key]["pose"] = None
    at = pose_of(key, grid) if let_go(key) or pose is None else pose
    panes = [Pane(side.landscape, side.view.image, side.view.classifier.class_names, side.title) for side in sides]
    answers = [answer_at(side.view, pane, at) for side, pane in zip(sides, panes, strict=True)]
    payload: dict[str, Any] = explorer_payload(
        panes,
        pose=at,
        rev=state[f"{key}-rev"],
        exact={"pose": at, "panes": answers},
        limits=grid.limits,
    )
    explorer(payload, key=key, on_rest=lambda: None,
             on_pose_change=lambda: link_pose(pose_of(key, grid)) if shared else None)  # fmt: skip
