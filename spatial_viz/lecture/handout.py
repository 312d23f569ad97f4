"""The lecture on paper: a PDF with the story, the pictures chosen at their worst, the numbers, and the link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import segno
import xarray as xr
from PIL import Image, ImageDraw
from torch import Tensor

from spatial_viz.data.images import tensor_to_picture
from spatial_viz.errors import InvalidInput
from spatial_viz.evaluation.results import all_results
from spatial_viz.export.pdf import MARGIN, MUTED, WIDTH, Sheets
from spatial_viz.export.raster import MapPicture, diamond, enlarged_picture
from spatial_viz.figures.captions import caption_parts, in_one_line
from spatial_viz.figures.descriptions import describe_failure, describe_worst_case
from spatial_viz.figures.planes import slice_of, slice_title
from spatial_viz.figures.style import loss_colours, loss_max
from spatial_viz.figures.text import decimal, percent, short
from spatial_viz.landscape.cache import cached_sweep
from spatial_viz.landscape.dataset import class_name, has_label, label_of, worst_case
from spatial_viz.lecture.headline_accuracies import BETWEEN_THE_POINTS, ROBUST, Group, groups, vote_groups
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.engine import Progress
from spatial_viz.models.registry import dataset_of, manifest, without_mirrors
from spatial_viz.transforms.geometry import Padding, warp
from spatial_viz.transforms.grids import TransformGrid
from spatial_viz.version import VERSION

MOST_PICTURES, MOST_CLASSIFIERS = 12, 3
SIDE, MAP, MAP_ROW = 38.0, 21.0, 37.0  # millimetres: a picture, a map, a map with all around it
AXES = {"rotation": "rotation left (°)", "dx": "shift right (px)", "dy": "shift down (px)"}
PAPER = "https://proceedings.mlr.press/v97/engstrom19a.html"
TITLE = "Exploring the Landscape of Spatial Robustness"


@dataclass(frozen=True)
class Chosen:
    """A picture for the handout: C×H×W in [0, 1] as the classifiers take it, its class index or None, and its name."""

    image: Tensor
    label: int | None
    name: str


def usual_classifiers(dataset: str) -> list[str]:
    """The names of the standard and of the robust classifier that ship for a data set, as far as they do."""
    shipped = {card.recipe: card.name for card in without_mirrors(manifest())
               if dataset_of(card.name) == dataset}  # fmt: skip
    robust = next((recipe for recipe in ROBUST if recipe in shipped), "")
    return [shipped[recipe] for recipe in ("standard", robust) if recipe in shipped]


def handout(
    chosen: Sequence[Chosen], classifiers: Sequence[Classifier], *, grid: TransformGrid | None = None,
    padding: Padding = "black", link: str = "", device: str = "auto", progress: Progress | None = None,
) -> bytes:  # fmt: skip
    """The handout as a PDF of A4 pages. Landscapes come from the cache where they are there.

    Parameters
    ----------
    chosen: 1 to `MOST_PICTURES` pictures, in the order of the pages.
    classifiers: 1 to `MOST_CLASSIFIERS`, all of which take these pictures and know the same classes.
    grid: by default the paper's. link: where the lecture can be opened; "" for none.
    progress: called with (pictures done, pictures in all).

    Raises
    ------
    InvalidInput: no picture or too many, no classifier or too many, or classifiers of different classes.
    """
    for what, many, most in (
        ("picture", len(chosen), MOST_PICTURES),
        ("classifier", len(classifiers), MOST_CLASSIFIERS),
    ):
        if not 1 <= many <= most:
            raise InvalidInput(f"a handout has 1 to {most} {what}s; got {many}")
    if len({each.class_names for each in classifiers}) > 1:
        raise InvalidInput(f"{' and '.join(each.name for each in classifiers)} do not know the same classes")
    grid = grid or TransformGrid.paper(classifiers[0].picture_size)
    sheets = Sheets(
        TITLE, f"Made with spatial_viz {VERSION}. After Engstrom, Tran, Tsipras, Schmidt, Mądry, ICML 2019."
    )
    _story(sheets, link)
    for number, each in enumerate(chosen, start=1):
        landscapes = [cached_sweep(classifier, each.image, each.label, grid.axes(), padding, device)
                      for classifier in classifiers]  # fmt: skip
        _picture(sheets, each, landscapes, padding)
        if progress:
            progress(number, len(chosen))
    results, cards = all_results()[0], manifest()
    _numbers(sheets, (*groups(results, cards), *vote_groups(results, [each.name for each in classifiers])))
    _words(sheets)
    return bytes(sheets.output())


# --- The story ------------------------------------------------------------------------------------------------------

STORY = {
    "What does small mean?": (
        "Noise that one hardly sees can change a classifier's mind: every pixel moves by at most ε, such as 8/255, the "
        "way that hurts most. In the **ℓ∞ distance**, the largest change of any pixel, the two pictures are close. A "
        "turn by a few degrees is large in that distance, since pixels at every edge change a lot, and yet to us it "
        "shows the same. Small ℓp distances do not capture every sense of small."
    ),
    "How far can a picture be turned and moved?": (
        "Here: rotations up to 30° and shifts up to about a tenth of the picture. The **worst case** is the transform "
        "within these limits that confuses the classifier most: misclassified before correct, then the higher loss. "
        "The **loss** is minus the logarithm of the probability of the true class, in nats. **Grid accuracy** counts a "
        "picture as right only if it is right as it is and at every one of 31 × 5 × 5 = 775 transforms."
    ),
    "Why the gradient gets lost": (
        "A **first-order method** follows the gradient uphill. Against small noise that works. Over rotation and shift "
        "a path comes to rest on a bump near where it began, which need not be the highest. But there are only three "
        "numbers, so a grid of them can be tried: **exhaustive search** takes 775 forward passes a picture, and finds "
        f"the worst of the grid for certain. Between its points there can be worse: {BETWEEN_THE_POINTS}."
    ),
    "Robust optimisation": (
        "Training on the worst of ten random transforms of every picture flattens the landscape: turns and shifts that "
        "fool a classifier of standard training fool this one much less often. A **majority vote** over ten random "
        "transforms needs no training, but ten times the work. It helps a classifier of standard training a little; "
        "the robust ones measured here gain nothing by it."
    ),
    "What to take home": (
        "Robust models need more refined notions of similarity than small ℓp distances. We do not have true spatial "
        "robustness yet. Intuitions from ℓp robustness do not transfer: here gradients get lost, and training against "
        "noise does not help against turns."
    ),
}


def _story(sheets: Sheets, link: str) -> None:
    sheets.title_line(TITLE, "Handout of the lecture: image classifiers, when pictures are merely turned and moved")
    if link:
        _link(sheets, link)
    for title, text in STORY.items():
        sheets.heading(title)
        sheets.paragraph(text)
    sheets.paragraph(
        f"The ideas are those of Logan Engstrom, Brandon Tran, Dimitris Tsipras, Ludwig Schmidt and Aleksander Mądry, "
        f"{TITLE}, ICML 2019: [proceedings.mlr.press/v97/engstrom19a.html]({PAPER})", 8.5, MUTED,
    )  # fmt: skip


def _link(sheets: Sheets, link: str) -> None:
    """Where the lecture is live, and the code that a telephone reads from paper."""
    side, top = 24.0, sheets.get_y()
    code = segno.make_qr(link, error="m")
    dark = np.array([list(row) for row in code.matrix], bool)
    sheets.picture(Image.fromarray(~dark).convert("L"), MARGIN, top, side, side, f"QR code of the link {link}")
    sheets.words(MARGIN + side + 5, top + 2, WIDTH - side - 5, "The lecture, live:", 9.5)
    sheets.set_xy(MARGIN + side + 5, top + 8)
    sheets.letters(8, colour=(0, 80, 160))
    sheets.multi_cell(WIDTH - side - 5, 4, link, link=link, align="L")
    sheets.set_xy(MARGIN, max(top + side, sheets.get_y()) + 2)


# --- A picture ------------------------------------------------------------------------------------------------------


def _picture(sheets: Sheets, each: Chosen, landscapes: Sequence[xr.Dataset], padding: Padding) -> None:
    """One picture as it is and at its worst under each classifier, with the maps of all on one scale."""
    map_rows = -(-len(landscapes) // 2)
    sheets.heading(each.name, room=SIDE + 48 + map_rows * MAP_ROW)
    top, step = sheets.get_y() + 1, WIDTH / (1 + len(landscapes))
    natural = [f"{_name(landscape)}: {_natural(landscape)}" for landscape in landscapes]
    _column(sheets, MARGIN, top, step, each.image, "As it is", natural)
    for number, landscape in enumerate(landscapes, start=1):
        worst = worst_case(landscape)
        at = worst.transform.tensor()
        turned = warp(each.image[None].float(), at, padding)[0]
        verdict = _verdict(landscape, worst.predicted, worst.confidence, worst.loss)
        lines = [
            f"{describe_worst_case(worst).capitalize()}: {verdict}",
            worst.transform.describe().capitalize(),
            describe_failure(landscape),
        ]
        _column(sheets, MARGIN + number * step, top, step, turned, _name(landscape), lines)
    sheets.set_y(top + SIDE + 30)
    _maps(sheets, landscapes)
    parts = caption_parts(landscapes[0], each.name)
    parts["classifier"] = " and ".join(map(_name, landscapes))
    sheets.small(in_one_line(parts))


def _column(
    sheets: Sheets, x: float, top: float, width: float, image: Tensor, title: str, lines: Sequence[str]
) -> None:
    """A picture with a title above and lines below."""
    shown = enlarged_picture(tensor_to_picture(image), 512)
    scale = SIDE / max(shown.size)
    sheets.words(x, top, width - 4, title, 8.5, bold=True)
    sheets.picture(shown, x, top + 5, shown.width * scale, shown.height * scale, f"{title}: {'; '.join(lines)}")
    y = top + 5 + SIDE + 2
    for line in lines:
        sheets.words(x, y, width - 4, line, 7.5, lines=2)
        y = sheets.get_y() + 4.2


def _maps(sheets: Sheets, landscapes: Sequence[xr.Dataset]) -> None:
    """The landscapes over the rotation and a shift, or over both shifts, two beside each other."""
    moving = [dim for dim in AXES if landscapes[0].sizes[dim] > 1]
    if len(moving) < 2:
        return
    x, y = moving[:2]
    (fixed,) = set(AXES) - {x, y}
    top, begin, width = max(loss_max(each) for each in landscapes), sheets.get_y(), WIDTH / 2 - 12
    for number, landscape in enumerate(landscapes):
        left, upper = MARGIN + 8 + number % 2 * (WIDTH / 2 + 2), begin + number // 2 * MAP_ROW
        cut = slice_of(landscape, x, y, "max" if landscape.sizes[fixed] > 1 else None, "loss", None)
        drawn = MapPicture(cut, x, y, (900, round(900 * MAP / width)), top)
        worst = worst_case(landscape)
        diamond(ImageDraw.Draw(drawn.picture), *drawn.place(getattr(worst, x), getattr(worst, y)), 13)
        title = slice_title(landscape, cut, "loss")
        sheets.words(left, upper, width, _name(landscape), 8, bold=True)
        alt = f"Map of {_name(landscape)}: {title}; {describe_failure(landscape)}."
        sheets.picture(drawn.picture, left, upper + 4.5, width, MAP, alt)
        for value in (cut.xs[0], 0.0, cut.xs[-1]):
            place = left + drawn.place(value, 0.0)[0] / drawn.size[0] * width
            sheets.words(place - 8, upper + MAP + 5.5, 16, short(value), 7, colour=MUTED, align="C")
        for value in (cut.ys[0], cut.ys[-1]):
            place = upper + 4.5 + drawn.place(0.0, value)[1] / drawn.size[1] * MAP
            sheets.words(left - 9, place - 1.6, 8, short(value), 7, colour=MUTED, align="R")
        axes = f"{title}. Across: {AXES[x]}, downwards: {AXES[y]}"
        sheets.words(left, upper + MAP + 9, width, axes, 6.5, colour=MUTED, lines=2)
    sheets.set_y(begin + -(-len(landscapes) // 2) * MAP_ROW)
    _scale(sheets, top, has_label(landscapes[0]))


def _scale(sheets: Sheets, top: float, labelled: bool) -> None:
    """The colours of the losses, the same for all maps of a picture."""
    y, left, width = sheets.get_y(), MARGIN + 8, 50.0
    ramp = loss_colours(np.linspace(0, 1, 256)[None].repeat(8, 0), 1)
    sheets.picture(Image.fromarray(ramp), left, y + 0.3, width, 2.4, "Colour scale of the loss")
    sheets.words(left - 4, y, 3, "0", 7, colour=MUTED, align="R")
    region = "misclassified" if labelled else "another prediction"
    text = f"{decimal(top)} nats of loss, one scale for all · hatched: {region} · diamond: the worst case"
    sheets.words(left + width + 2, y, WIDTH - width - 10, text, 7, colour=MUTED)
    sheets.set_xy(MARGIN, y + 5)


def _name(landscape: xr.Dataset) -> str:
    return caption_parts(landscape)["classifier"]


def _natural(landscape: xr.Dataset) -> str:
    predicted, confidence, loss = (landscape[f"natural_{name}"].item() for name in ("predicted", "confidence", "loss"))
    return _verdict(landscape, predicted, confidence, loss)


def _verdict(landscape: xr.Dataset, predicted: int, confidence: float, loss: float) -> str:
    mark = "✕" if predicted != label_of(landscape) else "✓"
    return f"{mark} {class_name(landscape, predicted)}, {percent(confidence)}, loss {decimal(loss)}"


# --- Numbers and words ----------------------------------------------------------------------------------------------


def _numbers(sheets: Sheets, known: Sequence[Group]) -> None:
    sheets.heading("The numbers", room=60)
    sheets.paragraph(
        "The share of pictures that are right: **as it is**, and in the **worst case**, when not one transform of the "
        "paper's grid may fool the classifier."
    )
    for group in known:
        sheets.room(9 + 5 * len(group.bars))
        body = [
            (bar.words, f"{bar.share:.{0 if group.published else 1}%}",
             "–" if bar.low is None or bar.high is None else f"{bar.low:.1%} to {bar.high:.1%}",
             "–" if bar.pictures is None else f"{bar.pictures:,}")
            for bar in group.bars
        ]  # fmt: skip
        sheets.rows((group.title, "right", "95 % interval", "pictures"), body, (82, 26, 42, 26))
        sheets.small(f"Source: {group.about}.")


def _words(sheets: Sheets) -> None:
    sheets.heading("Look for yourself")
    sheets.paragraph(
        "spatial_viz is an app, a library and a command line; it runs without a network on an ordinary laptop. Drag a "
        "picture, turn it, and watch the answer; upload one of your own; hold two classifiers against each other."
    )
