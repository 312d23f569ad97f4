"""The sweep against an independent answer: the first 500 CIFAR-10 test pictures under a third-party ResNet-20.

60 pictures by default; all 500 under CI on a machine that is fast at bf16.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from third_party import resnet20
from torch import Tensor

from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.landscape.dataset import WorstCase, landscape_summary, misclassified, worst_case
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.devices import fast_at_bf16, pick_device
from spatial_viz.models.inference import calibrate, exact_logits, runner_for
from spatial_viz.transforms.grids import TransformGrid

COUNT = 500 if os.environ.get("CI") == "true" and fast_at_bf16(pick_device()) else 60


@pytest.fixture(scope="module")
def rows(reference_rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return reference_rows[:: len(reference_rows) // COUNT][:COUNT]


@pytest.fixture(scope="module")
def calibrated(shared: Path, reference_pictures: dict[str, Tensor]) -> Classifier:
    classifier = resnet20(shared / "weights" / "resnet20-12fca82f.th")
    if fast_at_bf16(pick_device()):
        draws = TransformGrid().draw(40, seed=0)
        classifier.margin_error = calibrate(classifier, reference_pictures["train"], draws)
    return classifier


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_every_picture(
    precision: str, rows: list[dict[str, str]], reference_pictures: dict[str, Tensor], calibrated: Classifier
) -> None:
    if precision == "fp32" and runner_for(calibrated).precision == "fp32":
        pytest.skip("the default path is fp32 on this machine: the other case has done this")
    for row in rows:
        image, label = reference_pictures[row["file"]], CLASS_NAMES["cifar10"].index(row["label"])
        landscape = sweep(calibrated, image, label, precision=precision)
        result, worst = landscape_summary(landscape), worst_case(landscape)
        about = f"{row['file']} at precision {precision}"
        assert result["natural"]["name"] == row["natural_prediction"], about
        assert abs(result["misclassified"] - int(row["misclassified_of_775"])) <= 1, about
        _same_worst_case(calibrated, image, label, worst, row, bool(misclassified(landscape).any()), about)


def _same_worst_case(
    classifier: Classifier, image: Tensor, label: int, worst: WorstCase, row: dict[str, str], broken: bool, about: str
) -> None:
    assert worst.misclassified == broken, about
    assert worst.loss == pytest.approx(float(row["worst_loss"]), abs=1e-3), about
    place = torch.tensor([[float(row[f"worst_{axis}"]) for axis in ("rotation", "dx", "dy")]])
    same = (worst.rotation, worst.dx, worst.dy) == tuple(place[0].tolist())
    # Where two losses are nearly equal either place is right: then ours has the same loss at theirs.
    there = exact_logits(classifier, image, place)
    loss = float(torch.nn.functional.cross_entropy(there, torch.tensor([label])))
    assert same or loss == pytest.approx(worst.loss, abs=2e-4), about
    assert not same or worst.name == row["worst_prediction"], about
