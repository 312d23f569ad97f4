"""The pictures that a training is given: which ones, at which size, and what is refused."""

from __future__ import annotations

import torch
from toy_training import toy_pictures

from spatial_viz.networks import build_network, count_parameters
from spatial_viz.training.data import PictureSet, augment, to_images


def test_digits_are_never_mirrored() -> None:
    pictures = toy_pictures()
    plain = to_images(pictures.pictures)
    everything = torch.arange(len(pictures))
    handed = PictureSet(pictures.pictures, pictures.labels, pictures.class_names, mirrored=False)
    for epoch in range(2):
        assert torch.equal(augment(handed, everything, epoch, seed=0, crop=False), plain)
        assert not torch.equal(augment(pictures, everything, epoch, seed=0, crop=False), plain)
    assert not handed.subset(everything[:3]).mirrored


def test_the_network_for_digits_fits_into_a_megabyte() -> None:
    network = build_network("tiny-convnet", classes=10, channels=1)
    assert 2 * count_parameters(network) < 1_000_000  # bytes as float16
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 10)
