"""Still pictures without a browser: text, and a slice of a landscape in the colours of all figures. By Pillow alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from spatial_viz.data.images import SMALL
from spatial_viz.figures.descriptions import falls
from spatial_viz.figures.planes import Slice
from spatial_viz.figures.style import loss_colours

_MATPLOTLIB = find_spec("matplotlib")  # found, not imported, for the fonts that it carries
FONTS = Path(_MATPLOTLIB.origin if _MATPLOTLIB and _MATPLOTLIB.origin else "").parent / "mpl-data" / "fonts" / "ttf"
REGULAR, BOLD = FONTS / "DejaVuSans.ttf", FONTS / "DejaVuSans-Bold.ttf"


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which has the signs that the words here need (° ± × − ✓ ✕ ℓ ∞)."""
    return ImageFont.truetype(str(BOLD if bold else REGULAR), size)


def fitted(text: str, length: Callable[[str], float], width: float) -> str:
    """``text``, cut off with an ellipsis where its ``length`` is more than ``width``, in whatever unit."""
    if length(text) <= width:
        return text
    while text and length(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def lines_of(text: str, length: Callable[[str], float], width: float, most: int) -> list[str]:
    """``text`` in at most so many lines, none longer than ``width``; what is too much ends in an ellipsis."""
    lines, words = [""], re.split(r"[ \n\t]+", text)  # a number and its unit stay together
    for number, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or length(longer) <= width:
            lines[-1] = longer
        elif len(lines) < most:
            lines.append(word)
        else:
            lines[-1] = " ".join([lines[-1], *words[number:]])
            break
    return [fitted(line, length, width) for line in lines]


class MapPicture:
    """A slice of a landscape over ``x`` and ``y`` as a picture of ``size`` (width, height) pixels, without any text.

    One block of colour per cell; hatched and outlined where misclassified. The directions are those of `falls`.
    """

    def __init__(self, cut: Slice, x: str, y: str, size: tuple[int, int], top: float) -> None:
        self.cut, self.size, self.left, self.down = cut, size, falls(x), falls(y, upright=True)
        across, along = slice(None, None, -1 if self.left else 1), slice(None, None, 1 if self.down else -1)
        loss, wrong = (values[along, across] for values in (cut.values, cut.wrong))
        rows, columns = (np.arange(n) * count // n for n, count in zip(size[::-1], loss.shape, strict=True))
        pixels = loss_colours(loss, top)[rows][:, columns]
        inside = wrong[rows][:, columns]
        hatched = inside & (np.indices(inside.shape).sum(0) % 9 == 0)
        pixels[hatched] = (0.6 * pixels + 0.4 * 255)[hatched].astype(np.uint8)
        edge = inside & ~_shrunk(inside, 2)
        pixels[_grown(edge) & ~edge] = 20
        pixels[edge] = 255
        self.picture = Image.fromarray(pixels)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the slice lies, in pixels of the picture."""
        across, along = (_share(values, at) for values, at in ((self.cut.xs, x), (self.cut.ys, y)))
        across, along = 1 - across if self.left else across, along if self.down else 1 - along
        return across * self.size[0], along * self.size[1]


def _share(values: np.ndarray, at: float) -> float:
    """How far along the cells' range, borders included, a value lies: 0 to 1."""
    if len(values) == 1:
        return 0.5
    step = (values[-1] - values[0]) / (len(values) - 1)
    return float((at - values[0] + step / 2) / (step * len(values)))


def _shrunk(mask: np.ndarray, by: int) -> np.ndarray:
    """The points of a mask that are further than ``by`` from its outside; beyond the picture is outside, too."""
    for _ in range(by):
        padded = np.pad(mask, 1)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def _grown(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    return mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]


def diamond(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float = 7) -> None:
    """The mark of the worst case: white, with a dark rim that shows on every colour."""
    for size, colour in ((radius + 2, "#000000"), (radius, "#ffffff")):
        draw.polygon([(x, y - size), (x + size, y), (x, y + size), (x - size, y)], fill=colour)


def ring(draw: ImageDraw.ImageDraw, x: float, y: float, colour: str, radius: float = 7) -> None:
    """The mark of the pose shown."""
    for wider, width, shade in ((3, 8, "#000000"), (2, 6, "#ffffff"), (0, 3, colour)):
        size = radius + wider
        draw.ellipse((x - size, y - size, x + size, y + size), outline=shade, width=width)


def enlarged_picture(picture: Image.Image, side: int) -> Image.Image:
    """A picture so that it just fits a square of ``side`` pixels, in RGB; few pixels stay visible as pixels."""
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    method = Image.Resampling.NEAREST if max(picture.size) <= SMALL else Image.Resampling.LANCZOS
    return picture.convert("RGB").resize(size, method)
