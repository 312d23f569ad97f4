"""The plane of a landscape that a figure draws, and the words of its title, notes and cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from spatial_viz.errors import InvalidInput, did_you_mean
from spatial_viz.figures.descriptions import ORDER, amount, describe_verdict
from spatial_viz.figures.text import decimal, escaped, percent
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.dataset import DIMS, WorstCase, has_label, label_of, loss_title, plane, worst_case
from spatial_viz.landscape.noise_plane import is_noise


@dataclass(frozen=True)
class Slice:
    """A plane of a landscape: arrays are y × x. ``value`` is where the third axis is held; None: maximised over.

    ``values`` are those of the quantity shown.
    """

    xs: np.ndarray
    ys: np.ndarray
    values: np.ndarray
    margin: np.ndarray
    wrong: np.ndarray
    hover: np.ndarray
    fixed: str
    value: float | None

    def holds(self, **pose: float) -> bool:
        """Whether a transform lies in this plane."""
        return self.value is None or abs(pose[self.fixed] - self.value) < 1e-6


def slice_of(
    landscape: xr.Dataset, x: str, y: str, at: float | str | None, quantity: str, refined: xr.Dataset | None
) -> Slice:
    """The plane to draw: of ``refined`` where there is one, else of the landscape."""
    check_one_picture(landscape)
    for axis in (x, y):
        check_axis(axis)
    if x == y:
        raise InvalidInput(f"the two axes must differ; got {x!r} twice. Available: {', '.join(DIMS)}")
    fixed = next(dim for dim in DIMS if dim not in (x, y))
    if isinstance(at, str) and at != "max":
        raise InvalidInput(f"at must be a value of {fixed}, 'max' or None; got {at!r}")
    if at is None:
        at = float(getattr(worst_case(landscape), fixed))
    elif at != "max" and not math.isfinite(float(at)):
        raise InvalidInput(f"at must be a finite value of {fixed}; got {at!r}")
    if refined is not None:
        check_one_picture(refined)
        if refined.sizes[fixed] != 1:
            raise InvalidInput(
                f"a refined plane over {x} and {y} has a single value of {fixed}; got {refined.sizes[fixed]}"
            )
        same = ("classifier_hash", "image_hash", "label", "padding")
        ours, theirs = attributes_of(landscape), attributes_of(refined)
        if differing := [name for name in same if getattr(ours, name) != getattr(theirs, name)]:
            raise InvalidInput(f"the refined plane is not of the same sweep: it differs in {', '.join(differing)}")
        if at == "max":
            raise InvalidInput(f"a refined plane holds one value of {fixed}; at='max' needs the landscape alone")
        at = float(refined[fixed].values[0])
    source = landscape if refined is None else refined
    cut = plane(source, fixed, None if at == "max" else float(at)).transpose(y, x)
    value = None if at == "max" else float(cut[fixed])

    names = [name for name in ("loss", "margin", "confidence", "predicted", "share") if name in source]
    if quantity not in names:
        raise InvalidInput(f"this landscape has no {quantity}; it has {', '.join(names)}")
    values = {name: source[name].transpose(y, x, fixed).values for name in names}
    if value is not None:
        pick = np.full(cut["loss"].shape, int(np.argmin(abs(source[fixed].values - value))))
    else:
        pick = values["loss"].argmax(-1) if quantity == "loss" else values[quantity].argmin(-1)
    values = {name: np.take_along_axis(array, pick[..., None], -1)[..., 0] for name, array in values.items()}
    xs, ys = source[x].values, source[y].values
    place = {x: xs[None, :], y: ys[:, None], fixed: source[fixed].values[pick]}
    here = values["predicted"] != label_of(source)
    hover = hover_texts(source, place, values, here)
    wrong = cut["misclassified"].values
    # The highest loss along an axis may belong to a correct cell although another one there is not.
    elsewhere = wrong & ~here
    hover[elsewhere] += f"; not so at another {fixed}"
    return Slice(xs, ys, values[quantity], cut["margin"].values, wrong, hover, fixed, value)


def check_one_picture(landscape: xr.Dataset) -> None:
    if set(landscape["loss"].dims) != set(DIMS):
        raise InvalidInput(
            f"a figure shows the landscape of one picture, with dimensions {', '.join(DIMS)}; "
            f"got {', '.join(map(str, landscape['loss'].dims))}. Choose one with landscape.isel(image=…)"
        )


def check_axis(axis: str) -> None:
    if axis not in DIMS:
        raise InvalidInput(f"unknown axis {axis!r}{did_you_mean(str(axis), DIMS)}")


def hover_texts(
    landscape: xr.Dataset, place: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray], wrong: np.ndarray
) -> np.ndarray:
    """The text of every cell; all arrays broadcast to one shape."""
    names = {str(index): escaped(name) for index, name in attributes_of(landscape).names.items()}
    labelled, kind, voted = has_label(landscape), loss_title(landscape), "share" in values

    def text(*cell: Any) -> str:
        loss, margin, p, predicted, w, share = cell[3:]
        at = (amount(landscape, dim, v) for dim, v in zip(ORDER, cell, strict=False))
        words = f"{kind} {decimal(loss)} nats, margin {decimal(margin)}"
        if voted:
            words = f"{percent(share)} of the votes for the true class"
        return (
            axes_text.format(*at)
            + f"{words}<br><b>{names[str(int(predicted))]}</b>, {percent(p)}<br>{describe_verdict(labelled, bool(w))}"
        )

    if is_noise(landscape):
        axes_text = "adversarial noise {1}, random signs {2}<br>"
    else:
        axes_text = "rotation {}<br>dx {}, dy {}<br>"
    every = [place[dim] for dim in ORDER]
    every += [values[n] for n in ("loss", "margin", "confidence", "predicted")]
    every += [wrong, values.get("share", np.zeros(()))]
    texts: np.ndarray = np.vectorize(text, otypes=[object])(*np.broadcast_arrays(*every))
    return texts


def slice_title(landscape: xr.Dataset, cut: Slice, quantity: str) -> str:
    name = {"loss": loss_title(landscape), "share": "share of votes"}.get(quantity, quantity)
    if is_noise(landscape):
        return f"{name.capitalize()} over two directions of noise"
    if cut.value is None:
        extreme = "Highest" if quantity == "loss" else "Lowest"
        return f"{extreme} {name} over all values of {cut.fixed}"
    return f"{name.capitalize()} at {cut.fixed} {amount(landscape, cut.fixed, cut.value)}"


def region_note(landscape: xr.Dataset, wrong: np.ndarray, mark: str) -> str:
    labelled = has_label(landscape)
    if wrong.any():
        return f"{mark}: {describe_verdict(labelled, True)}"
    return "nothing misclassified" if labelled else "same prediction everywhere"


def worse_between(landscape: xr.Dataset, refined: xr.Dataset | None) -> WorstCase | None:
    """A cell of the display grid that is worse than the worst case of the landscape."""
    if refined is None:
        return None
    denser, worst = worst_case(refined), worst_case(landscape)
    # Two sweeps of one cell may differ in the last digits.
    higher = denser.misclassified == worst.misclassified and denser.loss > worst.loss + 1e-3
    return denser if denser.misclassified > worst.misclassified or higher else None


def worse_between_note(landscape: xr.Dataset, beyond: WorstCase) -> str:
    newly = beyond.misclassified and not worst_case(landscape).misclassified
    what = describe_verdict(has_label(landscape), True) if newly else "worse"
    return f"□ {what} between the grid points: {loss_title(landscape)} {decimal(beyond.loss)}"
