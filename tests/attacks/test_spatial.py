"""Attacks: laws that hold for all of them, and known answers on the toy classifier."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import SIZE, Centroid, blob, toy_logit

from benchmarks.attacks import until_broken
from spatial_viz.attacks.base import Attack, AttackResult, Criterion, Goal, SearchState, misclassified, targeted
from spatial_viz.attacks.factory import Combined
from spatial_viz.attacks.linf import Linf
from spatial_viz.attacks.spatial import FirstOrder, GridSearch, Random, Refine, WorstOfK
from spatial_viz.data.samples import load_sample
from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.landscape.dataset import severity_order
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.losses import cross_entropy, logit_margin
from spatial_viz.models.registry import load_classifier
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid

LIMITS = TransformGrid(30, 3, 3)
SMALL = (7, 3, 3)
SPATIAL = [GridSearch(granularity=SMALL), WorstOfK(k=6), Random(), FirstOrder(steps=8, restarts=2),
           Refine(granularity=SMALL, top=2, steps=4)]  # fmt: skip
ALL = [*SPATIAL, Linf(steps=3), Combined(spatial=WorstOfK(k=3), noise=Linf(steps=2))]


@pytest.fixture(scope="module")
def standard() -> Classifier:
    return load_classifier("cifar10/standard")


@pytest.fixture(scope="module")
def pictures() -> tuple[Tensor, Tensor]:
    samples = [load_sample("cifar10", index) for index in range(4)]
    return torch.stack([image for image, _ in samples]), torch.tensor([label for _, label in samples])


def severity(result: AttackResult, picture: int) -> tuple[bool, float]:
    return bool(result.success[picture]), float(result.losses[picture])


def never_behind(result: AttackResult, other: AttackResult, picture: int) -> None:
    """But for rounding, which is another in another batch."""
    success, loss = severity(other, picture)
    assert severity(result, picture)[0] >= success
    assert severity(result, picture) >= (success, loss - 1e-5)


def named(attack: Attack) -> str:
    return attack.name


@pytest.mark.parametrize("attack", ALL, ids=named)
def test_laws_of_every_attack(attack: Attack, standard: Classifier, pictures: tuple[Tensor, Tensor]) -> None:
    images, labels = pictures
    found = attack(standard, images, labels, LIMITS, generator=3)
    assert found.attack == attack.name and found.complete and len(found) == len(images)
    reach = torch.tensor([LIMITS.rotation, LIMITS.dx, LIMITS.dy])
    assert (found.transforms.abs() <= reach + 1e-6).all()
    # A result is reproduced by warping with its transform and adding its noise.
    noise = torch.zeros_like(images) if found.noise is None else found.noise
    logits = standard.logits(warp(images, found.transforms) + noise)
    torch.testing.assert_close(cross_entropy(logits, labels), found.losses, atol=2e-4, rtol=1e-4)
    assert torch.equal(logits.argmax(1), found.predicted)
    assert torch.equal(found.predicted != labels, found.success)
    natural = standard.logits(images).argmax(1) != labels
    assert torch.equal(found.natural_success, natural)
    assert torch.equal(found.robust, ~(found.success | natural))
    assert (found.passes > 0).all() and (found.backward_passes >= 0).all()


@pytest.mark.parametrize("attack", ALL, ids=named)
def test_the_same_seed_gives_the_same_result_in_any_batch(
    attack: Attack, standard: Classifier, pictures: tuple[Tensor, Tensor]
) -> None:
    images, labels = pictures
    together = attack(standard, images, labels, LIMITS, generator=torch.Generator().manual_seed(5))
    for picture in (2, 0):
        alone = attack(standard, images[[picture]], labels[[picture]], LIMITS, 5, indices=torch.tensor([picture]))
        torch.testing.assert_close(alone.transforms[0], together.transforms[picture], atol=1e-3, rtol=0)
        torch.testing.assert_close(alone.losses[0], together.losses[picture], atol=2e-3, rtol=1e-3)
        assert alone.passes[0] == together.passes[picture]
        assert alone.backward_passes[0] == together.backward_passes[picture]


def test_what_each_attack_asks(standard: Classifier, pictures: tuple[Tensor, Tensor]) -> None:
    images, labels = pictures
    asked = {attack.name: attack(standard, images, labels, LIMITS) for attack in ALL}
    passes = {name: (set(found.passes.tolist()), set(found.backward_passes.tolist())) for name, found in asked.items()}
    assert passes == {
        "grid": ({63}, {0}),
        "worst-of-k": ({6}, {0}),
        "random": ({1}, {0}),
        "first-order": ({2 * 9}, {2 * 8}),
        "refine": ({63 + 2 * 5}, {2 * 4}),
        "linf": ({3 + 1}, {3}),
        "combined": ({3 + 2 + 1}, {2}),
    }


def test_a_larger_k_is_never_behind_a_smaller(standard: Classifier, pictures: tuple[Tensor, Tensor]) -> None:
    images, labels = pictures
    results = [WorstOfK(k=k)(standard, images, labels, LIMITS, 1) for k in (1, 2, 5, 20, 60)]
    for smaller, larger in pairwise(results):
        for picture in range(len(images)):
            never_behind(larger, smaller, picture)


def test_refine_is_never_behind_grid(standard: Classifier, pictures: tuple[Tensor, Tensor]) -> None:
    images, labels = pictures
    grid = GridSearch(granularity=SMALL)(standard, images, labels, LIMITS)
    refined = Refine(granularity=SMALL, top=3, steps=6)(standard, images, labels, LIMITS)
    for picture in range(len(images)):
        never_behind(refined, grid, picture)
    assert any(severity(refined, n)[1] > severity(grid, n)[1] + 1e-3 for n in range(len(images)))


def test_the_known_worst_case_of_the_toy_is_found(toy_classifier: Classifier, toy_image: Tensor) -> None:
    images, labels = toy_image[None], torch.tensor([0])
    fine = [np.linspace(-limit, limit, 121) for limit in (30, 3, 3)]
    truth = toy_logit(*np.meshgrid(*fine, indexing="ij")).max()  # the loss grows with this logit
    worst = float(np.log1p(np.exp(truth)))
    grid = GridSearch()(toy_classifier, images, labels, LIMITS)
    climbed = FirstOrder(steps=100)(toy_classifier, images, labels, LIMITS)
    many = WorstOfK(k=20_000)(toy_classifier, images, labels, LIMITS)
    # The landscape of the toy has a single top, so the gradient leads there; random draws come close.
    assert float(grid.losses) == pytest.approx(worst, abs=0.05)
    assert float(climbed.losses) == pytest.approx(worst, abs=0.05)
    assert worst - 0.3 < float(many.losses) <= worst + 0.01
    assert climbed.paths is not None and climbed.path_losses is not None
    assert climbed.path_losses[0, 0, -1] > climbed.path_losses[0, 0, 0]


def test_paths_begin_where_they_are_told_to(toy_classifier: Classifier, toy_image: Tensor) -> None:
    starts = ((5.0, -1.0, 0.5), (90.0, 0.0, -9.0))  # the second lies outside, and is brought within
    images, labels = torch.stack([toy_image, toy_image]), torch.tensor([0, 0])
    found = FirstOrder(steps=3, restarts=7, starts=starts)(toy_classifier, images, labels, LIMITS)
    assert found.paths is not None and found.paths.shape == (2, 2, 4, 3)
    for picture in range(2):
        assert found.paths[picture, :, 0].tolist() == [[5.0, -1.0, 0.5], [30.0, 0.0, -3.0]]
    assert found.passes.tolist() == [8, 8] and found.backward_passes.tolist() == [6, 6]


class ThreeWays(Centroid):
    """A third class where the blob is high up: the other way round than the second."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((super().forward(x), super().forward(x.flip(2))[:, 1:]), 1)


@pytest.fixture
def three_ways() -> Classifier:
    names = ["left", "down", "up"]
    return Classifier(ThreeWays(), class_names=names, input_size=(SIZE, SIZE), mean=(0.0,), std=(1.0,), name="3 ways")


@pytest.mark.parametrize("objective", ["cross-entropy", "margin"])
@pytest.mark.parametrize("criterion", [misclassified, targeted(0), targeted(2)])
def test_the_gradient_is_that_of_finite_differences(
    criterion: Criterion, objective: Goal, three_ways: Classifier, toy_image: Tensor
) -> None:
    at = torch.tensor([[4.0, 0.3, -0.6], [-11.0, 1.2, 0.8]])
    images, labels, rows = torch.stack((toy_image, blob(5, 3))), torch.tensor([0, 1]), torch.tensor([0, 1])
    query = SearchState(three_ways, images, labels, LIMITS, 0, None, "black", "cpu", criterion, objective)
    _, slope = query.value_and_grad(rows, at)
    for axis, step in enumerate((0.05, 0.01, 0.01)):
        by = torch.zeros(3)
        by[axis] = step
        up, down = (query.value(query.ask(rows, at + sign * by), labels) for sign in (1, -1))
        torch.testing.assert_close(slope[:, axis], (up - down) / (2 * step), atol=8e-3, rtol=0.03)


@pytest.mark.parametrize("objective", ["cross-entropy", "margin"])
@pytest.mark.parametrize("target", [0, 1, 2])
def test_a_targeted_ascent_climbs_to_its_target(
    target: int, objective: Goal, three_ways: Classifier, toy_image: Tensor
) -> None:
    images, labels = toy_image[None], torch.tensor([1])
    attack = FirstOrder(steps=60, restarts=6, criterion=targeted(target), objective=objective)
    found = attack(three_ways, images, labels, LIMITS)
    assert bool(found.success) and int(found.predicted) == target
    assert found.paths is not None and found.path_losses is not None
    ends = three_ways.logits(warp(images.expand(6, -1, -1, -1), found.paths[0, :, -1]))
    assert (ends.argmax(1) == target).all(), "every start leads there"
    # What is reported is the cross-entropy of the label, whatever the target.
    torch.testing.assert_close(found.path_losses[0, :, -1], cross_entropy(ends, labels.expand(6)), atol=1e-4, rtol=1e-4)
    for other in (WorstOfK(k=20), GridSearch(granularity=SMALL)):
        aimed = replace(other, criterion=attack.criterion, objective=objective)(three_ways, images, labels, LIMITS)
        assert int(aimed.predicted) == target
        reached, best = (logit_margin(three_ways.logits(warp(images, each.transforms)), torch.tensor([target]))
                         for each in (aimed, found))  # fmt: skip
        assert reached <= best + 0.05
    with pytest.raises(InvalidInput, match="0 to 2 of 3 ways; got 3"):
        replace(attack, criterion=targeted(3))(three_ways, images, labels, LIMITS)


@pytest.mark.parametrize("criterion", [misclassified, targeted(1), lambda found, labels: found > labels])
def test_the_running_best_is_the_first_of_the_full_order(criterion: Criterion, three_ways: Classifier) -> None:
    def seen(count: int) -> tuple[Tensor, Tensor, Tensor]:
        few = torch.randint(0, 3, (count, 3), generator=random).float()  # few values: many ties
        moves = torch.randint(-1, 2, (count, 3), generator=random).float()
        return torch.randint(0, 5, (count,), generator=random), moves, few

    for number in range(20):
        random = torch.Generator().manual_seed(number)
        labels = torch.randint(0, 3, (6,), generator=random)
        images = blob(8, 0).expand(6, -1, -1, -1)  # nothing is asked about the last
        query = SearchState(three_ways, images, labels, LIMITS, 0, None, "black", "cpu", criterion, "cross-entropy")
        natural = query.best()[1].clone()
        chunks = [seen(count) for count in (1, 40, 7, 25)]
        for chunk in chunks:
            query._record(*chunk)
        pictures, transforms, logits = (torch.cat(parts) for parts in zip(*chunks, strict=True))
        order = query.severity(pictures, transforms, logits)
        best_transforms, best_logits = query.best()
        for picture in range(5):
            if first := [row for row in order.tolist() if pictures[row] == picture][:1]:
                assert torch.equal(best_transforms[picture], transforms[first[0]])
                assert torch.equal(best_logits[picture], logits[first[0]])
        assert not best_transforms[5].any() and torch.equal(best_logits[5], natural[5])


@pytest.mark.parametrize("limit", [1, 3])
def test_noise_halves_its_batch_when_memory_is_short(limit: int, toy_classifier: Classifier) -> None:
    class Greedy(Centroid):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > limit and torch.is_grad_enabled():
                raise torch.OutOfMemoryError("pretend")
            return super().forward(x)

    greedy = Classifier(Greedy(), class_names=["left", "right"], input_size=(SIZE, SIZE), mean=(0.0,), std=(1.0,))
    images, labels = torch.stack([blob(8, n) for n in range(10)]), torch.ones(10, dtype=torch.int64)
    done: list[float] = []
    attack = Linf(epsilon=4 / 255, steps=3)
    found = attack(greedy, images, labels, LIMITS, report=lambda now, total: done.append(now / total))
    usual = attack(toy_classifier, images, labels, LIMITS)
    assert found.noise is not None and usual.noise is not None and usual.noise.any()
    torch.testing.assert_close(found.noise, usual.noise)
    torch.testing.assert_close(found.losses, usual.losses)
    assert found.passes.tolist() == [3 + 1] * 10 and found.backward_passes.tolist() == [3] * 10
    assert done == sorted(done) and done[-1] == 1 and len(done) >= 3 * (10 // limit)


def test_interrupted_noise_is_kept_as_far_as_it_came(standard: Classifier, pictures: tuple[Tensor, Tensor]) -> None:
    def stop(done: float, total: int) -> None:
        if done >= total / 2:
            raise KeyboardInterrupt

    images, labels = pictures
    found = Linf(steps=4)(standard, images, labels, LIMITS, report=stop)
    assert not found.complete and found.noise is not None and found.noise.any()
    assert found.backward_passes.tolist() == [2] * 4


def test_criterion_and_objective_are_the_callers(standard: Classifier, pictures: tuple[Tensor, Tensor]) -> None:
    images, labels = pictures
    usual = GridSearch(granularity=SMALL)(standard, images, labels, LIMITS)
    by_hand = GridSearch(granularity=SMALL, criterion=lambda p, y: p != y)(standard, images, labels, LIMITS)
    assert torch.equal(usual.success, by_hand.success)
    torch.testing.assert_close(usual.losses, by_hand.losses, atol=1e-4, rtol=1e-4)
    target = int(usual.predicted[0]) if usual.success[0] else 5
    aimed = GridSearch(granularity=SMALL, criterion=targeted(target))(standard, images, labels, LIMITS)
    assert torch.equal(aimed.success, aimed.predicted == target)
    margin = WorstOfK(k=30, objective="margin")(standard, images, labels, LIMITS)
    entropy = WorstOfK(k=30)(standard, images, labels, LIMITS)
    assert torch.equal(margin.success, entropy.success)
    with pytest.raises(InvalidInput, match="unknown objective 'margn'; did you mean 'margin'"):
        WorstOfK(objective="margn")(standard, images, labels, LIMITS)  # type: ignore[arg-type]


def test_noise_stays_within_epsilon_and_the_range_of_a_pixel(
    standard: Classifier, pictures: tuple[Tensor, Tensor]
) -> None:
    images, labels = pictures
    small, large = (Linf(epsilon=e / 255, steps=10)(standard, images, labels, LIMITS) for e in (1, 8))
    assert large.noise is not None and (large.noise.abs() <= 8 / 255 + 1e-6).all()
    assert ((images + large.noise) >= -1e-6).all() and ((images + large.noise) <= 1 + 1e-6).all()
    assert large.losses.sum() > small.losses.sum()
    assert bool(large.success.all()), "8/255 fools a network that never saw noise"
    assert not large.transforms.any()
    nothing = Linf(epsilon=0)(standard, images, labels, LIMITS)
    assert nothing.noise is not None and not nothing.noise.any()
    spatial = WorstOfK(k=3)(standard, images, labels, LIMITS)
    both = Combined(spatial=WorstOfK(k=3), noise=Linf(epsilon=1 / 255, steps=5))(standard, images, labels, LIMITS)
    assert torch.equal(both.transforms, spatial.transforms)
    assert (both.losses >= spatial.losses - 1e-5).all()


def test_limits_of_zero_leave_the_picture_as_it_is(standard: Classifier, pictures: tuple[Tensor, Tensor]) -> None:
    images, labels = pictures
    for attack in SPATIAL:
        found = attack(standard, images, labels, TransformGrid(0, 0, 0))
        assert not found.transforms.any()
        torch.testing.assert_close(found.losses, cross_entropy(standard.logits(images), labels), atol=2e-4, rtol=1e-3)


def test_a_picture_that_is_wrong_as_it_is_is_reported_as_such(
    standard: Classifier, pictures: tuple[Tensor, Tensor]
) -> None:
    images, labels = pictures
    found = Random()(standard, images[:1], (labels[:1] + 1) % 10, LIMITS)
    assert bool(found.natural_success[0]) and not bool(found.robust[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WorstOfK(k=0), "k must be 1 or more; got 0"),
        (lambda: FirstOrder(steps=-1), "steps must be 0 or more; got -1"),
        (lambda: FirstOrder(restarts=0), "restarts must be 1 or more"),
        (lambda: WorstOfK(k=250_001), "k = 250,001 means 250,001 forward passes for every picture; at most 250,000"),
        (lambda: FirstOrder(restarts=2_000), "restarts = 2,000 with steps = 200 means 402,000 forward passes"),
        (lambda: FirstOrder(steps=10**12), "restarts = 1 with steps = 1,000,000,000,000 means 1,000,000,000,001 "),
        (lambda: Refine(top=10**9), "top = 1,000,000,000 with steps = 20 means 21,000,000,000 forward passes"),
        (lambda: Refine(steps=10**6), "top = 5 with steps = 1,000,000 means 5,000,005 forward passes"),
        (lambda: Linf(steps=10**6), "steps = 1,000,000 means 1,000,000 forward passes"),
        (lambda: FirstOrder(starts=((1.0, 2.0),)), "starts must be triples"),  # type: ignore[arg-type]
        (lambda: FirstOrder(step_size=(1, -1, 0)), "step_size must be three numbers"),
        (lambda: Refine(top=0), "top must be 1 or more"),
        (lambda: Linf(epsilon=-0.1), "between 0 and 1, the range of a pixel; got -0.1"),
        (lambda: Linf(epsilon=1.5), "got 1.5"),
        (lambda: Linf(steps=0), "steps must be 1 or more"),
        (lambda: TransformGrid(float("nan"), 3, 3), "the limit of rotation must be a number"),
    ],
)
def test_bad_settings(make: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make()  # type: ignore[operator]


def test_pictures_and_labels_have_to_fit(standard: Classifier, pictures: tuple[Tensor, Tensor]) -> None:
    images, labels = pictures
    with pytest.raises(InvalidInput, match="0 to 9"):
        Random()(standard, images, labels + 9, LIMITS)
    with pytest.raises(InvalidInput, match="4 pictures need as many labels; got 3"):
        Random()(standard, images, labels[:3], LIMITS)
    with pytest.raises(InvalidInput, match="expected N×C×H×W"):
        Random()(standard, images[0], labels[:1], LIMITS)


def test_nan_is_named_with_its_transform() -> None:
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits = torch.stack((x.mean((1, 2, 3)), x.amax((1, 2, 3))), 1)
            return torch.where((x[:, :1, 0, 0] > 0), logits, torch.nan)  # the corner turns black: NaN

    broken = Classifier(
        Breaks(), class_names=["a", "b"], input_size=(SIZE, SIZE), mean=(0.0,), std=(1.0,), name="breaks"
    )
    with pytest.raises(SpatialVizError, match=r"breaks returned a value that is not finite at rotation -?\d"):
        WorstOfK(k=20)(broken, torch.ones(1, 1, SIZE, SIZE), torch.tensor([0]), LIMITS)


def test_what_was_found_before_an_interruption_is_returned(
    standard: Classifier, pictures: tuple[Tensor, Tensor]
) -> None:
    images, labels = pictures

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    found = GridSearch(granularity=SMALL)(standard, images, labels, LIMITS, report=stop)
    whole = GridSearch(granularity=SMALL)(standard, images, labels, LIMITS)
    assert not found.complete
    assert torch.equal(found.transforms[:2], whole.transforms[:2])
    assert not found.transforms[2:].any() and not found.passes[2:].any()


def test_the_result_is_the_first_in_the_severity_order(standard: Classifier, pictures: tuple[Tensor, Tensor]) -> None:
    images, labels = pictures
    draws = LIMITS.draw(40, seed=2, picture=1)
    logits = standard.logits(warp(images[[1]], draws))
    loss = cross_entropy(logits, labels[[1]].expand(40))
    order = severity_order((logits.argmax(1) != labels[1]).numpy(), loss.detach().numpy(), *draws.numpy().T)
    found = WorstOfK(k=40)(standard, images, labels, LIMITS, generator=2)
    torch.testing.assert_close(found.transforms[1], draws[order[0]])


def test_starts_until_broken_leave_the_same_pictures_standing(
    standard: Classifier, pictures: tuple[Tensor, Tensor]
) -> None:
    images, labels = pictures
    labels = torch.where(torch.arange(4) == 3, (labels + 1) % 10, labels)  # wrong as it is: done after one run
    attack, asked = Random(), torch.zeros(4, dtype=torch.int64)
    first = attack(standard, images, labels, LIMITS, 10)
    robust, passes, backward = until_broken(attack, first, 6, standard, images, labels, LIMITS, 10)
    runs = [attack(standard, images, labels, LIMITS, 10 + start).robust for start in range(6)]
    for picture in range(4):
        broken = [start for start, stood in enumerate(runs) if not stood[picture]]
        asked[picture] = broken[0] + 1 if broken else 6
    assert robust.tolist() == torch.stack(runs).all(0).tolist() and not robust[3]
    assert torch.equal(passes, asked) and passes[3] == 1 and not backward.any()
    assert len(set(passes.tolist())) > 1


def test_settings_can_be_changed_like_those_of_any_dataclass() -> None:
    assert replace(WorstOfK(k=3), k=4) == WorstOfK(k=4)
