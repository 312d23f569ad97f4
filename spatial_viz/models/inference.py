"""One classifier on one device at one precision: folded, laid out and batched for speed, in parallel on a CPU.

bf16 is used for speed, never for truth. On validation pictures a bf16 pass moved every gap between two logits by less
than ``margin_error`` (see `calibrate`). So of a bf16 pass every row whose two best classes are closer than that, and
every row that could hold the highest loss, is computed again in fp32: predicted classes, verdicts and the worst case
are those of a pass in fp32. Should any of them turn out to have moved by more, everything is done again in fp32.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.models.accelerate import prepare
from spatial_viz.models.bf16_error import close_calls, could_be_worst, largest_move
from spatial_viz.models.classifier import Classifier, is_known, normalise
from spatial_viz.models.devices import fast_at_bf16, fast_batch, pick_device
from spatial_viz.transforms.geometry import Padding, warp

Precision = Literal["auto", "bf16", "fp32"]
Progress = Callable[[int, int], None]
"""Called with (transforms done, transforms in all) after every batch."""
Objective = Callable[[Tensor, Tensor], Tensor]
"""M×K logits and the numbers of these M rows among all that were asked about → M values."""
FEW_PIXELS = 64 * 64
"""Of a picture for which one thread alone answers as fast as several: they would meet after each layer, and beside a
busy program (a browser, another visitor) that takes ten times as long."""


class Runner:
    """One classifier on one device at one precision: folded, laid out and batched for speed.

    ``precision`` is ``fp32`` or ``bf16``; the latter needs a finite ``margin_error`` for all but `approximate`.
    ``state``: the hash of the classifier as it now is.
    """

    def __init__(
        self, classifier: Classifier, device: str, precision: str, margin_error: float | None, state: str
    ) -> None:
        self.device = pick_device(device)
        self.hash = state
        self.precision = precision
        self.margin_error = margin_error if precision == "bf16" else None
        self.name = classifier.name
        self.passes_per_query = classifier.passes_per_query
        self.mean, self.std = classifier.mean, classifier.std  # not the classifier: it could never be freed
        self.batch: dict[str, int] = {}
        self._copies = threading.local()
        self.forms = {"fp32": prepare(classifier, self.device)}
        if precision == "bf16":
            self.forms["bf16"] = self.forms["fp32"].cast(torch.bfloat16)

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
        pictures: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """N×K logits on the CPU, and which of the N rows were computed in fp32.

        In fp32 are all rows that decide a predicted class and, with a ``label``, all that may be the worst case.
        With ``pictures`` (N indices) row n is about that one of many pictures, as in `exact`.
        """
        if self.precision == "bf16":
            bound = self.margin_error or 0.0
            logits = self.approximate(image, transforms, padding, progress, pictures)
            exact = torch.zeros(len(logits), dtype=torch.bool)
            doubtful = close_calls(logits, bound) | (transforms == 0).all(1)  # and the unmoved picture
            moved = self._again(doubtful.nonzero()[:, 0], logits, exact, image, transforms, padding, pictures)
            if label is not None and moved <= bound:
                for rows in could_be_worst(logits, exact, label, bound):
                    moved = max(moved, self._again(rows, logits, exact, image, transforms, padding, pictures))
            if moved <= bound:
                return logits, exact
            # bf16 is further off here than it ever was in the calibration: nothing of it is to be trusted.
        logits = self._pass("fp32", image, transforms, padding, progress, pictures)
        return logits, torch.ones(len(logits), dtype=torch.bool)

    def decide(
        self, images: Tensor, transforms: Tensor, padding: Padding, pictures: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `logits` with ``pictures``, where nothing but the largest logit of a row matters unless the row was
        computed in fp32; and how many forward passes each of the N rows took."""
        logits, exact = self.logits(images, transforms, padding, pictures=pictures)
        return logits, exact, torch.full((len(logits),), self.passes_per_query)

    def approximate(
        self,
        image: Tensor,
        transforms: Tensor,
        padding: Padding,
        progress: Progress | None,
        pictures: Tensor | None = None,
    ) -> Tensor:
        """The bf16 logits as they come out."""
        return self._pass("bf16", image, transforms, padding, progress, pictures)

    def exact(
        self,
        images: Tensor,
        transforms: Tensor | None,
        padding: Padding,
        pictures: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """The fp32 logits, M×K on the CPU, of one picture (C×H×W) at M transforms; ``None`` asks about it as it is.

        With ``pictures`` (M indices) row m is about ``images[pictures[m]]`` of N×C×H×W pictures.
        """
        return self._pass("fp32", images, transforms, padding, progress, pictures)

    def gradient(
        self, images: Tensor, transforms: Tensor, padding: Padding, pictures: Tensor, objective: Objective
    ) -> tuple[Tensor, Tensor]:
        """The fp32 logits as `exact` has them, and M×3 gradients of an objective with respect to the transforms.

        ``objective`` maps M'×K logits and the numbers of these M' rows to a number each.
        """
        images = images.to(self.device)

        def ask(network: nn.Module, rows: Tensor) -> Tensor:
            with torch.enable_grad():
                moving = transforms[rows].to(self.device).requires_grad_()
                logits = self.classify(warp(images[pictures[rows].to(self.device)], moving, padding), network=network)
                value = objective(logits, rows.to(self.device)).sum()
                (slope,) = torch.autograd.grad(value, moving, allow_unused=True) if value.requires_grad else (None,)
            if slope is None:
                raise SpatialVizError(
                    f"{self.name} gives no gradient; choose an attack that needs none: grid, worst-of-k or random"
                )
            return torch.cat((logits.detach(), slope), 1).cpu()

        both = self._in_batches("fp32", len(transforms), (images.shape[-2], images.shape[-1]), ask, None)
        return both[:, :-3], both[:, -3:]

    def _again(
        self,
        rows: Tensor,
        logits: Tensor,
        exact: Tensor,
        image: Tensor,
        transforms: Tensor,
        padding: Padding,
        pictures: Tensor | None,
    ) -> float:
        """Replace ``rows`` of ``logits`` by fp32 ones; by how much the gap between two logits moved at most."""
        if not len(rows):
            return 0.0
        true = self.exact(image, transforms[rows], padding, None if pictures is None else pictures[rows])
        moved = largest_move(logits[rows], true)
        logits[rows], exact[rows] = true, True
        return moved

    def _pass(
        self,
        precision: str,
        images: Tensor,
        transforms: Tensor | None,
        padding: Padding,
        progress: Progress | None,
        pictures: Tensor | None = None,
    ) -> Tensor:
        images = images.to(self.device)
        images = images[None] if pictures is None else images

        def ask(network: nn.Module, rows: Tensor) -> Tensor:
            with torch.inference_mode():
                part = images if pictures is None else images[pictures[rows].to(self.device)]
                if transforms is not None:
                    part = warp(part, transforms[rows].to(self.device), padding)
                return self.classify(part, precision, network).cpu()

        asked = transforms if pictures is None else pictures
        count = 1 if asked is None else len(asked)
        return self._in_batches(precision, count, (images.shape[-2], images.shape[-1]), ask, progress)

    def classify(self, images: Tensor, precision: str = "fp32", network: nn.Module | None = None) -> Tensor:
        """The logits of one batch of images in [0, 1] on the device; ``network``: a copy of this thread's."""
        form = self.forms[precision]
        return form.ask(network or form.network, normalise(images, self.mean, self.std))

    def _in_batches(
        self,
        precision: str,
        count: int,
        size: tuple[int, int],
        ask: Callable[[nn.Module, Tensor], Tensor],
        progress: Progress | None,
    ) -> Tensor:
        """What `batches` gives, in one tensor."""
        answers: list[Tensor] = []
        done = 0
        with contextlib.closing(self.batches(precision, count, size, ask)) as parts:
            for answer in parts:
                answers.append(answer)
                done += len(answer)
                if progress:
                    progress(done, count)
        return torch.cat(answers)

    def batches(
        self, precision: str, count: int, size: tuple[int, int], ask: Callable[[nn.Module, Tensor], Tensor]
    ) -> Generator[Tensor]:
        """``ask`` (with a network and numbers of rows, perhaps in another thread) about rows 0 to count - 1.

        Its answers come in the order of the rows, in batches of a size that is fast for pictures of ``size`` (H, W);
        out of memory halves it and goes on. A caller that stops early should close the generator.
        """
        form = self.forms[precision]
        self.batch.setdefault(precision, 1 if form.alone else fast_batch(self.device, precision, size))
        done = 0
        while done < count:
            threads = torch.get_num_threads() if self.device.type == "cpu" else 1
            parts = _even_parts(torch.arange(done, count), self.batch[precision], threads)
            try:
                pool = _pool_for(threads, len(parts), size) if form.copied else None
                with contextlib.closing(self._answers(precision, parts, ask, pool)) as answers:
                    for answer in answers:
                        done += len(answer)
                        yield answer
            except torch.OutOfMemoryError:
                self.batch[precision] = len(parts[0]) // 2
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()

    def _answers(
        self, precision: str, parts: Sequence[Tensor], ask: Callable[[nn.Module, Tensor], Tensor],
        pool: ThreadPoolExecutor | None,
    ) -> Generator[Tensor]:  # fmt: skip
        def checked(network: nn.Module, rows: Tensor) -> Tensor:
            try:
                return ask(network, rows)
            except (SpatialVizError, KeyboardInterrupt):
                raise
            except Exception as error:  # the caller's code may raise anything
                if not _out_of_memory(error):
                    raise SpatialVizError(
                        f"{self.name} failed on {len(rows)} pictures: {type(error).__name__}: {error}"
                    ) from error
                if len(rows) > 1:
                    raise torch.OutOfMemoryError(str(error)) from error
                raise SpatialVizError(
                    f"not enough memory on {self.device} for a single picture of {self.name}"
                ) from error

        if pool is None:
            yield from (checked(self.forms[precision].network, rows) for rows in parts)
        else:
            yield from pool.map(lambda rows: checked(self._copy(precision), rows), parts)

    def _copy(self, precision: str) -> nn.Module:
        """The network of the thread that asks."""
        copies: dict[str, nn.Module] = self._copies.__dict__
        if precision not in copies:
            copies[precision] = self.forms[precision].thread_copy()
        return copies[precision]


def _pool_for(threads: int, batches: int, size: tuple[int, int]) -> ThreadPoolExecutor | None:
    """Who answers for so many batches; None where all ``threads`` share one batch after the other."""
    if threads == 1:
        return None
    if batches > 1:
        return _pool(threads)
    return _pool(1) if size[0] * size[1] <= FEW_PIXELS else None  # not the sweep's: it would wait for its turn


@cache
def _pool(workers: int) -> ThreadPoolExecutor | None:
    """Workers with one thread each, for one batch each; None where that is not to be had.

    Faster than all threads on one batch after the other, above all while something else, such as a browser, takes its
    share of a core: nobody waits for the slowest thread after every layer.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="sweep", initializer=_one_thread)
    return pool if pool.submit(torch.get_num_threads).result() == 1 else None


def _one_thread() -> None:
    torch.get_num_threads()  # only now does torch itself set the number for a new thread
    threadpool_limits(1, user_api="openmp")
    # After torch.set_num_threads the MKL inside torch follows OpenMP no more, and its sums depend on the number.
    limit_mkl = getattr(ctypes.CDLL(torch._C.__file__), "MKL_Set_Num_Threads_Local", None)
    if limit_mkl is not None:
        limit_mkl(1)


def _out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text or "out of memory" in text


def _even_parts(rows: Tensor, batch: int, workers: int) -> Sequence[Tensor]:
    """Batches of at most ``batch`` rows, as equal as can be, and as many for every worker as for any other."""
    count = -(-len(rows) // batch)
    count = min(-(-count // workers) * workers, len(rows))
    return rows.tensor_split(count)


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
        runner = Runner(classifier, str(chosen), precision, margin_error, state)
        if is_known(state) or not runner.forms["fp32"].copied:  # else nobody would see that the copy is out of date
            made.runners[key] = runner
        return runner


def warm_up(classifier: Classifier, device: str = "auto", precision: Precision = "auto") -> None:
    """One batch through every network that a sweep would use, so that the first sweep is as fast as the next."""
    runner = runner_for(classifier, device, precision)
    image = torch.zeros(classifier.channels, *classifier.input_size)
    for name in runner.forms:
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
    fast = Runner(classifier, device, "bf16", math.inf, classifier.hash)
    largest = 0.0
    for image in images:
        approximate = fast.approximate(image, transforms, "black", None)
        true = fast.exact(image, transforms, "black")
        largest = max(largest, largest_move(approximate, true))
    return 1.5 * largest
