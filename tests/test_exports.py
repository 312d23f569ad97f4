"""Exported pages: one file that opens without a network, and says aloud what it shows."""

from __future__ import annotations

import html
import re
from typing import get_args

import pytest
import xarray as xr
from torch import Tensor

from spatial_viz.classifiers import Classifier
from spatial_viz.exports import to_html
from spatial_viz.figures import Theme, alt_text, heatmap, loss_curve, surface, worst_case_figure
from spatial_viz.grids import TransformGrid
from spatial_viz.sweeps import sweep

MARKUP = '<b>"Tom" & <script>alert(1)</script></b>'


@pytest.fixture
def landscape(toy_classifier: Classifier, toy_image: Tensor) -> xr.Dataset:
    return swept(toy_classifier, toy_image)


def swept(classifier: Classifier, image: Tensor) -> xr.Dataset:
    return sweep(classifier, image, 0, TransformGrid(30.0, 3.0, 3.0, (7, 5, 3)), device="cpu", precision="fp32")


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_a_page_opens_offline(landscape: xr.Dataset, toy_image: Tensor) -> None:
    parts = [worst_case_figure(toy_image, landscape), heatmap(landscape), surface(landscape)]
    page, one = to_html(parts, "Tom & <Jerry>"), to_html(parts[1:2], "Tom")
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)\s*=", page)
    assert "<title>Tom &amp; &lt;Jerry&gt;</title>" in page
    assert len(one) > 1_000_000, "plotly.js is in the page"
    assert len(page) < len(one) + 1_000_000, "and only once"
    assert re.findall(r'<div id="(figure-\d)"', page) == ["figure-0", "figure-1", "figure-2"]
    assert len(re.findall(r'Plotly\.newPlot\(\s*"figure-\d"', page)) == 3


def test_every_figure_has_its_alternative_text(landscape: xr.Dataset) -> None:
    parts = [heatmap(landscape), loss_curve(landscape)]
    parts[1].update_layout(meta={"theme": "light", "alt": 'a "curve" & more'})
    parts.append(heatmap(landscape).update_layout(meta=None))
    said = re.findall(r'<figure role="group" aria-label="([^"]*)">', without_scripts(to_html(parts, "Tom")))
    assert [html.unescape(each) for each in said] == [alt_text(landscape), 'a "curve" & more', "Tom"]


@pytest.mark.parametrize("theme", get_args(Theme))
def test_the_page_has_the_theme_of_its_figures(landscape: xr.Dataset, theme: Theme) -> None:
    assert f"color-scheme: {theme}" in to_html([heatmap(landscape, theme=theme)], "x")


def test_markup_in_names_and_titles_is_shown_as_text(toy_image: Tensor, toy_classifier: Classifier) -> None:
    rude = Classifier(
        toy_classifier.network, class_names=[MARKUP, MARKUP], input_size=(32, 32), mean=(0.0,), std=(1.0,)
    )
    landscape = swept(rude, toy_image)
    parts = [heatmap(landscape), surface(landscape), loss_curve(landscape), worst_case_figure(toy_image, landscape)]
    page = without_scripts(to_html(parts, MARKUP))
    assert "<script" not in page and "alert(1)" in page
