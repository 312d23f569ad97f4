"""The way from a picture to its worst case, frame by frame, as pictures.

The picture is turned and moved along a straight line of transforms. The classifier is asked at every frame: what stands
beside the picture is computed there, nothing is interpolated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from PIL import Image, ImageDraw
from torch import Tensor

from spatial_viz.data.images import tensor_to_picture
from spatial_viz.errors import InvalidInput
from spatial_viz.export.raster import MapPicture, diamond, enlarged_picture, fitted, font, lines_of, ring
from spatial_viz.figures.captions import caption
from spatial_viz.figures.descriptions import describe_verdict
from spatial_viz.figures.planes import slice_of, slice_title
from spatial_viz.figures.style import ACCENT, Theme, loss_colours, loss_max, palette
from spatial_viz.figures.text import decimal, percent, short
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.dataset import label_of, loss_title, worst_case
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.inference import exact_logits
from spatial_viz.models.losses import cross_entropy
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.transform import Transform

FRAMES = 48  # of the way, both ends among them
SIZE = (760, 496)  # pixels of a frame; even, as video asks
BARS = 4  # classes whose probabilities are shown
LEFT, PICTURE = 18, 256  # pixels: where the left column begins, and the sides of the picture in it
RIGHT, WIDE = 344, 396  # the plots in the right column
MAP, CURVE = (92, 208), (282, 388)  # their upper and lower edges
TITLES = {"rotation": "rotation left (°)", "dx": "shift right (px)", "dy": "shift down (px)"}


@dataclass(frozen=True)
class Trajectory:
    """N transforms from the unmoved picture to the worst case, and what the classifier says at each.

    ``transforms`` N×3 (degrees, pixels, pixels); ``share`` N, how much of the way lies behind, 0 to 1; ``losses`` N in
    nats; ``probabilities`` N×K.
    """

    transforms: Tensor
    share: np.ndarray
    losses: np.ndarray
    probabilities: np.ndarray


def trajectory_to_worst(
    classifier: Classifier, image: Tensor, landscape: xr.Dataset, frames: int = FRAMES
) -> Trajectory:
    """The straight way from the picture (C×H×W in [0, 1]) to the worst case of its landscape, slow at both ends.

    Raises
    ------
    InvalidInput: fewer than two frames, or a picture that the classifier does not take.
    """
    if frames < 2:
        raise InvalidInput(f"an animation needs at least 2 frames; got {frames}")
    worst = worst_case(landscape)
    time = np.linspace(0, 1, frames)
    share = time * time * (3 - 2 * time)
    goal = torch.tensor([worst.rotation, worst.dx, worst.dy], dtype=torch.float32)
    transforms = torch.from_numpy(share.astype(np.float32))[:, None] * goal
    logits = exact_logits(classifier, image, transforms, padding=attributes_of(landscape).padding)
    losses = cross_entropy(logits, torch.full((frames,), label_of(landscape)))
    return Trajectory(transforms, share, losses.numpy(), logits.softmax(1).numpy())


def draw_trajectory(
    classifier: Classifier, image: Tensor, landscape: xr.Dataset, *, picture: str = "", frames: int = FRAMES,
    theme: Theme = "light",
) -> list[Image.Image]:  # fmt: skip
    """One RGB picture of `SIZE` per frame.

    Parameters
    ----------
    image: the C×H×W picture in [0, 1] that was swept; landscape: its landscape under ``classifier``.
    picture: what the picture is called, for the caption.
    """
    way = trajectory_to_worst(classifier, image, landscape, frames)
    seen = warp(image[None].float(), way.transforms, attributes_of(landscape).padding)
    scene = _Scene(classifier, landscape, way, picture, theme)
    return [scene.frame(number, tensor_to_picture(seen[number])) for number in range(frames)]


class _Scene:
    """What all frames share, drawn once, and on a copy of it what changes from one to the next."""

    def __init__(
        self, classifier: Classifier, landscape: xr.Dataset, way: Trajectory, picture: str, theme: Theme
    ) -> None:
        self.landscape, self.way, self.names = landscape, way, classifier.class_names
        self.text, self.muted, self.faint = (palette(theme)[name] for name in ("text", "muted", "grid"))
        self.label, self.labelled = label_of(landscape), attributes_of(landscape).labelled
        self.worst, self.loss = worst_case(landscape), loss_title(landscape)
        self.top = max(loss_max(landscape), float(way.losses.max()))
        self.ground = Image.new("RGB", SIZE, palette(theme)["page"])
        self.draw = ImageDraw.Draw(self.ground)
        self._write(LEFT, 14, classifier.name, 17, bold=True, width=SIZE[0] - 2 * LEFT)
        self.place_on_map = self._map()
        self._curve_axes()
        self.shown = self._classes()
        for row, line in enumerate(lines_of(caption(landscape, picture), font(10).getlength, SIZE[0] - 2 * LEFT, 2)):
            self._write(LEFT, SIZE[1] - 34 + 14 * row, line, 10, colour=self.muted)

    def frame(self, number: int, picture: Image.Image) -> Image.Image:
        """One frame, with the picture as the classifier sees it there."""
        frame = self.ground.copy()
        self.draw = ImageDraw.Draw(frame)
        pose = Transform(*self.way.transforms[number].tolist())
        self._write(LEFT, 40, pose.describe().capitalize(), 14, width=SIZE[0] - 2 * LEFT)
        shown = enlarged_picture(picture, PICTURE)
        frame.paste(shown, (LEFT + (PICTURE - shown.width) // 2, 68 + (PICTURE - shown.height) // 2))
        predicted = int(self.way.probabilities[number].argmax())
        wrong = predicted != self.label
        mark = "✕" if wrong else "✓"
        self._write(LEFT, 333, f"{mark} {self.names[predicted]}", 19, bold=True, width=RIGHT - LEFT - 40)
        words = f"{describe_verdict(self.labelled, wrong)}, {self.loss} {decimal(self.way.losses[number])} nats"
        self._write(LEFT, 359, words, 13, colour=self.muted)
        self._bars(number, predicted)
        if self.place_on_map is not None:
            ring(self.draw, *self.place_on_map(pose), ACCENT)
        points = [self._on_curve(*at) for at in zip(self.way.share, self.way.losses, strict=True)]
        self.draw.line(points[: number + 1], fill=self.text, width=2, joint="curve")
        ring(self.draw, *points[number], ACCENT, 5)
        return frame

    def _write(
        self, x: float, y: float, text: str, size: int, *, bold: bool = False, colour: str = "", anchor: str = "la",
        width: float = 0,
    ) -> None:  # fmt: skip
        letters = font(size, bold)
        self.draw.text((x, y), fitted(text, letters.getlength, width or SIZE[0]), colour or self.text, letters, anchor)

    def _map(self) -> Callable[[Transform], tuple[float, float]] | None:
        """The map over the two axes along which the way leads furthest: rotation and a shift where they move."""
        moving = [dim for dim in Transform._fields if self.landscape.sizes[dim] > 1]
        if len(moving) < 2:
            return None
        x, *shifts = moving
        y = max(shifts, key=lambda dim: abs(getattr(self.worst, dim)))
        (fixed,) = set(Transform._fields) - {x, y}
        cut = slice_of(self.landscape, x, y, "max" if self.landscape.sizes[fixed] > 1 else None, "loss", None)
        upper, lower = MAP
        drawn = MapPicture(cut, x, y, (WIDE, lower - upper), self.top)
        self.ground.paste(drawn.picture, (RIGHT, upper))

        def place(pose: Transform) -> tuple[float, float]:
            across, along = drawn.place(getattr(pose, x), getattr(pose, y))
            return RIGHT + across, upper + along

        self._write(RIGHT, upper - 22, slice_title(self.landscape, cut, "loss"), 13, bold=True, width=WIDE)
        for value in (cut.xs[0], 0.0, cut.xs[-1]):
            self._write(place(Transform(**{x: value}))[0], lower + 5, short(value), 11, colour=self.muted, anchor="ma")
        for value in (cut.ys[0], cut.ys[-1]):
            self._write(RIGHT - 6, place(Transform(**{y: value}))[1], short(value), 11, colour=self.muted, anchor="rm")
        axes = f"{TITLES[x]} · downwards: {TITLES[y]} · outlined: {self._describe_failures()}"
        self._write(RIGHT, lower + 20, axes, 10, colour=self.muted, width=WIDE)
        diamond(self.draw, *place(self.worst.transform))
        return place

    def _curve_axes(self) -> None:
        """The frame of the loss along the way, its scale in the colours of the map, and where it is wrong."""
        upper, lower = CURVE
        self._write(RIGHT, upper - 24, f"{self.loss.capitalize()} along the way", 13, bold=True)
        wrong = self.way.probabilities.argmax(1) != self.label
        middles = (self.way.share[1:] + self.way.share[:-1]) / 2
        for first, last, bad in zip([0.0, *middles], [*middles, 1.0], wrong, strict=True):
            if bad:
                span = (self._on_curve(first, self.top)[0], upper, self._on_curve(last, 0)[0], lower)
                self.draw.rectangle(span, fill=self.faint)
        self.draw.rectangle((RIGHT, upper, RIGHT + WIDE, lower), outline=self.faint)
        scale = loss_colours(np.linspace(self.top, 0, lower - upper)[:, None].repeat(8, 1), self.top)
        self.ground.paste(Image.fromarray(scale), (RIGHT - 9, upper))
        for value in (0.0, self.top):
            y = self._on_curve(0, value)[1]
            self._write(RIGHT - 14, y, short(round(value, 1)), 11, colour=self.muted, anchor="rm")
        for share, words, anchor in ((0.0, "as it is", "la"), (1.0, self._describe_goal(), "ra")):
            self._write(self._on_curve(share, 0)[0], lower + 6, words, 11, colour=self.muted, anchor=anchor)
        shaded = f"shaded: {self._describe_failures()}" if wrong.any() else ""
        self._write(RIGHT + WIDE / 2, lower + 6, shaded, 11, colour=self.muted, anchor="ma")

    def _on_curve(self, share: float, loss: float) -> tuple[float, float]:
        upper, lower = CURVE
        return RIGHT + share * WIDE, lower - (lower - upper) * loss / self.top

    def _classes(self) -> list[int]:
        """The classes that bars are drawn for: the true one, that of the worst case, what is said on the way, and those
        that come closest to it.
        """
        counts = np.bincount(self.way.probabilities.argmax(1), minlength=len(self.names))
        others = np.lexsort((-self.way.probabilities.max(0), -counts)).tolist()
        return list(dict.fromkeys([self.label, self.worst.predicted, *others]))[:BARS]

    def _bars(self, number: int, predicted: int) -> None:
        for row, index in enumerate(self.shown):
            share, y = float(self.way.probabilities[number, index]), 383 + 18 * row
            bold = index == predicted
            self._write(LEFT, y, self.names[index], 12, bold=bold, width=112)
            left, right = LEFT + 120, LEFT + 236
            self.draw.rectangle((left, y + 3, right, y + 12), fill=self.faint)
            if share > 0.004:
                colour = ACCENT if bold else self.muted
                self.draw.rectangle((left, y + 3, left + (right - left) * share, y + 12), fill=colour)
            self._write(LEFT + 288, y, percent(share), 12, bold=bold, anchor="ra")

    def _describe_failures(self) -> str:
        return "misclassified" if self.labelled else "another prediction"

    def _describe_goal(self) -> str:
        return "worst case" if self.worst.misclassified else "strongest transform"
