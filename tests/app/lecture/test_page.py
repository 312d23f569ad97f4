"""The lecture without a browser: every step shows something, whatever the link says, and warming finds it all."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from spatial_viz.app.lecture import search_steps
from spatial_viz.app.lecture.page import STEPS

QUICK = {"granularity": "11,3,3"}  # a grid that takes a moment


def script() -> None:
    import streamlit as st

    from spatial_viz.app import sidebar
    from spatial_viz.app.lecture import page as lecture

    st.session_state["view"] = sidebar.chosen_view()
    lecture.page()


def open_lecture(monkeypatch: pytest.MonkeyPatch, **parameters: str) -> AppTest:
    monkeypatch.setattr("spatial_viz.app.lecture.page._warm_beside", lambda number, talk: None)
    page = AppTest.from_function(script, default_timeout=600)
    for name, value in (QUICK | parameters).items():
        page.query_params[name] = value
    return page.run()


def title_of(page: AppTest) -> str:
    (title,) = page.title
    return str(title.value)


def test_titles_are_a_few_words_and_texts_a_sentence_or_two() -> None:
    assert len({step.title for step in STEPS}) == len(STEPS)
    for step in STEPS:
        assert len(step.title.split()) <= 6, step.title
        assert len(step.text) <= 330 and step.text.count(".") <= 6, step.text
        assert step.note and step.sources


@pytest.mark.parametrize("number", range(1, len(STEPS) + 1), ids=[step.title for step in STEPS])
def test_every_step_shows_its_demonstration(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_lecture(monkeypatch, step=str(number))
    assert not page.exception and not page.error
    assert title_of(page) == STEPS[number - 1].title
    assert page.selectbox(key="step_list").value == number


@pytest.mark.parametrize("wanted", ["0", "-1", "99", "1e3", "x", "", "²", "7; drop", "9" * 5000])
def test_a_link_to_no_step_opens_the_first(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_lecture(monkeypatch, step=wanted)
    assert not page.exception and not page.error
    assert title_of(page) == STEPS[0].title
    assert page.session_state["address"].parameters()["step"] == "1"
    said = list(page.session_state["address"].faults.values())
    assert len(said) == (1 if wanted else 0) and all("has the steps 1 to" in sentence for sentence in said)


def test_buttons_and_the_list_turn_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_lecture(monkeypatch)
    assert page.button(key="lecture-previous").disabled
    page.button(key="lecture-next").click().run()
    assert title_of(page) == STEPS[1].title and page.session_state["address"].parameters()["step"] == "2"
    page.button(key="lecture-previous").click().run()
    assert title_of(page) == STEPS[0].title
    page.selectbox(key="step_list").select(len(STEPS)).run()
    assert title_of(page) == STEPS[-1].title
    assert page.button(key="lecture-next").disabled
    assert not page.exception and not page.error


@pytest.mark.parametrize("parameters", [{"rotation": "0", "shift": "0"}, {"padding": "reflect"}, {"full": "1"}])
def test_every_step_stands_every_choice(parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_lecture(monkeypatch, **parameters)
    for number, step in enumerate(STEPS, start=1):
        page.selectbox(key="step_list").select(number).run()
        assert not page.exception and not page.error, step.title
        assert title_of(page) == step.title


def test_a_choice_that_leads_to_nothing_does_not_break_the_sequence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    page = open_lecture(monkeypatch, classifier="imagenet/resnet18", step="3")
    assert not page.exception and len(page.error) == 1
    page.button(key="lecture-next").click().run()
    assert title_of(page) == STEPS[3].title


def test_the_epsilon_of_the_first_step_is_that_of_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_lecture(monkeypatch)
    page.select_slider(key="epsilon_slider").set_value(8).run()
    page.button(key="lecture-next").click().run()
    assert page.session_state["talk_epsilon"] == 8
    assert any("ℓ∞ 8/255" in html.value for html in page.get("html") if "sv-row" in str(html.value))


def test_the_audience_searches_and_the_map_is_uncovered(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_lecture(monkeypatch, step=str(number_of("Can we train better?")))
    page.number_input(key="tries-rotation").set_value(12).run()
    page.button(key="tries-add").click().run()
    page.button(key="tries-random").click().run()
    assert page.session_state["tries"][0] == (12, 0) and len(page.session_state["tries"]) == 2
    assert any("Your best of 2" in text.value and "worst there is" not in text.value for text in page.markdown)
    page.toggle(key="uncovered").set_value(True).run()
    assert any("worst there is" in text.value for text in page.markdown)
    page.button(key="tries-clear").click().run()
    assert page.session_state["tries"] == []
    assert not page.exception and not page.error


def test_starts_are_the_audience_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spatial_viz.app.lecture.search_steps.ASCENT", 2)
    page = open_lecture(monkeypatch, step=str(number_of("Attempt 1: first-order methods")))
    assert len(page.session_state["starts"]) == 3
    page.button(key="starts-clear").click().run()
    assert not page.exception and not page.error
    page.number_input(key="starts-rotation").set_value(-30).run()
    page.button(key="starts-add").click().run()
    assert page.session_state["starts"] == [(-30, 0)]
    assert any("Reached: **" in text.value and "in 5 passes" in text.value for text in page.markdown)


def test_seconds_are_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_lecture(monkeypatch, step=str(number_of("Attempt 2: exhaustive search")))
    asked: list[str] = []
    sweep_axes = search_steps.sweep_axes

    def asking(classifier: Any, *arguments: Any, **more: Any) -> Any:
        asked.append(classifier.name)
        return sweep_axes(classifier, *arguments, **more)

    monkeypatch.setattr(search_steps, "sweep_axes", asking)
    assert any("99 forward passes" in text.value for text in page.markdown)
    page.run()
    assert asked == []
    page.button(key="measure-again").click().run()
    assert asked == ["cifar10/standard"]
    assert not page.exception and not page.error


def test_a_guess_comes_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_lecture(monkeypatch, step=str(number_of("How often?")))
    assert not any("You guessed" in text.value for text in page.markdown)
    page.slider(key="guess").set_value(70).run()
    page.button(key="answer").click().run()
    (said,) = (text.value for text in page.markdown if "You guessed" in text.value)
    ours, theirs = (json.loads(chart.proto.spec)["layout"]["annotations"] for chart in page.get("plotly_chart")[:2])
    for bars, where in ((ours, "measured"), (theirs, "published")):  # the words of the bar
        share = re.sub("</?b>", "", bars[-1]["text"])
        assert share.endswith("%") and f"**{share}** ({where})" in said, (share, said)
    assert "**70** of 100" in said


def test_warming_calls_no_streamlit_and_leaves_nothing_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Warmed on a thread of its own, each step then asks no network about the things that it keeps."""
    from spatial_viz.app.lecture.step import Talk
    from spatial_viz.app.sidebar import cached_classifier
    from spatial_viz.app.view import View
    from spatial_viz.data.samples import load_sample
    from spatial_viz.transforms.grids import TransformGrid

    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path))
    image, label = load_sample("cifar10", 3)
    grid = TransformGrid(10.0, 1.0, 1.0, (3, 3, 3))
    talk = Talk(View(cached_classifier("cifar10/standard"), image, label, grid, "black", "a picture"))
    failed: list[Exception] = []

    def warm() -> None:
        for step in STEPS:
            try:
                if step.warm:
                    step.warm(talk)
            except Exception as error:
                failed.append(error)

    thread = threading.Thread(target=warm)
    thread.start()
    thread.join()
    assert failed == []


def number_of(title: str) -> int:
    return [step.title for step in STEPS].index(title) + 1
