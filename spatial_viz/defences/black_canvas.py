"""A black canvas on which no pixel of a turned and shifted picture is lost."""

from __future__ import annotations

import math

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from spatial_viz.models.classifier import Classifier
from spatial_viz.transforms.grids import TransformGrid


class BlackCanvas(Classifier):
    """A classifier that gets its picture in the middle of a black canvas, so large that nothing is lost by turning and
    moving within ``limits``: what is left of the damage then is not that content leaves the picture.

    The network must take pictures of any size.

    Source: Engstrom et al., ICML 2019, the ablation on padding ("black canvas").
    """

    def __init__(self, classifier: Classifier, limits: TransformGrid | None = None) -> None:
        limits = limits or TransformGrid.paper(classifier.picture_size)
        height, width = classifier.input_size
        angle = math.radians(min(limits.rotation, 90.0))
        # Half the sides of the box that holds the turned picture; beyond 90° the diagonal is the longest it gets.
        reach = [(a * math.cos(angle) + b * math.sin(angle)) / 2 for a, b in ((height, width), (width, height))]
        if limits.rotation > math.degrees(math.atan2(min(height, width), max(height, width))):
            reach = [max(each, math.hypot(height, width) / 2) for each in reach]
        self.margin = tuple(
            max(0, math.ceil(each - side / 2 + shift))
            for each, side, shift in zip(reach, (height, width), (limits.dy, limits.dx), strict=True)
        )
        down, across = self.margin
        super().__init__(
            classifier.network,
            class_names=classifier.class_names,
            input_size=(height + 2 * down, width + 2 * across),
            mean=classifier.mean,
            std=classifier.std,
            name=f"{classifier.name}, on a black canvas",
            resize=classifier.resize,
            interpolation=classifier.interpolation,
            passes_per_query=classifier.passes_per_query,
        )
        self.inner = classifier
        self.loss_name = classifier.loss_name

    @property
    def picture_size(self) -> tuple[int, int]:
        return self.inner.picture_size

    def prepare(self, picture: Image.Image | Tensor) -> Tensor:
        """Any picture → C×H×W in [0, 1]: prepared as the classifier inside asks, then put onto the canvas."""
        if isinstance(picture, Tensor) and tuple(picture.shape) == (self.channels, *self.input_size):
            return self.check_image(picture)
        down, across = self.margin
        return F.pad(self.inner.prepare(picture), (across, across, down, down))
