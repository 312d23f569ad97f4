"""What a network may return: unwrapped, or refused in a sentence that says what came and what to do."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.errors import InvalidInput
from spatial_viz.evaluation.plan import restricted
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.inference import runner_for
from spatial_viz.transforms.grids import TransformGrid

GRID = TransformGrid(30, 3, 3, (3, 3, 3))


@dataclass
class Output:
    logits: Tensor
    hidden: Any = None


class Wrapped(nn.Module):
    """A small convolutional network, and what `form` makes of its logits."""

    def __init__(self, form: Any, outputs: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.head, self.form = nn.Conv2d(3, 8, 3, stride=4), nn.Linear(8, outputs), form

    def forward(self, x: Tensor) -> Any:
        return self.form(20 * self.head(self.convolution(x).relu().mean((2, 3))))


def model(form: Any, outputs: int = 10, names: Any = "abcdefghij", **options: Any) -> Classifier:
    return Classifier(Wrapped(form, outputs), class_names=names, input_size=(32, 32), **options)


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))


CONTAINERS = {
    "tuple": lambda z: (z, None),
    "list": lambda z: [z],
    "dict": lambda z: {"logits": z},
    "ordered dict": lambda z: OrderedDict(loss=None, logits=z),
    "attribute": lambda z: Output(z),
    "N×K×1×1": lambda z: z[:, :, None, None],
}


@pytest.mark.parametrize("form", CONTAINERS.values(), ids=CONTAINERS)
def test_containers_are_unwrapped(form: Any, image: Tensor) -> None:
    plain, wrapped = model(lambda z: z), model(form)
    torch.testing.assert_close(wrapped.logits(image[None]), plain.logits(image[None]))
    expected = sweep(plain, image, 1, GRID)
    landscape = sweep(wrapped, image, 1, GRID)
    assert float(abs(landscape["loss"] - expected["loss"]).max()) < 1e-5
    for other in (MajorityVote(wrapped, GRID, votes=3), restricted(wrapped, [1, 4])):
        sweep(other, image, 1, GRID)


REFUSED = {
    "one logit": (lambda z: z[:, :1], "ab", r"returned 2×1 \(float32\) .* give binary=True if the number is the logit"),
    "squeezed": (lambda z: z[:, 0], "ab", r"returned 2 \(float32\) .* give binary=True"),
    "fewer names": (lambda z: z, "abcde", r"2×5 floating logits.*: give 10 class names, in the order of the outputs"),
    "more names": (lambda z: z, "abcdefghijkl", r"2×12 floating logits.*: give 10 class names"),
    "NumPy": (lambda z: z.detach().numpy(), "abcdefghij", r"returned a ndarray; expected a tensor.*: wrap it in a"),
    "no logits": (lambda z: {"out": z, "aux": z}, "abcdefghij", r"returned a dict with 'out', 'aux'; expected"),
    "0-d": (lambda z: z.sum(), "abcdefghij", r"returned a single number .*: wrap it in a torch.nn.Module"),
    "1-d alone": (lambda z: z.squeeze(), "abcdefghij", r"returned 10 \(float32\) for 1 picture; expected 1×10"),
    "integers": (lambda z: z.int(), "abcdefghij", r"\(int32\) for 2 pictures; expected 2×10 floating logits"),
    "segmentation": (lambda z: z[:, :, None].expand(-1, -1, 7), "abcdefghij", r"returned 2×10×7 "),
}  # fmt: skip


@pytest.mark.parametrize(("form", "names", "message"), REFUSED.values(), ids=REFUSED)
def test_other_outputs_are_refused_in_a_sentence(form: Any, names: str, message: str, image: Tensor) -> None:
    with pytest.raises(InvalidInput, match=message):
        sweep(model(form, names=names), image, 1, GRID)


@pytest.mark.parametrize("form", [lambda z: z, lambda z: z[:, 0]], ids=["N×1", "N"])
def test_a_declared_logit_is_that_of_the_second_class(form: Any, image: Tensor) -> None:
    binary = model(form, outputs=1, names=["dark", "bright"], binary=True)
    logits = binary.logits(image[None])
    assert logits.shape == (1, 2) and logits[0, 0] == 0
    landscape = sweep(binary, image, "bright", GRID)
    torch.testing.assert_close(float(landscape["natural_loss"]), float(nn.functional.softplus(-logits[0, 1])))
    with pytest.raises(InvalidInput, match="binary=True is for two classes; got 3 names"):
        model(form, outputs=1, names="abc", binary=True)
    with pytest.raises(InvalidInput, match="expected one logit a picture"):
        sweep(model(lambda z: z, names="ab", binary=True), image, 1, GRID)


def test_probabilities_raise_a_warning(image: Tensor) -> None:
    with pytest.warns(UserWarning, match="seems to return probabilities, which are not logits"):
        sweep(model(lambda z: z.softmax(1)), image, 1, GRID)


def test_a_sigmoid_raises_a_warning(image: Tensor) -> None:
    with pytest.warns(UserWarning, match="seems to return probabilities"):
        sweep(model(lambda z: z.sigmoid(), outputs=1, names="ab", binary=True), image, 1, GRID)


def test_names_in_a_mapping_come_in_the_order_of_their_keys() -> None:
    names = {2: "fox", 0: "cat", "1": "dog"}
    assert model(lambda z: z, outputs=3, names=names).class_names == ("cat", "dog", "fox")
    for wrong in ({1: "a", 2: "b"}, {"cat": 0, "dog": 1}, {0: "a", 2: "b"}):
        with pytest.raises(InvalidInput, match="need the indices 0 to 1 as keys"):
            model(lambda z: z, names=wrong)


def test_sizes_and_statistics_that_others_hand_in() -> None:
    assert Classifier(nn.Flatten(), class_names="ab", input_size=8).input_size == (8, 8)
    with pytest.raises(InvalidInput, match=r"for pictures in \[0, 1\].*: divide them by 255"):
        model(lambda z: z, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))


def test_an_attack_by_gradients_says_that_there_are_none(image: Tensor) -> None:
    detached = model(lambda z: z.detach())
    with pytest.raises(Exception, match="gives no gradient; choose an attack that needs none"):
        runner_for(detached).gradient(
            image[None], torch.zeros(1, 3), torch.tensor([0]), "black", lambda logits, rows: logits[:, 0]
        )
