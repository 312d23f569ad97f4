"""Defences: the vote on a toy with a known answer, the canvas, and that everything else runs on them unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import SIZE, blob

from spatial_viz.attacks.spatial import FirstOrder, WorstOfK
from spatial_viz.data.samples import load_sample
from spatial_viz.defences.black_canvas import BlackCanvas
from spatial_viz.defences.majority_vote import VOTERS, MajorityVote
from spatial_viz.errors import InvalidInput
from spatial_viz.landscape.dataset import landscape_summary, load, save, worst_case
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.landscape.vote_shares import vote_shares
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.registry import load_classifier
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid

LIMITS = TransformGrid(30, 3, 3)


@pytest.mark.parametrize("redraw", [False, True])
def test_the_vote_counts_and_breaks_ties_by_the_mean(
    redraw: bool, toy_classifier: Classifier, toy_image: Tensor
) -> None:
    vote = MajorityVote(toy_classifier, LIMITS, votes=8, seed=3, redraw=redraw)
    images = torch.stack((toy_image, blob(5, 3), blob(6, 2.2)))
    transforms, probabilities = vote.ballots(images)
    for picture, image in enumerate(images):
        by_hand = toy_classifier.logits(warp(image[None], transforms[picture])).softmax(1)
        torch.testing.assert_close(probabilities[picture], by_hand)
        votes = torch.bincount(by_hand.argmax(1), minlength=2)
        expected = torch.log((votes + by_hand.mean(0)) / 9)
        torch.testing.assert_close(vote.logits(images)[picture], expected)
        majority = int(votes.argmax()) if votes[0] != votes[1] else int(by_hand.mean(0).argmax())
        assert int(vote.logits(images)[picture].argmax()) == majority


def test_a_tie_goes_to_the_higher_mean(toy_classifier: Classifier) -> None:
    class Fixed(torch.nn.Module):
        """Says class 0 with 0.9 where the corner is bright, else class 1 with 0.6."""

        def forward(self, x: Tensor) -> Tensor:
            bright = x[:, 0, 0, 0] > 0.5
            return torch.where(bright[:, None], torch.tensor([9.0, 1.0]).log(), torch.tensor([4.0, 6.0]).log())

    classifier = Classifier(Fixed(), class_names=["a", "b"], input_size=(8, 8), mean=(0.0,), std=(1.0,), name="fixed")
    vote = MajorityVote(classifier, TransformGrid(0, 4, 0), votes=2, seed=0)
    image = torch.ones(1, 1, 8, 8)
    transforms, probabilities = vote.ballots(image)
    assert sorted(probabilities[0].argmax(1).tolist()) == [0, 1], transforms
    assert int(vote.logits(image).argmax()) == 0  # 0.9 + 0.4 against 0.1 + 0.6


def test_the_draws_are_a_function_of_the_seed_or_of_the_query(toy_classifier: Classifier, toy_image: Tensor) -> None:
    images = torch.stack((toy_image, blob(5, 3)))
    once = MajorityVote(toy_classifier, LIMITS, votes=5, seed=1)
    assert torch.equal(once.ballots(images)[0][0], once.ballots(images)[0][1])
    assert torch.equal(once.ballots(images)[0][0], LIMITS.draw(5, seed=1, picture=VOTERS))
    anew = MajorityVote(toy_classifier, LIMITS, votes=5, seed=1, redraw=True)
    first, again = (anew.ballots(images)[0] for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first[0], first[1])
    assert torch.equal(anew.ballots(images[1:])[0][0], first[1]), "a draw must not depend on the batch"
    moved = warp(images, torch.tensor([[0.0, 1.0, 0.0]]))
    assert not torch.equal(anew.ballots(moved)[0][0], first[0]), "another transform of the picture is another query"
    assert "same for every picture" in once.name and "drawn anew for every query" in anew.name
    assert len({once.hash, anew.hash, MajorityVote(toy_classifier, LIMITS, votes=5, seed=2).hash}) == 3


def test_sweeps_and_attacks_run_on_a_vote_at_its_price(tmp_path: Path) -> None:
    image, label = load_sample("cifar10", 6)
    classifier = load_classifier("cifar10/standard")
    vote = MajorityVote(classifier, votes=3, seed=0)
    grid = TransformGrid(30, 3, 3, (5, 3, 3))
    landscape = sweep(vote, image, label, grid)
    assert json.loads(landscape.attrs["card"])["classifier"].startswith("cifar10/standard, vote of 3")
    worst = worst_case(landscape)
    at = worst.transform.tensor()
    assert int(vote.logits(warp(image[None], at)).argmax()) == worst.predicted
    assert landscape["loss"].attrs["long_name"] == landscape_summary(landscape)["loss_name"] == "vote loss"
    assert "loss_name" not in landscape_summary(sweep(classifier, image, label, grid))
    save(landscape, tmp_path / "vote.nc")
    assert load(tmp_path / "vote.nc").identical(landscape)
    found = WorstOfK(k=4)(vote, image[None], torch.tensor([label]), LIMITS)
    assert found.passes.tolist() == [4 * 3]
    climbed = FirstOrder(steps=2)(vote, image[None], torch.tensor([label]), LIMITS)
    assert climbed.passes.tolist() == [3 * 3] and climbed.backward_passes.tolist() == [2 * 3]
    with pytest.raises(InvalidInput, match="at least one voter; got votes=0"):
        MajorityVote(classifier, votes=0)
    with pytest.raises(InvalidInput, match="votes = 1,000,000 means 1,000,000 forward passes"):
        MajorityVote(classifier, votes=10**6)


def test_nothing_leaves_the_canvas(toy_classifier: Classifier) -> None:
    image = torch.ones(1, SIZE, SIZE)
    for limits in (LIMITS, TransformGrid(45, 0, 5), TransformGrid(180, 2, 2), TransformGrid(0, 3, 1)):
        canvas = BlackCanvas(toy_classifier, limits)
        placed = canvas.prepare(image)
        assert tuple(placed.shape[1:]) == canvas.input_size and canvas.picture_size == (SIZE, SIZE)
        extremes = torch.cat((limits.transforms(), limits.draw(50)))
        content = warp(placed[None], extremes).sum((1, 2, 3))
        torch.testing.assert_close(content, torch.full_like(content, SIZE * SIZE), rtol=0.01, atol=0)


def test_the_canvas_of_a_real_network_can_be_swept() -> None:
    image, label = load_sample("cifar10", 1)
    canvas = BlackCanvas(load_classifier("cifar10/standard"))
    landscape = sweep(canvas, canvas.prepare(image), label, TransformGrid(30, 3, 3, (3, 3, 3)))
    assert landscape["loss"].shape == (3, 3, 3)
    # The default limits are those of the picture, not of the canvas.
    assert float(sweep(canvas, canvas.prepare(image), label)["dx"].max()) == 3.0


@pytest.mark.parametrize("votes", [1, 2, 10])
def test_shares_of_votes_are_what_the_voters_say(votes: int, toy_classifier: Classifier, toy_image: Tensor) -> None:
    grid = TransformGrid(30, 3, 3, (7, 3, 3))
    vote = MajorityVote(toy_classifier, LIMITS, votes=votes, seed=1)
    landscape = sweep(vote, toy_image, 0, grid, device="cpu")
    shares = vote_shares(landscape, vote)
    _, ballots = vote.ballots(warp(toy_image.expand(len(grid), -1, -1, -1), grid.transforms()))
    counted = torch.stack([(ballots.argmax(2) == label).float().mean(1) for label in (0, 1)], 1).numpy()
    np.testing.assert_allclose(shares["share"].values.ravel(), counted[:, 0], atol=1e-6)
    np.testing.assert_allclose(shares["probabilities"].values.reshape(-1, 2), counted, atol=1.1e-4)
    # The prediction stays that of the vote, ties included.
    np.testing.assert_array_equal(shares["probabilities"].values.argmax(-1), landscape["predicted"].values)
    np.testing.assert_allclose(shares["confidence"].values.ravel(), counted.max(1), atol=1e-6)
    _, natural = vote.ballots(toy_image[None])
    assert float(shares["natural_share"]) == pytest.approx(float((natural.argmax(2) == 0).float().mean()))
    if votes == 10:
        assert len(np.unique(shares["share"])) > 3, "the example should have more than all and none"


def test_a_single_classifier_has_one_vote(toy_classifier: Classifier, toy_image: Tensor) -> None:
    landscape = sweep(toy_classifier, toy_image, 0, TransformGrid(30, 3, 3, (7, 3, 3)), device="cpu")
    shares = vote_shares(landscape, toy_classifier)
    np.testing.assert_array_equal(shares["share"], landscape["predicted"] == 0)
    np.testing.assert_array_equal(shares["probabilities"].argmax("class"), landscape["predicted"])
    assert set(np.unique(shares["share"])) == {0, 1} and float(shares["confidence"].min()) == 1
    assert float(shares["natural_share"]) == (int(landscape["natural_predicted"]) == 0)
    np.testing.assert_array_equal(shares["loss"], landscape["loss"])
