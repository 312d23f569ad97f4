"""A network is taken as it is: copied and made faster only where that gives its own answers, and seen to change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.errors import InvalidInput
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.inference import exact_logits, runner_for
from spatial_viz.models.losses import cross_entropy
from spatial_viz.models.networks import fold_batch_norm
from spatial_viz.models.registry import load_classifier
from spatial_viz.transforms.grids import TransformGrid

GRID = TransformGrid(30, 3, 3, (3, 3, 3))
NAMES = list("abcdefghij")


def with_norm(outputs: int = 10) -> nn.Sequential:
    """A network whose batch norms have statistics of their own, and whose logits spread."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, outputs),
    )  # fmt: skip
    for _ in range(3):
        network(torch.rand(16, 3, 32, 32) ** 2)
    network[-1].weight.data.mul_(5)
    return network.eval()


def classifier(network: Any, **options: Any) -> Classifier:
    return Classifier(network, class_names=NAMES, input_size=(32, 32), **options)


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))


class Tutorial(nn.Module):
    """Flattens with ``view``, which channels-last memory does not allow."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features, self.head = nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(4)), nn.Linear(294, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head(x.view(x.size(0), -1))


class Locked(nn.Module):
    """Holds a lock, as a client or a session does: it cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock, self.inner = threading.Lock(), with_norm()

    def forward(self, x: Tensor) -> Tensor:
        with self.lock:
            return self.inner(x)


class SwappedNorms(nn.Module):
    """Its batch norms are registered behind the wrong convolutions."""

    def __init__(self) -> None:
        super().__init__()
        inner = with_norm()
        self.first, self.norm_of_second, self.second, self.norm_of_first = inner[0], inner[4], inner[3], inner[1]
        self.head = inner[-1]

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_of_first(self.first(x)).relu()
        return self.head(self.norm_of_second(self.second(x)).relu().mean((2, 3)))


class Casting(nn.Module):
    """Computes in bf16 inside."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3, 10).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.mean((2, 3)).bfloat16()).float()


def weight_norm() -> nn.Module:
    network = with_norm()
    network[0] = nn.utils.parametrizations.weight_norm(network[0])
    return network


FOREIGN: dict[str, Callable[[], Any]] = {
    "view": Tutorial,
    "lock": Locked,
    "registered in another order": SwappedNorms,
    "casts inside": Casting,
    "weight_norm": weight_norm,
    "spectral_norm": lambda: nn.Sequential(nn.utils.spectral_norm(with_norm()[0]), nn.Flatten(), nn.Linear(1800, 10)),
    "a function": lambda: lambda x: x.mean((2, 3)) @ torch.arange(30.0).reshape(3, 10),
    "TorchScript": lambda: torch.jit.script(with_norm()),
    "DataParallel": lambda: nn.DataParallel(with_norm()),
    "double": lambda: with_norm().double(),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.filterwarnings("ignore")
def test_foreign_networks_answer_as_they_do_alone(make: Callable[[], Any], image: Tensor) -> None:
    network = make()
    model = classifier(network)
    with torch.no_grad():
        own = network(image[None].double() if make is FOREIGN["double"] else image[None]).float()
    landscape = sweep(model, image, 1, GRID)
    truth = float(cross_entropy(own, torch.tensor([1])))
    assert abs(float(landscape["natural_loss"]) - truth) < 1e-4
    assert abs(float(landscape["loss"].sel(rotation=0, dy=0, dx=0)) - truth) < 1e-4
    torch.testing.assert_close(model.logits(image[None]), own)


def test_own_networks_are_folded_and_laid_out_for_speed() -> None:
    form = runner_for(classifier(with_norm()), "cpu", "fp32").reference.form
    assert form.copied and form.layout == torch.channels_last
    assert not any(isinstance(module, nn.BatchNorm2d) for module in form.network.modules())


def test_a_norm_behind_a_hooked_convolution_is_not_folded() -> None:
    network = with_norm()
    network[0]._forward_hooks[0] = lambda *_: None  # the first hook of a process has the number 0
    assert sum(isinstance(module, nn.BatchNorm2d) for module in fold_batch_norm(network).modules()) == 1


def test_what_differs_is_left_out() -> None:
    form = runner_for(classifier(SwappedNorms()), "cpu", "fp32").reference.form
    assert form.layout == torch.channels_last
    assert sum(isinstance(module, nn.BatchNorm2d) for module in form.network.modules()) == 2
    assert runner_for(classifier(Tutorial()), "cpu", "fp32").reference.form.layout == torch.contiguous_format


def test_int8_scaled_by_the_batch_is_asked_one_image_at_a_time(image: Tensor) -> None:
    class Coarse(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            step = x.abs().max() / 127  # of the whole batch, as dynamic quantisation does
            return ((x / step).round() * step).flatten(1)[:, :10] * 10

    model = classifier(Coarse())
    assert runner_for(model, "cpu", "fp32").reference.form.alone
    landscape = sweep(model, image, 1, GRID)
    assert float(landscape["natural_loss"]) == float(landscape["loss"].sel(rotation=0, dy=0, dx=0))


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = with_norm()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(F.dropout(x, 0.5))  # the habitual slip: training=self.training is missing


class KeptInTraining(nn.Module):
    """Batch norm that goes on adapting, whatever is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = with_norm()

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def without_statistics() -> nn.Module:
    network = with_norm()
    network[1] = nn.BatchNorm2d(8, track_running_stats=False)
    return network


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Dropping, "answers the same picture differently each time"),
        (KeptInTraining, "answers a picture differently alone and in a batch"),
        (without_statistics, "answers a picture differently alone and in a batch"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), "weights that are not initialised: run one batch"),
    ],
    ids=["dropout", "training mode", "batch statistics", "lazy"],
)
def test_answers_that_vary_are_refused(make: Any, message: str, image: Tensor) -> None:
    model = classifier(make())
    for _ in range(2):
        with pytest.raises(InvalidInput, match=message):
            sweep(model, image, 1, GRID)


@pytest.mark.parametrize("how", ["a step of training", ".data", "load_state_dict", "a setting"])
def test_a_network_that_changed_is_asked_anew(how: str, image: Tensor) -> None:
    network = with_norm()
    model = classifier(network)
    vote = MajorityVote(model, GRID, votes=3)
    before, votes_before, hash_before = (
        sweep(model, image, 1, GRID),
        exact_logits(vote, image, torch.zeros(1, 3)),
        model.hash,
    )
    if how == "a step of training":
        network.train()
        F.cross_entropy(network(torch.rand(8, 3, 32, 32)), torch.ones(8, dtype=torch.long)).backward()
        torch.optim.SGD(network.parameters(), 1.0).step()
        network.eval()
    elif how == ".data":
        network[-1].weight.data *= -1
    elif how == "load_state_dict":
        network.load_state_dict({name: value * 1.5 for name, value in network.state_dict().items()})
    else:
        network[3].stride = (2, 2)
    after = sweep(model, image, 1, GRID)
    with torch.no_grad():
        truth = float(cross_entropy(model.logits(image[None]), torch.tensor([1])))
    assert abs(float(after["natural_loss"]) - truth) < 1e-4 < abs(float(before["natural_loss"]) - truth)
    assert model.hash != hash_before
    assert not torch.equal(exact_logits(vote, image, torch.zeros(1, 3)), votes_before)


def test_a_calibration_holds_for_one_network() -> None:
    model = load_classifier("cifar10/standard")
    assert model.margin_error and runner_for(model, "cpu", "bf16").margin_error == model.margin_error
    next(model.network.parameters()).data *= 1.01
    assert model.margin_error is None
    with pytest.raises(InvalidInput, match="not calibrated for bf16"):
        runner_for(model, "cpu", "bf16")
    model.margin_error = 0.5
    assert runner_for(model, "cpu", "bf16").margin_error == 0.5


def test_a_network_that_cannot_be_copied_keeps_its_mode(image: Tensor) -> None:
    network = Locked()
    network.inner.append(nn.Dropout())
    model = classifier(network)
    expected = sweep(model, image, 1, GRID)
    network.train()
    network.inner[1].eval()  # frozen statistics
    again = sweep(model, image, 1, GRID)
    assert network.training and network.inner.training and not network.inner[1].training
    assert float(abs(again["loss"] - expected["loss"]).max()) == 0


def test_a_norm_that_only_some_pictures_meet_is_not_folded() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inner = with_norm()
            self.convolution, self.norm, self.head = inner[0], inner[1], inner[-1]

        def forward(self, x: Tensor) -> Tensor:
            seen = self.convolution(x)
            bright = x.mean((1, 2, 3), keepdim=True) > 0.7  # as no noise is
            return self.head(torch.where(bright, seen, self.norm(seen)).relu().mean((2, 3)))

    model, bright = classifier(Branching()), torch.full((3, 32, 32), 0.9)
    with torch.no_grad():
        torch.testing.assert_close(exact_logits(model, bright, torch.zeros(1, 3)), model.logits(bright[None]))


def test_a_network_for_one_image_at_a_time_is_asked_so(image: Tensor) -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = with_norm()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.reshape(1, 3, 32, 32))

    assert len(sweep(classifier(One()), image, 1, GRID)["rotation"]) == 3


def test_weights_that_cannot_be_hashed_are_never_answered_from_an_old_copy(image: Tensor) -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.names, self.scale = with_norm(), (each for each in ()), torch.ones(1)

        def __deepcopy__(self, memo: Any) -> Held:
            copied = Held()
            copied.scale = self.scale.clone()
            return copied

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * self.scale

    network = Held()
    model = classifier(network)
    before = sweep(model, image, 1, GRID)
    network.scale *= 5
    after = sweep(model, image, 1, GRID)
    assert abs(float(after["natural_loss"]) - float(before["natural_loss"])) > 1e-3
