"""The hash of a classifier follows everything that decides its answers, and says what it cannot see."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn

from spatial_viz.classifiers import Classifier, load_classifier, manifest
from spatial_viz.fingerprint import Fingerprint


def digest(value: Any) -> str:
    mark = Fingerprint()
    mark.add(value)
    return mark.hexdigest()


class Net(nn.Module):
    """A linear network, and anything that it holds beside it."""

    scale = 1.0

    def __init__(self, **held: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3, 4)
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.mean((2, 3))) * self.scale


def twice(x: Tensor) -> Tensor:
    return 2 * x


def closing_over(order: list[int]) -> Callable[[Tensor], Tensor]:
    return lambda x: x[:, order]


DIFFERENT: dict[str, tuple[Any, Any]] = {
    "a list": ([0, 1, 2, 3], [3, 2, 1, 0]),
    "a nested list": ({"order": [(0, 1)]}, {"order": [(1, 0)]}),
    "a function": (torch.relu, torch.tanh),
    "a function of one's own": (twice, lambda x: 3 * x),
    "a constant in a function": (lambda x: 2 * x, lambda x: 3 * x),
    "what a function closes over": (closing_over([0, 1]), closing_over([1, 0])),
    "a partial function": (functools.partial(torch.clamp, min=0), functools.partial(torch.clamp, min=1)),
    "a tensor that is no buffer": (torch.zeros(3), torch.ones(3)),
    "a module in a list": ([nn.Linear(1, 1)], [nn.Linear(1, 1)]),
    "a shape": (torch.zeros(2, 3), torch.zeros(3, 2)),
    "a type": (torch.float32, torch.bfloat16),
    "a set": ({1, 2}, {1, 3}),
    "a number and its text": (1, "1"),
    "where a list ends": ([[1], [2, 3]], [[1, 2], [3]]),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_the_hash_follows_what_a_module_holds(one: Any, other: Any) -> None:
    assert digest(Net(held=one)) == digest(Net(held=one)) != digest(Net(held=other))


def test_the_hash_follows_the_code_of_classes_outside_known_packages() -> None:
    def make(scale: float, code: str) -> type[nn.Module]:
        space: dict[str, Any] = {"nn": nn, "__name__": "notebook"}
        exec(f"class Net(nn.Module):\n    scale = {scale}\n    def forward(self, x):\n        return {code}", space)
        made: type[nn.Module] = space["Net"]
        return made

    first = digest(make(1, "x")())
    assert first == digest(make(1, "x")()) and len({first, digest(make(1, "-x")()), digest(make(2, "x")())}) == 3


def test_the_hash_follows_hooks_and_buffers_that_are_not_stored() -> None:
    network, hooked, buffered = Net(), Net(), Net()
    hooked.head.register_forward_hook(lambda *_: None)
    buffered.register_buffer("order", torch.arange(4), persistent=False)
    assert len({digest(network), digest(hooked), digest(buffered)}) == 3


@pytest.mark.parametrize("options", [{"resize": 256}, {"interpolation": "bicubic"}, {"mean": (0.4,) * 3}])
def test_the_hash_follows_the_preprocessing(options: dict[str, Any]) -> None:
    def make(**options: Any) -> Classifier:
        return Classifier(Net(), class_names="abcd", input_size=(8, 8), **options)

    assert make().hash == make().hash != make(**options).hash
    assert make().has_hash(make().first_hash or "")
    assert not make(**options).has_hash(make().first_hash or "")


def test_what_cannot_be_hashed_is_named_and_never_the_same_again() -> None:
    def make() -> Classifier:
        return Classifier(Net(session={"lock": threading.Lock()}), class_names="abcd", input_size=(8, 8))

    one, other = make(), make()
    assert one.unhashable == ("network.session.lock",)
    assert one.hash == one.hash != other.hash
    assert not one.has_hash(other.hash) and not one.has_hash(one.first_hash or "")


def test_a_module_that_holds_itself_has_a_hash() -> None:
    network = Net()
    network.__dict__["parent"] = network
    assert digest(network) == digest(network)


def test_the_hash_is_that_of_another_process() -> None:
    name = "cifar10/invariant-30-mirror"
    code = f"from spatial_viz.classifiers import load_classifier; print(load_classifier({name!r}).hash)"
    there = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == load_classifier(name).hash


def test_shipped_classifiers_are_told_apart() -> None:
    hashes = [load_classifier(card["name"]).hash for card in manifest()]
    assert len(set(hashes)) == len(hashes)
