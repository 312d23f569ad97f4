"""The sweep against closed form, at both precisions, short of memory, and on whatever device there is."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from torch import Tensor, nn
from toys import Centroid, blob, toy_logit

from benchmarks.app import ROOT
from spatial_viz.data.samples import load_sample
from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.cache import cached_sweep
from spatial_viz.landscape.dataset import DIMS, misclassified, worst_case
from spatial_viz.landscape.sweeps import refined_axes, sweep, sweep_axes
from spatial_viz.models.bf16_error import close_calls
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.devices import fast_at_bf16, pick_device
from spatial_viz.models.engine import TorchEngine
from spatial_viz.models.inference import calibrate, exact_logits, one_image, runner_for
from spatial_viz.models.losses import cross_entropy, logit_margin
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid


class SmallNet(nn.Module):
    """Random but fixed weights, with batch norm that has seen data: for comparisons, not for accuracy."""

    def __init__(self, classes: int = 10, channels: int = 3, sharpness: float = 6.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(channels, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 64, classes),
        )  # fmt: skip
        self.sharpness = sharpness
        self.train()
        with torch.no_grad():
            for _ in range(20):
                self(torch.rand(32, channels, 32, 32))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) * self.sharpness


def classifier(network: nn.Module | None = None, **options: object) -> Classifier:
    names = [f"class {index}" for index in range(10)]
    return Classifier(network or SmallNet(), class_names=names, input_size=(32, 32), **options)  # type: ignore[arg-type]


def brute_force(model: Classifier, image: Tensor, label: int, grid: TransformGrid) -> tuple[Tensor, Tensor]:
    """Losses and predictions, a transform at a time, with nothing of the sweep but the warp."""
    with torch.no_grad():
        logits = torch.cat([model.logits(warp(image[None], t[None])) for t in grid.transforms()])
    return torch.nn.functional.cross_entropy(
        logits, torch.full((len(logits),), label), reduction="none"
    ), logits.argmax(1)


def test_closed_form(toy_classifier: Classifier, toy_image: Tensor) -> None:
    landscape = sweep(toy_classifier, toy_image, 0)
    rotation, dy, dx = np.meshgrid(*(landscape[dim] for dim in DIMS), indexing="ij")
    second = toy_logit(rotation, dx, dy)
    np.testing.assert_allclose(landscape["loss"], np.logaddexp(0, second), atol=4e-3)
    np.testing.assert_allclose(landscape["margin"], -second, atol=6e-3)
    clear = np.abs(second) > 0.01
    np.testing.assert_array_equal(misclassified(landscape).values[clear], (second > 0)[clear])
    worst = worst_case(landscape)
    place = np.unravel_index(second.argmax(), second.shape)
    assert (worst.rotation, worst.dy, worst.dx) == tuple(float(axis[place]) for axis in (rotation, dy, dx))


def test_against_brute_force_on_a_real_picture() -> None:
    image, label = load_sample("cifar10", 3)
    grid = TransformGrid(20, 2, 3, (5, 3, 4))
    losses, predicted = brute_force(classifier(), image, label, grid)
    landscape = sweep(classifier(), image, label, grid, precision="fp32")
    np.testing.assert_allclose(landscape["loss"].values.ravel(), losses, atol=1e-4)
    np.testing.assert_array_equal(landscape["predicted"].values.ravel(), predicted)
    np.testing.assert_allclose(landscape["probabilities"].sum("class"), 1, atol=1e-5)
    assert bool(landscape["fp32"].all())


def test_bf16_gives_the_verdicts_and_the_worst_case_of_fp32() -> None:
    grid = TransformGrid(30, 3, 3, (11, 5, 5))
    model = classifier()
    pictures = torch.stack([load_sample("cifar10", index)[0] for index in range(10, 14)])
    model.margin_error = calibrate(model, pictures, grid.draw(40))
    assert 0 < model.margin_error < 1
    some_cheap = False
    for index in range(8):
        image, label = load_sample("cifar10", index)
        fast = sweep(model, image, label, grid, precision="bf16")
        true = sweep(model, image, label, grid, precision="fp32")
        np.testing.assert_array_equal(fast["predicted"], true["predicted"])
        first, second = worst_case(fast), worst_case(true)
        assert (first.rotation, first.dx, first.dy) == (second.rotation, second.dx, second.dy)
        assert first.loss == pytest.approx(second.loss, abs=1e-5)
        assert float(fast["natural_loss"]) == pytest.approx(float(true["natural_loss"]), abs=1e-6)
        exact = fast["fp32"].values
        np.testing.assert_allclose(fast["loss"].values[exact], true["loss"].values[exact], atol=1e-5)
        some_cheap |= not exact.all()
    assert some_cheap  # otherwise this test compares fp32 with itself


def test_close_calls_are_those_within_the_bound() -> None:
    logits = torch.tensor([[1.0, 0.0, -5.0], [1.0, 0.95, 0.0], [0.0, 3.0, 3.1]])
    assert close_calls(logits, 0.2).tolist() == [False, True, True]


def test_uncalibrated_classifiers_run_in_fp32(toy_classifier: Classifier, toy_image: Tensor) -> None:
    assert attributes_of(sweep(toy_classifier, toy_image, 0)).precision == "fp32"
    with pytest.raises(InvalidInput, match="not calibrated"):
        sweep(toy_classifier, toy_image, 0, precision="bf16")


@pytest.mark.parametrize("limit", [100, 7, 1])
def test_out_of_memory_halves_the_batch_and_goes_on(limit: int) -> None:
    sizes = []

    class Greedy(Centroid):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            if len(x) > limit:
                raise torch.OutOfMemoryError("pretend")
            return super().forward(x)

    model = Classifier(Greedy(), class_names=["left", "right"], input_size=(32, 32), mean=(0,), std=(1,))
    grid = TransformGrid(30, 3, 3, (5, 5, 5))
    landscape = sweep(model, blob(8, 0), 0, grid)
    np.testing.assert_allclose(landscape["loss"], sweep(_toy(), blob(8, 0), 0, grid)["loss"], atol=1e-6)
    assert max(sizes) > limit or limit == 100


def test_a_bound_that_turns_out_too_small_means_fp32_throughout() -> None:
    model = classifier(margin_error=1e-6)  # far below what bf16 really moves
    image, label = load_sample("cifar10", 0)
    grid = TransformGrid(30, 3, 3, (5, 3, 3))
    landscape = sweep(model, image, label, grid, precision="bf16")
    assert bool(landscape["fp32"].all()) and attributes_of(landscape).precision == "fp32"


def test_a_network_that_folding_would_change_is_not_folded() -> None:
    class Shared(nn.Module):
        """One convolution, two batch norms behind it."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.one, self.two = nn.Conv2d(3, 10, 3), nn.BatchNorm2d(10), nn.BatchNorm2d(10)
            self.two.running_mean = torch.ones(10)

        def forward(self, x: Tensor) -> Tensor:
            return (self.one(self.conv(x)) - 2 * self.two(self.conv(x))).mean((2, 3))

    model = classifier(Shared())
    image = load_sample("cifar10", 0)[0]
    direct = model.logits(image[None])
    torch.testing.assert_close(exact_logits(model, image, torch.zeros(1, 3)), direct.detach(), atol=1e-4, rtol=1e-4)


def test_runners_do_not_keep_their_classifier_alive() -> None:
    model = classifier()
    runner_for(model, "cpu")
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_not_even_one_picture_fits() -> None:
    class Full(Centroid):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("pretend")

    model = Classifier(Full(), class_names=["left", "right"], input_size=(32, 32), mean=(0,), std=(1,), name="full")
    with pytest.raises(SpatialVizError, match="not enough memory on cpu for a single picture of full"):
        sweep(model, blob(8, 0), 0, device="cpu")


def _toy() -> Classifier:
    return Classifier(Centroid(), class_names=["left", "right"], input_size=(32, 32), mean=(0,), std=(1,))


def test_a_classifier_that_returns_nan_is_named_with_the_transform() -> None:
    class Broken(Centroid):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x.sum((1, 2, 3), keepdim=True)[:, :, 0, 0] < 10, math.nan, super().forward(x))

    model = Classifier(Broken(), class_names=["left", "right"], input_size=(32, 32), mean=(0,), std=(1,), name="broken")
    grid = TransformGrid(0, 20, 0, (1, 5, 1))
    with pytest.raises(
        SpatialVizError, match=r"broken returned a value that is not finite at rotation 0°, dx 10, dy 0 \(2 of 5"
    ):
        sweep(model, blob(8, 0), 0, grid)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 32, 31), "takes 3×32×32 pictures; got a tensor of shape .* Classifier.prepare"),
        (torch.zeros(1, 32, 32), "Classifier.prepare"),
        (torch.zeros(1, 3, 32, 32), "Classifier.prepare"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "Classifier.prepare"),
        (torch.full((3, 32, 32), 255.0), r"must lie in \[0, 1\]"),
        (torch.full((3, 32, 32), math.nan), r"must lie in \[0, 1\]"),
        (np.zeros((3, 32, 32)), "expected a picture, a path or a tensor; got ndarray"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(image: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        sweep(classifier(), image, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("label", [10, -1, "12", "klass 1"])
def test_wrong_labels_are_refused(label: int | str) -> None:
    with pytest.raises(InvalidInput, match=r"label must be one of|has no class 'klass 1'; did you mean 'class 1'"):
        sweep(classifier(), load_sample("cifar10", 0)[0], label)


def test_pictures_and_paths_are_prepared(tmp_path: Path) -> None:
    picture = Image.new("L", (64, 40), 128)
    picture.save(tmp_path / "grey.png")
    grid = TransformGrid(10, 1, 1, (3, 1, 1))
    one, two = sweep(classifier(), picture, 0, grid), sweep(classifier(), tmp_path / "grey.png", "class 0", grid)
    xr.testing.assert_identical(one, two)


def test_one_channel_and_non_square() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack((x[..., :10].mean((1, 2, 3)), x[..., 10:].mean((1, 2, 3))), 1)

    model = Classifier(Mean(), class_names=["a", "b"], input_size=(24, 40), mean=(0.5,), std=(0.5,))
    landscape = sweep(model, torch.rand(1, 24, 40), None)
    assert float(landscape["dx"].max()) == 4 and float(landscape["dy"].max()) == 2


def test_progress_counts_up_to_all() -> None:
    calls: list[tuple[int, int]] = []
    sweep(classifier(), load_sample("cifar10", 0)[0], 0, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (775, 775) and [c[0] for c in calls] == sorted(c[0] for c in calls) and len(calls) > 3


def test_many_classes_keep_those_that_matter() -> None:
    names = [str(index) for index in range(100)]
    model = Classifier(SmallNet(classes=100), class_names=names, input_size=(32, 32))
    landscape = sweep(model, load_sample("cifar10", 0)[0], 7)
    shown = set(landscape["class"].values.tolist())
    assert len(shown) == 10 and {7, int(landscape["natural_predicted"])} <= shown
    for index in np.unique(landscape["predicted"]):
        assert attributes_of(landscape).names[index] == str(index)


def test_the_users_network_stays_as_it_is() -> None:
    network = SmallNet()
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    sweep(classifier(network), load_sample("cifar10", 0)[0], 0, TransformGrid(5, 0, 0, (3, 1, 1)))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert next(network.parameters()).dtype == torch.float32


def test_exact_logits_are_those_of_the_sweep() -> None:
    image, label = load_sample("cifar10", 1)
    grid = TransformGrid(30, 3, 3, (3, 3, 3))
    landscape = sweep(classifier(), image, label, grid)
    logits = exact_logits(classifier(), image, grid.transforms())
    labels = torch.full((27,), label)
    np.testing.assert_allclose(landscape["loss"].values.ravel(), cross_entropy(logits, labels), atol=1e-5)
    np.testing.assert_allclose(landscape["margin"].values.ravel(), logit_margin(logits, labels), atol=1e-4)


def test_refined_axes_contain_the_grid() -> None:
    grid = TransformGrid.paper(32)
    axes = refined_axes(grid, (61, 25, 25), rotation=7.5)
    assert axes["rotation"].tolist() == [7.5] and len(axes["dy"]) == 25 and len(axes["dx"]) == 25
    assert all(np.isclose(axes["dx"], value).any() for value in grid.values("dx"))
    assert len(refined_axes(grid, (61, 25, 25), dy=0.0)["rotation"]) == 61
    plane = sweep_axes(_toy(), blob(8, 0), 0, axes)
    assert plane["loss"].shape == (1, 25, 25)


def test_the_cache_answers_the_same_question_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path))
    calls = []
    batches = TorchEngine.batches
    monkeypatch.setattr(TorchEngine, "batches", lambda *arguments: calls.append(1) or batches(*arguments))  # type: ignore[func-returns-value]
    axes = {dim: np.array(TransformGrid(10, 2, 2, (3, 3, 3)).values(dim)) for dim in DIMS}
    model = _toy()
    first = cached_sweep(model, blob(8, 0), 0, axes)
    made = len(calls)
    assert made
    xr.testing.assert_identical(first, cached_sweep(model, blob(8, 0), 0, axes))
    assert len(calls) == made
    cached_sweep(model, blob(7, 0), 0, axes)
    cached_sweep(model, blob(8, 0), 1, axes)
    cached_sweep(model, blob(8, 0), 0, axes, padding="edge")
    assert len(list(tmp_path.glob("*.nc"))) == 4
    for file in tmp_path.glob("*.nc"):
        file.write_text("broken")  # a corrupt entry is a miss
    xr.testing.assert_identical(first, cached_sweep(model, blob(8, 0), 0, axes))


def test_the_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path))
    monkeypatch.setattr("spatial_viz.landscape.cache.MAX_BYTES", 60_000)
    axes = {dim: np.array(TransformGrid(10, 2, 2, (3, 3, 3)).values(dim)) for dim in DIMS}
    for index in range(6):
        cached_sweep(_toy(), blob(index, 0), 0, axes)
    files = list(tmp_path.glob("*.nc"))
    assert 0 < len(files) < 6 and sum(file.stat().st_size for file in files) <= 60_000


def test_fp32_is_fp32_once_cuda_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True
        pick_device("cpu")
        assert torch.backends.cudnn.allow_tf32
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert pick_device().type == "cuda" and not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


FAULTS = """
import resource, sys, torch
from spatial_viz.models.devices import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for extra in range(150):  # each the largest so far: glibc maps such a one by itself, whatever it has learned
    torch.ones((20 << 20) + (extra << 16), dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_memory_comes_back_without_the_system() -> None:
    def faults(what: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, what], capture_output=True, text=True)
        if done.returncode == 3:
            pytest.skip("the C library of this machine is not glibc")
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert faults("kept") < faults("as usual") / 10


@pytest.mark.parametrize("device", ["quantum", "cuda:99"])
def test_unknown_devices_are_explained(device: str) -> None:
    with pytest.raises(InvalidInput, match=r"unknown device|there is no"):
        pick_device(device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU; none is on this machine")
class TestCuda:
    def test_verdicts_are_those_of_the_cpu(self) -> None:
        model = classifier()
        model.margin_error = calibrate(
            model, torch.stack([load_sample("cifar10", 0)[0]]), TransformGrid().draw(50), "cuda"
        )
        for index in range(20):
            image, label = load_sample("cifar10", index)
            here, there = sweep(model, image, label, device="cpu", precision="fp32"), sweep(model, image, label)
            assert "cpu" not in attributes_of(there).device
            clear = np.abs(here["margin"].values) > 1e-3
            np.testing.assert_array_equal(here["predicted"].values[clear], there["predicted"].values[clear])

    def test_real_out_of_memory_halves_the_batch(self) -> None:
        torch.cuda.set_per_process_memory_fraction(0.002)
        try:
            model = classifier()
            runner = runner_for(model, "cuda", "fp32")
            runner.reference.batch = 1 << 20
            transforms = TransformGrid(30, 3, 3, (101, 21, 21)).transforms()
            logits = runner.answer(
                load_sample("cifar10", 0)[0][None], transforms, one_image(len(transforms)), "black"
            ).logits
            assert len(logits) == 44541 and runner.reference.batch < 1 << 20
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)


def test_bf16_is_only_used_where_it_is_fast() -> None:
    model = classifier(margin_error=0.3)
    assert runner_for(model, "cpu").precision == ("bf16" if fast_at_bf16(torch.device("cpu")) else "fp32")


def test_who_sets_the_number_of_threads_changes_no_digit() -> None:
    """A worker of a cluster sets it, a command leaves it to OpenMP: the answers about one picture are the same."""
    code = """
import sys, torch
from spatial_viz.models.registry import load_classifier
from spatial_viz.models.inference import runner_for
from spatial_viz.data.samples import load_sample
if sys.argv[1] == "set":
    torch.set_num_threads(2)
image, _ = load_sample("cifar10", 0)
runner = runner_for(load_classifier("cifar10/standard"), "cpu", "fp32")
answers = runner.exact(image[None], torch.zeros(1, 3), torch.tensor([0]), "black")
print(torch.get_num_threads(), answers.tolist())
"""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    said = [
        subprocess.run([sys.executable, "-c", code, who], env=environment, capture_output=True, text=True, check=True)
        for who in ("set", "left")
    ]
    assert said[0].stdout.startswith("2 ") and said[0].stdout == said[1].stdout
