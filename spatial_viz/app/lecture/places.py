"""Places on the map that the audience has chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from spatial_viz.app.lecture.step import Talk
from spatial_viz.figures import grid_search

TRIES = 10  # of the audience
PATHS = 12  # at most
Place = tuple[float, float]  # rotation and dx


@dataclass(frozen=True)
class Places:
    """What the audience has chosen on a map over rotation and dx; forgotten with another picture."""

    name: str
    most: int

    def chosen(self, talk: Talk, opening: Sequence[Place] = ()) -> list[Place]:
        state = st.session_state
        question = (self.name, talk.view.question)
        if state.get(f"{self.name}-question") != question:
            state[f"{self.name}-question"], state[self.name] = question, list(opening)
        places: list[Place] = state[self.name]
        return places

    def add(self, place: Place) -> None:
        places: list[Place] = st.session_state[self.name]
        if place not in places and len(places) < self.most:
            st.session_state[self.name] = [*places, place]

    def clear(self) -> None:
        st.session_state[self.name] = []

    def ask(self, talk: Talk, what: str) -> None:
        """Controls for a place that is called out, and for one drawn at random."""
        grid, full = talk.view.grid, len(st.session_state[self.name]) >= self.most
        with st.container(horizontal=True, vertical_alignment="bottom"):
            rotation = st.number_input("rotation left, °", -grid.rotation, grid.rotation, 0.0, 1.0, "%g", width=150,
                                       key=f"{self.name}-rotation")  # fmt: skip
            dx = st.number_input("shift right, px", -grid.dx, grid.dx, 0.0, 0.5, "%g", width=150,
                                 key=f"{self.name}-dx")  # fmt: skip
            st.button(what, disabled=full, key=f"{self.name}-add", on_click=self.add, args=((rotation, dx),))
            st.button("One at random", icon=":material/casino:", disabled=full, key=f"{self.name}-random",
                      on_click=self._draw, args=(talk,))  # fmt: skip
            st.button("Clear", key=f"{self.name}-clear", on_click=self.clear)

    def _draw(self, talk: Talk) -> None:
        state = st.session_state
        drawn = state[f"{self.name}-drawn"] = state.get(f"{self.name}-drawn", 0) + 1
        rotation, dx, _ = talk.view.grid.draw(drawn, seed=len(self.name))[-1].tolist()
        self.add((round(rotation, 1), round(dx, 2)))

    def clicked(self, key: str, figure: Any) -> Callable[[], None]:
        """What to do when a cell of a map has been clicked whose figure has the trace `grid_search.CELLS`."""

        def take() -> None:
            for point in st.session_state[key]["selection"]["points"]:
                if figure.data[point["curve_number"]].name == grid_search.CELLS:
                    self.add((float(point["x"]), float(point["y"])))

        return take


try_places, start_places = Places("tries", TRIES), Places("starts", PATHS)
