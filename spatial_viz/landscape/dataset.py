"""The labelled array that everything else reads: schema, severity order, worst case, slices, save, load."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from spatial_viz.errors import CorruptFile, InvalidInput, MissingFile, did_you_mean
from spatial_viz.files import write_file
from spatial_viz.landscape.attributes import LandscapeAttributes, attributes_of
from spatial_viz.transforms.transform import Transform

SCHEMA = 1
DIMS = ("rotation", "dy", "dx")
UNITS = {"rotation": "degree", "dy": "pixel", "dx": "pixel"}
_VARIABLES = {
    "loss": ("nats", "cross-entropy loss"),
    "margin": ("logits", "true logit minus the best other logit"),
    "predicted": ("", "predicted class index"),
    "confidence": ("", "probability of the predicted class"),
    "fp32": ("", "computed in fp32"),
}


@dataclass(frozen=True)
class WorstCase:
    """The first transform of a landscape in severity order, and what the classifier says there.

    ``rotation`` in degrees (counter-clockwise), ``dx`` and ``dy`` in pixels (right, down), ``loss`` in nats.
    """

    rotation: float
    dx: float
    dy: float
    loss: float
    predicted: int
    name: str
    confidence: float
    misclassified: bool

    @property
    def transform(self) -> Transform:
        return Transform(self.rotation, self.dx, self.dy)


def build_landscape(
    axes: dict[str, np.ndarray],
    cells: dict[str, np.ndarray],
    probabilities: np.ndarray,
    classes: np.ndarray,
    natural: dict[str, float | int],
    attributes: LandscapeAttributes,
    loss_name: str = _VARIABLES["loss"][1],
) -> xr.Dataset:
    """Assemble a landscape.

    Parameters
    ----------
    axes: ascending values of ``rotation`` (degrees), ``dy`` and ``dx`` (pixels).
    cells: ``loss``, ``margin``, ``predicted``, ``confidence``, ``fp32``; rotation × dy × dx, or flat in grid order.
    probabilities: the same × class, for the class indices ``classes``.
    natural: ``loss``, ``predicted`` and ``confidence`` of the natural picture.
    attributes: everything else that a reader of the result needs.
    loss_name: that of the classifier.
    """
    shape = tuple(len(axes[dim]) for dim in DIMS)
    dtypes = {"predicted": np.int32, "fp32": np.bool_}
    data: dict[str, Any] = {}
    for name, (units, long_name) in (_VARIABLES | {"loss": ("nats", loss_name)}).items():
        described = {"long_name": long_name} | ({"units": units} if units else {})
        data[name] = (DIMS, np.asarray(cells[name], dtypes.get(name, np.float32)).reshape(shape), described)
    data["probabilities"] = (
        (*DIMS, "class"),
        np.asarray(probabilities, np.float32).reshape(*shape, len(classes)),
        {"long_name": "softmax probability"},
    )
    data["natural_loss"] = ((), np.float32(natural["loss"]), {"units": "nats"})
    data["natural_predicted"] = ((), np.int32(natural["predicted"]))
    data["natural_confidence"] = ((), np.float32(natural["confidence"]))
    coords: dict[str, Any] = {dim: (dim, np.asarray(axes[dim], np.float64), {"units": UNITS[dim]}) for dim in DIMS}
    coords["class"] = ("class", np.asarray(classes, np.int32), {"long_name": "class index"})
    attrs = {"schema": SCHEMA, "card": attributes.to_text()}
    return xr.Dataset(data, coords, attrs)


def label_of(landscape: xr.Dataset) -> int:
    return attributes_of(landscape).label


def class_name(landscape: xr.Dataset, index: int) -> str:
    return attributes_of(landscape).names[int(index)]


def loss_title(landscape: xr.Dataset) -> str:
    """What its loss is called in a sentence: ``"loss"``, or ``"vote loss"`` where a majority votes."""
    return str(landscape["loss"].attrs.get("long_name", "loss")).removeprefix("cross-entropy ")


def check_one_loss(*landscapes: xr.Dataset) -> None:
    """Refuse to put a vote loss and the loss of a single model on one scale: their nats are not the same."""
    kinds = sorted({loss_title(each) for each in landscapes})
    if len(kinds) > 1:
        raise InvalidInput(f"a {' and a '.join(kinds)} are not shown on one scale; draw each with a scale of its own")


def misclassified(landscape: xr.Dataset) -> xr.DataArray:
    """True where the predicted class is not the label; rotation × dy × dx."""
    return landscape["predicted"] != label_of(landscape)


def severity_order(
    misclassified: np.ndarray, loss: np.ndarray, rotation: np.ndarray, dx: np.ndarray, dy: np.ndarray
) -> np.ndarray:
    """Indices of transforms from the most to the least severe. All arguments are flat and of one length.

    Misclassified before correctly classified, then higher loss, then smaller \\|rotation\\|, then smaller shift
    (Euclidean), then the order in which they came.
    """
    return np.lexsort((np.hypot(dx, dy), np.abs(rotation), -np.asarray(loss, np.float64), ~np.asarray(misclassified)))


def severity_of(landscape: xr.Dataset) -> np.ndarray:
    """`severity_order` of all cells: flat indices in grid order."""
    rotation, dy, dx = np.meshgrid(*(landscape[dim].values for dim in DIMS), indexing="ij")
    wrong = misclassified(landscape).values.ravel()
    return severity_order(wrong, landscape["loss"].values.ravel(), rotation.ravel(), dx.ravel(), dy.ravel())


def worst_case(landscape: xr.Dataset) -> WorstCase:
    """The first cell of ``landscape`` in severity order."""
    return cell(landscape, int(severity_of(landscape)[0]))


def cell(landscape: xr.Dataset, index: int) -> WorstCase:
    """One cell of the landscape by its flat index in grid order, in the shape of a worst case."""
    place = np.unravel_index(index, tuple(landscape.sizes[dim] for dim in DIMS))
    at = landscape[["loss", "predicted", "confidence"]].isel(dict(zip(DIMS, place, strict=True)))
    predicted = int(at["predicted"])
    return WorstCase(
        rotation=float(at["rotation"]),
        dx=float(at["dx"]),
        dy=float(at["dy"]),
        loss=float(at["loss"]),
        predicted=predicted,
        name=class_name(landscape, predicted),
        confidence=float(at["confidence"]),
        misclassified=predicted != label_of(landscape),
    )


def plane(landscape: xr.Dataset, fixed: str, at: float | None = None) -> xr.Dataset:
    """A two-dimensional slice with ``loss``, ``margin`` and ``misclassified``.

    ``fixed`` is the dimension that goes: held at the grid value nearest to ``at``, or, with ``at=None``, maximised
    over (highest loss, lowest margin, misclassified anywhere).
    """
    if fixed not in DIMS:
        raise InvalidInput(f"unknown axis {fixed!r}{did_you_mean(fixed, DIMS)}")
    full = landscape[["loss", "margin"]].assign(misclassified=misclassified(landscape))
    if at is not None:
        return full.sel({fixed: at}, method="nearest")
    return xr.Dataset(
        {
            "loss": full["loss"].max(fixed, keep_attrs=True),
            "margin": full["margin"].min(fixed, keep_attrs=True),
            "misclassified": full["misclassified"].any(fixed),
        }
    )


def landscape_summary(landscape: xr.Dataset) -> dict[str, Any]:
    """The result, ready for JSON: ``label``, ``natural``, ``worst_case``, ``misclassified``, ``transforms``.

    ``loss_name`` is there where the losses are those of a vote.
    """
    predicted = int(landscape["natural_predicted"])
    kind = loss_title(landscape)
    return {
        "label": label_of(landscape),
        "natural": {
            "predicted": predicted,
            "name": class_name(landscape, predicted),
            "confidence": float(landscape["natural_confidence"]),
            "loss": float(landscape["natural_loss"]),
        },
        "worst_case": asdict(worst_case(landscape)),
        "misclassified": int(misclassified(landscape).sum()),
        "transforms": int(landscape["loss"].size),
    } | ({} if kind == "loss" else {"loss_name": kind})


def to_csv(landscape: xr.Dataset) -> str:
    """One row per transform: rotation, dx, dy, loss, margin, predicted, name, confidence, misclassified, fp32."""
    table = landscape[["loss", "margin", "predicted", "confidence", "fp32"]].to_dataframe().reset_index()
    table["name"] = [class_name(landscape, index) for index in table["predicted"]]
    table["misclassified"] = table["predicted"] != label_of(landscape)
    columns = ["rotation", "dx", "dy", "loss", "margin", "predicted", "name", "confidence", "misclassified", "fp32"]
    return str(table[columns].to_csv(index=False, lineterminator="\n"))


def save(landscape: xr.Dataset, path: str | Path) -> None:
    """Write NetCDF-4. A kill at any moment leaves the old file or the new one."""
    content = to_bytes(landscape)
    write_file(Path(path), lambda partial: partial.write_bytes(content))


def to_bytes(landscape: xr.Dataset) -> bytes:
    """The content of the file that `save` writes."""
    return bytes(landscape.to_netcdf(engine="h5netcdf"))


def load(path: str | Path) -> xr.Dataset:
    """Read back what `save` wrote: the same values, dtypes, coordinates and attributes."""
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"there is no landscape at {path}; `spatial_viz sweep … --out {path.name}` makes one")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            landscape = stored.load()
    except Exception as error:  # h5py and h5netcdf raise whatever the broken file makes them raise
        raise CorruptFile(f"{path} is not a readable NetCDF-4 file ({error}); sweep the picture again") from error
    if landscape.attrs.get("schema") != SCHEMA or "card" not in landscape.attrs:
        raise CorruptFile(f"{path} is not a landscape of schema {SCHEMA}; sweep the picture again")
    try:
        attributes_of(landscape)
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path} is not a whole landscape ({error}); sweep the picture again") from error
    landscape.attrs["schema"] = int(landscape.attrs["schema"])
    return landscape


def has_label(landscape: xr.Dataset) -> bool:
    return attributes_of(landscape).labelled


def share_at(landscape: xr.Dataset, place: WorstCase) -> float:
    """The share of votes for the true class at a cell of a landscape that has it."""
    where = place.transform._asdict()
    return float(landscape["share"].sel(where, method="nearest"))
