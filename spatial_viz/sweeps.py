"""classifier × picture × transforms → landscape: batching, precision, device, progress.

bf16 is used for speed, never for truth. On validation pictures a bf16 pass moved every gap between two logits by less
than ``margin_error`` (see `calibrate`). So in a bf16 sweep every cell whose two best classes are closer than
that, and every cell that could hold the highest loss, is computed again in fp32: predicted classes, verdicts and the
worst case are those of a sweep in fp32. The variable ``fp32`` of the landscape says which cells were. Should any of
them turn out to have moved by more, the whole sweep is done again in fp32.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
import xarray as xr
from PIL import Image
from torch import Tensor, nn

from spatial_viz.classifiers import Classifier, normalise
from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.geometry import Padding, check_padding, warp
from spatial_viz.grids import TransformGrid
from spatial_viz.images import load_image
from spatial_viz.landscape import DIMS, build_landscape
from spatial_viz.losses import cross_entropy, logit_margin
from spatial_viz.networks import fold_batch_norm
from spatial_viz.version import VERSION

Precision = Literal["auto", "bf16", "fp32"]
Progress = Callable[[int, int], None]
"""Called with (transforms done, transforms in all) after every batch."""

SHOWN_CLASSES = 10
"""At most so many classes keep their probabilities in a landscape."""


def sweep(
    classifier: Classifier,
    image: Tensor | Image.Image | str | Path,
    label: int | str | None = None,
    grid: TransformGrid | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    progress: Progress | None = None,
    padding: Padding = "black",
) -> xr.Dataset:
    """The loss landscape of one picture: the classifier's answer at every transform of the grid.

    Parameters
    ----------
    image: a picture or the path of one (prepared for the classifier), or a C×H×W tensor in [0, 1] of exactly its size.
    label: index or name of the true class; None takes the natural prediction, for pictures that nobody labelled.
    grid: by default the paper's 31×5×5 for the classifier's input size.
    device: ``auto`` is CUDA, then Apple's, then the CPU; or any name that torch knows.
    precision: ``fp32``; ``bf16`` with every close call computed again in fp32; ``auto`` is bf16 where
        the classifier is calibrated and the device is fast at it.

    Returns
    -------
    The landscape; its schema is that of `spatial_viz.landscape.build_landscape`.

    Source: Engstrom et al., ICML 2019, section 3 and figure 2 (the landscape), section 5 (the grid).
    """
    grid = grid or TransformGrid.paper(classifier.input_size)
    axes = {dim: np.array(grid.values(dim)) for dim in DIMS}
    return sweep_axes(classifier, image, label, axes, device, precision, progress, padding)


def sweep_axes(
    classifier: Classifier,
    image: Tensor | Image.Image | str | Path,
    label: int | str | None,
    axes: dict[str, np.ndarray],
    device: str = "auto",
    precision: Precision = "auto",
    progress: Progress | None = None,
    padding: Padding = "black",
) -> xr.Dataset:
    """`sweep` over any ascending values of ``rotation``, ``dy`` and ``dx``; also a single plane of them."""
    check_padding(padding)
    tensor = as_input(classifier, image)
    runner = runner_for(classifier, device, precision)
    natural = runner.exact(tensor, torch.zeros(1, 3), padding, warped=False)
    label_index = int(natural.argmax()) if label is None else classifier.label_index(label)

    rotation, dy, dx = np.meshgrid(*(np.asarray(axes[dim], np.float64) for dim in DIMS), indexing="ij")
    transforms = torch.from_numpy(np.stack([rotation.ravel(), dx.ravel(), dy.ravel()], 1).astype(np.float32))
    logits, in_fp32 = runner.logits(tensor, transforms, padding, label_index, progress)
    check_finite(logits, transforms, classifier.name)

    labels = torch.full((len(logits),), label_index)
    probabilities = logits.softmax(1)
    confidence, predicted = probabilities.max(1)
    natural_probabilities = natural.softmax(1)
    natural_predicted = int(natural_probabilities.argmax())
    classes = classes_worth_showing(probabilities, label_index, natural_predicted)
    occurring = sorted({*classes, label_index, natural_predicted, *predicted.unique().tolist()})
    return build_landscape(
        axes=axes,
        cells={
            "loss": cross_entropy(logits, labels).numpy(),
            "margin": logit_margin(logits, labels).numpy(),
            "predicted": predicted.numpy(),
            "confidence": confidence.numpy(),
            "fp32": in_fp32.numpy(),
        },
        probabilities=probabilities[:, classes].numpy(),
        classes=np.array(classes),
        natural={
            "loss": float(cross_entropy(natural, torch.tensor([label_index]))),
            "predicted": natural_predicted,
            "confidence": float(natural_probabilities.max()),
        },
        card={
            "classifier": classifier.name,
            "classifier_hash": classifier.hash,
            "classes": len(classifier.class_names),
            "input_size": list(classifier.input_size),
            "image_hash": pixel_hash(tensor),
            "label": label_index,
            "labelled": label is not None,
            "names": {str(index): classifier.class_names[index] for index in occurring},
            "padding": padding,
            "device": runner.device_name,
            "precision": "fp32" if bool(in_fp32.all()) else runner.precision,
            "margin_error": runner.margin_error,
            "versions": {"spatial_viz": VERSION, "torch": torch.__version__},
        },
    )


def warm_up(classifier: Classifier, device: str = "auto", precision: Precision = "auto") -> None:
    """One batch through every network that a sweep would use, so that the first sweep is as fast as the next."""
    runner = runner_for(classifier, device, precision)
    image = torch.zeros(classifier.channels, *classifier.input_size)
    for name in runner.networks:
        size = fast_batch(runner.device, name, classifier.input_size)
        runner._pass(name, image, torch.zeros(size, 3), "black", None)


def exact_logits(
    classifier: Classifier, image: Tensor, transforms: Tensor, device: str = "auto", padding: Padding = "black"
) -> Tensor:
    """The fp32 logits of one C×H×W picture at N transforms (N×3): N×K, on the CPU."""
    return runner_for(classifier, device, "fp32").exact(classifier.check_image(image), transforms, padding)


def calibrate(classifier: Classifier, images: Tensor, transforms: Tensor, device: str = "auto") -> float:
    """The ``margin_error`` of a classifier: 1.5 × the largest change of a logit gap by bf16, over all given cells.

    Parameters
    ----------
    images: N×C×H×W validation pictures in [0, 1]; never those that results are reported on.
    transforms: M×3; every picture is tried at every transform.
    """
    fast = Runner(classifier, device, "bf16", margin_error=math.inf)
    largest = 0.0
    for image in images:
        approximate = fast.approximate(image, transforms, "black", None)
        true = fast.exact(image, transforms, "black")
        largest = max(largest, largest_move(approximate, true))
    return 1.5 * largest


def largest_move(approximate: Tensor, true: Tensor) -> float:
    """By how much the gap between any two logits of a row differs at most: the spread of the row's errors."""
    error = approximate - true
    return float((error.amax(1) - error.amin(1)).max())


# --- Running the network --------------------------------------------------------------------------------------------


class Runner:
    """One classifier on one device at one precision: folded, laid out and batched for speed.

    ``precision`` is ``fp32`` or ``bf16``; the latter needs a finite ``margin_error`` for all but `approximate`.
    """

    def __init__(self, classifier: Classifier, device: str, precision: str, margin_error: float | None) -> None:
        self.device = pick_device(device)
        self.precision = precision
        self.margin_error = margin_error if precision == "bf16" else None
        self.name = classifier.name
        self.mean, self.std = classifier.mean, classifier.std  # not the classifier: it could never be freed
        self.batch: dict[str, int] = {}
        # A copy, so that the caller's network stays where and how it is.
        network = _folded_safely(
            copy.deepcopy(classifier.network).eval(), (classifier.channels, *classifier.input_size)
        )
        self.networks = {"fp32": self._lay_out(network, torch.float32)}
        if precision == "bf16":
            self.networks["bf16"] = self._lay_out(copy.deepcopy(network), torch.bfloat16)

    def _lay_out(self, network: nn.Module, dtype: torch.dtype) -> nn.Module:
        return network.to(self.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)

    def logits(
        self,
        image: Tensor,
        transforms: Tensor,
        padding: Padding,
        label: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[Tensor, Tensor]:
        """N×K logits on the CPU, and which of the N rows were computed in fp32.

        In fp32 are all rows that decide a predicted class and, with a ``label``, all that may be the worst case.
        """
        if self.precision == "bf16":
            bound = self.margin_error or 0.0
            logits = self.approximate(image, transforms, padding, progress)
            exact = torch.zeros(len(logits), dtype=torch.bool)
            doubtful = close_calls(logits, bound) | (transforms == 0).all(1)  # and the unmoved picture
            moved = self._again(doubtful.nonzero()[:, 0], logits, exact, image, transforms, padding)
            if label is not None and moved <= bound:
                for rows in _could_be_worst(logits, exact, label, bound):
                    moved = max(moved, self._again(rows, logits, exact, image, transforms, padding))
            if moved <= bound:
                return logits, exact
            # bf16 is further off here than it ever was in the calibration: nothing of it is to be trusted.
        logits = self._pass("fp32", image, transforms, padding, progress)
        return logits, torch.ones(len(logits), dtype=torch.bool)

    def approximate(self, image: Tensor, transforms: Tensor, padding: Padding, progress: Progress | None) -> Tensor:
        """The bf16 logits as they come out."""
        return self._pass("bf16", image, transforms, padding, progress)

    def exact(self, image: Tensor, transforms: Tensor, padding: Padding, warped: bool = True) -> Tensor:
        """The fp32 logits; ``warped=False`` asks about the picture as it is."""
        return self._pass("fp32", image, transforms if warped else None, padding, None)

    def _again(
        self, rows: Tensor, logits: Tensor, exact: Tensor, image: Tensor, transforms: Tensor, padding: Padding
    ) -> float:
        """Replace ``rows`` of ``logits`` by fp32 ones; by how much the gap between two logits moved at most."""
        if not len(rows):
            return 0.0
        true = self.exact(image, transforms[rows], padding)
        moved = largest_move(logits[rows], true)
        logits[rows], exact[rows] = true, True
        return moved

    def _pass(
        self, precision: str, image: Tensor, transforms: Tensor | None, padding: Padding, progress: Progress | None
    ) -> Tensor:
        """Warp and classify in batches of a size that is fast; out of memory halves it and goes on."""
        batch = self.batch.setdefault(precision, fast_batch(self.device, precision, (image.shape[-2], image.shape[-1])))
        image = image.to(self.device)[None]
        count = 1 if transforms is None else len(transforms)
        done, parts = 0, []
        with torch.inference_mode():
            while done < count:
                try:
                    part = image
                    if transforms is not None:
                        part = warp(image, transforms[done : done + batch].to(self.device), padding)
                    part = normalise(part, self.mean, self.std).contiguous(memory_format=torch.channels_last)
                    network = self.networks[precision]
                    parts.append(network(part.to(DTYPES[precision])).float().cpu())
                except (torch.OutOfMemoryError, RuntimeError) as error:
                    if not _out_of_memory(error):
                        raise SpatialVizError(f"{self.name} failed on {tuple(part.shape)} pictures: {error}") from error
                    if batch == 1:
                        raise SpatialVizError(
                            f"not enough memory on {self.device} for a single picture of {self.name}"
                        ) from error
                    batch = self.batch[precision] = batch // 2
                    if self.device.type == "cuda":
                        torch.cuda.empty_cache()
                    continue
                done += len(parts[-1])
                if progress:
                    progress(done, count)
        return torch.cat(parts)


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_RUNNERS: WeakKeyDictionary[Classifier, dict[tuple[str, str], Runner]] = WeakKeyDictionary()


def runner_for(classifier: Classifier, device: str = "auto", precision: Precision = "auto") -> Runner:
    """The runner of a classifier, made once per device and precision."""
    chosen = pick_device(device)
    if precision == "auto":
        precision = "bf16" if classifier.margin_error is not None and fast_at_bf16(chosen) else "fp32"
    if precision not in DTYPES:
        raise InvalidInput(f"precision must be auto, bf16 or fp32; got {precision!r}")
    if precision == "bf16" and classifier.margin_error is None:
        raise InvalidInput(
            f"{classifier.name} is not calibrated for bf16; use fp32, or set margin_error by calibrate()"
        )
    runners = _RUNNERS.setdefault(classifier, {})
    key = (str(chosen), precision)
    if key not in runners:
        runners[key] = Runner(classifier, str(chosen), precision, classifier.margin_error)
    return runners[key]


def pick_device(device: str = "auto") -> torch.device:
    """CUDA, then Apple's, then the CPU; or the device named."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InvalidInput(f"unknown device {device!r}; use auto, cpu, cuda or mps") from error
    usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not usable.get(chosen.type, False):
        raise InvalidInput(f"there is no {device} on this machine; use auto or cpu")
    return chosen


def fast_at_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed by hardware; elsewhere it is emulated and slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def fast_batch(device: torch.device, precision: str, size: tuple[int, int]) -> int:
    """The batch that is fast, not the largest that fits: on a CPU the activations should stay in the cache.

    For a CPU measured at 32×32 (``make bench`` tries all), and scaled with the number of pixels.
    """
    at_32 = 2048 if device.type != "cpu" else (128 if precision == "bf16" else 32)
    return max(4, int(at_32 * 32 * 32 / (size[0] * size[1]))) if min(size) else 1


def _folded_safely(network: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """The network with batch norm folded, unless that changes its answers, as where two norms share a convolution."""
    folded = fold_batch_norm(network)
    if folded is network:
        return network
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    noise = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode():
        one, other = network(noise).float(), folded(noise).float()
    same = torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().amax().clamp(min=1)))
    return folded if same else network


def close_calls(logits: Tensor, margin_error: float) -> Tensor:
    """True for rows whose two best classes are so close that bf16 might have swapped them; N×K → N."""
    best = logits.topk(2, dim=1).values
    return (best[:, 0] - best[:, 1]) <= margin_error


def _could_be_worst(logits: Tensor, exact: Tensor, label: int, margin_error: float) -> Iterator[Tensor]:
    """Rows to compute again, a few at a time, until no approximate row can hold the highest loss.

    The loss is log(1 + S) with S = Σ exp(z_j - z_label). If no gap is off by more than ``margin_error``, the true
    loss is at most log(1 + S·exp(margin_error)). Between steps the caller replaces these rows of ``logits`` and sets
    ``exact``.
    """
    labels = torch.full((len(logits),), label)
    candidates = logits.argmax(1) != label  # certain: the close calls have been computed again
    if not candidates.any():
        candidates[:] = True
    step = 8  # the first few mostly settle it
    while True:
        loss = cross_entropy(logits, labels)
        highest = torch.log1p(torch.expm1(loss.double()) * math.exp(margin_error))
        open_rows = candidates & ~exact
        proven = loss[candidates & exact].max() if (candidates & exact).any() else torch.tensor(-math.inf)
        rows = (open_rows & (highest >= proven)).nonzero()[:, 0]
        if not len(rows):
            return
        yield rows[loss[rows].argsort(descending=True)][:step]
        step *= 2


def classes_worth_showing(probabilities: Tensor, label: int, natural: int) -> list[int]:
    """All classes where there are few; else the label, the natural prediction and those that matter most anywhere."""
    if probabilities.shape[1] <= SHOWN_CLASSES:
        return list(range(probabilities.shape[1]))
    peak = probabilities.amax(0).argsort(descending=True).tolist()
    chosen = dict.fromkeys([label, natural, *peak])
    return sorted(list(chosen)[:SHOWN_CLASSES])


def as_input(classifier: Classifier, image: Tensor | Image.Image | str | Path) -> Tensor:
    """The C×H×W tensor of a picture, a path, or a tensor that has to fit already."""
    if isinstance(image, Tensor):
        return classifier.check_image(image)
    if isinstance(image, (str, Path)):
        image = load_image(image)
    if not isinstance(image, Image.Image):
        raise InvalidInput(f"expected a picture, a path or a tensor; got {type(image).__name__}")
    return classifier.prepare(image)


def check_finite(logits: Tensor, transforms: Tensor, name: str) -> None:
    bad = (~torch.isfinite(logits).all(1)).nonzero()[:, 0]
    if len(bad):
        rotation, dx, dy = transforms[bad[0]].tolist()
        raise SpatialVizError(
            f"{name} returned a value that is not finite at rotation {rotation:g}°, dx {dx:g}, dy {dy:g} "
            f"({len(bad)} of {len(logits)} transforms); check its weights and its normalisation"
        )


def pixel_hash(image: Tensor) -> str:
    """SHA-256 of the pixels and shape of a C×H×W picture."""
    return hashlib.sha256(repr(tuple(image.shape)).encode() + image.float().contiguous().numpy().tobytes()).hexdigest()


def _out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text or "out of memory" in text


def refined_axes(grid: TransformGrid, counts: Sequence[int], **fixed: float) -> dict[str, np.ndarray]:
    """Axes of a display plane: ``counts`` values of (rotation, dy, dx), the axes named in ``fixed`` held at one value.

    The values of ``grid`` are among them, so the plane can be compared with it cell by cell.
    """
    axes: dict[str, Any] = {}
    for dim, count in zip(DIMS, counts, strict=True):
        if dim in fixed:
            axes[dim] = np.array([fixed[dim]])
            continue
        values = np.array(grid.values(dim))
        if len(values) > 1:
            per_gap = max(1, round((count - 1) / (len(values) - 1)))
            values = np.interp(np.arange((len(values) - 1) * per_gap + 1) / per_gap, np.arange(len(values)), values)
        axes[dim] = values
    return axes
