"""The bundled sample pictures and their classes."""

import ast
from pathlib import Path

import pytest
import torch

from spatial_viz.data import images
from spatial_viz.data import samples as module
from spatial_viz.data.samples import CLASS_NAMES, class_names, find_sample, load_sample, samples
from spatial_viz.errors import InvalidInput, MissingFile


@pytest.mark.parametrize(
    ("which", "inner"),
    [
        (images, {"spatial_viz.errors", "spatial_viz.files"}),
        (module, {"spatial_viz.errors", "spatial_viz.data.images", "spatial_viz.files"}),
    ],
)
def test_importing_the_modules_imports_neither_torchvision_nor_foolbox(which, inner):
    tree = ast.parse(Path(which.__file__).read_text(encoding="utf-8"))
    names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert not {name.split(".")[0] for name in names} & {"torchvision", "foolbox"}
    assert {name for name in names if name.startswith("spatial_viz")} == inner


def test_samples_are_twenty_of_each_in_order():
    every = samples()
    names = [f"{dataset}/{i}" for dataset in ("cifar10", "mnist", "imagenet") for i in range(20)]
    assert [sample.name for sample in every] == names
    assert samples("mnist") == every[20:40]
    assert all(find_sample(sample.name) == sample for sample in every)


@pytest.mark.parametrize(
    ("dataset", "index", "shape", "name"),
    [
        ("cifar10", 0, (3, 32, 32), "cat"),
        ("cifar10", 19, (3, 32, 32), "frog"),
        ("mnist", 0, (1, 28, 28), "7"),
        ("imagenet", 0, (3, 512, 512), "bull mastiff"),
    ],
)
def test_a_sample_has_its_native_size_and_its_class(dataset, index, shape, name):
    image, label = load_sample(dataset, index)
    assert image.shape == shape and image.dtype == torch.float32
    assert 0 <= image.min() < image.max() <= 1
    assert class_names(dataset)[label] == name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: samples("cifar"), "no sample pictures of 'cifar'; did you mean 'cifar10'?"),
        (lambda: load_sample("imagnet", 0), "did you mean 'imagenet'?"),
        (lambda: load_sample("mnist", 20), "the samples of mnist are numbered 0 to 19; got 20"),
        (lambda: load_sample("mnist", -1), "0 to 19; got -1"),
        (lambda: find_sample("cifar10/20"), "0 to 19; got 20"),
        (lambda: find_sample("cifar10"), "DATASET/INDEX, such as cifar10/0; got 'cifar10'"),
        (lambda: find_sample("cifar10/x"), "such as cifar10/0; got 'cifar10/x'"),
        (lambda: find_sample("cifar10/" + "9" * 5000), "such as cifar10/0"),
        (lambda: find_sample("cat/0"), "no sample pictures of 'cat'"),
        (lambda: class_names("minst"), "class names of 'minst' are not known; did you mean 'mnist'?"),
    ],
)
def test_wrong_sample_names_are_explained(call, message):
    with pytest.raises(InvalidInput) as error:
        call()
    assert message in str(error.value)


@pytest.mark.parametrize("installed", [False, True])
def test_missing_samples_are_explained(installed, tmp_path, monkeypatch):
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})() if installed else None
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(MissingFile, match="pip install foolbox"):
        samples()


def test_class_names():
    assert class_names("cifar10") == CLASS_NAMES["cifar10"]
    assert class_names("mnist")[7] == "7"
    assert class_names("imagenet")[0] == "tench" and len(class_names("imagenet")) == 1000
