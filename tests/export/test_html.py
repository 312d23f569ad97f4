"""Exported pages: one file that opens without a network, and says aloud what it shows."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import pytest
import xarray as xr
from exported_pages import data_of, scripts_of, without_scripts
from PIL import Image
from torch import Tensor

from spatial_viz.errors import InvalidInput
from spatial_viz.explorer.payload import explorer_payload
from spatial_viz.export.html import explorer_page, landscape_page, pane_of, to_html
from spatial_viz.figures.captions import caption
from spatial_viz.figures.descriptions import alt_text
from spatial_viz.figures.heatmaps import heatmap
from spatial_viz.figures.loss_curve import loss_curve
from spatial_viz.figures.style import Theme
from spatial_viz.figures.surfaces import surface
from spatial_viz.figures.worst_case import worst_case_figure
from spatial_viz.landscape.dataset import worst_case
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.classifier import Classifier
from spatial_viz.transforms.grids import TransformGrid
from spatial_viz.transforms.transform import Transform

MARKUP = '<b>"Tom" & </script><script>alert(1)</script></b>'
PATIENCE = 120_000  # milliseconds


@pytest.fixture
def landscape(toy_classifier: Classifier, toy_image: Tensor) -> xr.Dataset:
    return swept(toy_classifier, toy_image)


def swept(classifier: Classifier, image: Tensor) -> xr.Dataset:
    return sweep(classifier, image, 0, TransformGrid(30.0, 3.0, 3.0, (7, 5, 3)), device="cpu", precision="fp32")


def test_a_page_opens_offline(landscape: xr.Dataset, toy_image: Tensor) -> None:
    parts = [worst_case_figure(toy_image, landscape), heatmap(landscape), surface(landscape)]
    page, one = to_html(parts, "Tom & <Jerry>"), to_html(parts[1:2], "Tom")
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)\s*=", page)
    assert "<title>Tom &amp; &lt;Jerry&gt;</title>" in page
    assert len(one) > 1_000_000, "plotly.js is in the page"
    assert len(page) < len(one) + 1_000_000, "and only once"
    assert re.findall(r'<div id="(figure-\d)"', page) == ["figure-0", "figure-1", "figure-2"]
    assert [figure["layout"]["meta"]["caption"] for figure in data_of(page, "figure-data")["light"]] == (
        [caption(landscape)] * 3
    )


def test_only_its_own_scripts_may_run_and_nothing_is_fetched(landscape: xr.Dataset, toy_image: Tensor) -> None:
    page = landscape_page(toy_image, landscape, "Tom")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy and policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy[1].split("style-src")[0]
    code = [text for attributes, text in scripts_of(page) if "application/json" not in attributes]
    assert len(code) == 2, "plotly.js, and the explorer with what is around it"
    for text in code:
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy[1]


def test_the_explorer_is_in_the_page_with_all_it_shows(landscape: xr.Dataset, toy_image: Tensor) -> None:
    pane = pane_of(toy_image, landscape)
    page = explorer_page([pane], "Tom", picture="blob.png", pose=Transform(10.0), notes=["a note"])
    payload = data_of(page, "explorer-data")
    expected = explorer_payload([pane], pose=Transform(10.0), notes=["a note"])
    assert payload == json.loads(json.dumps(expected))
    assert payload["panes"][0]["title"] == "toy" and payload["panes"][0]["caption"] == caption(landscape)
    assert payload["panes"][0]["worst"]["name"] == worst_case(landscape).name
    assert len(page) < 300_000, "no plotly.js where there are no figures"
    for part in ("blob.png, true class left", "7 × 5 × 3 transforms", "black", "spatial_viz"):
        assert part in without_scripts(page)


def test_up_to_four_panes(landscape: xr.Dataset, toy_image: Tensor) -> None:
    pane = pane_of(toy_image, landscape, title="left")
    page = explorer_page([pane, pane_of(toy_image, landscape, title="right")], "Both")
    assert [each["title"] for each in data_of(page, "explorer-data")["panes"]] == ["left", "right"]
    assert page.count('class="facts"') == 2
    with pytest.raises(InvalidInput, match="one to 4 panes; got 5"):
        explorer_page([pane] * 5, "Too many")


def test_the_page_has_its_figures_in_both_themes(landscape: xr.Dataset, toy_image: Tensor) -> None:
    figures = data_of(landscape_page(toy_image, landscape, "Tom"), "figure-data")
    assert list(figures) == ["light", "dark"]
    for theme, each in figures.items():
        assert [figure["layout"]["meta"]["theme"] for figure in each] == [theme] * 5


@pytest.mark.parametrize(("granularity", "count"), [((7, 5, 3), 5), ((1, 5, 3), 3), ((7, 1, 1), 2), ((1, 1, 1), 1)])
def test_figures_as_far_as_the_axes_move(
    granularity: tuple[int, int, int], count: int, toy_classifier: Classifier, toy_image: Tensor
) -> None:
    landscape = sweep(toy_classifier, toy_image, 0, TransformGrid(30.0, 3.0, 3.0, granularity))
    assert len(data_of(landscape_page(toy_image, landscape, "Tom"), "figure-data")["light"]) == count


def test_every_figure_has_its_alternative_text(landscape: xr.Dataset) -> None:
    parts = [heatmap(landscape), loss_curve(landscape)]
    parts[1].update_layout(meta={"theme": "light", "alt": 'a "curve" & more'})
    parts.append(heatmap(landscape).update_layout(meta=None))
    said = re.findall(r'<figure role="group" aria-label="([^"]*)">', without_scripts(to_html(parts, "Tom")))
    assert [html.unescape(each) for each in said] == [alt_text(landscape), 'a "curve" & more', "Tom"]


@pytest.mark.parametrize("theme", get_args(Theme))
def test_the_page_has_the_theme_of_its_figures(landscape: xr.Dataset, theme: Theme) -> None:
    assert f'<html lang="en" data-theme="{theme}">' in to_html([heatmap(landscape, theme=theme)], "x")


def test_markup_in_names_and_titles_is_shown_as_text(toy_image: Tensor, toy_classifier: Classifier) -> None:
    rude = Classifier(
        toy_classifier.network, class_names=[MARKUP, MARKUP], input_size=(32, 32), mean=(0.0,), std=(1.0,), name=MARKUP
    )
    page = landscape_page(toy_image, swept(rude, toy_image), MARKUP, picture=MARKUP)
    assert "<script" not in without_scripts(page) and "<b>" not in without_scripts(page)
    assert "alert(1)" in without_scripts(page)
    assert data_of(page, "explorer-data")["panes"][0]["label_name"] == MARKUP


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_alive_from_a_file_without_a_network(
    scheme: str, browser: Any, tmp_path: Path, landscape: xr.Dataset, toy_image: Tensor
) -> None:
    path = tmp_path / "page.html"
    pane = pane_of(toy_image, landscape)
    path.write_text(
        explorer_page([pane], f"Tom {MARKUP}", draw=lambda theme: [heatmap(landscape, theme=theme)]), encoding="utf-8"
    )
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme=scheme, offline=True, device_scale_factor=1
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    root = page.locator(".sv-explorer")
    root.wait_for()
    page.locator("#figure-0 .main-svg").first.wait_for()

    def data(name: str) -> str:
        return str(root.get_attribute(f"data-{name}"))

    marker = page.locator(".sv-map-shift")
    before = marker.evaluate("node => node.toDataURL()")
    box = page.locator(".sv-picture").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 25, box["y"] + box["height"] / 2 - 15, steps=8)
    page.mouse.up()
    assert float(data("dx")) > 0.5 and float(data("dy")) < -0.3
    assert "interpolated" in root.inner_text()
    page.wait_for_function("before => document.querySelector('.sv-map-shift').toDataURL() !== before", arg=before)
    page.locator(".sv-picture").focus()
    page.keyboard.press("0")
    page.keyboard.press("[")
    page.wait_for_function("() => document.querySelector('.sv-explorer').dataset.rotation === '1'")
    page.locator(".sv-jump-worst").click()
    page.wait_for_function(
        f"() => document.querySelector('.sv-explorer').dataset.dy === '{worst_case(landscape).dy:g}'"
    )
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    assert page.evaluate("document.querySelector('#figure-0').layout.meta.theme") == scheme

    saved: dict[str, Path] = {}
    for format, words in (("png", "PNG, three times the size"), ("svg", "SVG")):
        page.get_by_role("button", name="Save what is shown as a picture").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=words, exact=True).click()
        saved[f"explorer.{format}"] = download.value.path()
        with page.expect_download() as download:
            page.locator(f'.save [data-format="{format}"]').click()
        saved[f"figure.{format}"] = download.value.path()
        assert download.value.suggested_filename.endswith(f".{format}")
    size = root.bounding_box()
    picture = Image.open(saved["explorer.png"])
    assert abs(picture.width - 3 * (size["width"] + 20)) <= 3 and picture.height > 3 * size["height"]
    width = page.locator("#figure-0").bounding_box()["width"]
    assert abs(Image.open(saved["figure.png"]).width - 3 * (width + 20)) <= 3
    for name in ("explorer.svg", "figure.svg"):
        drawing = saved[name].read_text(encoding="utf-8")
        assert drawing.startswith("<svg") and "7 × 5 × 3 transforms" in drawing, "the caption travels with it"
        ElementTree.fromstring(drawing)
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    context.close()
