"""The app without a browser: bad input, and how it starts."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from benchmarks.app import ROOT
from spatial_viz.app import dataset_image


def open_page(monkeypatch: pytest.MonkeyPatch, **parameters: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for name, value in parameters.items():
        page.query_params[name] = value
    return page.run()


COMPONENTS = 4  # of Explore: the gallery, the explorer, what one takes along, and the address


def address_of(page: AppTest) -> dict[str, str]:
    """What the browser's address is told to say."""
    (told,) = [json.loads(each.proto.json) for each in page.get("bidi_component") if '"places"' in each.proto.json]
    return dict(parse_qsl(told["query"], strict_parsing=bool(told["query"])))


@pytest.mark.parametrize(
    ("parameters", "said", "address"),
    [
        ({}, [], {}),
        (
            {"classifier": "no/such", "picture": "cifar10/999", "pose": "a,b,c"},
            [
                "classifier = no/such, and there is no such choice; cifar10/standard is shown instead",
                "the picture cifar10/999, which is none of the samples of cifar10; cifar10/6 is shown instead",
                "the pose a,b,c; three numbers were expected",
            ],
            {},
        ),
        (
            {"pose": "nan,inf,0", "granularity": "<script>", "padding": "../../etc/passwd"},
            [
                "the pose nan,inf,0; three",
                "granularity = <script>, and there is no such choice; 31,5,5",
                "padding = ../../etc/passwd, and there is no such choice; black",
            ],
            {},
        ),
        (
            {"pose": "1e9,-1e9,2", "rotation": "-5", "shift": "100000"},
            [
                "rotation = -5, and it goes from 0 to 90; 30",
                "shift = 100000, and it goes from 0 to 300 in steps of 10; 100",
                "the pose 1e9,-1e9,2, which is beyond the spatial limits of ±30° and ±3 and ±3 pixels; 30,-3,2",
            ],
            {"pose": "30,-3,2"},
        ),
        (
            {"picture": "/etc/passwd", "source": "Elsewhere", "slice": "x", "third": "y"},
            ["the picture /etc/passwd, which", "source = Elsewhere, and", "slice = x, and", "third = y, and"],
            {},
        ),
        (
            {"picture": "cifar10/test/1000000"},
            ["The picture cifar10/test/1000000 cannot be shown: ", "Shown instead: automobile (cifar10/6)"],
            {},
        ),
        ({"picture": "nothing/test/3"}, ["no data set of that name, nothing, is known here"], {}),
        ({"rotation": "0", "shift": "0", "picture": "cifar10/6"}, [], {"rotation": "0", "shift": "0"}),
    ],
)
def test_what_a_link_asks_for_in_vain_is_said(
    parameters: dict[str, str], said: list[str], address: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    page = open_page(monkeypatch, **parameters)
    dataset_image.listed.clear()  # other tests have their data sets elsewhere
    assert not page.exception
    assert not page.error
    assert len(page.get("bidi_component")) == COMPONENTS
    assert page.selectbox(key="classifier").value == "cifar10/standard"
    if said:
        (warning,) = page.main.warning
        words = re.sub(r"\\(?=[^\w\s])", "", warning.value)
        assert all(sentence in words for sentence in said), words
    else:
        assert not page.warning
    assert address_of(page) == address, "the address says what is shown"
    # It stays as long as it is shown, and goes with the next choice of another page.
    page.run()
    assert len(page.main.warning) == bool(said)


def test_the_address_says_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page(monkeypatch, classifier="cifar10/worst-of-10-30", padding="edge", slice="dx × dy",
                     granularity="11,3,3", pose="12,1,-2", picture="cifar10/4", utm_source="x")  # fmt: skip
    chosen = {"classifier": "cifar10/worst-of-10-30", "picture": "cifar10/4", "pose": "12,1,-2",
              "granularity": "11,3,3", "padding": "edge", "slice": "dx × dy"}  # fmt: skip
    assert not page.exception and not page.warning
    assert address_of(page) == chosen
    page.selectbox(key="padding").select("black").run()
    page.slider(key="rotation").set_value(40).run()
    assert not page.exception
    # What another landscape is asked about begins at the picture as it is.
    assert address_of(page) == {name: chosen[name] for name in ("classifier", "picture", "granularity", "slice")} | {
        "rotation": "40"
    }


def test_the_browser_cannot_choose_a_classifier_by_its_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from spatial_viz.app.sidebar import cached_classifier
    from spatial_viz.errors import InvalidInput

    (tmp_path / "classifier.json").write_text("{}")
    page = open_page(monkeypatch, classifier=str(tmp_path))
    assert not page.exception and not page.error
    assert page.selectbox(key="classifier").value == "cifar10/standard"
    with pytest.raises(InvalidInput, match="the app shows the classifiers of the catalogue"):
        cached_classifier(str(tmp_path))


def test_what_a_mirror_does_is_said_beside_its_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page(monkeypatch, classifier="cifar10/invariant-30-mirror")
    assert not page.exception and not page.error
    said = "It averages its answers for the picture and its mirror image."
    assert said in page.sidebar.caption[0].value
    page.selectbox(key="classifier").select("cifar10/invariant-30").run()
    assert "paper's grid." in page.sidebar.caption[0].value and said not in page.sidebar.caption[0].value


def test_a_pose_beyond_the_limits_is_brought_within(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page(monkeypatch, pose="1e9,-1e9,2")
    payload = json.loads(page.get("bidi_component")[0].proto.json)
    assert payload["pose"] == {"rotation": 30.0, "dx": -3.0, "dy": 2.0}


def test_a_classifier_that_fails_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from spatial_viz.models.classifier import Classifier

    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((len(x), 10), torch.nan)

    broken = Classifier(Broken(), class_names="abcdefghij", input_size=(32, 32), name="cifar10/broken")
    monkeypatch.setattr("spatial_viz.app.sidebar.cached_classifier", lambda name: broken)
    page = open_page(monkeypatch)
    assert not page.exception
    assert len(page.error) == 1 and "not finite" in page.error[0].value


def test_missing_weights_are_explained_and_the_page_stays_usable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    page = open_page(monkeypatch, classifier="imagenet/resnet18")
    assert not page.exception
    assert len(page.error) == 1 and "resnet18" in page.error[0].value and "not on this machine" in page.error[0].value
    page.selectbox(key="classifier").select("cifar10/standard").run()
    assert not page.error and not page.exception
    assert len(page.get("bidi_component")) == COMPONENTS


def open_attack(monkeypatch: pytest.MonkeyPatch, **parameters: str) -> AppTest:
    def script() -> None:
        import streamlit as st

        from spatial_viz.app import sidebar
        from spatial_viz.app.pages import attack

        st.session_state["view"] = sidebar.chosen_view()
        attack.page()

    monkeypatch.setattr("spatial_viz.app.pages.attack.STEPS", 3)
    page = AppTest.from_function(script, default_timeout=120)
    for name, value in parameters.items():
        page.query_params[name] = value
    return page.run()


@pytest.mark.parametrize(
    "parameters",
    [{}, {"k": "0", "epsilon": "-3"}, {"k": "<b>", "epsilon": "1e9", "granularity": "11,3,3"}, {"padding": "reflect"}],
)
def test_the_attack_page_stands_nonsense(parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_attack(monkeypatch, **parameters)
    assert not page.exception and not page.error
    assert 1 <= page.slider(key="k").value <= 100 and 1 <= page.slider(key="epsilon").value <= 32
    assert page.dataframe[0].value["attack"].tolist()[0] == "grid"


def test_noise_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager
    from typing import Any

    shown: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def bar(place: Any, text: str, unit: str = "transforms") -> Iterator[Callable[[int, int], None]]:
        steps = shown.setdefault(f"{text}, {unit}", [])
        yield lambda done, total: steps.append((done, total))

    monkeypatch.setattr("spatial_viz.app.pages.attack.progress_bar", bar)
    page = open_attack(monkeypatch, rotation="0", shift="0")
    assert not page.exception and not page.error
    assert shown["Attacking by noise, steps"] == [(step, 40) for step in range(1, 41)]
    pictures = shown["Drawing the plane of noise, pictures"]
    assert len(pictures) > 2 and pictures == sorted(pictures) and pictures[-1] == (31 * 31, 31 * 31)


def test_nothing_to_search_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_attack(monkeypatch, rotation="0", shift="0")
    assert not page.exception and not page.error
    assert "Nothing to search" in page.info[0].value


def test_a_vote_can_be_drawn_again_and_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_attack(monkeypatch, rotation="0", shift="20", granularity="11,3,3")
    before = [caption.value for caption in page.caption]
    (again,) = (button for button in page.button if button.label == "Draw again")
    again.click().run()
    assert not page.exception and page.session_state["vote_seed"] == 1
    assert len(page.caption) == len(before)
    (sweep,) = (button for button in page.button if button.label.startswith("Sweep the vote"))
    assert "90 passes" in sweep.label
    sweep.click().run()
    assert not page.exception
    assert any("The vote holds on" in text.value for text in page.markdown)


@pytest.mark.parametrize("case", ["truncated", "empty", "svg", "text", "bomb"])
def test_bad_uploads_are_one_sentence(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from encoded_images import png_header

    from spatial_viz.data.samples import samples

    content = {
        "truncated": samples("cifar10")[0].path.read_bytes()[:200],
        "empty": b"",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "text": b"hello",
        "bomb": png_header(50_000, 50_000),
    }[case]
    page = open_page(monkeypatch, source="Upload")
    page.file_uploader(key="upload").upload(f"*{case}*_[x](y).png", content, "image/png").run()
    assert not page.exception
    assert len(page.error) == 1
    assert r"\*" + case in page.error[0].value  # the name arrives as text, not as Markdown
    page.segmented_control(key="source").set_value("Samples").run()
    assert not page.error and not page.exception


def test_an_upload_of_detector_data_is_shown_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    from encoded_images import DETECTOR, png16

    page = open_page(monkeypatch, source="Upload")
    page.file_uploader(key="upload").upload("x-ray.png", png16(DETECTOR.repeat(8, 0)), "image/png").run()
    assert not page.exception and not page.error
    (warning,) = page.sidebar.warning
    assert r"x\-ray.png has no value above 4,095 of 65,535, so it is nearly black" in warning.value


def test_the_configuration_is_private_and_bounded() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["server"]["address"] == "localhost"
    assert config["server"]["maxUploadSize"] == 20
    assert config["server"]["enableXsrfProtection"] is True
    assert config["server"]["showEmailPrompt"] is False
    assert config["browser"]["gatherUsageStats"] is False


def test_the_first_start_on_a_terminal_asks_nothing(tmp_path: Path) -> None:
    """With an empty HOME, not headless, on a terminal: it serves at once and prompts for nothing."""
    ours, theirs = pty.openpty()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=false", f"--server.port={port}"]
    environment = os.environ | {"HOME": str(tmp_path), "BROWSER": "true"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = ""
    deadline = time.monotonic() + 90
    try:
        while "You can now view" not in shown and time.monotonic() < deadline:
            shown += os.read(ours, 4096).decode(errors="replace")
    finally:
        process.terminate()
        process.wait(20)
        os.close(ours)
    assert "You can now view" in shown
    assert "mail" not in shown.lower()


def test_it_listens_on_localhost_only(app: str) -> None:
    port = int(app.rsplit(":", 1)[1])
    listening = []
    for table, length in (("tcp", 8), ("tcp6", 32)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and int(address.split(":")[1], 16) == port:
                listening.append(address.split(":")[0][-length:])
    assert listening and all(address in ("0100007F", "00000000000000000000000001000000") for address in listening)
