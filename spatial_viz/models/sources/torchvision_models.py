"""``imagenet/NAME``: the classifiers of torchvision, with the weights that it fetches."""

from __future__ import annotations

import os
import urllib.error
from pathlib import Path
from typing import Any

import torch

from spatial_viz.errors import CorruptFile, MissingFile
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.sources.base import ClassifierEntry

LISTED = (
    "squeezenet1_1", "mobilenet_v3_small", "mobilenet_v3_large", "resnet18", "resnet50", "densenet121",
    "efficientnet_b0", "convnext_tiny", "swin_t", "vit_b_16",
)  # fmt: skip
"""The torchvision models that the picker lists; `load` takes any other by its name, too."""


def entries() -> list[ClassifierEntry]:
    """Those that the picker lists."""
    return [_entry(f"imagenet/{name}") for name in LISTED]


def has(name: str) -> bool:
    """Whether torchvision has a classifier ``imagenet/NAME``."""
    return name.startswith("imagenet/") and _weights(name) is not None


def load(name: str) -> Classifier:
    """The classifier ``imagenet/NAME``; its weights are fetched at first use.

    Raises
    ------
    MissingFile: weights that are neither on disk nor to be had. CorruptFile: a file that does not hold them.
    """
    from torchvision import models

    weights = _weights(name)
    path = _weight_file(weights)
    try:
        # Fetches the file where it is missing, and refuses one that holds more than tensors.
        weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
        network = models.get_model(name.removeprefix("imagenet/"), weights=weights)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise MissingFile(
            f"the weights of {name} are not on this machine and could not be fetched "
            f"({getattr(error, 'reason', error)}). Download {weights.url} elsewhere and put it at {path}"
        ) from error
    except OSError as error:
        raise MissingFile(
            f"the weights of {name} cannot be kept in, or read from, {path.parent} ({error.strerror or error}). Make "
            "that folder writable and make room there, or name another one with the environment variable TORCH_HOME"
        ) from error
    except Exception as error:  # torch.load raises whatever the broken file makes it raise
        if not os.path.isfile(path):  # torch keeps nothing that has another checksum than it should
            raise MissingFile(
                f"what came from {weights.url} are not the weights of {name} ({error}). Try again, or download them "
                f"elsewhere and put them at {path}"
            ) from error
        raise CorruptFile(
            f"{path} cannot be read as weights ({type(error).__name__}); delete it and try again"
        ) from error
    transform = weights.transforms()
    return Classifier(
        network,
        class_names=weights.meta["categories"],
        input_size=(transform.crop_size[0], transform.crop_size[0]),
        mean=transform.mean,
        std=transform.std,
        name=name,
        resize=transform.resize_size[0],
        interpolation=transform.interpolation.value,
    )


def _weights(name: str) -> Any:
    """The default ImageNet weights of a torchvision classifier, or None if there is no such model."""
    from torchvision import models

    architecture = name.removeprefix("imagenet/")
    if architecture not in models.list_models(module=models):
        return None
    return models.get_model_weights(architecture).DEFAULT


def _weight_file(weights: Any) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(weights.url)


def _entry(name: str) -> ClassifierEntry:
    weights = _weights(name)
    path = _weight_file(weights)
    available = os.path.isfile(path)  # also where the folder may not be entered
    missing = (
        ""
        if available
        else f"fetched on first use ({weights.meta['_file_size']:.0f} MB), or put {path.name} into {path.parent}"
    )
    return ClassifierEntry(name, "imagenet", available, missing, None, weights.meta["num_params"])
