"""Our warp and criterion against foolbox's SpatialAttack, in foolbox's own convention."""

from __future__ import annotations

from pathlib import Path

import eagerpy
import foolbox
import torch
from third_party import resnet20
from torch import Tensor

from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.models.inference import runner_for
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid

GRANULARITY = (7, 3, 3)


def as_ours(transforms: Tensor, size: int) -> Tensor:
    """foolbox's (rotation, shift, shift) as transforms of ours.

    It shifts first, to the left and up, and then rotates; and n pixels move the picture by n (size - 1) / size.
    """
    angle = torch.deg2rad(transforms[:, 0])
    right, down = -transforms[:, 1:].T * (size - 1) / size
    turned = torch.stack((angle.cos() * right + angle.sin() * down, angle.cos() * down - angle.sin() * right), 1)
    return torch.cat((transforms[:, :1], turned), 1)


def test_the_same_transform_gives_the_same_picture() -> None:
    from foolbox.attacks.spatial_attack_transformations import rotate_and_shift

    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for transform in ([0, 3, 0], [0, 0, -2], [30, 0, 0], [-17, 2.5, -1], [8, -3, 3]):
        theirs = rotate_and_shift(eagerpy.astensor(images), tuple(transform[1:]), transform[0]).raw
        ours = warp(images, as_ours(torch.tensor([transform], dtype=torch.float64), 32).float())
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)


def test_the_same_pictures_are_broken(
    shared: Path, reference_rows: list[dict[str, str]], reference_pictures: dict[str, Tensor]
) -> None:
    rows = reference_rows[::6][:80]
    images = torch.stack([reference_pictures[row["file"]] for row in rows])
    labels = torch.tensor([CLASS_NAMES["cifar10"].index(row["label"]) for row in rows])
    classifier = resnet20(shared / "weights" / "resnet20-12fca82f.th")

    rotations, across, _ = GRANULARITY
    attack = foolbox.attacks.SpatialAttack(
        max_translation=3, max_rotation=30, num_translations=across, num_rotations=rotations, grid_search=True
    )
    preprocessing = {"mean": list(classifier.mean), "std": list(classifier.std), "axis": -3}
    model = foolbox.PyTorchModel(classifier.network, bounds=(0, 1), preprocessing=preprocessing, device="cpu")
    with torch.inference_mode():
        theirs = attack(model, images, labels)[2]

    transforms = as_ours(TransformGrid(30, 3, 3, GRANULARITY).transforms(), 32)
    runner = runner_for(classifier, "cpu", "fp32")
    pictures = torch.arange(len(images))
    broken = runner.exact(images, None, pictures, "black").argmax(1) != labels
    for transform in transforms:
        broken |= runner.exact(images, transform.expand(len(images), 3), pictures, "black").argmax(1) != labels
    assert 10 < int(broken.sum()) < len(rows)
    assert torch.equal(broken, theirs)
