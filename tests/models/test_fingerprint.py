"""The hash of a classifier follows everything that decides its answers, and says what it cannot see."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import Net

from benchmarks.app import ROOT
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.fingerprint import Fingerprint
from spatial_viz.models.registry import load_classifier, manifest


def digest(value: Any) -> str:
    mark = Fingerprint()
    mark.add(value)
    return mark.hexdigest()


def twice(x: Tensor) -> Tensor:
    return 2 * x


def closing_over(order: list[int]) -> Callable[[Tensor], Tensor]:
    return lambda x: x[:, order]


def quantised(scale: float) -> Tensor:
    return torch.quantize_per_tensor(torch.zeros(3), scale, 0, torch.qint8)


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
    "a method of a tensor": (torch.zeros(3).add, torch.ones(3).add),
    "a method of a list": ([0, 1].__getitem__, [1, 0].__getitem__),
    "a function that remembers": (functools.cache(lambda x: 2 * x), functools.cache(lambda x: 3 * x)),
    "a sparse tensor": (torch.eye(3).to_sparse(), (2 * torch.eye(3)).to_sparse()),
    "a scale of int8": (quantised(0.01), quantised(0.05)),
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
    code = f"from spatial_viz.models.registry import load_classifier; print(load_classifier({name!r}).hash)"
    there = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == load_classifier(name).hash


def test_shipped_classifiers_are_told_apart() -> None:
    hashes = [load_classifier(card.name).hash for card in manifest()]
    assert len(set(hashes)) == len(hashes)


def test_the_hash_follows_what_code_takes_of_a_module_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = types.ModuleType("settings_of_mine")
    settings.SCALE = 1.0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "settings_of_mine", settings)
    space: dict[str, Any] = {"settings": settings, "__name__": "notebook"}
    exec("def scaled(x):\n    return settings.SCALE * x", space)
    before = digest(Net(held=space["scaled"]))
    settings.SCALE = 2.0  # type: ignore[attr-defined]
    assert digest(Net(held=space["scaled"])) != before


def test_a_chain_of_objects_that_is_too_long_is_unknown() -> None:
    class Link:
        def __init__(self, after: Any) -> None:
            self.after = after

    chain = None
    for _ in range(2000):
        chain = Link(chain)
    assert Classifier(Net(held=chain), class_names="abcd", input_size=(8, 8)).unhashable


def test_the_first_hash_is_not_given_where_it_left_something_out() -> None:
    def make(network: Any) -> Classifier:
        return Classifier(network, class_names="abcd", input_size=(8, 8))

    assert make(Net()).first_hash and make(Net(number=3)).first_hash
    hooked = Net()
    hooked.register_forward_hook(lambda *_: None)
    assert not any(make(each).first_hash for each in (Net(order=[0, 1]), Net(act=torch.relu), hooked, lambda x: x))
