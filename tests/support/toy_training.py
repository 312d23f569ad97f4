"""Small pictures and small networks for the tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from spatial_viz.models.networks import NETWORKS, SmallResNet, WhitenedConvNet
from spatial_viz.training.data import PictureSet
from spatial_viz.training.plan import TrainingPlan


def toy_pictures(count: int = 120, classes: int = 4) -> PictureSet:
    """Pictures of up to ten classes that a small network can tell apart by their colour."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    pictures = torch.randint(0, 90, (count, 32, 32, 3), generator=generator, dtype=torch.uint8)
    bits = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    colours = torch.cat((bits * 120, torch.tensor([[60, 60, 0], [0, 60, 60]]))).to(torch.uint8)
    pictures += colours[labels][:, None, None]
    names = ("red", "green", "blue", "dark", "yellow", "cyan", "pink", "white", "olive", "petrol")
    return PictureSet(pictures, labels, names[:classes])


def toy_folder(root: Path, class_names: tuple[str, ...], train: int, test: int) -> Path:
    """Such pictures as files: ``train`` and ``test`` of each class."""
    for split, each in (("train", train), ("test", test)):
        pictures = toy_pictures(each * len(class_names), len(class_names))
        for number, (picture, label) in enumerate(zip(pictures.pictures, pictures.labels, strict=True)):
            path = root / split / class_names[label] / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(picture)).save(path)
    return root


class SmoothNet(nn.Sequential):
    """Without maxima, which turn rounding errors of 1e-7 into other gradients: for comparisons of whole trainings."""

    def __init__(self, classes: int, channels: int) -> None:
        units: list[nn.Module] = []
        for before, width in ((channels, 8), (8, 8), (8, 16)):
            units += [nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.GELU()]
        super().__init__(*units, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes))


def add_small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "tiny", lambda **o: WhitenedConvNet(widths=(8, 8, 8), **o))
    monkeypatch.setitem(NETWORKS, "smooth", SmoothNet)
    monkeypatch.setitem(NETWORKS, "tiny-resnet", lambda **o: SmallResNet(widths=(4, 8, 8, 8), **o))


def plan(**changes: object) -> TrainingPlan:
    settings: dict[str, object] = {
        "recipe": "standard", "data": "toy", "network": "tiny", "epochs": 3, "batch": 16, "learning_rate": 0.05,
        "bias_rate": 4.0, "validation": 24,
    }  # fmt: skip
    return TrainingPlan(**(settings | changes))  # type: ignore[arg-type]
