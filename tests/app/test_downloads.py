"""Download and share: the downloads of the pages, and the link."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from exported_pages import data_of, without_scripts
from PIL import Image
from programs import program
from streamlit.testing.v1 import AppTest

from benchmarks.app import ROOT
from spatial_viz.explorer.assets import JOINED, script
from spatial_viz.export.worst_case_frames import SIZE
from spatial_viz.landscape.dataset import load, worst_case
from spatial_viz.transforms.transform import Transform


def open_page(
    monkeypatch: pytest.MonkeyPatch, name: str = "explore", **parameters: str
) -> tuple[AppTest, dict[str, Any]]:
    """A page, and what its downloads would make, by their endings."""
    made: dict[str, Any] = {}
    monkeypatch.setattr("spatial_viz.app.pages.attack.STEPS", 3)
    from spatial_viz.app import downloads

    section = downloads.download_section

    def noted(view: Any, name: str, files: Any, figures: Any, key: str) -> None:
        made.update({download.ending: download.make for download in files})
        made["figures"] = dict(figures)
        section(view, name, files, figures, key)

    monkeypatch.setattr(downloads, "download_section", noted)

    def script(name: str) -> None:
        import importlib

        import streamlit as st

        from spatial_viz.app import sidebar

        st.session_state["view"] = sidebar.chosen_view()
        importlib.import_module(f"spatial_viz.app.pages.{name}").page()

    page = AppTest.from_function(script, default_timeout=300, args=(name,))
    for parameter, value in parameters.items():
        page.query_params[parameter] = value
    return page.run(), made


def test_explore_gives_a_page_the_numbers_and_the_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page, made = open_page(monkeypatch, granularity="11,3,3", pose="12,1,-2")
    assert not page.exception and not page.error
    exported = made[".html"]()
    payload = data_of(exported, "explorer-data")
    assert payload["pose"] == {"rotation": 12.0, "dx": 1.0, "dy": -2.0}
    assert "automobile (cifar10/6), true class automobile" in without_scripts(exported)
    assert "11 × 3 × 3 transforms" in without_scripts(exported)
    titles = [figure["layout"]["meta"]["theme"] for figure in data_of(exported, "figure-data")["dark"]]
    assert titles == ["dark"] * 3, "the worst case, the surface and the map"
    (tmp_path / "taken.nc").write_bytes(made[".nc"]())
    landscape = load(tmp_path / "taken.nc")
    assert payload["panes"][0]["worst"]["loss"] == pytest.approx(worst_case(landscape).loss)
    assert len(made[".csv"]().splitlines()) == 1 + 99
    assert Image.open(io.BytesIO(made["-worst-case.png"]())).size == (32, 32)
    assert Image.open(io.BytesIO(made["-way.gif"]())).n_frames > 10  # type: ignore[attr-defined]


def test_where_ffmpeg_is_the_way_comes_as_a_film_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, 'for last; do :; done; /bin/cat > "$last"')
    monkeypatch.setenv("PATH", str(tmp_path))
    _, made = open_page(monkeypatch, granularity="3,1,1")
    width, height = SIZE
    assert len(made["-way.mp4"]()) % (width * height * 3) == 0 < len(made["-way.mp4"]())  # whole frames


def test_the_exported_page_opens_where_the_picture_was_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    page, made = open_page(monkeypatch, granularity="11,3,3")
    assert data_of(made[".html"](), "explorer-data")["pose"] == {"rotation": 0.0, "dx": 0.0, "dy": 0.0}
    page.session_state["pose_now"].pose = Transform(-7.5)  # as a pose let go of does, without another run of the page
    assert data_of(made[".html"](), "explorer-data")["pose"]["rotation"] == -7.5


def test_attack_gives_its_figures_in_both_themes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spatial_viz.app.downloads.ffmpeg", lambda: None)
    page, made = open_page(monkeypatch, "attack", granularity="11,3,3", k="7")
    assert not page.exception and not page.error
    exported = made[".html"]()
    figures = data_of(exported, "figure-data")
    assert {theme: len(each) for theme, each in figures.items()} == {"light": 7, "dark": 7}
    search = figures["dark"][1]
    draws = [trace for trace in search["data"] if str(trace.get("name")).startswith("random draws")]
    assert sum(len(trace["text"]) for trace in draws) == 7, "as many draws as the page shows"
    assert search["frames"], "the paths can be played"
    assert set(made) == {".html", ".nc", ".csv", "-way.gif", "-worst-case.png", "figures"}
    assert len(made["figures"]) == 6


def test_compare_gives_all_of_its_panes(monkeypatch: pytest.MonkeyPatch) -> None:
    page, made = open_page(monkeypatch, "compare", granularity="11,3,3")
    assert not page.exception and not page.error
    exported = made[".html"]()
    panes = data_of(exported, "explorer-data")["panes"]
    assert len(panes) == 2 and panes[0]["title"] == "cifar10/standard"
    figures = data_of(exported, "figure-data")["light"]
    assert len(figures) == 5, "two maps, two surfaces, the difference"
    assert figures[0]["layout"]["title"]["text"].startswith("<b>cifar10/standard</b><br>")
    trajectories = [ending for ending in made if ending.endswith("-way.gif")]
    assert len(trajectories) == 2 and Image.open(io.BytesIO(made[trajectories[1]]())).size == SIZE


def test_a_vote_is_not_shown_in_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    page, made = open_page(monkeypatch, "compare", granularity="11,3,3", rotation="4", compare="Majority vote")
    assert not page.exception and not page.error
    assert not any(ending.endswith("-way.gif") for ending in made)
    assert len(data_of(made[".html"](), "explorer-data")["panes"]) == 2


def test_file_names() -> None:
    from spatial_viz.app.downloads import file_name

    assert file_name("cifar10/standard: a frog (cifar10/4)") == "cifar10-standard-a-frog-(cifar10-4)"
    assert file_name('../"x"\n<b>.png') == "..-x-b-.png"


def test_the_link_has_what_was_chosen_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"picture": "cifar10/4", "pose": "1,2,3", "rotation": "24", "padding": "edge", "granularity": "11,3,3"}
    page, _ = open_page(monkeypatch, "attack", **asked, k="12", slice="dx × dy")
    assert not page.exception and not page.error
    assert page.session_state["address"].parameters() == asked | {"k": "12"}, "the slice is Explore's"


def test_a_picture_of_ones_own_is_not_part_of_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    import streamlit as st

    from spatial_viz.app.downloads import left_out

    state = {"source": "Samples"}
    monkeypatch.setattr(st, "session_state", state)
    assert left_out() == ""
    state["source"] = "Upload"
    assert "not part of the link" in left_out()


@pytest.mark.parametrize("name", ["explorer", "offline_page", "downloads", "gallery"])
def test_a_joined_script_has_every_part_once(name: str) -> None:
    text = script(name)
    for part in JOINED.get(name, (name,)):
        own = (ROOT / "spatial_viz" / "explorer" / "static" / f"{part}.js").read_text(encoding="utf-8")
        assert text.count(own) == 1


@pytest.mark.browser
def test_pictures_and_the_link_in_the_browser(app: str, browser: Any) -> None:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
        device_scale_factor=1,
    )
    page = context.new_page()
    page.set_default_timeout(180_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{app}/?picture=cifar10%2F4&rotation=24&granularity=11,3,3")
    page.locator(".st-key-surface").scroll_into_view_if_needed()  # drawn where it is seen
    chart = page.locator(".st-key-surface .js-plotly-plot")
    chart.wait_for()
    with page.expect_download() as download:
        page.locator(".sv-downloads").get_by_role("button", name="PNG").click()
    saved = Image.open(download.value.path())
    assert abs(saved.width - 3 * (chart.bounding_box()["width"] + 20)) <= 3
    page.locator(".sv-downloads select").select_option("heatmap")
    with page.expect_download() as download:
        page.locator(".sv-downloads").get_by_role("button", name="SVG").click()
    drawing = download.value.path().read_text(encoding="utf-8")
    assert "true class frog" in drawing and "11 × 3 × 3 transforms: rotation ±24°" in drawing
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("Copied.").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    assert "picture=cifar10%2F4" in link and "rotation=24" in link and "padding" not in link
    with page.expect_download() as download:
        page.get_by_role("button", name="Page that works offline").click()
    assert download.value.suggested_filename.endswith(".html")
    assert "Content-Security-Policy" in download.value.path().read_text(encoding="utf-8")
    assert complaints == []
    context.close()


def test_the_handout_has_the_pictures_that_the_lecture_showed(monkeypatch: pytest.MonkeyPatch) -> None:
    import streamlit as st
    from printed_pages import text_of

    from spatial_viz.app import downloads
    from spatial_viz.app.view import View
    from spatial_viz.data.samples import load_sample
    from spatial_viz.models.registry import load_classifier
    from spatial_viz.transforms.grids import TransformGrid

    asked: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", {})
    monkeypatch.setattr(st, "download_button", lambda label, make, *_, **__: asked.update(label=label, make=make))
    classifier, grid = load_classifier("cifar10/standard"), TransformGrid(30.0, 3.0, 3.0, (3, 3, 3))
    views = [View(classifier, *load_sample("cifar10", n), grid, "black", f"picture {n}") for n in range(8)]
    downloads.handout_button(views[0], "")
    assert "the picture shown" in asked["label"]
    for view in [*views, views[3]]:
        downloads.note_picture(view)
    downloads.handout_button(views[3], "http://192.168.1.2:8501/lecture")
    assert f"the {downloads.MOST_SHOWN} pictures shown" in asked["label"]
    text = " ".join(text_of(asked["make"]()))
    shown = [n for n in range(8) if f"picture {n}" in text]
    assert shown == [2, 3, 4, 5, 6, 7], "the last of them, each once"
    assert "cifar10/worst-of-10-30" in text and "http://192.168.1.2:8501/lecture" in text
