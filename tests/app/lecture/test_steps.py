"""Steps 6 to 8 and 10 to 16 of the lecture, without a browser."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from toys import model_card

from spatial_viz.app import url_state
from spatial_viz.app.lecture import accuracies, noise_steps, outlook_steps, search_steps, training_steps
from spatial_viz.app.lecture import step as talk_step
from spatial_viz.app.lecture.step import Talk, leave_cores, looks, under
from spatial_viz.app.memoize import Memory
from spatial_viz.app.view import View
from spatial_viz.data.samples import load_sample
from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.landscape.relief import describe_peaks
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.inference import runner_for
from spatial_viz.models.registry import load_classifier
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid

STEPS = {step.title: step for step in (*training_steps.STEPS, *outlook_steps.STEPS)}
SMALL = TransformGrid(30.0, 3.0, 3.0, (5, 3, 3))
LECTURE = "http://localhost:8501/lecture"


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SPATIAL_VIZ_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(talk_step, "_MEMORY", Memory(64))
    monkeypatch.setattr(talk_step, "DRAWING", 0.0)
    monkeypatch.setattr(accuracies, "_RESULTS", Memory(2))


@pytest.fixture(scope="module")
def standard() -> Classifier:
    return load_classifier("cifar10/standard")


@pytest.fixture
def talk(standard: Classifier) -> Talk:
    image, label = load_sample("cifar10", 6)
    return Talk(View(standard, image, label, SMALL, "black", "automobile (cifar10/6)"))


def open_step(title: str, talk: Talk, pose: str = "", **state: Any) -> AppTest:
    def script(title, talk, pose):  # its text is run elsewhere, without this module's names
        from spatial_viz.app import url_state
        from spatial_viz.app.lecture import outlook_steps, search_steps, training_steps

        if pose:
            url_state.put("pose", pose)
        (step,) = (
            each for each in (*search_steps.STEPS, *training_steps.STEPS, *outlook_steps.STEPS) if each.title == title
        )
        step.show(talk)

    page = AppTest.from_function(script, default_timeout=240, kwargs={"title": title, "talk": talk, "pose": pose})
    for name, value in state.items():
        page.session_state[name] = value
    return page.run()


def payload(page: AppTest) -> dict[str, Any]:
    (component,) = page.get("bidi_component")
    return json.loads(component.proto.json)


def rows(page: AppTest) -> str:
    return "".join(element.proto.body for element in page.get("html"))


def press(page: AppTest, key: str) -> None:
    page.button(key=key).click().run()
    assert not page.exception


def test_there_are_the_seven_last_steps_in_their_order() -> None:
    assert list(STEPS) == [
        "Robust optimisation", "The landscape, flattened", "The numbers", "Ask ten times", "Intuitions do not transfer",
        "Room for improvement", "What to take home",
    ]  # fmt: skip
    for step in STEPS.values():
        assert step.text and step.note and step.sources


@pytest.mark.parametrize("title", STEPS)
def test_every_step_shows_something(title: str, talk: Talk) -> None:
    page = open_step(title, talk)
    assert not page.exception and not page.error
    assert page.get("plotly_chart") or page.get("bidi_component") or page.get("html")


@pytest.mark.parametrize("title", [title for title, step in STEPS.items() if step.warm])
def test_what_a_step_asks_was_worked_out_when_it_was_warmed(
    title: str, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    STEPS[title].warm(talk)  # type: ignore[misc]

    def found(memory: Memory, key: Any, make: Any) -> Any:
        assert key in memory, f"not warmed: {key}"
        return get(memory, key, make)

    get = Memory.get
    monkeypatch.setattr(Memory, "get", found)
    page = open_step(title, talk)
    assert not page.exception


# --- Robust optimisation --------------------------------------------------------------------------------------------


def test_the_framed_picture_is_the_one_with_the_highest_loss(talk: Talk) -> None:
    page = open_step("Robust optimisation", talk)
    pictures = re.findall(r"<figure( class=sv-framed)?>.*?<b>(worst: )?([0-9.]+)</b>", rows(page))
    assert len(pictures) == 10
    framed = [(bool(frame), bool(words), float(loss)) for frame, words, loss in pictures if frame or words]
    assert framed == [(True, True, max(float(loss) for _, _, loss in pictures))]
    image, label = talk.view.image, talk.view.label
    seen = warp(image[None], SMALL.draw(10), "black")
    with torch.inference_mode():
        losses = torch.nn.functional.cross_entropy(
            talk.view.classifier.logits(seen), torch.full((10,), label), reduction="none"
        )
    assert [float(loss) for _, _, loss in pictures] == pytest.approx(losses.tolist(), abs=0.006)


def test_ten_new_ones_are_drawn(talk: Talk) -> None:
    page = open_step("Robust optimisation", talk)
    before = rows(page)
    press(page, "draw-candidates")
    assert rows(page) != before and rows(page).count("sv-framed") == 1


def test_learning_curves_come_from_the_cards(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = {"epoch": 1, "loss": 1.5, "learning_rate": 0.1, "candidates": 10, "validation_accuracy": 0.5}
    cards = [model_card(name, 0.9, 0.1, learning_curve=(epoch, epoch | {"epoch": 2}))
             for name in ("cifar10/standard", "mnist/other")]  # fmt: skip
    monkeypatch.setattr(training_steps, "manifest", lambda: cards)
    page = open_step("Robust optimisation", talk)
    assert not page.exception
    (chart,) = page.get("plotly_chart")
    names = {trace["name"] for trace in json.loads(chart.proto.spec)["data"]}
    assert names == {"standard"}
    assert not page.info


def test_without_classifiers_of_this_project_the_bars_say_what_was_measured(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_steps, "manifest", lambda: ())
    page = open_step("Robust optimisation", talk)
    assert "there is no learning curve to show" in page.info[0].value
    assert "100 %" in page.get("plotly_chart")[0].proto.spec  # the bars of what was measured


# --- What is drawn before all is known ------------------------------------------------------------------------------


def test_a_step_that_nobody_warmed_looks_at_a_part_of_the_grid_first(talk: Talk) -> None:
    there = dataclasses.replace(talk, view=dataclasses.replace(talk.view, grid=TransformGrid.paper(32)))
    first, then = looks(there)
    few, whole = first(there), then(there)
    assert few["loss"].size == 99 and whole["loss"].size == 775
    same = whole.sel({dim: few[dim] for dim in few["loss"].dims})  # values of the grid itself, ends and all
    assert same["loss"].shape == few["loss"].shape and bool((same["predicted"] == few["predicted"]).all())
    runner = runner_for(there.view.classifier)
    assert float(abs(same["loss"] - few["loss"]).max()) < (1e-5 if runner.precision == "fp32" else runner.margin_error)
    assert few["rotation"].values[[0, -1]].tolist() == [-30, 30]
    (now,) = looks(there)  # known by now
    assert now(there) is whole
    assert len(list(looks(there, under(there, "cifar10/worst-of-10-30")))) == 2


def test_what_is_on_the_disk_needs_no_first_look(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    there = dataclasses.replace(talk, view=dataclasses.replace(talk.view, grid=TransformGrid.paper(32)))
    _, then = looks(there)
    whole = then(there)
    monkeypatch.setattr(talk_step, "_MEMORY", Memory(64))
    (only,) = looks(there)
    assert only(there).equals(whole)


@pytest.mark.parametrize("title", ["Can we train better?", "Attempt 1: first-order methods", "The landscape"])
def test_the_first_look_makes_way(title: str, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    sweep_axes = talk_step.sweep_axes
    monkeypatch.setattr(talk_step, "_some_of", lambda grid: {axis: values[:1] for axis, values in grid.axes().items()}
                        | {axis: grid.axes()[axis][[0, -1]] for axis in ("rotation", "dx")})  # fmt: skip
    monkeypatch.setattr(talk_step, "sweep_axes", lambda *a, **k: looked.append(1) or sweep_axes(*a, **k))
    monkeypatch.setattr(search_steps, "ASCENT", 2)
    page = open_step(title, talk)
    assert not page.exception and not page.error and len(looked) == 1
    specs = [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]
    (shown,) = (trace for spec in specs for trace in spec["data"] if trace["type"] == "heatmap")
    assert len(np.atleast_1d(trace_values(shown["x"]))) == SMALL.granularity[0]


def trace_values(packed: Any) -> Any:
    """Plotly writes long arrays as base64."""
    if not isinstance(packed, dict):
        return packed
    return np.frombuffer(base64.b64decode(packed["bdata"]), packed["dtype"])


@pytest.mark.parametrize("title", ["The landscape, flattened", "Room for improvement"])
def test_the_first_look_at_two_landscapes_makes_way(title: str, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk_step, "_some_of", lambda grid: {axis: values[:1] for axis, values in grid.axes().items()})
    looked: list[int] = []
    sweep_axes = talk_step.sweep_axes
    monkeypatch.setattr(talk_step, "sweep_axes", lambda *a, **k: looked.append(1) or sweep_axes(*a, **k))
    page = open_step(title, talk)
    panes = payload(page)["panes"]
    assert not page.exception and len(looked) == len(panes) == 2
    assert all(len(pane["axes"]["rotation"]) == SMALL.granularity[0] for pane in panes)


def test_the_browser_has_the_cores_until_nobody_waits_or_it_is_needless(talk: Talk) -> None:
    class NotWanted(Exception): ...

    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) == 3:
            raise NotWanted

    there = dataclasses.replace(talk, progress=progress)
    leave_cores(there, time.monotonic() - 1)
    leave_cores(there, time.monotonic() + 1000, needless=lambda: len(told) == 2)
    with pytest.raises(NotWanted):
        leave_cores(there, time.monotonic() + 1000)
    assert told == [(0, len(SMALL))] * 3


def test_a_small_grid_is_looked_at_once(talk: Talk) -> None:
    assert list(looks(talk)) == [talk_step.landscape_of]


# --- The landscape, flattened; intuitions do not transfer -----------------------------------------------------------


def test_both_classifiers_share_a_pose_and_a_colour_scale(talk: Talk) -> None:
    shown = payload(open_step("The landscape, flattened", talk, pose="12,1.5,-1"))
    assert [pane["title"].split(": ")[1] for pane in shown["panes"]] == ["cifar10/standard", "cifar10/worst-of-10-30"]
    assert shown["panes"][0]["top"] == shown["panes"][1]["top"]
    assert shown["pose"] == {"rotation": 12.0, "dx": 1.5, "dy": -1.0}
    assert len(shown["exact"]["panes"]) == 2


def test_their_surfaces_stand_on_one_scale_under_one_camera(talk: Talk) -> None:
    page = open_step("The landscape, flattened", talk, flattened_as="As surfaces")
    drawn = [each["figure"]["data"][0] for each in payload(page)["figures"]]
    assert [each["type"] for each in drawn] == ["surface", "surface"]
    assert drawn[0]["cmax"] == drawn[1]["cmax"] and drawn[0]["z"] != drawn[1]["z"]


def test_where_nothing_turns_there_is_no_surface(talk: Talk) -> None:
    still = Talk(dataclasses.replace(talk.view, grid=TransformGrid(0.0, 3.0, 3.0, (1, 3, 3))))
    page = open_step("The landscape, flattened", still, flattened_as="As surfaces")
    assert not page.exception and not page.error and len(payload(page)["panes"]) == 2


@pytest.mark.parametrize("title", ["The landscape, flattened", "Intuitions do not transfer", "Room for improvement"])
def test_without_its_classifier_a_step_says_so_and_goes_on(
    title: str, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (training_steps, outlook_steps):
        monkeypatch.setattr(module, "partner", lambda *_: None)
    page = open_step(title, talk)
    assert not page.exception and not page.error
    assert "is shipped" in page.info[0].value
    if title == "The landscape, flattened":
        assert "0.76" in page.get("plotly_chart")[0].proto.spec  # published
    if title == "Intuitions do not transfer":
        assert "does not make a classifier robust to turns" in page.markdown[0].value


def test_a_classifier_trained_on_noise_stands_beside_the_standard_one(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = {"standard": "cifar10/standard", "noise": "cifar10/linf-8"}
    assert outlook_steps._with_and_without_noise(talk) == shipped
    page = open_step("Intuitions do not transfer", talk)
    assert not page.exception and not page.info
    panes = payload(page)["panes"]
    assert len(panes) == 2 and "worst case" in page.caption[0].value
    monkeypatch.setattr(outlook_steps, "data_of", lambda talk: "imagenet")
    assert outlook_steps._with_and_without_noise(talk) == shipped  # borrowed


def test_noise_is_borrowed_from_another_data_set_with_a_sample_of_it(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"standard": "mnist/standard", "linf-8": "mnist/worst-of-10-30"}
    monkeypatch.setattr(outlook_steps, "partner", lambda talk, recipe, data: names[recipe] if data == "mnist" else None)
    page = open_step("Intuitions do not transfer", talk)
    assert not page.exception and not page.info
    panes = payload(page)["panes"]
    assert [pane["classes"][0]["name"] for pane in panes] == ["0", "0"]
    assert "MNIST" in page.caption[0].value and "0.3 a pixel" in page.caption[0].value


# --- The numbers ----------------------------------------------------------------------------------------------------


def test_the_bars_build_up_group_by_group(talk: Talk) -> None:
    page = open_step("The numbers", talk)
    count = len(accuracies.all_groups())
    assert count >= 3
    for shown in range(1, count):
        assert len(page.get("plotly_chart")) == shown
        press(page, "numbers-more")
    assert len(page.get("plotly_chart")) == count and page.button(key="numbers-more").disabled
    press(page, "numbers-first")
    assert len(page.get("plotly_chart")) == 1 and page.button(key="numbers-first").disabled
    press(page, "numbers-all")
    assert len(page.get("plotly_chart")) == count
    assert [element.value.strip("*") for element in page.markdown][:2] == [
        r"CIFAR\-10, published", r"ImageNet, published"
    ]  # fmt: skip


# --- Ask ten times --------------------------------------------------------------------------------------------------


def test_the_vote_is_that_of_the_defence(talk: Talk) -> None:
    page = open_step("Ask ten times", talk)
    worst = outlook_steps._worst_pose(talk)
    vote = MajorityVote(talk.view.classifier, SMALL, 10)
    image = warp(talk.view.image[None], torch.tensor([worst]), "black")
    _, probabilities = vote.ballots(image)
    names = talk.view.classifier.class_names
    said = [names[index] for index in probabilities[0].argmax(1).tolist()]
    assert re.findall(r"<b>[✓✕] (\w+)</b>", rows(page)) == said
    verdict = names[int(vote.logits(image).argmax())]
    assert re.search(rf"asked ten times: \*\*[✓✕] {verdict}\*\*", page.markdown[0].value)


def test_voters_are_drawn_again_and_other_poses_asked_about(talk: Talk) -> None:
    page = open_step("Ask ten times", talk, pose="10,1,1")
    assert page.segmented_control(key="ask_about").options == [
        "the worst case", "the picture as it is", "the pose of the talk"
    ]  # fmt: skip
    before = rows(page)
    press(page, "draw-voters")
    assert rows(page) != before
    page.segmented_control(key="ask_about").set_value("the picture as it is").run()
    assert "not moved at all" in page.markdown[0].value


@pytest.mark.parametrize(
    ("name", "low", "high"), [("cifar10/standard", 0.15, 0.3), ("cifar10/worst-of-10-30", 0.5, 0.8)]
)
def test_votes_are_shown_as_published_and_as_measured(name: str, low: float, high: float, talk: Talk) -> None:
    page = open_step("Ask ten times", under(talk, name))
    published, ours = (json.loads(chart.proto.spec)["data"][3]["x"] for chart in page.get("plotly_chart"))
    assert published == [0.56] and low < ours[0] < high and not page.info
    assert "1,000 \\(vote of 10" in page.caption[1].value


def test_a_vote_that_nobody_measured_is_said_to_be_missing(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    known = outlook_steps.results()
    monkeypatch.setattr(
        outlook_steps, "results", lambda: known[(known["vote"] == 0) | (known["source"] == "published")]
    )
    page = open_step("Ask ten times", talk)
    assert len(page.get("plotly_chart")) == 1 and "has not measured a vote" in page.info[0].value


# --- Room for improvement -------------------------------------------------------------------------------------------


def test_a_broken_picture_opens_at_its_worst_case_beside_the_talks_own(talk: Talk) -> None:
    page = open_step("Room for improvement", talk)
    shown = payload(page)
    found, mine = shown["panes"]
    assert found["picture"]["pixels"] != mine["picture"]["pixels"]
    assert shown["exact"]["panes"][0]["misclassified"] and found["worst"]["misclassified"]
    assert not found["natural"]["misclassified"]
    assert [shown["pose"][axis] for axis in ("rotation", "dx", "dy")] == [
        found["worst"][axis] for axis in ("rotation", "dx", "dy")
    ]
    assert found["title"].startswith("found: ") and mine["title"] == "yours: automobile (cifar10/6)"


def test_where_no_sample_breaks_the_audience_hunts_alone(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook_steps, "find_failing_sample", lambda *arguments: None)
    page = open_step("Room for improvement", talk)
    assert len(payload(page)["panes"]) == 1 and "survives the whole grid" in page.markdown[0].value


# --- What to take home ----------------------------------------------------------------------------------------------


def reached_at(monkeypatch: pytest.MonkeyPatch, listens_on: str, url: str = LECTURE) -> None:
    import streamlit as st
    from streamlit.runtime.context import ContextProxy

    known = st.get_option
    monkeypatch.setattr("streamlit.get_option", lambda name: listens_on if name == "server.address" else known(name))
    monkeypatch.setattr(ContextProxy, "url", property(lambda self: url))
    monkeypatch.setattr(outlook_steps, "own_address", lambda: "192.168.1.20")


def said(parameters: dict[str, str | list[str]]) -> url_state.Address:
    """An address that says these."""
    told = {name: [value] if isinstance(value, str) else value for name, value in parameters.items()}
    return url_state.Address(linked=told, shown=dict.fromkeys(parameters))


def test_on_localhost_only_nothing_of_a_link_is_projected(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    reached_at(monkeypatch, "localhost")
    page = open_step("What to take home", talk, picture="cifar10/6", source="Upload")
    shown = rows(page)
    assert shown.count("<li") == 3 and "<img" not in shown
    told = " ".join(str(each.value) for kind in ("markdown", "caption", "info", "code") for each in page.get(kind))
    assert not page.info and not page.code and "localhost" not in told and "link" not in told
    step = STEPS["What to take home"]
    assert "make share" in step.note and "link" not in step.text


def test_shared_it_shows_the_code_of_a_link_that_students_reach(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    reached_at(monkeypatch, "0.0.0.0")
    chosen = {"picture": "cifar10/6", "classifier": "cifar10/standard", "pose": "12,1,-1", "step": "16", "full": "1"}
    page = open_step("What to take home", talk, address=said(chosen | {"pictures": ["a", "b"]}))
    link = page.code[0].value
    assert link.startswith("http://192.168.1.20:8501/lecture?") and not page.info
    for part in (
        "pictures=a&pictures=b",
        "picture=cifar10%2F6",
        "classifier=cifar10%2Fstandard",
        "pose=12%2C1%2C-1",
        "step=16",
    ):
        assert part in link
    assert "full" not in link
    shown = rows(page)
    assert shown.count("<li") == 3 and "29\u00a0%" in shown and "47\u00a0%" in shown
    source = re.search(r"<img src='(data:image/svg[^']+)' alt='([^']+)'", shown)
    assert source and source[1] == outlook_steps.qr_code(link) and link in html.unescape(source[2])


def test_an_uploaded_picture_stays_here(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    reached_at(monkeypatch, "0.0.0.0")
    page = open_step("What to take home", talk, source="Upload", address=said({"source": "Upload", "step": "16"}))
    assert "Your picture is not part of the link" in page.caption[0].value and "source=Upload" in page.code[0].value


# --- What is said is what is shown ----------------------------------------------------------------------------------


def test_the_plane_of_noise_holds_what_the_first_step_showed(talk: Talk) -> None:
    first = noise_steps._attacked(talk, 8)
    page = open_step("The landscape", talk, talk_epsilon=8)
    spatial, plane = payload(page)["figures"]
    (mark,) = (trace for trace in plane["figure"]["data"] if trace.get("mode") == "markers")
    assert trace_values(mark["z"])[0] == pytest.approx(float(first.losses), abs=1e-4)
    assert trace_values(mark["x"])[0] == pytest.approx(8, abs=1e-4) and trace_values(mark["y"])[0] == 0
    assert "picture of the attack" in plane["alt"] and "worst case" in spatial["alt"]
    assert plane["title"] == f"Noise within 8/255: {describe_peaks(search_steps._noise_plane(talk, 8))}"
    assert spatial["title"] == f"Turns and shifts: {describe_peaks(talk_step.landscape_of(talk))}"


def test_without_noise_that_fools_there_is_no_plane(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_steps, "attack_noise", lambda talk, epsilon: torch.zeros_like(talk.view.image))
    page = open_step("The landscape", talk)
    assert not page.exception and len(payload(page)["figures"]) == 1
    assert "No noise within 4/255" in page.info[0].value


def test_stuck_is_low_and_gains_nothing() -> None:
    steps = np.linspace(0, 1, 61)
    high = 3.34 * np.minimum(1, 2 * steps)  # comes to rest near the top
    low = 0.5 * np.minimum(1, 2 * steps)
    rising = 1.5 * steps  # low, but still on its way
    assert search_steps.describe_reached(np.stack([high]), 3.6, 121) == (
        "Reached: **3.34**, where the grid's highest loss is **3.60**, in 121 passes forward and backward."
    )
    assert search_steps.describe_reached(np.stack([high, low, rising]), 3.6, 363) == (
        "Reached: **0.50** to **3.34**, where the grid's highest loss is **3.60**, in 363 passes forward and backward. "
        "**Stuck: 1 of 3**, less than half as high and no gain in the last 20 steps."
    )


def test_the_paths_of_the_step_are_told_by_their_losses(talk: Talk) -> None:
    page = open_step("Attempt 1: first-order methods", talk)
    found = search_steps._climb(talk, tuple(search_steps._opening(talk)))
    best = found.path_losses[0].max(1).values
    (said,) = (text.value for text in page.markdown if "Reached" in text.value)
    assert f"**{float(best.min()):.2f}** to **{float(best.max()):.2f}**" in said
    assert f"the grid's highest loss is **{float(talk_step.landscape_of(talk)['loss'].max()):.2f}**" in said
