"""The catalogue of classifiers, and loading them safely by name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from spatial_viz.errors import CorruptFile, InvalidInput, MissingFile, did_you_mean
from spatial_viz.files import readable
from spatial_viz.models.cards import Architecture, ModelCard, read_cards
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.networks import MirrorAverage, build_network, load_weights
from spatial_viz.models.sources import efficientnet_lite0, torchvision_models
from spatial_viz.models.sources.base import ClassifierEntry

DESCRIPTION, WEIGHTS = "classifier.json", "weights.safetensors"
"""In the folder of a training: what makes a `Classifier` of the weights, and these."""


# --- The catalogue -------------------------------------------------------------------------------------------------


def pretrained_folder() -> Path:
    """``pretrained/`` of the checkout, or of the installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "pretrained"
    return installed if installed.is_dir() else package.parent / "pretrained"


@cache
def _manifest(path: Path, modified: float) -> tuple[ModelCard, ...]:
    return read_cards(path)


def manifest() -> tuple[ModelCard, ...]:
    """The cards of the classifiers that this project trained.

    Raises
    ------
    MissingFile, CorruptFile: no manifest, or a damaged one.
    """
    path = pretrained_folder() / "manifest.json"
    if not path.is_file():
        raise MissingFile(f"there is no {path}; install the package again")
    return _manifest(path, path.stat().st_mtime)


def dataset_of(name: str) -> str:
    """The data set that the name of a classifier of the catalogue begins with.

    >>> dataset_of("cifar10/standard")
    'cifar10'
    """
    return name.split("/")[0]


def without_mirrors(cards: Iterable[ModelCard]) -> list[ModelCard]:
    """The cards of one classifier for each training: without those that ask the same weights about the mirror image,
    too, so that what differs between them is the training."""
    return [card for card in cards if not card.mirror]


def catalogue() -> list[ClassifierEntry]:
    """Everything the picker offers, the project's own first."""
    shipped = [ClassifierEntry(card.name, dataset_of(card.name), True, "", card) for card in manifest()]
    return [*shipped, efficientnet_lite0.entry(), *torchvision_models.entries()]


def load_classifier(name: str) -> Classifier:
    """A classifier of the catalogue by its name, or one of your own by the folder of its training, on the CPU.

    Raises
    ------
    InvalidInput: no such classifier; the message suggests the near miss.
    MissingFile: ImageNet weights that are neither on disk nor to be had from the network; an unfinished training.
    CorruptFile: a file in ``pretrained/`` whose SHA-256 is not the one on its card, or files of a training that do not
        fit together.
    """
    cards = {card.name: card for card in manifest()}
    if name in cards:
        return _load_own(cards[name])
    if name == efficientnet_lite0.NAME:
        return efficientnet_lite0.load()
    if torchvision_models.has(name):
        return torchvision_models.load(name)
    if name and os.path.isdir(name):  # which takes a name of any length
        return load_trained(Path(name))
    hint = did_you_mean(name, [entry.name for entry in catalogue()])
    raise InvalidInput(f"unknown classifier {name!r}, and there is no folder of a training of that name{hint}")


def _load_own(card: ModelCard) -> Classifier:
    path = pretrained_folder() / card.file
    if not path.is_file():
        raise MissingFile(f"{path} is missing; install the package again")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise CorruptFile(
            f"{path} is corrupted: its SHA-256 is not the one on its card. Restore it or install the package again"
        )
    classifier = _build(card.name, card.architecture, card.mirror, content, path)
    classifier.margin_error = card.margin_error
    return classifier


def load_trained(folder: Path, mirror: bool = False) -> Classifier:
    """The classifier that a training has left in its folder, or with ``mirror`` the `MirrorAverage` of its network;
    errors as those of `load_classifier`."""
    described, weights = folder / DESCRIPTION, folder / WEIGHTS
    if not described.is_file():
        raise MissingFile(
            f"{folder} has no {DESCRIPTION}, which every training writes into its folder. If an earlier version "
            "trained it, give its command again with --resume, which adds it"
        )
    if not weights.is_file():
        raise MissingFile(f"{folder} has no {WEIGHTS}: its training has not ended. Go on with it by --resume")
    try:
        architecture = Architecture.from_json(json.loads(described.read_text(encoding="utf-8")))
        return _build(readable(folder.as_posix()), architecture, mirror, weights.read_bytes(), weights)
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptFile(
            f"{described} does not describe a classifier ({type(error).__name__}: {error}); restore it or train again"
        ) from error


def _build(name: str, architecture: Architecture, mirror: bool, content: bytes, path: Path) -> Classifier:
    """``content`` of the file at ``path``: safetensors."""
    classes, channels = len(architecture.class_names), len(architecture.mean)
    network = build_network(architecture.network, classes=classes, channels=channels)
    try:
        load_weights(network, load_safetensors(content))
    except (SafetensorError, RuntimeError) as error:
        raise CorruptFile(f"{path} does not hold the weights of a {architecture.network}: {error}") from error
    return Classifier(
        MirrorAverage(network) if mirror else network,
        class_names=architecture.class_names,
        input_size=architecture.input_size,
        mean=architecture.mean,
        std=architecture.std,
        name=name,
        passes_per_query=2 if mirror else 1,
    )
