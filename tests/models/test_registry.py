"""Classifiers: preparing pictures, loading weights safely, and the catalogue."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from spatial_viz.data.images import load_image
from spatial_viz.data.samples import load_sample, samples
from spatial_viz.errors import CorruptFile, InvalidInput, MissingFile
from spatial_viz.models import registry
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.networks import (
    MaxBlurPool,
    MirrorAverage,
    SmallResNet,
    build_network,
    count_parameters,
    fold_batch_norm,
    overlapping_maxima,
)
from spatial_viz.models.registry import catalogue, dataset_of, load_classifier, manifest, pretrained_folder

OWN = [card.name for card in manifest()]
MEGABYTE = 2**20


@pytest.mark.parametrize("name", OWN)
def test_shipped_classifiers_know_their_samples(name: str) -> None:
    classifier = load_classifier(name)
    expected = 20 * next(card for card in manifest() if card.name == name).accuracies["natural"].accuracy
    dataset = dataset_of(name)
    right = 0
    for sample in samples(dataset):
        image, label = load_sample(dataset, sample.index)
        right += int(classifier.logits(classifier.prepare(image)[None]).argmax()) == label
    assert right >= expected - 2  # of 20


@pytest.mark.parametrize("name", OWN)
def test_shipped_files_are_small_and_have_cards(name: str) -> None:
    card = next(card for card in manifest() if card.name == name)
    assert (pretrained_folder() / card.file).stat().st_size <= 6 * MEGABYTE
    assert count_parameters(load_classifier(name).network) <= 3_000_000
    assert all((card.data, card.recipe, card.provenance.command, card.epochs, card.provenance.hours, card.grid))
    assert 0 < card.accuracies["grid"].accuracy < card.accuracies["natural"].accuracy < 1
    assert card.margin_error > 0


def test_the_catalogue_lists_own_and_imagenet_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entries = {entry.name: entry for entry in catalogue()}
    assert "cifar10/standard" in entries and "imagenet/resnet50" in entries
    assert entries["cifar10/standard"].available and not entries["imagenet/resnet50"].available
    assert "resnet50-" in entries["imagenet/resnet50"].missing


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar10/standart", "did you mean 'cifar10/standard'"),
        ("imagenet/resnet5O", "did you mean 'imagenet/resnet50'"),
        ("", "unknown classifier ''"),
        ("../../etc/passwd", "unknown classifier"),
    ],
)
def test_unknown_names_suggest_the_near_miss(name: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load_classifier(name)


def test_a_corrupted_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "pretrained"
    shutil.copytree(pretrained_folder(), copy)
    monkeypatch.setattr(registry, "pretrained_folder", lambda: copy)
    path = copy / next(card for card in manifest() if card.name == "cifar10/standard").file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match="SHA-256 is not the one on its card"):
        load_classifier("cifar10/standard")
    path.unlink()
    with pytest.raises(MissingFile, match="install the package again"):
        load_classifier("cifar10/standard")


def test_missing_imagenet_weights_name_the_file_and_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import urllib.error
    import urllib.request

    def no_network(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    with pytest.raises(MissingFile, match=r"resnet18.*could not be fetched \(no network\).*put it at .*resnet18-"):
        load_classifier("imagenet/resnet18")


def test_a_pickle_in_the_place_of_weights_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('this must not run')",))

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "squeezenet1_1-b8a52dc0.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CorruptFile, match="cannot be read as weights"):
        load_classifier("imagenet/squeezenet1_1")


def test_squeezenet_on_500_photos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared: Path) -> None:
    """The ImageNet path end to end, through torchvision's own loading code: 61.4 % of the sample photos."""
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    shutil.copyfile(shared / "weights" / "squeezenet1_1.pth", folder / "squeezenet1_1-b8a52dc0.pth")
    classifier = load_classifier("imagenet/squeezenet1_1")
    order = (shared / "reference" / "imagenet_wnids.txt").read_text().split()
    right = total = 0
    batch, labels = [], []
    with tarfile.open(shared / "data" / "imagenet_sample500.tar") as archive:
        for member in archive:
            handle = archive.extractfile(member) if member.isfile() else None
            if handle is None or not member.name.endswith(".JPEG"):
                continue
            batch.append(classifier.prepare(load_image(handle.read(), member.name)))
            labels.append(order.index(Path(member.name).parent.name))
            if len(batch) == 25:
                with torch.inference_mode():
                    predicted = classifier.logits(torch.stack(batch)).argmax(1)
                right += int((predicted == torch.tensor(labels)).sum())
                total += len(batch)
                batch, labels = [], []
    assert total == 500
    assert abs(right / total - 0.614) <= 0.006


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "I;16", "1"])
def test_any_picture_becomes_an_input(mode: str, channels: int) -> None:
    picture = Image.new("L", (50, 41), 200).convert("I" if mode == "I;16" else mode).convert(mode)
    mean = (0.5,) * channels
    classifier = Classifier(nn.Identity(), class_names="ab", input_size=(24, 28), mean=mean, std=mean)
    image = classifier.prepare(picture)
    assert image.shape == (channels, 24, 28) and image.dtype == torch.float32
    assert float(image.min()) >= 0 and float(image.max()) <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_sizes(size: tuple[int, int]) -> None:
    classifier = Classifier(nn.Identity(), class_names="ab", input_size=(32, 32))
    np.testing.assert_allclose(classifier.prepare(Image.new("RGB", size, "white")), 1)


def test_tensors_are_prepared_too() -> None:
    classifier = Classifier(nn.Identity(), class_names="ab", input_size=(32, 32))
    exact = torch.rand(3, 32, 32)
    assert torch.equal(classifier.prepare(exact), exact)
    assert classifier.prepare(torch.rand(1, 28, 28)).shape == (3, 32, 32)
    with pytest.raises(InvalidInput, match=r"\[0, 1\]"):
        classifier.prepare(torch.full((3, 40, 40), 3.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": (0.0, 0.0)}, "1 or 3 values"),
        ({"std": (0.0, 1.0, 1.0)}, "std must be positive"),
        ({"class_names": ["one"]}, "at least two classes"),
        ({"input_size": (0, 3)}, "input_size"),
    ],
)
def test_impossible_classifiers(options: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"class_names": "ab", "input_size": (8, 8)} | options
    with pytest.raises(InvalidInput, match=message):
        Classifier(nn.Identity(), **arguments)  # type: ignore[arg-type]


def test_the_hash_follows_weights_and_normalisation() -> None:
    def make(seed: int, mean: float = 0.5) -> str:
        torch.manual_seed(seed)
        return Classifier(nn.Linear(2, 2), class_names="ab", input_size=(2, 2), mean=(mean,), std=(1,)).hash

    assert make(0) == make(0) != make(1)
    assert make(0) != make(0, mean=0.4)


@pytest.mark.parametrize("blur", [False, True])
def test_folding_batch_norm_changes_nothing_but_speed(blur: bool) -> None:
    torch.manual_seed(0)
    network = SmallResNet(widths=(8, 8, 8, 8), blur=blur)
    network.train()
    with torch.no_grad():
        for _ in range(5):
            network(torch.rand(16, 3, 32, 32) * 2)
        images = torch.rand(4, 3, 32, 32)
        folded = fold_batch_norm(network)
        torch.testing.assert_close(folded(images), network.eval()(images), atol=1e-4, rtol=1e-4)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) < sum(
        isinstance(m, nn.BatchNorm2d) for m in network.modules()
    )


@pytest.mark.parametrize("size", [(4, 4), (7, 5), (2, 2)])
def test_overlapping_maxima_are_the_same_with_and_without_gradients(size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size)
    expected = overlapping_maxima(image)
    assert expected.shape == (2, 3, size[0] - 1, size[1] - 1)
    with torch.no_grad():
        assert torch.equal(overlapping_maxima(image), expected)


def test_a_folded_network_passes_gradients_to_the_picture_alone() -> None:
    folded = fold_batch_norm(build_network("blurpool-resnet"))
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    folded(image).sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_blurred_pooling_is_the_mean_of_overlapping_maxima() -> None:
    image = torch.randn(1, 1, 4, 6)
    expected = torch.zeros(2, 3)
    for down, across in itertools.product(range(2), range(3)):
        rows = [row for row in range(2 * down - 1, 2 * down + 2) if 0 <= row < 3]
        columns = [column for column in range(2 * across - 1, 2 * across + 2) if 0 <= column < 5]
        maxima = [image[0, 0, row : row + 2, column : column + 2].max() for row in rows for column in columns]
        expected[down, across] = torch.stack(maxima).mean()
    torch.testing.assert_close(MaxBlurPool()(image)[0, 0], expected)


def test_blurred_pooling_halves_and_aliases_less() -> None:
    torch.manual_seed(0)
    for side in (32, 14, 7):
        image = torch.rand(1, 3, side, side)
        assert MaxBlurPool()(image).shape == nn.MaxPool2d(2)(image).shape
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(MaxBlurPool()(image.flip(-1)), MaxBlurPool()(image).flip(-1))

    def moves(pool: nn.Module) -> float:
        """How far a shift by one pixel changes the output, as a share of its spread over the picture."""
        difference = pool(image.roll(1, -1)) - pool(image)
        return float(difference.std() / pool(image).std())

    assert moves(MaxBlurPool()) < 0.8 * moves(nn.MaxPool2d(2))


def test_a_mirror_average_is_the_mean_of_two_passes_and_is_folded() -> None:
    network = build_network("tiny-convnet", channels=3).eval()
    average, images = MirrorAverage(network).eval(), torch.rand(3, 3, 28, 28)
    with torch.inference_mode():
        expected = (network(images) + network(images.flip(3))) / 2
        torch.testing.assert_close(average(images), expected)
        torch.testing.assert_close(average(images.flip(3)), expected)
        assert average(images[:0]).shape == (0, 10)
    folded = fold_batch_norm(average)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4)


def test_folding_leaves_the_network_as_it_is() -> None:
    network = build_network("tiny-convnet")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fold_batch_norm(network)
    assert network.training and all(parameter.requires_grad for parameter in network.head.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_unknown_networks() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'small-resnet'"):
        build_network("small-resnett")


def test_the_manifest_is_sorted_json(tmp_path: Path) -> None:
    stored = json.loads((pretrained_folder() / "manifest.json").read_text())
    assert stored["schema"] == 1 and len({card["name"] for card in stored["models"]}) == len(stored["models"])


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The folder of a finished training."""
    torch.manual_seed(0)
    save_file(build_network("tiny-convnet", classes=2, channels=1).state_dict(), tmp_path / "weights.safetensors")
    described = {
        "network": "tiny-convnet",
        "class_names": ["a", "b"],
        "input_size": [20, 24],
        "mean": [0.3],
        "std": [0.2],
    }
    (tmp_path / "classifier.json").write_text(json.dumps(described))
    return tmp_path


def test_a_training_of_ones_own_is_a_classifier(trained: Path) -> None:
    classifier = load_classifier(str(trained))
    assert classifier.name == str(trained) and classifier.class_names == ("a", "b")
    assert (classifier.input_size, classifier.mean, classifier.std) == ((20, 24), (0.3,), (0.2,))
    assert classifier.margin_error is None  # hence fp32
    torch.manual_seed(0)
    fresh = build_network("tiny-convnet", classes=2, channels=1).eval()
    images = torch.rand(3, 1, 20, 24)
    with torch.no_grad():
        torch.testing.assert_close(classifier.logits(images), fresh((images - 0.3) / 0.2))


def test_what_is_no_finished_training_is_no_classifier(trained: Path, tmp_path: Path) -> None:
    described, weights = trained / "classifier.json", trained / "weights.safetensors"
    text, content = described.read_text(), weights.read_bytes()
    weights.unlink()
    with pytest.raises(MissingFile, match=r"has no weights.safetensors: its training has not ended. .* --resume"):
        load_classifier(str(trained))
    weights.write_bytes(content[:-7])
    with pytest.raises(CorruptFile, match=r"weights.safetensors does not hold the weights of a tiny-convnet"):
        load_classifier(str(trained))
    weights.write_bytes(content)
    for broken in ("{", "[]", "{}", text.replace('"b"', '"b", "c"'), text.replace("tiny-", "huge-")):
        described.write_text(broken)
        with pytest.raises(CorruptFile):
            load_classifier(str(trained))
    described.unlink()
    with pytest.raises(MissingFile, match=r"has no classifier.json, .* again with --resume, which adds it"):
        load_classifier(str(trained))
    with pytest.raises(InvalidInput, match=r"unknown classifier .*, and there is no folder of a training of that name"):
        load_classifier(str(tmp_path / "nowhere"))
