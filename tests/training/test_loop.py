"""Training: the data pipeline, the worst of k, and a loop that goes on where it was cut off."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from toy_training import add_small_networks, plan, toy_pictures

from spatial_viz.errors import InvalidInput
from spatial_viz.models.losses import cross_entropy, logit_margin
from spatial_viz.models.networks import SmallResNet, WhitenedConvNet
from spatial_viz.models.registry import load_trained
from spatial_viz.training import trainer
from spatial_viz.training.adversaries import worst_candidate, worst_noise
from spatial_viz.training.data import PictureSet, augment, split_validation, to_images
from spatial_viz.training.log import read_metrics
from spatial_viz.training.loop import accuracy_under_attack, train
from spatial_viz.training.plan import candidates_at, epsilon_at
from spatial_viz.training.recipes import RECIPES, find_recipe
from spatial_viz.training.trainer import Lookahead
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid, draw_transforms


@pytest.fixture
def data() -> PictureSet:
    return toy_pictures()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    add_small_networks(monkeypatch)


def test_the_validation_split_is_disjoint_balanced_and_fixed(data: PictureSet) -> None:
    numbered = PictureSet(torch.arange(120)[:, None, None, None], data.labels, data.class_names)
    training, validation = split_validation(numbered, 24)
    assert len(training) == 96 and len(validation) == 24
    assert not set(training.pictures.flatten().tolist()) & set(validation.pictures.flatten().tolist())
    assert validation.labels.bincount().tolist() == [6] * 4
    assert torch.equal(split_validation(numbered, 24)[1].pictures, validation.pictures)


def test_flips_alternate_and_crops_move_by_at_most_an_eighth(data: PictureSet) -> None:
    indices = torch.arange(40)
    first, second = (augment(data, indices, epoch, seed=0, crop=False) for epoch in (0, 1))
    plain = to_images(data.pictures[indices])
    assert torch.equal(first.flip(3), second)
    flipped = [not torch.equal(a, b) for a, b in zip(first, plain, strict=True)]
    assert 5 < sum(flipped) < 35
    cropped = augment(data, indices, 0, seed=0, crop=True)
    assert torch.equal(cropped, augment(data, indices, 0, seed=0, crop=True))
    alone = augment(data, indices[7:8], 0, seed=0, crop=True)
    assert torch.equal(alone[0], cropped[7]), "a draw must not depend on the batch"
    inner = first[:, :, 8:24, 8:24]
    moved = [
        any(torch.equal(cropped[i, :, y : y + 16, x : x + 16], inner[i]) for y in range(4, 13) for x in range(4, 13))
        for i in range(40)
    ]
    assert all(moved)


def test_a_crop_moves_each_side_by_at_most_an_eighth_of_it() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).expand(200, 16, 64)  # a column's number
    both = torch.stack((ramp, torch.arange(16, dtype=torch.uint8)[:, None].expand(200, 16, 64)), 3)
    wide = PictureSet(both, torch.zeros(200, dtype=torch.long), ("a", "b"), mirrored=False)
    middle = augment(wide, torch.arange(200), 0, seed=0, crop=True)[:, :, 8, 32] * 255
    across, down = (middle.round() - torch.tensor([32.0, 8.0])).unbind(1)
    assert (across.min(), across.max()) == (-8, 8) and (down.min(), down.max()) == (-2, 2)


def test_the_worst_candidate_has_the_highest_loss() -> None:
    class Brightness(nn.Module):
        """Its loss for class 0 grows with the light on the right side: no doubt which candidate is the worst."""

        def forward(self, x: Tensor) -> Tensor:
            right = x[:, 0, :, 16:].mean((1, 2)) * 20
            return torch.stack((torch.zeros_like(right), right), 1)

    network = Brightness()
    images = torch.zeros(3, 1, 32, 32)
    images[:, :, 12:20, 8:16] = 1
    draws = draw_transforms(TransformGrid(30, 8, 8), np.arange(3), 10, seed=0)
    labels = torch.zeros(3, dtype=torch.long)
    chosen = worst_candidate(network, images, labels, draws)
    losses = torch.stack([cross_entropy(network(warp(images, draws[:, k])), labels) for k in range(10)])
    torch.testing.assert_close(cross_entropy(network(chosen), labels), losses.amax(0), atol=0.02, rtol=0.01)


def test_a_picture_whose_losses_are_no_numbers_still_gets_one_of_its_candidates() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 2), torch.nan)

    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    draws = draw_transforms(TransformGrid(30, 3, 3), np.arange(3), 4, seed=0)
    chosen = worst_candidate(Broken(), images, torch.zeros(3, dtype=torch.long), draws)
    torch.testing.assert_close(chosen, warp(images, draws[:, 3]))


def test_candidates_grow_and_reach_their_number() -> None:
    recipe = RECIPES["worst-of-10-30"]
    counts = [candidates_at(recipe, epoch, plan(epochs=10)) for epoch in range(10)]
    assert counts[0] == 1 and counts[-1] == 10 and counts == sorted(counts)
    assert candidates_at(recipe, 0, plan(epochs=10, initial="trained.safetensors")) == 5
    assert candidates_at(RECIPES["standard"], 0, plan(epochs=10)) == 0


def test_the_noise_grows_for_the_first_half(
    data: PictureSet, small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = find_recipe("linf-8", "mnist")
    grown = [epsilon_at(recipe, progress, plan()) for progress in (0.01, 0.25, 0.5, 1.0)]
    assert grown == pytest.approx([0.006, 0.15, 0.3, 0.3])
    assert epsilon_at(recipe, 0.01, plan(initial="trained.safetensors")) == 0.3
    taken: list[float] = []
    monkeypatch.setattr(
        trainer, "worst_noise", lambda network, images, labels, epsilon: taken.append(epsilon) or images
    )
    train(plan(recipe="linf-8"), data, tmp_path)
    assert taken[0] < taken[1] and taken[-1] == pytest.approx(8 / 255)


@pytest.mark.parametrize(
    ("recipe", "network"), [*((name, "tiny") for name in sorted(RECIPES)), ("standard", "tiny-resnet")]
)
def test_every_recipe_learns_and_writes_what_it_promises(
    recipe: str, network: str, data: PictureSet, small: None, tmp_path: Path
) -> None:
    train(plan(recipe=recipe, network=network, epochs=15), data, tmp_path)
    metrics = read_metrics(tmp_path)
    assert [line["epoch"] for line in metrics.epochs] == list(range(1, 16))
    assert metrics.epochs[-1]["validation_accuracy"] > 0.6  # chance is 0.25
    weights = load_file(tmp_path / "weights.safetensors")
    assert all(value.dtype == torch.float16 for value in weights.values())
    assert not any("num_batches_tracked" in name for name in weights)


def test_after_every_epoch_validation_pictures_are_attacked_as_an_evaluation_would(
    data: PictureSet, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spatial_viz.training.loop.ATTACKED", 21)
    network = train(plan(network="smooth", epochs=2, validation=60), data, tmp_path)
    _, held_out = split_validation(data, 60)
    places = np.linspace(0, 59, 21).astype(int)
    images, draws = to_images(held_out.pictures[places]), draw_transforms(TransformGrid.paper(32), places, 10, seed=0)
    right = torch.ones(21, dtype=torch.bool)
    with torch.no_grad():
        for moves in (torch.zeros(21, 3), *draws.unbind(1)):
            right &= network.eval()(warp(images, moves)).argmax(1) == held_out.labels[places]
    assert 0 < right.sum() < 21, "choose another training, or nothing is tested"
    assert read_metrics(tmp_path).epochs[-1]["validation_worst_of_10"] == pytest.approx(right.double().mean().item())
    network.train()
    accuracy_under_attack(network, held_out)
    assert network.training
    assert accuracy_under_attack(network, held_out.subset(torch.arange(0))) is None


def test_an_interruption_of_the_validation_ends_the_training(
    data: PictureSet, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spatial_viz.attacks.spatial.WorstOfK.search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(plan(), data, tmp_path)


def test_invariance_pulls_the_two_predictions_together(data: PictureSet, small: None, tmp_path: Path) -> None:
    """The same training with and without the term: with it the turned pictures are answered more like the others."""
    limits = TransformGrid(30, 3, 3)
    apart = {}
    for weight in (0.0, 4.0):
        recipe = replace(RECIPES["invariant-30"], candidates=1, invariance=weight)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(RECIPES, "pulled", recipe)
            network = train(plan(recipe="pulled", epochs=8), data, tmp_path / str(weight)).eval()
        images = to_images(data.pictures)
        turned = warp(images, draw_transforms(limits, np.arange(len(images)), 1, seed=9)[:, 0])
        with torch.no_grad():
            one, other = (network(part).log_softmax(1) for part in (turned, images))
        apart[weight] = float(nn.functional.kl_div(one, other, log_target=True, reduction="batchmean"))
    assert apart[4.0] < 0.7 * apart[0.0]


def test_worst_noise_raises_the_loss_within_epsilon(data: PictureSet) -> None:
    torch.manual_seed(0)
    network = SmallResNet(classes=4, widths=(4, 8, 8, 8))
    images, labels = to_images(data.pictures[:20]), data.labels[:20]
    noisy = worst_noise(network, images, labels, 8 / 255)
    assert network.training and float((noisy - images).abs().max()) == pytest.approx(8 / 255, abs=1e-6)
    assert float(noisy.min()) >= 0 and float(noisy.max()) <= 1
    network.eval()
    with torch.no_grad():
        before, after = (cross_entropy(network(part), labels) for part in (images, noisy))
    assert bool((after > before).all())


def test_recipes_fit_their_data_sets() -> None:
    assert find_recipe("linf-8", "cifar10").epsilon == 8 / 255 and find_recipe("linf-8", "mnist").epsilon == 0.3
    assert find_recipe("standard", "mnist").epsilon == 0


def test_the_first_layer_whitens_patches() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(50, 3, 1, 1, generator=generator) + 0.3 * torch.randn(50, 3, 16, 16, generator=generator)
    network = WhitenedConvNet(widths=(8, 8, 8))
    network.whiten(images)
    filtered = network.whitening(images).detach().transpose(0, 1).flatten(1)
    assert torch.equal(filtered[:12], -filtered[12:])
    correlations = filtered[:12] @ filtered[:12].T / filtered.shape[1]
    torch.testing.assert_close(correlations, torch.eye(12), atol=0.02, rtol=0)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert "whitening.weight" not in trained and "whitening.bias" in trained


@pytest.mark.parametrize("colours", [[[255, 0, 0], [0, 0, 255]], [[9, 9, 9], [9, 9, 9]]], ids=["two", "one"])
def test_flat_pictures_can_be_trained_on(colours: list[list[int]], small: None, tmp_path: Path) -> None:
    """One colour each: a channel is the same everywhere, and patches have no variance but that of the colours."""
    labels = torch.arange(64) % 2
    flat = torch.tensor(colours, dtype=torch.uint8)[labels][:, None, None].expand(-1, 16, 16, -1).contiguous()
    train(plan(epochs=1, validation=16), PictureSet(flat, labels, ("a", "b")), tmp_path)
    classifier = load_trained(tmp_path)
    assert classifier.logits(to_images(flat[:2])).isfinite().all() and min(classifier.std) > 0


def test_a_training_may_have_names_of_any_bytes(data: PictureSet, small: None, tmp_path: Path) -> None:
    """Folders named in Latin-1 reach the page with the curves and the name of the classifier."""
    name = os.fsdecode(b"donn\xe9es")
    train(plan(epochs=1, data=name), data, tmp_path / name)
    assert "données, standard, tiny: training" in (tmp_path / name / "training.html").read_text(encoding="utf-8")
    assert load_trained(tmp_path / name).name.endswith("/données")
    train(plan(epochs=1, data=name), data, tmp_path / name, resume=True)


def test_lookahead_sets_the_weights_back_to_their_average() -> None:
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = Lookahead(network)
    start = network[0].weight.item()
    network[0].weight.data += 1.0
    network[1].running_mean += 2.0
    average.step(network, 0.75)
    assert network[0].weight.item() == pytest.approx(start + 0.25)
    assert network[1].running_mean.item() == pytest.approx(0.5)
    average.step(network, 0.0)  # an average without memory leaves the weights alone
    assert network[0].weight.item() == pytest.approx(start + 0.25)


def test_training_can_begin_from_other_weights(data: PictureSet, small: None, tmp_path: Path) -> None:
    train(plan(), data, tmp_path / "first")
    initial = str(tmp_path / "first" / "weights.safetensors")
    train(plan(epochs=1, learning_rate=1e-6, initial=initial), data, tmp_path / "second")
    first, second = (load_file(tmp_path / name / "weights.safetensors") for name in ("first", "second"))
    torch.testing.assert_close(first["head.weight"], second["head.weight"], atol=1e-2, rtol=0.01)
    (start,) = read_metrics(tmp_path / "second").starts
    assert start["began_from"] == hashlib.sha256(Path(initial).read_bytes()).hexdigest()


def test_training_without_momentum(data: PictureSet, small: None, tmp_path: Path) -> None:
    train(plan(epochs=1, momentum=0.0), data, tmp_path)
    assert (tmp_path / "weights.safetensors").is_file()


def test_unknown_recipes() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'standard'"):
        find_recipe("standrad")


def test_the_margin_is_the_true_logit_minus_the_best_other() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    assert logit_margin(logits, torch.tensor([0, 2])).tolist() == [1.0, -1.0]
