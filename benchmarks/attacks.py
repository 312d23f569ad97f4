"""How many pictures stand each attack: the table of docs/method.md.

python -m benchmarks.attacks --root data/cifar10
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from spatial_viz.attacks import AttackResult, FirstOrder, GridSearch, Random, Refine, WorstOfK
from spatial_viz.classifiers import load_classifier
from spatial_viz.datasets import first_per_class
from spatial_viz.grids import TransformGrid
from spatial_viz.intervals import wilson
from spatial_viz.training.data import read, to_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data/cifar10"))
    parser.add_argument("--classifier", default="cifar10/standard")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data = read("cifar10", options.root, "test")
    chosen = torch.tensor(
        [number for number, _ in first_per_class(list(enumerate(data.labels.tolist())), options.pictures)]
    )
    images, labels = to_images(data.pictures[chosen]).contiguous(), data.labels[chosen]
    classifier = load_classifier(options.classifier)
    limits = TransformGrid.paper(classifier.picture_size)
    first_order = FirstOrder(steps=options.steps)
    attacks = [
        ("one random transform", Random()),
        ("worst of 10 random", WorstOfK(k=10)),
        (f"first-order, {options.steps} steps, 1 start", first_order),
        ("grid, 31 × 5 × 5", GridSearch()),
        ("grid, then first-order from the 5 worst cells", Refine()),
    ]
    if options.restarts > 1:  # ten times the cost of all others: last
        many = replace(first_order, restarts=options.restarts)
        attacks.append((f"first-order, {options.steps} steps, {options.restarts} starts", many))
    print(
        f"{classifier.name}, the first {len(images)} CIFAR-10 test pictures, limits ±{limits.rotation:g}°, "
        f"±{limits.dx:g} px, seed {options.seed}; {platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}\n"
    )
    print("| attack | robust accuracy (95 % interval) | mean loss | forward + backward passes a picture |")
    print("|---|---|---|---|")
    for name, attack in attacks:
        bar = tqdm(total=len(images), desc=name, leave=False)
        found: AttackResult = attack(
            classifier, images, labels, limits, options.seed, report=lambda done, total: bar.update(done - bar.n)  # noqa: B023
        )  # fmt: skip
        bar.close()
        stand = int(found.robust.sum())
        low, high = wilson(stand, len(images))
        passes = f"{int(found.passes[0]):,} + {int(found.backward_passes[0]):,}"
        print(
            f"| {name} | {stand / len(images):.1%} ({low:.1%} to {high:.1%}) | {float(found.losses.mean()):.2f} "
            f"| {passes} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
