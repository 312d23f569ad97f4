"""What would ImageNet cost here? `python -m benchmarks.rate` sweeps one picture with one of torchvision's networks.

Weights are random: they change the answers, not the time. From the passes a second, warp included, follows the time of
the validation set's 50,000 pictures on the paper's 775 transforms: all of them, and as `evaluate` asks, which needs the
whole grid for robust pictures alone (see docs/cluster.md).
"""

from __future__ import annotations

import argparse
from statistics import median

import torch
import torchvision

from benchmarks.speed import heading, row, seconds
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.inference import warm_up
from spatial_viz.transforms.grids import TransformGrid

PICTURES = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet50", help="a classification network of torchvision")
    parser.add_argument("--robust", type=float, default=0.31, help="share of robust pictures; the paper's by default")
    broken = "mean passes for a picture that breaks; those of cifar10/standard by default"
    parser.add_argument("--passes", type=float, default=19.0, help=broken)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    network = torchvision.models.get_model(options.network, weights=None)
    classifier = Classifier(
        network, class_names=[str(number) for number in range(1000)], input_size=(224, 224),
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), name=f"{options.network}, random weights",
    )  # fmt: skip
    grid = TransformGrid.paper((224, 224))
    image = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(0))
    warm_up(classifier)
    heading(classifier)
    took = median(seconds(lambda: sweep(classifier, image, 0, grid)) for _ in range(options.rounds))
    rate = len(grid) / took
    each = options.robust * len(grid) + (1 - options.robust) * options.passes
    row("passes a second", f"{rate:.1f}")
    row("hours for every transform of every picture", f"{PICTURES * len(grid) / rate / 3600:,.1f}")
    row("hours for the exact grid accuracy", f"{PICTURES * each / rate / 3600:,.1f}")


if __name__ == "__main__":
    main()
