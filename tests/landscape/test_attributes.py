"""What a landscape says of itself, as it is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from torch import Tensor

from spatial_viz.errors import CorruptFile
from spatial_viz.landscape.attributes import LandscapeAttributes, attributes_of
from spatial_viz.landscape.dataset import load, save
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.classifier import Classifier

STORED = {  # by version 0.3
    "classifier": "cifar10/standard", "classifier_hash": "ab12", "classes": 10, "device": "cpu", "image_hash": "cd34",
    "input_size": [32, 32], "label": 3, "labelled": False, "margin_error": None, "names": {"3": "cat", "5": "dog"},
    "padding": "reflect", "precision": "fp32", "versions": {"spatial_viz": "0.3.0", "torch": "2.14.1"},
}  # fmt: skip
NOISE = STORED | {"kind": "noise", "epsilon": 0.03, "seed": 2}
NOISE = {name: value for name, value in NOISE.items() if name not in ("padding", "margin_error", "input_size")}


@pytest.fixture
def landscape(toy_classifier: Classifier, toy_image: Tensor) -> xr.Dataset:
    return sweep(toy_classifier, toy_image, 0)


def test_those_of_earlier_versions_are_read() -> None:
    spatial, noise = LandscapeAttributes.from_json(STORED), LandscapeAttributes.from_json(NOISE)
    assert spatial.names == {3: "cat", 5: "dog"} and spatial.input_size == (32, 32) and not spatial.labelled
    assert (spatial.kind, noise.kind, noise.epsilon, noise.seed) == (None, "noise", 0.03, 2)


def test_what_this_version_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="has 'paddinh', which this version does not know"):
        LandscapeAttributes.from_json(STORED | {"paddinh": "edge"})


@pytest.mark.parametrize("stored", [STORED, NOISE])
def test_what_is_read_is_written_again(stored: dict[str, Any]) -> None:
    attributes = LandscapeAttributes.from_json(stored)
    again = json.loads(attributes.to_text())
    assert LandscapeAttributes.from_json(again) == attributes
    assert {name: value for name, value in stored.items() if value is not None}.items() <= again.items()


def test_a_sweep_says_what_it_is_of(landscape: xr.Dataset, toy_classifier: Classifier) -> None:
    attributes = attributes_of(landscape)
    assert (attributes.classifier, attributes.classes, attributes.label) == ("toy", 2, 0)
    assert attributes.classifier_hash == toy_classifier.hash and attributes.input_size == toy_classifier.input_size
    assert attributes.labelled and attributes.precision == "fp32" and attributes.device == "cpu"


def test_a_label_and_its_name_are_enough() -> None:
    attributes = LandscapeAttributes.from_json({"label": 1, "names": {"1": "cat"}})
    assert (attributes.classifier, attributes.classes, attributes.padding) == ("unnamed", 2, "black")


@pytest.mark.parametrize(
    "damage",
    [
        {"label": None},
        {"label": 99},
        {"names": None},
        {"names": {"x": "cat"}},
        {"input_size": [1]},
        {"classes": "x"},
        {"versions": None},
        {"padding": 3},
        {"labelled": "no"},
        {"classifier": None},
        {"margin_error": "0.1"},
    ],
)
def test_a_file_that_does_not_say_what_it_is_of_is_refused(
    damage: dict[str, Any], landscape: xr.Dataset, tmp_path: Path
) -> None:
    landscape.attrs["card"] = json.dumps(json.loads(landscape.attrs["card"]) | damage)
    save(landscape, tmp_path / "damaged.nc")
    with pytest.raises(CorruptFile, match=r"damaged\.nc is not a whole landscape \(.*\); sweep"):
        load(tmp_path / "damaged.nc")
