"""How many pictures stand each attack: the table of docs/method.md.

python -m benchmarks.attacks --root data/cifar10
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from spatial_viz.attacks.base import Attack, AttackResult
from spatial_viz.attacks.spatial import FirstOrder, GridSearch, Random, Refine, WorstOfK
from spatial_viz.data.datasets import first_per_class
from spatial_viz.evaluation.intervals import wilson
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.registry import load_classifier
from spatial_viz.training.data import read, to_images
from spatial_viz.transforms.grids import TransformGrid


def until_broken(
    attack: Attack,
    result: AttackResult,
    starts: int,
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    limits: TransformGrid,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Which of N pictures stand ``starts`` runs of an attack, and the forward and backward passes used for each.

    ``result`` is the result of the first. Run r has the seed ``seed`` + r; a picture is done once it is
    broken, because one success is all that robust accuracy asks for.
    """
    passes, backward = result.passes.clone(), result.backward_passes.clone()
    standing = result.robust.nonzero()[:, 0]
    with tqdm(leave=False) as bar:

        def report(done: float, total: int) -> None:
            bar.total = total
            bar.update(int(done) - bar.n)

        for start in range(1, starts):
            if not len(standing):
                break
            bar.set_description(f"{attack.name}, start {start + 1} of {starts}")
            result = attack(
                classifier, images[standing], labels[standing], limits, seed + start, indices=standing, report=report
            )
            passes[standing] += result.passes
            backward[standing] += result.backward_passes
            standing = standing[result.robust]
    robust = torch.zeros(len(images), dtype=torch.bool)
    robust[standing] = True
    return robust, passes, backward


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
    print(
        f"{classifier.name}, the first {len(images)} CIFAR-10 test pictures, limits ±{limits.rotation:g}°, "
        f"±{limits.dx:g} px, seed {options.seed}; {platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}\n"
    )
    print("| attack | robust accuracy (95 % interval) | mean loss | forward + backward passes a picture |")
    print("|---|---|---|---|")

    def row(name: str, robust: Tensor, loss: str, passes: Tensor, backward: Tensor) -> None:
        stand = int(robust.sum())
        low, high = wilson(stand, len(images))
        used = f"{float(passes.double().mean()):,.0f} + {float(backward.double().mean()):,.0f}"
        print(f"| {name} | {stand / len(images):.1%} ({low:.1%} to {high:.1%}) | {loss} | {used} |", flush=True)

    for name, attack in attacks:
        with tqdm(total=len(images), desc=name, leave=False) as bar:
            result = attack(
                classifier, images, labels, limits, options.seed,
                report=lambda done, total: bar.update(int(done) - bar.n),
            )  # fmt: skip
        row(name, result.robust, f"{float(result.losses.mean()):.2f}", result.passes, result.backward_passes)
        if attack is first_order:
            one_start = result
    if options.restarts > 1:
        name = f"first-order, {options.steps} steps, up to {options.restarts} starts, a picture is done once broken"
        stood = until_broken(first_order, one_start, options.restarts, classifier, images, labels, limits, options.seed)
        row(name, stood[0], "–", *stood[1:])  # no loss: nobody looks for the highest


if __name__ == "__main__":
    main()
