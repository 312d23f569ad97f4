"""The caption that travels with everything that is taken along: classifier, picture, grid, padding, version."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from spatial_viz.landscape.attributes import NOISE, attributes_of
from spatial_viz.landscape.dataset import class_name, label_of
from spatial_viz.transforms.grids import TransformGrid

_UNITS = {"degree": "°", "pixel": " px", "1/255": "/255"}


def caption_parts(landscape: xr.Dataset, picture: str = "") -> dict[str, str]:
    """What a reader has to know about a landscape, by what it is: ``classifier``, ``picture``, ``grid`` (or ``noise``),
    ``padding`` and ``computed with``. Plain text, not escaped.

    ``picture`` is what the picture is called; by default it is known by its label alone.
    """
    attributes = attributes_of(landscape)
    label = class_name(landscape, label_of(landscape))
    described = f"true class {label}" if attributes.labelled else f"no label, taken for {label}"
    parts = {
        "classifier": attributes.classifier,
        "picture": f"{picture}, {described}" if picture else described,
    }
    dims = {"rotation": "rotation", "dx": "dx", "dy": "dy"}
    noise = attributes.kind == NOISE
    if noise:  # figures call its axes dx and dy
        dims = {"adversarial" if "adversarial" in landscape.dims else "dx": "adversarial",
                "random" if "random" in landscape.dims else "dy": "random"}  # fmt: skip
    shape = " × ".join(str(landscape.sizes[dim]) for dim in dims)
    axes = ", ".join(f"{name} {_reach(landscape, dim)}" for dim, name in dims.items())
    if noise:
        parts["noise"] = f"{shape} pictures with noise: {axes}"
    else:
        parts["grid"] = f"{shape} transforms: {axes}"
        parts["padding"] = attributes.padding
    parts["computed with"] = f"spatial_viz {attributes.versions.get('spatial_viz', 'of an unknown version')}"
    return parts


def caption(landscape: xr.Dataset, picture: str = "") -> str:
    """The same in one line."""
    return in_one_line(caption_parts(landscape, picture))


def in_one_line(parts: Mapping[str, str]) -> str:
    """Parts of a caption, one behind the other."""
    return " · ".join(f"{text} padding" if name == "padding" else text for name, text in parts.items())


def run_caption(classifier: str, data: str, pictures: int, grid: TransformGrid, padding: str, version: str) -> str:
    """The caption of what a classifier did on many pictures.

    >>> run_caption("cifar10/standard", "cifar10, test", 500, TransformGrid(), "black", "1.0")
    'cifar10/standard · cifar10, test, 500 pictures · 31 × 5 × 5 transforms: rotation ±30°, dx ±3 px, dy ±3 px · \
black padding · spatial_viz 1.0'
    """
    shape = " × ".join(map(str, grid.granularity))
    axes = f"rotation ±{grid.rotation:g}°, dx ±{grid.dx:g} px, dy ±{grid.dy:g} px"
    parts = (classifier, f"{data}, {pictures:,} pictures", f"{shape} transforms: {axes}", f"{padding} padding",
             f"spatial_viz {version}")  # fmt: skip
    return " · ".join(parts)


def _reach(landscape: xr.Dataset, dim: str) -> str:
    """``"±30°"``; both ends where they are not alike, and a single value as it is."""
    values = landscape[dim].values
    unit = _UNITS.get(str(landscape[dim].attrs.get("units", "")), "")
    first, last = (f"{round(float(value), 2):g}".replace("-", "−") for value in (values[0], values[-1]))
    if len(values) == 1:
        return f"{first}{unit}"
    return f"±{last}{unit}" if np.isclose(values[0], -values[-1]) else f"{first} to {last}{unit}"
