"""What a figure says in words: axes, verdicts, worst cases, alternative texts."""

from __future__ import annotations

import xarray as xr

from spatial_viz.figures.text import decimal, escaped, percent, short
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.dataset import (
    WorstCase,
    class_name,
    has_label,
    label_of,
    loss_title,
    misclassified,
    share_at,
    worst_case,
)
from spatial_viz.landscape.noise_plane import as_spatial, is_noise
from spatial_viz.transforms.transform import Transform

ORDER = Transform._fields  # as a reader names them; DIMS is the order of the arrays


_WORDS = {"rotation": "rotation left", "dx": "shift right dx", "dy": "shift down dy"}  # what is positive


_SIGNS = {"degree": "°", "pixel": "px"}


NOISE_UNIT = "1/255"


def falls(dim: str, upright: bool = False) -> bool:
    """Whether the values of a dimension fall to the right, or along an ``upright`` axis to the top.

    The same on every map, curve, surface and picture, and in the explorer (``range`` of heatmap.js). Positive rotation
    turns left, so it falls to the right, and left is left. Positive dy moves down, so it falls to the top; an upright
    dx does so, too, and all upright shifts agree.

    >>> falls("rotation"), falls("dx"), falls("dy", upright=True), falls("dx", upright=True)
    (True, False, True, True)
    """
    return (dim == "rotation") != upright


def axis_title(landscape: xr.Dataset, name: str) -> str:
    """Of a dimension or a variable, with its unit: ``"shift right dx (px)"``, ``"cross-entropy loss (nats)"``."""
    units = str(landscape[name].attrs.get("units", ""))
    words = str(landscape[name].attrs.get("long_name", _WORDS.get(name, name)))
    return f"{words} ({_SIGNS.get(units, units)})" if units else words


def alt_text(landscape: xr.Dataset) -> str:
    """One plain sentence for screen readers, not escaped: what was swept, how much fails, the worst case."""
    landscape = as_spatial(landscape)
    attributes, worst = attributes_of(landscape), marked_cell(landscape)
    of = "of class" if attributes.labelled else "taken for"
    low, high = float(landscape["loss"].min()), float(landscape["loss"].max())
    noise = is_noise(landscape)
    what = "pictures with noise" if noise else "transforms"
    dims = [dim for dim in ORDER if dim != "rotation" or not noise]
    ranges = ", ".join(f"{axis_title(landscape, dim) if noise else dim} {_range(landscape, dim)}" for dim in dims)
    return (
        f"Loss landscape of the classifier {attributes.classifier} on a picture {of} "
        f"{class_name(landscape, label_of(landscape))}: over {landscape['loss'].size} {what} ({ranges}) "
        f"the {loss_title(landscape)} runs from {decimal(low)} to {decimal(high)} nats, "
        f"{describe_failure(landscape)}, and the {describe_mark(landscape, worst)}, "
        f"{describe_place(landscape, worst)}, is predicted as {worst.name} "
        f"with {percent(worst.confidence)} confidence."
    )


def describe_failure(landscape: xr.Dataset) -> str:
    wrong = misclassified(landscape).values
    verb = "fail" if has_label(landscape) else "change the prediction"
    what = "pictures" if is_noise(landscape) else "transforms"
    return f"{int(wrong.sum())} of {wrong.size} {what} {verb} ({percent(float(wrong.mean()))})"


def describe_verdict(labelled: bool, wrong: bool) -> str:
    if labelled:
        return "misclassified" if wrong else "correct"
    return "another prediction" if wrong else "same prediction"


def describe_worst_case(worst: WorstCase) -> str:
    return "worst case" if worst.misclassified else "strongest transform"


def describe_mark(landscape: xr.Dataset, marked: WorstCase) -> str:
    """What figures call that cell."""
    return "picture of the attack" if is_noise(landscape) else describe_worst_case(marked)


def describe_place(landscape: xr.Dataset, place: WorstCase) -> str:
    """Where a cell lies, as one says it."""
    if not is_noise(landscape):
        return place.transform.describe()
    return ", ".join(
        f"{landscape[dim].attrs['long_name']} {amount(landscape, dim, getattr(place, dim))}" for dim in ("dx", "dy")
    )


def worst_case_hover(landscape: xr.Dataset, worst: WorstCase) -> str:
    words = f"{loss_title(landscape)} {decimal(worst.loss)} nats"
    if "share" in landscape:
        words = f"{percent(share_at(landscape, worst))} of the votes for the true class"
    return f"{describe_place(landscape, worst)}<br>{words}<br><b>{escaped(worst.name)}</b>, {percent(worst.confidence)}"


def amount(landscape: xr.Dataset, dim: str, value: float) -> str:
    units = str(landscape[dim].attrs.get("units", ""))
    if units == NOISE_UNIT:
        return f"{short(value)}/255"
    return f"{short(value)}{'' if units == 'degree' else ' '}{_SIGNS.get(units, units)}".strip()


def _range(landscape: xr.Dataset, dim: str) -> str:
    values = landscape[dim].values
    ends = [amount(landscape, dim, value) for value in (values[0], values[-1])]
    return ends[0] if len(values) == 1 else f"{ends[0]} to {ends[1]}"


def marked_cell(landscape: xr.Dataset) -> WorstCase:
    """The cell that figures mark: the worst case; in a plane of noise the picture of the attack."""
    if not is_noise(landscape):
        return worst_case(landscape)
    landscape = as_spatial(landscape)
    return worst_case(landscape.isel(dx=[-1], dy=[landscape.sizes["dy"] // 2]))
