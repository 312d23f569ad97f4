"""How a classifier is queried: one protocol, always batched, and the guard that makes bf16 safe.

bf16 is used for speed, never for truth. On validation pictures a bf16 pass moved every gap between two logits by less
than ``margin_error`` (see `calibrate`). So of a bf16 pass every row whose two best classes are closer than that, and
every row that could hold the highest loss, is computed again in fp32: predicted classes, verdicts and the worst case
are those of a pass in fp32. Should any of them turn out to have moved by more, everything is done again in fp32.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from spatial_viz.errors import InvalidInput
from spatial_viz.models.accelerate import prepare
from spatial_viz.models.bf16_error import close_calls, could_be_worst, largest_move
from spatial_viz.models.classifier import Classifier, is_known
from spatial_viz.models.devices import fast_at_bf16, fast_batch, pick_device
from spatial_viz.models.engine import Engine, Objective, Progress, TorchEngine
from spatial_viz.transforms.geometry import Padding

Precision = Literal["auto", "bf16", "fp32"]


class Answers(NamedTuple):
    """What M queries gave, on the CPU: ``logits`` M×K, ``in_fp32`` (which rows were computed in fp32) and ``passes``
    (forward passes of a network that each took), both M."""

    logits: Tensor
    in_fp32: Tensor
    passes: Tensor


class Inference(Protocol):
    """Something that classifies images at transforms. Query m is ``images[index[m]]`` of N×C×H×W images in [0, 1],
    moved by ``transforms[m]`` of M×3."""

    name: str
    device: torch.device
    device_name: str
    precision: str

    def answer(self, images: Tensor, transforms: Tensor, index: Tensor, padding: Padding) -> Answers:
        """The largest logit of each row is that of fp32; nothing else of a row is, unless it is ``in_fp32``."""

    def exact(self, images: Tensor, transforms: Tensor | None, index: Tensor, padding: Padding) -> Tensor:
        """M×K logits in fp32. Without ``transforms`` the images are taken as they are."""


class Runner(Inference):
    """The guard of a classifier's engines: a fast one may answer first, and ``reference``, which computes in fp32,
    answers its close calls again.

    ``margin_error``: how far the fast engine may move the gap between two logits. ``hash``: of the classifier as it
    was when this was made.
    """

    def __init__(
        self, classifier: Classifier, state: str, reference: TorchEngine, fast: Engine | None = None,
        margin_error: float | None = None,
    ) -> None:  # fmt: skip
        self.name, self.hash, self.passes_per_query = classifier.name, state, classifier.passes_per_query
        self.reference, self.fast, self.margin_error = reference, fast, margin_error
        self.device, self.precision = reference.device, (fast or reference).precision
        self.device_name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)

    def answer(
        self, images: Tensor, transforms: Tensor, index: Tensor, padding: Padding, label: int | None = None,
        progress: Progress | None = None,
    ) -> Answers:  # fmt: skip
        """In fp32 are all rows that decide a predicted class and, with the ``label`` of a single image, all that may be
        the worst case."""
        passes = torch.full((len(index),), self.passes_per_query)
        if self.fast is not None:
            bound = self.margin_error or 0.0
            logits = self.fast.logits(images, transforms, index, padding, progress)
            in_fp32 = torch.zeros(len(logits), dtype=torch.bool)

            def again(rows: Tensor) -> float:
                """Replace rows by fp32 ones; by how much the gap between two logits moved at most."""
                if not len(rows):
                    return 0.0
                true = self.exact(images, transforms[rows], index[rows], padding)
                moved = largest_move(logits[rows], true)
                logits[rows], in_fp32[rows] = true, True
                return moved

            doubtful = close_calls(logits, bound) | (transforms == 0).all(1)  # and the unmoved picture
            moved = again(doubtful.nonzero()[:, 0])
            if label is not None and moved <= bound:
                for rows in could_be_worst(logits, in_fp32, label, bound):
                    moved = max(moved, again(rows))
            if moved <= bound:
                return Answers(logits, in_fp32, passes)
            # bf16 is further off here than it ever was in the calibration: nothing of it is to be trusted.
        logits = self.reference.logits(images, transforms, index, padding, progress)
        return Answers(logits, torch.ones(len(logits), dtype=torch.bool), passes)

    def exact(
        self, images: Tensor, transforms: Tensor | None, index: Tensor, padding: Padding,
        progress: Progress | None = None,
    ) -> Tensor:  # fmt: skip
        return self.reference.logits(images, transforms, index, padding, progress)

    def gradient(
        self, images: Tensor, transforms: Tensor, index: Tensor, padding: Padding, objective: Objective
    ) -> tuple[Tensor, Tensor]:
        """As `TorchEngine.gradient`, in fp32."""
        return self.reference.gradient(images, transforms, index, padding, objective)


PRECISIONS = ("fp32", "bf16")


@dataclass
class _Made:
    """The runners of one classifier, made for one state of its network."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    hash: str = ""
    runners: dict[tuple[str, str, float | None], Runner] = field(default_factory=dict)


_MADE: WeakKeyDictionary[Classifier, _Made] = WeakKeyDictionary()


def runner_for(classifier: Classifier, device: str = "auto", precision: Precision = "auto") -> Runner:
    """The runner of a classifier, made once per device and precision, and again when the network has changed."""
    chosen = pick_device(device)
    if precision not in ("auto", *PRECISIONS):
        raise InvalidInput(f"precision must be auto, bf16 or fp32; got {precision!r}")
    state, made = classifier.hash, _MADE.setdefault(classifier, _Made())
    with made.lock:
        margin_error = classifier.margin_error_of(state)
        if precision == "bf16" and margin_error is None:
            raise InvalidInput(
                f"{classifier.name} is not calibrated for bf16; use fp32, or set margin_error by calibrate()"
            )
        if precision == "auto":
            precision = "bf16" if margin_error is not None and fast_at_bf16(chosen) else "fp32"
        if made.hash != state:
            made.hash, made.runners = state, {}
        key = (str(chosen), precision, margin_error)
        if key in made.runners:
            return made.runners[key]
        runner = _make_runner(classifier, chosen, state, margin_error if precision == "bf16" else None)
        if is_known(state) or not runner.reference.form.copied:  # else nobody would see that the copy is out of date
            made.runners[key] = runner
        return runner


def _make_runner(classifier: Classifier, device: torch.device, state: str, margin_error: float | None) -> Runner:
    """With a ``margin_error`` in bf16 first."""
    reference = TorchEngine(prepare(classifier, device), device, classifier.mean, classifier.std)
    return Runner(classifier, state, reference, None if margin_error is None else reference.in_bf16(), margin_error)


def warm_up(classifier: Classifier, device: str = "auto", precision: Precision = "auto") -> None:
    """One batch through every network that a sweep would use, so that the first sweep is as fast as the next."""
    runner = runner_for(classifier, device, precision)
    image = torch.zeros(1, classifier.channels, *classifier.input_size)
    for engine in filter(None, (runner.reference, runner.fast)):
        size = fast_batch(engine.device, engine.precision, classifier.input_size)
        engine.logits(image, torch.zeros(size, 3), one_image(size), "black")


def one_image(count: int) -> Tensor:
    """The index of so many queries about the only image."""
    return torch.zeros(count, dtype=torch.int64)


def exact_logits(
    classifier: Classifier, image: Tensor, transforms: Tensor, device: str = "auto", padding: Padding = "black"
) -> Tensor:
    """The fp32 logits of one C×H×W picture at N transforms (N×3): N×K, on the CPU."""
    images = classifier.check_image(image)[None]
    return runner_for(classifier, device, "fp32").exact(images, transforms, one_image(len(transforms)), padding)


def calibrate(classifier: Classifier, images: Tensor, transforms: Tensor, device: str = "auto") -> float:
    """The ``margin_error`` of a classifier: 1.5 × the largest change of a logit gap by bf16, over all given cells.

    Parameters
    ----------
    images: N×C×H×W validation pictures in [0, 1]; never those that results are reported on.
    transforms: M×3; every picture is tried at every transform.
    """
    runner = _make_runner(classifier, pick_device(device), classifier.hash, math.inf)
    assert runner.fast is not None
    largest, index = 0.0, one_image(len(transforms))
    for image in images:
        approximate = runner.fast.logits(image[None], transforms, index, "black")
        true = runner.exact(image[None], transforms, index, "black")
        largest = max(largest, largest_move(approximate, true))
    return 1.5 * largest
