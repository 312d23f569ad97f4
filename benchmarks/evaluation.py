"""How fast is the evaluation of a data set? `python -m benchmarks.evaluation --root data/cifar10`.

Evaluation, the bare forward pass on as many inputs, and foolbox's SpatialAttack on the same pictures and grid, one
after the other in every round; the median of the rounds' ratios is printed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.speed import bare_forward, foolbox_attack, heading, ratio, row, seconds
from spatial_viz.data.selection import select_pictures
from spatial_viz.evaluation.decode import class_map, decode
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.run import evaluate
from spatial_viz.models.devices import fast_batch
from spatial_viz.models.inference import runner_for, warm_up
from spatial_viz.models.registry import load_classifier
from spatial_viz.transforms.grids import TransformGrid

PICTURES = 256
GRID = EvaluationPlan(("grid",), shard=PICTURES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data/cifar10"))
    parser.add_argument("--classifier", default="cifar10/standard")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--rounds", type=int, default=1)  # foolbox takes a quarter of an hour on two cores
    parser.add_argument("--memory", type=int, metavar="PICTURES", help=argparse.SUPPRESS)
    options = parser.parse_args()
    every = len(select_pictures("cifar10", options.root, "test", None, None))

    def measured(count: int, plan: EvaluationPlan = GRID) -> Any:
        """The evaluation of ``count`` pictures spread over the test set, and so over its classes."""
        places = torch.linspace(0, every - 1, count).long().tolist()
        return evaluate(classifier, "cifar10", plan, root=options.root, indices=places)

    classifier = load_classifier(options.classifier)
    if options.memory:
        measured(options.memory, EvaluationPlan(("grid",), (3, 3, 3), shard=PICTURES))
        print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6))
        return
    warm_up(classifier)
    heading(classifier)
    grid = TransformGrid.paper(classifier.picture_size)
    report = measured(options.pictures)
    result = report.results[0]
    row(f"robust, of {result.n} pictures on {len(grid)} transforms", str(result.correct))
    row("forward passes made", f"{result.passes:,}")
    row("forward passes of a full sweep", f"{result.passes_full:,}")
    row("full / made", f"{result.passes_full / result.passes:.1f}", "full / made")

    runner = runner_for(classifier)
    batch = fast_batch(runner.device, runner.precision, classifier.input_size)
    pictures = select_pictures(
        "cifar10", options.root, "test", None, torch.linspace(0, every - 1, options.pictures).long().tolist()
    )
    shard = decode(pictures, range(len(pictures)), classifier, class_map(pictures, classifier))
    times: dict[str, list[float]] = {"evaluation": [], "bare": [], "foolbox": []}
    contenders: dict[str, Callable[[], Any]] = {
        "evaluation": lambda: measured(options.pictures),
        "bare": bare_forward(classifier, runner.precision, result.passes, batch),
        "foolbox": foolbox_attack(classifier, shard.images, shard.labels, grid),
    }
    for _ in range(options.rounds):
        for name, contender in contenders.items():
            times[name].append(seconds(contender))
    row("evaluation, with reading the pictures", f"{median(times['evaluation']):.1f} s")
    row("foolbox SpatialAttack, same pictures and grid", f"{median(times['foolbox']):.1f} s")
    ratio("foolbox / evaluation", times["foolbox"], times["evaluation"])
    ratio("bare / evaluation, passes a second", times["bare"], times["evaluation"])
    for count in (1000, 4000):
        command = [sys.executable, "-m", "benchmarks.evaluation", "--root", str(options.root), "--memory", str(count)]
        memory = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        row(f"peak memory with {count:,} pictures", f"{memory:.2f} GB")


if __name__ == "__main__":
    main()
