"""Looking for a sample picture that a classifier gets naturally right and wrong when it is turned or moved."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spatial_viz.data.images import load_image
from spatial_viz.data.samples import Sample, samples
from spatial_viz.evaluation.exhaustive import break_pictures
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.engine import Progress
from spatial_viz.models.inference import runner_for
from spatial_viz.transforms.geometry import Padding
from spatial_viz.transforms.grids import TransformGrid

EXTREMES = (3, 3, 3)  # tried first: the limits and the middle of each axis, which break most pictures


def find_failing_sample(
    classifier: Classifier,
    dataset: str,
    grid: TransformGrid,
    padding: Padding,
    progress: Progress | None = None,
    besides: Tensor | None = None,
) -> Sample | None:
    """A sample picture of a data set that is naturally right and that a transform breaks. The search stops at the
    extremes of the grid if they break any; of those found, it is the one with the highest loss at the first transform
    that broke it. None where every one survives the whole grid.

    Parameters
    ----------
    progress: called with (pictures broken, pictures in all) in the midst of it.
    besides: a C×H×W picture, as the classifier gets it, that is not to be the answer.

    Raises
    ------
    InvalidInput: a data set without samples.
    """
    known = samples(dataset)
    images = torch.stack([classifier.prepare(load_image(sample.path)) for sample in known])
    labels, every = torch.tensor([sample.label for sample in known]), torch.arange(len(known))
    runner = runner_for(classifier)
    right = runner.exact(images, None, every, padding).argmax(1) == labels
    if besides is not None:
        right &= (images != besides).flatten(1).any(1)

    def report(standing: int) -> None:
        if progress:
            progress(int(right.sum()) - standing, len(known))

    for granularity in (EXTREMES, grid.granularity):
        tried = replace(grid, granularity=granularity)
        result = break_pictures(runner, images, labels, tried, padding, right, every, report)
        broken = right & ~result.robust
        if broken.any():
            return known[int(torch.where(broken, result.losses, -torch.inf).argmax())]
    return None
