"""From a landscape to what the live explorer shows: one plain, versioned dict.

The swept grid travels to the browser as base64 of little-endian arrays (a nested list would be four times
the size, and ``bytes`` inside a dict do not survive Streamlit). From then on the browser needs no server to
follow a drag. The dict is JSON throughout, so that exported pages carry the same one.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from spatial_viz.errors import InvalidInput
from spatial_viz.figures.captions import caption
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.dataset import (
    DIMS,
    check_one_loss,
    label_of,
    misclassified,
    share_at,
    worst_case,
)
from spatial_viz.transforms.transform import IDENTITY, Transform

PAYLOAD_VERSION = 2
MAX_PANES = 4
OTHER_CLASS = -1  # index of the stand-in for predicted classes whose probabilities do not travel

GLOSSARY: dict[str, str] = {
    "loss": (
        "How badly the classifier does on this picture: minus the natural logarithm of the probability that "
        "it gives to the true class. 0 is perfect; about 0.7 is a coin toss between two classes."
    ),
    "landscape": (
        "The loss for every small rotation and shift of one picture, drawn as a map. A robust classifier has "
        "a flat, dark map; bright places are transforms that confuse it."
    ),
    "probabilities": (
        "How the classifier divides its belief among the classes; they add up to 100 %. The class with the "
        "largest share is the prediction."
    ),
    "interpolated": (
        "The classifier was run on a grid of transforms only. Between the grid points the values shown are "
        "blended from their neighbours, and may miss what happens there."
    ),
    "worst case": (
        "The most damaging transform of the whole grid: misclassified ones come before correct ones, and "
        "among these the one with the highest loss counts."
    ),
    "misclassified region": (
        "The transforms for which the predicted class is not the true one. The outline on the maps encloses them."
    ),
    "padding": (
        "What fills the corners that a turned or shifted picture leaves empty: black, the picture mirrored "
        "at its edge, or its edge pixels repeated."
    ),
    "grid": (
        "The transforms on which the classifier was run: every combination of evenly spaced rotations and "
        "shifts. Counts such as “287 of 775 fail” refer to them; small dots mark them on the maps."
    ),
}


@dataclass(frozen=True)
class Pane:
    """One classifier's view of one picture.

    ``landscape`` is a swept grid with ``probabilities``; ``image`` is the C×H×W picture in [0, 1] as the classifier
    gets it. ``class_names`` are those of all classes. ``planes`` are refined landscapes for display, each with exactly
    one of the three dimensions of size 1.
    """

    landscape: xr.Dataset
    image: torch.Tensor
    class_names: Sequence[str]
    title: str = ""
    planes: Sequence[xr.Dataset] = ()


def explorer_payload(
    panes: Sequence[Pane],
    *,
    pose: Transform = IDENTITY,
    rev: int = 0,
    refining: int = 0,
    exact: Mapping[str, Any] | None = None,
    limits: Transform | None = None,
    notes: Sequence[str] = (),
    glossary: Mapping[str, str] = GLOSSARY,
    distance: bool = False,
) -> dict[str, Any]:
    """The explorer's payload for one to four panes that share one pose.

    The limits default to the extent of the grids. The browser moves to ``pose`` only where
    ``rev`` is higher than before. ``exact`` is ``{"pose": …, "panes": [exact_answer(…), …]}``, the classifiers'
    own answers at one pose. ``refining`` is positive, and another number each time, while denser maps are being
    computed: the browser asks for them again and again, as long as the visitor lets the picture rest. ``distance``
    has it say how far in ℓ∞ the picture at the pose is from the unmoved one.

    The maps show losses, or shares of votes where the landscapes and planes have them
    (`spatial_viz.landscape.vote_shares.vote_shares`); all panes one or the other.
    """
    if not 1 <= len(panes) <= MAX_PANES:
        raise InvalidInput(f"The explorer shows one to {MAX_PANES} panes; got {len(panes)}.")
    landscapes = [_checked(pane) for pane in panes]
    quantity = _quantity(panes)
    if exact is not None and len(exact["panes"]) != len(panes):
        came = len(exact["panes"])
        raise InvalidInput(f"Expected one answer for each of the {len(panes)} panes; got {came}.")
    if limits is None:
        limits = Transform(**{d: max(float(np.abs(ds[d].values).max()) for ds in landscapes) for d in DIMS})
    top = 1.0 if quantity == "share" else _highest_loss(panes)  # one colour scale for all panes
    return {
        "version": PAYLOAD_VERSION,
        "rev": int(rev),
        "refining": int(refining),
        "pose": pose._asdict(),
        "limits": limits._asdict(),
        "quantity": quantity,
        "panes": [_pane(pane, ds, quantity, top) for pane, ds in zip(panes, landscapes, strict=True)],
        "exact": None if exact is None else {"pose": exact["pose"]._asdict(), "panes": list(exact["panes"])},
        "notes": [str(note) for note in notes],
        "glossary": dict(glossary),
        "distance": bool(distance),
    }


def _quantity(panes: Sequence[Pane]) -> str:
    """What all maps show."""
    shares = {"share" in ds for pane in panes for ds in (pane.landscape, *pane.planes)}
    if len(shares) > 1:
        raise InvalidInput("Losses and shares of votes are not shown on one scale; vote_shares() makes shares of all.")
    return "share" if shares.pop() else "loss"


def _highest_loss(panes: Sequence[Pane]) -> float:
    """The upper end of the scale: at least the loss of guessing."""
    check_one_loss(*(pane.landscape for pane in panes))
    losses = [float(ds["loss"].max()) for pane in panes for ds in (pane.landscape, *pane.planes)]
    chance = max(math.log(max(len(pane.class_names), 2)) for pane in panes)
    return max([chance, *(x for x in losses if math.isfinite(x))])


def exact_answer(
    pane: Pane, *, predicted: int, loss: float, confidence: float, probabilities: Any = None
) -> dict[str, Any]:
    """One pane's entry of ``exact["panes"]``: what the classifier says at the committed pose.

    ``probabilities``, where given, is the softmax over all classes, or their shares of votes where the landscape of the
    pane is in shares; the bars then show it instead of the interpolation.
    """
    answer: dict[str, Any] = {
        "index": int(predicted),
        "name": _name(pane.class_names, predicted),
        "confidence": float(confidence),
        "loss": float(loss),
        "misclassified": int(predicted) != label_of(pane.landscape),
    }
    if probabilities is not None:
        every = np.asarray(probabilities, dtype=np.float32).reshape(-1)
        if "share" in pane.landscape:
            answer["share"] = float(every[label_of(pane.landscape)])
        shown = [int(c) for c in pane.landscape["class"].values]
        answer["probabilities"] = [float(every[c]) for c in shown]
        if _hidden(pane.landscape).any():
            answer["probabilities"].append(0.0 if int(predicted) in shown else float(confidence))
    return answer


def _checked(pane: Pane) -> xr.Dataset:
    """The landscape with its dimensions in the order of the payload, ascending; or a clear refusal."""
    ds = pane.landscape
    missing = [v for v in ("loss", "predicted", "confidence", "probabilities") if v not in ds]
    if missing:
        present = ", ".join(map(str, ds))
        raise InvalidInput(f"The explorer needs a landscape with {', '.join(missing)}; it has {present}.")
    if set(ds["loss"].dims) != set(DIMS):
        came = tuple(ds["loss"].dims)
        raise InvalidInput(f"The explorer shows one picture: expected dimensions {DIMS}, got {came}.")
    if pane.image.ndim != 3 or pane.image.shape[0] not in (1, 3):
        shape = tuple(pane.image.shape)
        raise InvalidInput(f"Expected a C×H×W picture with 1 or 3 channels; got shape {shape}.")
    return ds.sortby(list(DIMS))


def _pane(pane: Pane, ds: xr.Dataset, quantity: str, top: float) -> dict[str, Any]:
    attributes, label = attributes_of(ds), label_of(ds)
    wrong = misclassified(ds).transpose(*DIMS).values
    classes = [{"index": int(c), "name": _name(pane.class_names, c)} for c in ds["class"].values]
    probabilities = ds["probabilities"].transpose(*DIMS, "class").values
    hidden = _hidden(ds)
    if hidden.any():
        # Without this stand-in the largest probability shown would name the wrong class at these cells.
        confidence = ds["confidence"].transpose(*DIMS).values
        stand_in = np.where(hidden, confidence, 0.0).astype(np.float32)[..., None]
        probabilities = np.concatenate([probabilities, stand_in], axis=-1)
        classes.append({"index": OTHER_CLASS, "name": "another class"})
    natural = int(ds["natural_predicted"])
    worst = worst_case(ds)
    return {
        "title": pane.title,
        "caption": caption(ds),
        "picture": _picture(pane.image, attributes.padding),
        "label": label,
        "label_name": _name(pane.class_names, label),
        "labelled": attributes.labelled,
        "axes": {d: [float(x) for x in ds[d].values] for d in DIMS},
        quantity: _base64(ds[quantity].transpose(*DIMS), "<f4"),
        "misclassified": _base64(wrong, "u1"),
        "classes": classes,
        "class_count": len(pane.class_names),
        "probabilities": _base64(probabilities, "<f4"),
        "top": top,
        "natural": {
            "name": _name(pane.class_names, natural),
            "confidence": float(ds["natural_confidence"]),
            "loss": float(ds["natural_loss"]),
            "misclassified": natural != label,
            **({"share": float(ds["natural_share"])} if quantity == "share" else {}),
        },
        "worst": {
            **asdict(worst),
            "words": worst.transform.describe(),
            **({"share": share_at(ds, worst)} if quantity == "share" else {}),
        },
        "misclassified_count": int(wrong.sum()),
        "transforms": int(wrong.size),
        "planes": [_plane(plane, quantity, label) for plane in pane.planes],
    }


def _picture(image: torch.Tensor, padding: str) -> dict[str, Any]:
    channels, height, width = image.shape
    pixels = (image.detach().to("cpu", torch.float32).clamp(0, 1) * 255).round().to(torch.uint8)
    return {
        "width": int(width),
        "height": int(height),
        "channels": int(channels),
        "pixels": _base64(pixels.permute(1, 2, 0).numpy(), "u1"),
        "padding": padding,
    }


def _plane(ds: xr.Dataset, quantity: str, label: int) -> dict[str, Any]:
    """A refined plane as rows and columns of the map that shows it: the rotation lies along x, dy along y."""
    fixed = [d for d in DIMS if ds.sizes.get(d) == 1]
    if len(fixed) != 1:
        sizes = {d: ds.sizes.get(d) for d in DIMS}
        raise InvalidInput(f"A display plane has exactly one of {DIMS} of size 1; got sizes {sizes}.")
    x_axis, y_axis = {"rotation": ("dx", "dy"), "dy": ("rotation", "dx"), "dx": ("rotation", "dy")}[fixed[0]]
    at = float(ds[fixed[0]].values[0])
    ds = ds.isel({fixed[0]: 0}).sortby([x_axis, y_axis])
    return {
        "fixed": fixed[0],
        "at": at,
        "x": [float(v) for v in ds[x_axis].values],
        "y": [float(v) for v in ds[y_axis].values],
        "x_axis": x_axis,
        "y_axis": y_axis,
        quantity: _base64(ds[quantity].transpose(y_axis, x_axis), "<f4"),
        "misclassified": _base64((ds["predicted"] != label).transpose(y_axis, x_axis), "u1"),
        # Its zero line is the edge of the misclassified region, finer than the cells.
        "margin": _base64(ds["margin"].transpose(y_axis, x_axis), "<f4") if "margin" in ds else None,
    }


def _hidden(ds: xr.Dataset) -> np.ndarray:
    """Cells whose predicted class is not among those whose probabilities travel."""
    return ~np.isin(ds["predicted"].transpose(*DIMS).values, ds["class"].values)


def _name(names: Sequence[str], index: Any) -> str:
    return str(names[int(index)]) if 0 <= int(index) < len(names) else f"class {int(index)}"


def _base64(values: Any, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode("ascii")
