"""A label, whatever says it: the name of a class, or its index."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from spatial_viz.errors import InvalidInput
from spatial_viz.models.classifier import Classifier


def classifier(*names: str) -> Classifier:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, len(names)))
    return Classifier(network, class_names=names, input_size=(2, 2), name="numbers")


NUMBERED = classifier("0", "1", "10", "2", "café")


@pytest.mark.parametrize(
    ("label", "index"),
    [
        ("2", 3),  # the class of that name, not the third
        ("10", 2),
        ("3", 3),  # no name
        ("0", 0),
        ("café", 4),
        ("caf\udce9", 4),  # as a terminal in Latin-1 gives it
        (2, 2),
        (2.0, 2),
        (np.int64(3), 3),
        (np.uint8(4), 4),
        (np.array([1]), 1),
        (torch.tensor(3), 3),
        (torch.tensor([3], dtype=torch.uint8), 3),
    ],
    ids=repr,
)
def test_names_come_before_indices(label, index) -> None:
    found = NUMBERED.label_index(label)
    assert found == index and type(found) is int


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (3.7, "a label is the name or the index of one class of numbers; got 3.7. Of one-hot labels take argmax"),
        (float("nan"), "got nan"),
        (float("inf"), "got inf"),
        (True, "got True"),
        (np.True_, "got True"),
        (torch.tensor(False), "got False"),
        (torch.tensor(1.5), "got 1.5"),
        (torch.eye(5)[2], r"got one of shape (5,). Of one-hot labels take argmax"),
        (np.eye(5)[[2]], "got one of shape (1, 5)"),
        (None, "got None"),
        ([2], "got [2]"),
        (5, "must be one of the classes 0 to 4 of numbers; got 5"),
        (-1, "got -1"),
        ("-1", "got -1"),
        ("7", "got 7"),
        ("²", "numbers has no class '²'"),
        ("2.0", "numbers has no class '2.0'"),
    ],
    ids=repr,
)
def test_what_is_no_label_is_refused(label, message) -> None:
    with pytest.raises(InvalidInput) as error:
        NUMBERED.label_index(label)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_name_that_two_classes_have_is_refused() -> None:
    birds = classifier("crane", "heron", "crane")
    assert birds.label_index("heron") == 1 and birds.label_index("2") == 2
    with pytest.raises(InvalidInput, match="numbers has 2 classes called 'crane'; give the index, 0 or 2"):
        birds.label_index("crane")
