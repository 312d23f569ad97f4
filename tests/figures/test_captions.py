"""The caption of everything that is taken along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import write_run
from torch import Tensor

from spatial_viz.evaluation.summary import summarise
from spatial_viz.figures.captions import caption, caption_parts, run_caption
from spatial_viz.figures.failures import confusion_figure, failing_heatmap, share_histogram
from spatial_viz.figures.heatmaps import heatmap
from spatial_viz.figures.surfaces import surface
from spatial_viz.landscape.noise_plane import noise_landscape
from spatial_viz.landscape.sweeps import sweep, sweep_axes
from spatial_viz.models.classifier import Classifier
from spatial_viz.transforms.grids import TransformGrid
from spatial_viz.version import VERSION


def test_it_names_classifier_picture_grid_padding_and_version(toy_classifier: Classifier, toy_image: Tensor) -> None:
    landscape = sweep(toy_classifier, toy_image, 0, TransformGrid(20.0, 1.5, 3.0, (3, 5, 1)), padding="edge")
    assert caption_parts(landscape, "blob.png") == {
        "classifier": "toy",
        "picture": "blob.png, true class left",
        "grid": "3 × 5 × 1 transforms: rotation ±20°, dx ±1.5 px, dy 0 px",
        "padding": "edge",
        "computed with": f"spatial_viz {VERSION}",
    }
    assert caption(landscape) == (
        "toy · true class left · 3 × 5 × 1 transforms: rotation ±20°, dx ±1.5 px, dy 0 px · edge padding · "
        f"spatial_viz {VERSION}"
    )


def test_a_picture_without_a_label_and_an_axis_that_is_not_even(toy_classifier: Classifier, toy_image: Tensor) -> None:
    axes = {"rotation": np.array([-10.0, 5.0]), "dy": np.array([-1.0]), "dx": np.array([0.0, 2.0])}
    text = caption(sweep_axes(toy_classifier, toy_image, None, axes))
    assert "no label, taken for" in text
    assert "rotation −10 to 5°, dx 0 to 2 px, dy −1 px" in text


def test_noise_has_neither_grid_nor_padding(toy_classifier: Classifier, toy_image: Tensor) -> None:
    plane = noise_landscape(toy_classifier, toy_image, torch.full_like(toy_image, 4 / 255), 0, granularity=3)
    expected = (
        f"toy · true class left · 3 × 3 pictures with noise: adversarial ±4/255, random ±4/255 · spatial_viz {VERSION}"
    )
    assert caption(plane) == expected
    drawn = surface(plane, "adversarial", "random")
    assert drawn.layout.meta["caption"] == expected, "a figure names its axes otherwise"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_figure_has_it(theme, toy_classifier: Classifier, toy_image: Tensor) -> None:
    landscape = sweep(toy_classifier, toy_image, 0, TransformGrid(20.0, 1.5, 3.0, (3, 3, 3)))
    assert heatmap(landscape, theme=theme).layout.meta["caption"] == caption(landscape)


def test_figures_of_a_run_say_what_was_run(tmp_path: Path) -> None:
    summary = summarise(write_run(tmp_path))
    expected = run_caption("cifar10/standard", "cifar10, test", 60, TransformGrid(), "black", "unknown")
    for figure in (share_histogram(summary), failing_heatmap(summary, "dx", "dy"), confusion_figure(summary)):
        assert figure.layout.meta["caption"] == expected
