"""Engines: one network on one device in one precision, queried in batches; on a CPU in parallel."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Protocol

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from spatial_viz.errors import SpatialVizError
from spatial_viz.models.accelerate import Prepared
from spatial_viz.models.classifier import normalise
from spatial_viz.models.devices import fast_batch
from spatial_viz.transforms.geometry import Padding, warp

Progress = Callable[[int, int], None]
"""Called with (transforms done, transforms in all) after every batch."""
Objective = Callable[[Tensor, Tensor], Tensor]
"""M×K logits and the numbers of these M rows among all that are queried → M values."""
Query = Callable[[nn.Module, Tensor], Tensor]
"""A network (this thread's) and numbers of rows → an answer for each of these rows."""
FEW_PIXELS = 64 * 64
"""Of a picture for which one thread alone answers as fast as several: they would meet after each layer, and beside a
busy program (a browser, another visitor) that takes ten times as long."""


class Engine(Protocol):
    """Computes logits as they come out, in its precision; `spatial_viz.models.inference.Runner` guards them."""

    device: torch.device
    precision: str

    def logits(
        self, images: Tensor, transforms: Tensor | None, index: Tensor, padding: Padding,
        progress: Progress | None = None,
    ) -> Tensor:  # fmt: skip
        """M×K logits on the CPU: row m is of ``images[index[m]]`` of N×C×H×W images in [0, 1], moved by
        ``transforms[m]`` (M×3), or not at all where ``transforms`` is None."""


class TorchEngine(Engine):
    """A `Prepared` network on a device. It holds no classifier, so that a classifier can be freed."""

    def __init__(
        self, form: Prepared, device: torch.device, mean: Sequence[float], std: Sequence[float], precision: str = "fp32"
    ) -> None:
        self.form, self.device, self.mean, self.std, self.precision = form, device, tuple(mean), tuple(std), precision
        self.batch = 0  # 0: nothing was queried yet
        self._copies = threading.local()

    def in_bf16(self) -> TorchEngine:
        """A copy that computes in bf16."""
        return TorchEngine(self.form.cast(torch.bfloat16), self.device, self.mean, self.std, "bf16")

    def logits(
        self, images: Tensor, transforms: Tensor | None, index: Tensor, padding: Padding,
        progress: Progress | None = None,
    ) -> Tensor:  # fmt: skip
        images = images.to(self.device)
        assert len(index) == 0 or int(index.max()) < len(images), "a row of no image"

        def query(network: nn.Module, rows: Tensor) -> Tensor:
            with torch.inference_mode():
                alone = transforms is not None and len(images) == 1  # then `warp` needs no copies of it
                part = images if alone else images[index[rows].to(self.device)]
                if transforms is not None:
                    part = warp(part, transforms[rows].to(self.device), padding)
                return self.classify(part, network).cpu()

        return self._in_batches(len(index), _size(images), query, progress)

    def gradient(
        self, images: Tensor, transforms: Tensor, index: Tensor, padding: Padding, objective: Objective
    ) -> tuple[Tensor, Tensor]:
        """The logits as `logits` has them, and the M×3 gradients of an objective with respect to the transforms.

        ``objective`` maps M'×K logits and the numbers of these M' rows to a number each.
        """
        images = images.to(self.device)

        def query(network: nn.Module, rows: Tensor) -> Tensor:
            with torch.enable_grad():
                moving = transforms[rows].to(self.device).requires_grad_()
                logits = self.classify(warp(images[index[rows].to(self.device)], moving, padding), network)
                value = objective(logits, rows.to(self.device)).sum()
                (slope,) = torch.autograd.grad(value, moving, allow_unused=True) if value.requires_grad else (None,)
            if slope is None:
                raise SpatialVizError(
                    f"{self.form.name} gives no gradient; choose an attack that needs none: grid, worst-of-k or random"
                )
            return torch.cat((logits.detach(), slope), 1).cpu()

        both = self._in_batches(len(transforms), _size(images), query, None)
        return both[:, :-3], both[:, -3:]

    def classify(self, images: Tensor, network: nn.Module | None = None) -> Tensor:
        """The logits of one batch of images in [0, 1] on the device; ``network``: a copy of this thread's."""
        return self.form.ask(network or self.form.network, normalise(images, self.mean, self.std))

    def _in_batches(self, count: int, size: tuple[int, int], query: Query, progress: Progress | None) -> Tensor:
        """What `batches` gives, in one tensor."""
        answers: list[Tensor] = []
        done = 0
        with contextlib.closing(self.batches(count, size, query)) as parts:
            for answer in parts:
                answers.append(answer)
                done += len(answer)
                if progress:
                    progress(done, count)
        return torch.cat(answers)

    def batches(self, count: int, size: tuple[int, int], query: Query) -> Generator[Tensor]:
        """``query`` (perhaps in another thread) about rows 0 to count - 1.

        Its answers come in the order of the rows, in batches of a size that is fast for pictures of ``size`` (H, W);
        out of memory halves it and goes on. A caller that stops early should close the generator.
        """
        self.batch = self.batch or (1 if self.form.alone else fast_batch(self.device, self.precision, size))
        done = 0
        while done < count:
            threads = torch.get_num_threads() if self.device.type == "cpu" else 1
            parts = _even_parts(torch.arange(done, count), self.batch, threads)
            try:
                pool = _pool_for(threads, len(parts), size) if self.form.copied else None
                with contextlib.closing(self._answers(parts, query, pool)) as answers:
                    for answer in answers:
                        done += len(answer)
                        yield answer
            except torch.OutOfMemoryError:
                self.batch = len(parts[0]) // 2
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()

    def _answers(self, parts: Sequence[Tensor], query: Query, pool: ThreadPoolExecutor | None) -> Generator[Tensor]:
        def checked(network: nn.Module, rows: Tensor) -> Tensor:
            try:
                return query(network, rows)
            except (SpatialVizError, KeyboardInterrupt):
                raise
            except Exception as error:  # the caller's code may raise anything
                if not _out_of_memory(error):
                    raise SpatialVizError(
                        f"{self.form.name} failed on {len(rows)} pictures: {type(error).__name__}: {error}"
                    ) from error
                if len(rows) > 1:
                    raise torch.OutOfMemoryError(str(error)) from error
                raise SpatialVizError(
                    f"not enough memory on {self.device} for a single picture of {self.form.name}"
                ) from error

        if pool is None:
            yield from (checked(self.form.network, rows) for rows in parts)
        else:
            yield from pool.map(lambda rows: checked(self._copy(), rows), parts)

    def _copy(self) -> nn.Module:
        """The network of the thread that asks."""
        copies: dict[str, nn.Module] = self._copies.__dict__
        if "network" not in copies:
            copies["network"] = self.form.thread_copy()
        return copies["network"]


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


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
