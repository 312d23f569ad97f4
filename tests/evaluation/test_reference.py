"""Robust verdicts against brute force: a third-party ResNet-20, every picture by itself, in fp32, with code of its own.

The first 100 CIFAR-10 test pictures; under CI on a machine that is fast at bf16 the first 1,000.
"""

from __future__ import annotations

import math
import os
import tarfile
from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from third_party import resnet20
from torch import Tensor

from spatial_viz.data.datasets import PictureFolder
from spatial_viz.data.images import picture_to_tensor
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.run import evaluate
from spatial_viz.evaluation.store import read_table, runs_in
from spatial_viz.models.devices import fast_at_bf16, pick_device

COUNT = 1000 if os.environ.get("CI") == "true" and fast_at_bf16(pick_device()) else 100


@pytest.fixture(scope="module")
def first_pictures(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first COUNT / 10 test pictures of every class, by file name, as a folder."""
    root = tmp_path_factory.mktemp("cifar10")
    with tarfile.open(shared / "data" / "cifar10.tar.gz") as archive:
        found: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        for member in archive:
            path = PurePosixPath(member.name)
            if path.suffix == ".webp" and path.parts[-3] == "test":
                handle = archive.extractfile(member)
                assert handle is not None
                found[path.parts[-2]].append((path.name, handle.read()))
    for name, files in found.items():
        (root / name).mkdir()
        for file, content in sorted(files)[: COUNT // 10]:
            (root / name / file).write_bytes(content)
    return root


def brute_force(network: torch.nn.Module, picture: Tensor, label: int) -> bool:
    """Whether the picture as it is and all 775 transforms are classified correctly; stops at the first that is not."""
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    if int(network(((picture - mean) / std)[None]).argmax()) != label:
        return False
    # Where in the picture does the pixel (x, y) of the moved one come from? Undo the shift, then the turn.
    y, x = torch.meshgrid(torch.arange(32) - 15.5, torch.arange(32) - 15.5, indexing="ij")
    angles = sorted((-30.0 + 2 * step for step in range(31)), key=abs, reverse=True)
    for degrees in angles:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        places = []
        for dy in (-3.0, -1.5, 0.0, 1.5, 3.0):
            for dx in (-3.0, -1.5, 0.0, 1.5, 3.0):
                right, down = x - dx, y - dy
                # Counter-clockwise as displayed, with y pointing down.
                places.append(torch.stack((cos * right - sin * down, sin * right + cos * down), -1) / 16)
        moved = F.grid_sample(
            picture.expand(25, -1, -1, -1), torch.stack(places), "bilinear", "zeros", align_corners=False
        )
        if bool((network((moved - mean) / std).argmax(1) != label).any()):
            return False
    return True


def test_the_verdict_of_every_picture(shared: Path, first_pictures: Path, tmp_path: Path) -> None:
    classifier = resnet20(shared / "weights" / "resnet20-12fca82f.th")
    report = evaluate(classifier, str(first_pictures), EvaluationPlan(), store=tmp_path)
    table = read_table(runs_in(tmp_path)[0])[0].set_index("index")
    data = PictureFolder(first_pictures)
    with torch.inference_mode():
        for index in range(COUNT):
            picture, label = data[index]
            expected = brute_force(classifier.network, picture_to_tensor(picture, 3), label)
            assert bool(table.loc[index, "grid_robust"]) == expected, data.samples[index][0].name
    natural, grid = report.results
    assert (natural.n, grid.n) == (COUNT, COUNT) and 0 < grid.correct < COUNT / 5
    assert grid.passes * 5 < grid.passes_full


def test_bf16_changes_no_verdict_and_no_transform(first_pictures: Path, tmp_path: Path) -> None:
    """Of COUNT pictures on 775 transforms, under a classifier that ships."""
    if not fast_at_bf16(pick_device()):
        pytest.skip("no bf16 in hardware: emulated, the pictures of this test would take hours")
    told = {}
    for precision in ("fp32", "bf16"):
        plan = EvaluationPlan(("grid",), precision=precision)  # type: ignore[arg-type]
        evaluate("cifar10/standard", str(first_pictures), plan, store=tmp_path / precision)
        told[precision] = read_table(runs_in(tmp_path / precision)[0])[0].set_index("index").sort_index()
    exact, fast = told["fp32"], told["bf16"]
    assert len(exact) == COUNT and 0 < exact["grid_robust"].sum() < COUNT / 3
    same = ["label", "natural_predicted", "grid_robust", "grid_passes", "breaking_predicted"]
    assert exact[same].equals(fast[same])
    places = ["breaking_rotation", "breaking_dx", "breaking_dy", "breaking_loss"]
    np.testing.assert_allclose(exact[places], fast[places], atol=1e-4, rtol=1e-4)
