"""Lecture: the whole talk, one demonstration a screen, each of them live."""

from __future__ import annotations

import functools
import html
import re
import time
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from streamlit import runtime
from streamlit.runtime.runtime import RuntimeState

from spatial_viz.app import url_state
from spatial_viz.app.background import BackgroundJobs
from spatial_viz.app.components import lecture_hands, lecture_style
from spatial_viz.app.downloads import note_picture
from spatial_viz.app.lecture import noise_steps, outlook_steps, rotation_steps, search_steps, training_steps
from spatial_viz.app.lecture.step import DRAWING, Step, Talk, leave_cores, watched
from spatial_viz.app.view import View
from spatial_viz.app.widgets import BARE, guarded, progress_bar, theme_of_page
from spatial_viz.data.images import data_uri, tensor_to_picture
from spatial_viz.models.engine import Progress

STEPS: tuple[Step, ...] = (
    *noise_steps.STEPS, *rotation_steps.STEPS, *search_steps.STEPS, *training_steps.STEPS, *outlook_steps.STEPS,
)  # fmt: skip
HANDS = "lecture-hands"
PHONE = 700  # pixels; in narrower windows things stand below each other, and the page scrolls
ABOVE, ABOVE_FULL = 320, 290  # pixels that bar, heading, sentences and sources take, less and more of the screen
UNKNOWN_HEIGHT = 560  # pixels of a demonstration in a window that is not known


def page() -> None:
    """One step: the bar to turn it, heading and sentences, the demonstration; then the next one is warmed."""
    view: View | None = st.session_state["view"]
    number, full = _number(), url_state.get("full") == "1"
    step = STEPS[number - 1]
    url_state.show("step", str(number))
    if "background" not in st.session_state:
        st.session_state["background"] = BackgroundJobs()
    lecture_style(full)
    with st.container(key="lecture"):
        _bar(number, full)
        st.title(step.title, anchor=False)
        st.container(key="lecture-text").markdown(step.text)
        if view is not None:
            _make_way(number, view)
            note_picture(view)
            talk = Talk(view, theme_of_page(), full, _height(full))
            with _stage(number):
                demonstration(number, talk)
            _warm_beside(number, talk)
        _load_plotly()
        st.container(key="lecture-sources").caption(step.sources)


# --- Turning --------------------------------------------------------------------------------------------------------


def _number() -> int:
    """The step that the link or the session asks for; nonsense means the first."""
    wanted = url_state.get("step")
    known = re.fullmatch("[0-9]{1,3}", wanted) is not None and 1 <= int(wanted) <= len(STEPS)
    url_state.judge("step", "" if known or not wanted else (
        f"The link asks for step {url_state.quoted(wanted)}, and the lecture has the steps 1 to {len(STEPS)}; "
        "step 1 is shown instead."
    ))  # fmt: skip
    return int(wanted) if known else 1


def _bar(number: int, full: bool) -> None:
    state = st.session_state
    state["step_list"] = number
    with st.container(key="lecture-bar", horizontal=True, vertical_alignment="center", gap="small"):
        st.button("Previous", icon=":material/arrow_back:", disabled=number == 1, key="lecture-previous",
                  on_click=_turn_to, args=(number - 1,))  # fmt: skip
        st.selectbox("Step", range(1, len(STEPS) + 1), key="step_list", label_visibility="collapsed", width=330,
                     format_func=lambda each: f"{each} of {len(STEPS)}: {STEPS[each - 1].title}",
                     on_change=lambda: _turn_to(state["step_list"]))  # fmt: skip
        st.button("Next", icon=":material/arrow_forward:", disabled=number == len(STEPS), key="lecture-next",
                  on_click=_turn_to, args=(number + 1,))  # fmt: skip
        with st.popover("Note", icon=":material/speaker_notes:"):
            st.markdown(STEPS[number - 1].note)
            st.caption("Page Up and Page Down turn the step, and so do the arrow keys while no control or plot has the "
                       "focus. Escape leaves it.")  # fmt: skip
        lecture_hands(
            number, len(STEPS), STEPS[number - 1].title, full, HANDS,
            on_turn=lambda: _turn_to(state[HANDS]["turn"]), on_full=lambda: _fill(state[HANDS]["full"]),
        )  # fmt: skip


def _load_plotly() -> None:
    """A chart that nobody sees: the browser loads Plotly for it before a step needs it."""
    with st.container(key="lecture-plotly"):
        st.plotly_chart(go.Figure(layout={"height": 10}), config=BARE, key="lecture-plotly-chart",
                        alt="An empty chart, which is not shown.")  # fmt: skip


def _turn_to(number: Any) -> None:
    if number is not None:
        url_state.put("step", str(int(number)))


def _fill(full: Any) -> None:
    if full is not None:
        url_state.put("full", "1" if full else "")


def _height(full: bool) -> int:
    """The pixels that the window leaves to a demonstration, as far as it is known."""
    screen = st.session_state.get(HANDS, {}).get("screen")
    if screen is None or screen["width"] < PHONE:
        return UNKNOWN_HEIGHT
    return max(420, min(900, int(screen["height"]) - (ABOVE_FULL if full else ABOVE)))


def _stage(number: int) -> Any:
    """Where the demonstration stands, in one of two places by turns. In the same place the browser would first fit what
    the step before has left into the new columns, and draw its surfaces again for that."""
    state = st.session_state
    shown, side = state.get("lecture_stage", (number, 0))
    side = side if shown == number else 1 - side
    state["lecture_stage"] = number, side
    places = [st.container(key=f"lecture-step-{number}") if each == side else st.empty() for each in range(2)]
    return places[side]


# --- Showing, and warming -------------------------------------------------------------------------------------------


@st.fragment
@guarded
def demonstration(number: int, talk: Talk) -> None:
    """The step's demonstration; its controls re-run this part alone."""
    place = st.container(key="lecture-waiting").empty()

    def picture() -> str:
        source = data_uri(tensor_to_picture(talk.view.image))
        return f"<img class='sv-waiting' src='{source}' alt='{html.escape(talk.view.title)}'>"

    with progress_bar(place, "Working it out", above=picture) as progress:
        STEPS[number - 1].show(watched(talk, progress))


def _make_way(number: int, view: View) -> None:
    """What is done beside the page stops, unless it is done for this very step."""
    if ("step", number, view.question) not in st.session_state.get("warming", {}):
        st.session_state["background"].pause()


def _warm_beside(number: int, talk: Talk) -> None:
    """Have what this step still lacks worked out, then what the next one needs, then the one before."""
    later = time.monotonic() + DRAWING
    warming = {
        ("step", each, talk.view.question): functools.partial(
            _warm, STEPS[each - 1], talk, 0.0 if each == number else later
        )
        for each in (number, number + 1, number - 1)
        if 1 <= each <= len(STEPS)
    }
    st.session_state["warming"] = warming
    st.session_state["background"].submit(warming)


def _warm(step: Step, talk: Talk, beginning: float, progress: Progress) -> None:
    """On the thread beside the page, not before the time ``beginning``; an app that ends does not wait for it."""

    def go_on(done: int, total: int) -> None:
        progress(done, total)
        if runtime.exists() and runtime.get_instance().state in (RuntimeState.STOPPING, RuntimeState.STOPPED):
            raise _AppEnds

    if step.warm:
        leave_cores(watched(talk, go_on), beginning)
        step.warm(watched(talk, go_on))


class _AppEnds(Exception):
    """Raised in work that nobody will see."""
