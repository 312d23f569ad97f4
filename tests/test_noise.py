"""The landscape of noise: what it computes, and that the figures of spatial landscapes read it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from spatial_viz.classifiers import load_classifier
from spatial_viz.errors import InvalidInput
from spatial_viz.figures import alt_text, heatmap, surface
from spatial_viz.losses import cross_entropy
from spatial_viz.noise import noise_landscape
from spatial_viz.samples import load_sample


@pytest.fixture(scope="module")
def parts():
    image, label = load_sample("cifar10", 6)
    classifier = load_classifier("cifar10/standard")
    return classifier, image, label, noise_landscape(classifier, image, label, 8 / 255, granularity=9, seed=2)


def test_every_cell_is_the_loss_of_the_picture_with_that_noise(parts) -> None:
    classifier, image, label, plane = parts
    assert plane["loss"].dims == ("random", "gradient") and plane["gradient"].attrs["units"] == "1/255"
    np.testing.assert_allclose(plane["gradient"], np.linspace(-8, 8, 9))
    moving = image[None].clone().requires_grad_()
    cross_entropy(classifier.logits(moving), torch.tensor([label])).sum().backward()
    for amount in (-6, 4):
        noisy = (image + amount / 255 * moving.grad[0].sign()).clamp(0, 1)
        with torch.no_grad():
            expected = cross_entropy(classifier.logits(noisy[None]), torch.tensor([label]))
        assert float(plane["loss"].sel(random=0, gradient=amount)) == pytest.approx(float(expected), abs=1e-3)
    assert float(plane["loss"].sel(random=0, gradient=0)) == pytest.approx(float(plane["natural_loss"]), abs=1e-5)
    # Along the gradient the loss rises, along random signs it hardly moves.
    assert float(plane["loss"].sel(random=0, gradient=8)) > float(plane["loss"].sel(random=0, gradient=0)) + 1
    again = noise_landscape(classifier, image, label, 8 / 255, granularity=9, seed=2)
    assert again.identical(plane)
    own = noise_landscape(classifier, image, label, 8 / 255, (torch.ones_like(image), -torch.ones_like(image)), 3)
    assert float(own["loss"].sel(gradient=8, random=8)) == pytest.approx(float(own["natural_loss"]), abs=1e-4)


def test_the_figures_read_it(parts) -> None:
    *_, plane = parts
    flat, deep = heatmap(plane, "gradient", "random"), surface(plane, "gradient", "random")
    assert flat.layout.xaxis.title.text == "gradient sign (1/255)"
    assert flat.layout.yaxis.title.text == "random sign (1/255)"
    assert flat.layout.yaxis.range[0] < flat.layout.yaxis.range[1], "random signs have no down"
    loss = next(trace for trace in deep.data if trace.name == "loss")
    np.testing.assert_allclose(loss.z, plane["loss"].values)
    assert "along the gradient" in str(loss.text[0][0]) and "/255" in str(loss.text[0][0])
    assert "pictures with noise" in alt_text(plane) and "gradient sign ×" in alt_text(plane)
    assert "noise" in flat.layout.title.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 0}, "above 0 and at most 1"),
        ({"epsilon": 1.5}, "got 1.5"),
        ({"granularity": 1}, "granularity must be 2 or more"),
        ({"directions": (torch.ones(3, 4, 4), torch.ones(3, 4, 4))}, "directions must have the picture's shape"),
        ({"label": 12}, "0 to 9"),
    ],
)
def test_bad_input(changes, message, parts) -> None:
    classifier, image, label, _ = parts
    with pytest.raises(InvalidInput, match=message):
        noise_landscape(classifier, image, **({"label": label} | changes))


def test_the_card_says_what_it_is(parts) -> None:
    card = json.loads(parts[3].attrs["card"])
    assert card["kind"] == "noise" and card["seed"] == 2 and card["precision"] == "fp32"
