"""What the recipes are for, on pictures where an answer exists that no rotation or shift can change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_training import plan

from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.run import evaluate
from spatial_viz.models.registry import load_classifier
from spatial_viz.training.data import read
from spatial_viz.training.loop import train

SIDE = 20


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faint discs and rings, each with a bright spot on the rim that says the same, and louder: left or right of the
    top. Within the limits a disc can be turned until its spot is where a ring has its own; disc and ring stay what
    they are."""
    root = tmp_path_factory.mktemp("shapes")
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    for split, count in (("train", 400), ("test", 60)):
        for number in range(count):
            ring = number % 2 == 1
            across, down = generator.uniform(-0.5, 0.5, 2)
            radius = np.hypot(x - across, y - down)
            core = (radius < 4.5) & ((radius > 2.2) | (not ring))
            angle = np.deg2rad(90 + (15 if ring else -15) + generator.uniform(-6, 6))
            spot = np.exp(-((x - 7 * np.cos(angle)) ** 2 + (y + 7 * np.sin(angle)) ** 2) / 2)
            light = 0.15 + 0.25 * core + 0.6 * spot + generator.normal(0, 0.04, (SIDE, SIDE))
            path = root / split / ("ring" if ring else "disc") / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((light.clip(0, 1) * 255).astype(np.uint8)).save(path)
    return root


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def robust_accuracy(recipe: str, shapes: Path, out: Path) -> tuple[float, float]:
    """(natural, grid) of a classifier trained by ``recipe``, on pictures that it has not seen."""
    settings = plan(
        recipe=recipe, data=str(shapes), network="tiny-convnet", epochs=8, batch=50, learning_rate=0.2, bias_rate=16.0,
        averaging=0, validation=0, label_smoothing=0.1, mirrored=False,
    )  # fmt: skip
    train(settings, read(str(shapes), mirrored=False), out)
    report = evaluate(load_classifier(str(out)), str(shapes), EvaluationPlan(("natural", "grid")), store=None)
    accuracy = {result.adversary: result.accuracy for result in report.results}
    return accuracy["natural"], accuracy["grid"]


def test_the_worst_of_ten_teaches_what_standard_training_does_not(shapes: Path, tmp_path: Path) -> None:
    standard_natural, standard_grid = robust_accuracy("no-crop", shapes, tmp_path / "standard")
    robust_natural, robust_grid = robust_accuracy("worst-of-10-30", shapes, tmp_path / "robust")
    assert min(standard_natural, robust_natural) > 0.95
    assert standard_grid < 0.7 and robust_grid > 0.9, (standard_grid, robust_grid)
