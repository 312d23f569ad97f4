"""How fast is a sweep? `python -m benchmarks.speed` prints one table, measured in one run.

Every round times the sweep, the bare forward pass and foolbox one after the other, so that ratios hold on a machine
whose speed drifts; the median over the rounds is printed.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from statistics import median
from typing import Any

import torch
from torch import Tensor

from spatial_viz.data.samples import load_sample, samples
from spatial_viz.landscape.dataset import misclassified
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.devices import fast_at_bf16
from spatial_viz.models.inference import runner_for, warm_up
from spatial_viz.models.networks import fold_batch_norm
from spatial_viz.models.registry import load_classifier
from spatial_viz.transforms.grids import TransformGrid

BATCHES = (16, 32, 64, 128, 256, 512)
TARGETS = {
    "sweep / bare": (1.4, "at most"), "foolbox / sweep": (5.0, "at least"), "peak memory": (1.5, "at most"),
    "dragging: median time between frames": (16.7, "at most"), "dragging: messages to the server": (0, "at most"),
    "letting go to the exact answer": (200, "at most"), "picture chosen to landscape drawn": (1.5, "at most"),
    "full / made": (15, "at least"), "foolbox / evaluation": (15, "at least"),
    "bare / evaluation, passes a second": (0.8, "at least"),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-browser", action="store_true", help="leave the measurements in Chromium out")
    parser.add_argument("--memory", metavar="CLASSIFIER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(json.dumps(_peak_memory(options.memory)))
        return

    classifier = load_classifier("cifar10/worst-of-10-30")  # robust, so that some sample survives foolbox's whole grid
    image, label = _survivor(classifier)
    grid = TransformGrid.paper(classifier.input_size)
    warm_up(classifier)
    heading(classifier)

    fastest, name = _fastest_forward(classifier, len(grid))
    contenders: dict[str, Callable[[], Any]] = {
        "sweep": lambda: sweep(classifier, image, label, grid),
        "bare": fastest,
        "foolbox": foolbox_attack(classifier, image[None], torch.tensor([label]), grid),
    }
    for contender in contenders.values():
        contender()
    times: dict[str, list[float]] = {key: [] for key in contenders}
    for _ in range(options.rounds):
        for key, contender in contenders.items():
            times[key].append(seconds(contender))
    row("sweep of one picture", f"{median(times['sweep']):.3f} s")
    row(f"bare forward pass ({name})", f"{median(times['bare']):.3f} s")
    row("foolbox SpatialAttack, same grid, surviving picture", f"{median(times['foolbox']):.3f} s")
    ratio("sweep / bare", times["sweep"], times["bare"])
    ratio("foolbox / sweep", times["foolbox"], times["sweep"])
    command = [sys.executable, "-m", "benchmarks.speed", "--memory", classifier.name]
    memory = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    row("peak memory of a process that sweeps", f"{memory:.2f} GB", "peak memory")
    if not options.no_browser:
        from benchmarks.browser import measure

        for text, value in measure().items():
            row(text, value, text)


def _survivor(classifier: Classifier) -> tuple[Tensor, int]:
    """A sample that is classified correctly at every transform, by our sweep and by foolbox."""
    for sample in samples("cifar10"):
        image, label = load_sample("cifar10", sample.index)
        grid = TransformGrid.paper(classifier.input_size)
        if (
            not bool(misclassified(sweep(classifier, image, label, grid)).any())
            and not foolbox_attack(classifier, image[None], torch.tensor([label]), grid)().any()
        ):
            return image, label
    raise SystemExit("no sample survives both grids; nothing to compare")


def foolbox_attack(classifier: Classifier, images: Tensor, labels: Tensor, grid: TransformGrid) -> Callable[[], Tensor]:
    """foolbox's exhaustive search with the same limits and granularity; which pictures it fooled the classifier on."""
    import foolbox

    preprocessing = {"mean": list(classifier.mean), "std": list(classifier.std), "axis": -3}
    model = foolbox.PyTorchModel(classifier.network.eval(), bounds=(0, 1), preprocessing=preprocessing, device="cpu")
    attack = foolbox.attacks.SpatialAttack(
        max_translation=grid.dx, max_rotation=grid.rotation, num_translations=grid.granularity[1],
        num_rotations=grid.granularity[0], grid_search=True,
    )  # fmt: skip
    return lambda: attack(model, images, labels)[2]


def _fastest_forward(classifier: Classifier, count: int) -> tuple[Callable[[], None], str]:
    """The bare network on ``count`` random inputs, channels last, at the fastest batch size and precision."""
    best: tuple[float, Callable[[], None], str] = (float("inf"), lambda: None, "")
    # bf16 only where hardware computes it: emulated, it is ten times slower and never the fastest.
    dtypes = (torch.float32, torch.bfloat16) if fast_at_bf16(torch.device("cpu")) else (torch.float32,)
    for dtype, folded, batch in product(dtypes, (False, True), BATCHES):
        forward = bare_forward(classifier, "bf16" if dtype == torch.bfloat16 else "fp32", count, batch, folded)
        forward()
        took = median(seconds(forward) for _ in range(3))
        name = f"batch {batch}, {str(dtype).removeprefix('torch.')}{', batch norm folded' if folded else ''}"
        if took < best[0]:
            best = (took, forward, name)
    return best[1], best[2]


def bare_forward(
    classifier: Classifier, precision: str, count: int, batch: int, folded: bool = True
) -> Callable[[], None]:
    """The network alone, channels last, on ``count`` random inputs."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    network: Any = copy.deepcopy(classifier.network).eval()
    network = (fold_batch_norm(network) if folded else network).to(dtype).to(memory_format=torch.channels_last)
    inputs = torch.randn(batch, classifier.channels, *classifier.input_size).to(dtype)
    part = inputs.contiguous(memory_format=torch.channels_last)

    def run() -> None:
        with torch.inference_mode():
            for start in range(0, count, batch):
                network(part[: count - start])

    return run


def _peak_memory(name: str) -> float:
    """Of this whole process, in GB, after one sweep."""
    image, label = load_sample("cifar10", 0)
    sweep(load_classifier(name), image, label)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def heading(classifier: Classifier) -> None:
    """What is measured, on what."""
    runner = runner_for(classifier)
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{classifier.name}, {runner.precision} on {runner.device}\n")


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def ratio(name: str, above: list[float], below: list[float]) -> None:
    row(name, f"{median(a / b for a, b in zip(above, below, strict=True)):.2f}", name)


def row(name: str, value: str, target: str = "") -> None:
    wanted = f"  (reach: {TARGETS[target][1]} {TARGETS[target][0]:g})" if target in TARGETS else ""
    print(f"{name:58} {value:>10}{wanted}", flush=True)


if __name__ == "__main__":
    main()
