"""classifier × picture × transforms → landscape.

The variable ``fp32`` of a landscape says which cells were computed in fp32 (see `spatial_viz.models.inference`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from PIL import Image
from torch import Tensor

from spatial_viz.data.images import SMALL, load_image
from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.landscape.attributes import LandscapeAttributes
from spatial_viz.landscape.dataset import DIMS, build_landscape
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.engine import Progress
from spatial_viz.models.inference import Precision, one_image, runner_for
from spatial_viz.models.losses import cross_entropy, logit_margin
from spatial_viz.transforms.geometry import Padding, check_padding
from spatial_viz.transforms.grids import TransformGrid
from spatial_viz.version import VERSION

SHOWN_CLASSES = 10
"""At most so many classes keep their probabilities in a landscape."""


def sweep(
    classifier: Classifier,
    image: Tensor | Image.Image | str | Path,
    label: int | str | None = None,
    grid: TransformGrid | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    progress: Progress | None = None,
    padding: Padding = "black",
) -> xr.Dataset:
    """The loss landscape of one picture: the classifier's answer at every transform of the grid.

    Parameters
    ----------
    image: a picture or the path of one (prepared for the classifier), or a C×H×W tensor in [0, 1] of exactly its size.
    label: index or name of the true class; None takes the natural prediction, for pictures that nobody labelled.
    grid: by default the paper's 31×5×5 for the classifier's input size.
    device: ``auto`` is CUDA, then Apple's, then the CPU; or any name that torch knows.
    precision: ``fp32``; ``bf16`` with every close call computed again in fp32; ``auto`` is bf16 where
        the classifier is calibrated and the device is fast at it.

    Returns
    -------
    The landscape; its schema is that of `spatial_viz.landscape.dataset.build_landscape`.

    Source: Engstrom et al., ICML 2019, section 3 and figure 2 (the landscape), section 5 (the grid).
    """
    grid = grid or TransformGrid.paper(classifier.picture_size)
    return sweep_axes(classifier, image, label, grid.axes(), device, precision, progress, padding)


def sweep_axes(
    classifier: Classifier,
    image: Tensor | Image.Image | str | Path,
    label: int | str | None,
    axes: dict[str, np.ndarray],
    device: str = "auto",
    precision: Precision = "auto",
    progress: Progress | None = None,
    padding: Padding = "black",
) -> xr.Dataset:
    """`sweep` over any ascending values of ``rotation``, ``dy`` and ``dx``; also a single plane of them."""
    check_padding(padding)
    tensor = as_input(classifier, image)
    runner = runner_for(classifier, device, precision)
    natural = runner.exact(tensor[None], None, one_image(1), padding)
    label_index = int(natural.argmax()) if label is None else classifier.label_index(label)

    rotation, dy, dx = np.meshgrid(*(np.asarray(axes[dim], np.float64) for dim in DIMS), indexing="ij")
    transforms = torch.from_numpy(np.stack([rotation.ravel(), dx.ravel(), dy.ravel()], 1).astype(np.float32))
    index = one_image(len(transforms))
    logits, in_fp32, _ = runner.answer(tensor[None], transforms, index, padding, label_index, progress)
    check_finite(logits, transforms, classifier.name)

    labels = torch.full((len(logits),), label_index)
    probabilities = logits.softmax(1)
    confidence, predicted = probabilities.max(1)
    natural_probabilities = natural.softmax(1)
    natural_predicted = int(natural_probabilities.argmax())
    classes = classes_worth_showing(probabilities, label_index, natural_predicted)
    occurring = sorted({*classes, label_index, natural_predicted, *predicted.unique().tolist()})
    return build_landscape(
        axes=axes,
        cells={
            "loss": cross_entropy(logits, labels).numpy(),
            "margin": logit_margin(logits, labels).numpy(),
            "predicted": predicted.numpy(),
            "confidence": confidence.numpy(),
            "fp32": in_fp32.numpy(),
        },
        probabilities=probabilities[:, classes].numpy(),
        classes=np.array(classes),
        natural={
            "loss": float(cross_entropy(natural, torch.tensor([label_index]))),
            "predicted": natural_predicted,
            "confidence": float(natural_probabilities.max()),
        },
        attributes=LandscapeAttributes(
            label=label_index,
            names={index: classifier.class_names[index] for index in occurring},
            labelled=label is not None,
            classifier=classifier.name,
            classifier_hash=runner.hash,
            classes=len(classifier.class_names),
            input_size=classifier.input_size,
            image_hash=pixel_hash(tensor),
            padding=padding,
            device=runner.device_name,
            precision="fp32" if bool(in_fp32.all()) else runner.precision,
            margin_error=runner.margin_error,
            versions={"spatial_viz": VERSION, "torch": torch.__version__},
        ),
        loss_name=classifier.loss_name,
    )


def classes_worth_showing(probabilities: Tensor, label: int, natural: int) -> list[int]:
    """All classes where there are few; else the label, the natural prediction and those that matter most anywhere."""
    if probabilities.shape[1] <= SHOWN_CLASSES:
        return list(range(probabilities.shape[1]))
    peak = probabilities.amax(0).argsort(descending=True).tolist()
    chosen = dict.fromkeys([label, natural, *peak])
    return sorted(list(chosen)[:SHOWN_CLASSES])


def as_input(classifier: Classifier, image: Tensor | Image.Image | str | Path) -> Tensor:
    """The C×H×W tensor of a picture, a path, or a tensor that has to fit already."""
    if isinstance(image, Tensor):
        return classifier.check_image(image)
    if isinstance(image, (str, Path)):
        image = load_image(image)
    if not isinstance(image, Image.Image):
        raise InvalidInput(f"expected a picture, a path or a tensor; got {type(image).__name__}")
    return classifier.prepare(image)


def check_finite(logits: Tensor, transforms: Tensor, name: str, pictures: Tensor | None = None) -> None:
    """Refuse logits that are not finite; the sentence names the first transform, and which of the ``pictures``."""
    bad = (~torch.isfinite(logits).all(1)).nonzero()[:, 0]
    if len(bad):
        rotation, dx, dy = transforms[bad[0]].tolist()
        where = f"{len(bad)} of {len(logits)} transforms" if pictures is None else f"picture {int(pictures[bad[0]])}"
        raise SpatialVizError(
            f"{name} returned a value that is not finite at rotation {rotation:g}°, dx {dx:g}, dy {dy:g} "
            f"({where}); check its weights and its normalisation"
        )


def pixel_hash(image: Tensor) -> str:
    """SHA-256 of the pixels and shape of a C×H×W picture."""
    return hashlib.sha256(repr(tuple(image.shape)).encode() + image.float().contiguous().numpy().tobytes()).hexdigest()


# Values of rotation, dy and dx on a display plane, for pictures up to SMALL and for larger ones, which cost more.
DISPLAY, DISPLAY_OF_LARGE = (61, 25, 25), (31, 9, 9)


def display_axes(grid: TransformGrid, input_size: tuple[int, int], fixed: str, value: float) -> dict[str, np.ndarray]:
    """The axes of a plane that is dense enough to be looked at, at one value of the dimension ``fixed``."""
    return refined_axes(grid, DISPLAY if max(input_size) <= SMALL else DISPLAY_OF_LARGE, **{fixed: value})


def refined_axes(grid: TransformGrid, counts: Sequence[int], **fixed: float) -> dict[str, np.ndarray]:
    """Axes of a display plane: ``counts`` values of (rotation, dy, dx), the axes named in ``fixed`` held at one value.

    The values of ``grid`` are among them, so the plane can be compared with it cell by cell.
    """
    axes: dict[str, Any] = {}
    for dim, count in zip(DIMS, counts, strict=True):
        if dim in fixed:
            axes[dim] = np.array([fixed[dim]])
            continue
        values = np.array(grid.values(dim))
        if len(values) > 1:
            per_gap = max(1, round((count - 1) / (len(values) - 1)))
            values = np.interp(np.arange((len(values) - 1) * per_gap + 1) / per_gap, np.arange(len(values)), values)
        axes[dim] = values
    return axes
