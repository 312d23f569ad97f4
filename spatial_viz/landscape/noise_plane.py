"""A landscape that is not spatial: the loss over a plane of ℓ∞ noise, to be shown beside the spatial one."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from spatial_viz.errors import InvalidInput
from spatial_viz.landscape.attributes import NOISE, LandscapeAttributes, attributes_of
from spatial_viz.landscape.dataset import (
    SCHEMA,
)
from spatial_viz.landscape.sweeps import as_input, check_finite, pixel_hash
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.engine import Progress
from spatial_viz.models.inference import one_image, runner_for
from spatial_viz.models.losses import cross_entropy, logit_margin
from spatial_viz.transforms.grids import keyed_uniform
from spatial_viz.version import VERSION

NOISE_DIMS = {"random": "random signs", "adversarial": "adversarial noise"}
"""The dimensions in their order, and what figures call them."""
ROWS = 512  # pictures that are held in memory at once


def noise_landscape(
    classifier: Classifier,
    image: Tensor,
    noise: Tensor,
    label: int | str | None = None,
    granularity: int = 31,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> xr.Dataset:
    """The loss over the plane through a picture, along the noise of an attack and along random signs of its ℓ∞ size.

    Parameters
    ----------
    image: C×H×W in [0, 1], as the classifier takes it. label: index or name; None takes the natural prediction.
    noise: C×H×W, what an attack adds to the picture, such as ``Linf(8 / 255)(…).noise[0]``. The plane reaches from
        minus to plus this noise; pixels beyond [0, 1] are cut off.
    granularity: values per direction, an odd number, so that picture and attack are both among them.
    seed: of the random signs. progress: called with (pictures done, in all).

    Returns
    -------
    ``loss`` (nats), ``margin``, ``predicted``, ``confidence`` over ``random`` × ``adversarial``, all in fp32, with the
    scalars and the card of a spatial landscape; `spatial_viz.figures.heatmaps` reads both. The coordinates are the
    ℓ∞ sizes of the two parts in units of 1/255; at ``random=0`` the last ``adversarial`` value is the attack's picture.

    Raises
    ------
    InvalidInput: noise of another shape than the picture, none at all, or more than the range of a pixel; an even
        granularity.

    Source: the contrast of Engstrom et al., ICML 2019, figure 2, with the planes of Goodfellow, Shlens, Szegedy,
    *Explaining and harnessing adversarial examples*, ICLR 2015.
    """
    image = as_input(classifier, image)
    if noise.shape != image.shape:
        raise InvalidInput(f"noise must have the picture's shape {tuple(image.shape)}; got {tuple(noise.shape)}")
    epsilon = float(noise.abs().max())
    if not 0 < epsilon <= 1:
        raise InvalidInput(
            f"the largest change of a pixel must be above 0 and at most 1, the range of a pixel; got {epsilon:g}"
        )
    if granularity < 3 or granularity % 2 == 0:
        raise InvalidInput(f"granularity must be an odd number, 3 or more; got {granularity}")
    runner = runner_for(classifier, device, "fp32")
    natural = runner.exact(image[None], None, one_image(1), "black")
    index = int(natural.argmax()) if label is None else classifier.label_index(label)
    target = torch.tensor([index])
    unit = keyed_uniform(seed, np.arange(image.numel()))
    signs = torch.from_numpy(np.where(unit < 0.5, -1.0, 1.0)).float().reshape(image.shape)
    along, across = noise.detach().to("cpu", torch.float32), epsilon * signs
    shares = np.linspace(-1, 1, granularity)
    pairs = np.meshgrid(shares, shares, indexing="ij")
    random, adversarial = (torch.from_numpy(each.ravel()).float() for each in pairs)
    count = len(random)
    parts = []
    for rows in torch.arange(count).split(ROWS):
        a, b = adversarial[rows, None, None, None], random[rows, None, None, None]
        noisy = (image + a * along + b * across).clamp(0, 1)

        def advance(done: int, _: int, before: int = int(rows[0])) -> None:
            if progress:
                progress(before + done, count)

        parts.append(runner.exact(noisy, None, torch.arange(len(noisy)), "black", advance))
    logits = torch.cat(parts)
    check_finite(logits, torch.zeros(len(logits), 3), classifier.name)
    labels = target.expand(len(logits))
    confidence, predicted = logits.softmax(1).max(1)
    shape = (granularity, granularity)
    cells = {
        "loss": (cross_entropy(logits, labels), {"units": "nats", "long_name": classifier.loss_name}),
        "margin": (logit_margin(logits, labels), {"units": "logits", "long_name": "true logit minus the best other"}),
        "predicted": (predicted.int(), {"long_name": "predicted class index"}),
        "confidence": (confidence, {"long_name": "probability of the predicted class"}),
    }
    data = {name: (tuple(NOISE_DIMS), values.numpy().reshape(shape), attrs) for name, (values, attrs) in cells.items()}
    names = sorted({index, int(natural.argmax()), *predicted.unique().tolist()})
    attributes = LandscapeAttributes(
        kind=NOISE, epsilon=epsilon, seed=seed, label=index, labelled=label is not None,
        names={each: classifier.class_names[each] for each in names},
        classifier=classifier.name, classifier_hash=runner.hash,
        classes=len(classifier.class_names), input_size=classifier.input_size, image_hash=pixel_hash(image),
        device=runner.device_name, precision="fp32", versions={"spatial_viz": VERSION, "torch": torch.__version__},
    )  # fmt: skip
    scalars = {
        "natural_loss": ((), np.float32(cross_entropy(natural, target).item()), {"units": "nats"}),
        "natural_predicted": ((), np.int32(natural.argmax().item())),
        "natural_confidence": ((), np.float32(natural.softmax(1).max().item())),
    }
    axes = {dim: (dim, 255 * epsilon * shares, {"units": "1/255", "long_name": words})
            for dim, words in NOISE_DIMS.items()}  # fmt: skip
    attrs = {"schema": SCHEMA, "card": attributes.to_text()}
    return xr.Dataset({**data, **scalars}, axes, attrs)


def is_noise(landscape: xr.Dataset) -> bool:
    """Whether this is a plane of ℓ∞ noise (`spatial_viz.landscape.noise_plane`) and not of transforms."""
    return attributes_of(landscape).kind == NOISE


def as_spatial(landscape: xr.Dataset) -> xr.Dataset:
    """A plane of noise under the names that figures know, adversarial as dx, random as dy; anything else as it is."""
    if not is_noise(landscape) or "adversarial" not in landscape.dims:
        return landscape
    renamed = landscape.rename(adversarial="dx", random="dy")
    cells = [name for name in renamed.data_vars if renamed[name].ndim]
    deep = renamed[cells].expand_dims(rotation=[0.0])
    deep["rotation"].attrs["units"] = "degree"
    return deep.assign({name: renamed[name] for name in renamed.data_vars if name not in cells}).assign_attrs(
        renamed.attrs
    )


def spatial_name(axis: str) -> str:
    """The name that `as_spatial` gives to an axis."""
    return {"adversarial": "dx", "random": "dy"}.get(axis, axis)
