"""A classifier: network, normalisation, input size, class names and hash."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from spatial_viz.data import images as pictures
from spatial_viz.errors import InvalidInput, did_you_mean
from spatial_viz.files import readable
from spatial_viz.models.fingerprint import BOOKKEEPING, Fingerprint, named_alone
from spatial_viz.models.outputs import OutputContract

HASH_VERSION = 2
"""Before every `Classifier.hash`; 1, which wrote no number, left out lists, functions and the preprocessing."""


UNKNOWN = "unknown"
"""In the place of the version where something cannot be hashed."""


def is_known(stored: str) -> bool:
    """Whether a hash is of a classifier all of which could be hashed."""
    return not stored.startswith(UNKNOWN)


class Classifier:
    """Any network, with all that it takes to ask it about a picture.

    Parameters
    ----------
    network: a module (put into evaluation mode) or function that maps N×C×H×W, normalised, to N×K logits, or to
        something that holds them (`spatial_viz.models.outputs.OutputContract`). It may change later: every sweep asks
        it as it then is.
    class_names: K names, or a mapping from the indices 0 to K - 1 to names.
    input_size: (H, W) of the pictures the network takes; one number for squares.
    mean, std: of each channel, for pictures in [0, 1]; as many as the network has input channels.
    name: as shown, for instance ``cifar10/standard``.
    resize: length of the short side before the centre crop to ``input_size``; None: the crop covers the picture.
    interpolation: of that resize, ``bilinear`` or ``bicubic``.
    margin_error: how far bf16 may move the gap between two logits, see `spatial_viz.models.inference.calibrate`; None:
        not known, hence everything in fp32. It holds for the network as it is when it is set.
    passes_per_query: forward passes of a network that one answer takes.
    binary: the network returns one logit a picture, that of the second of two classes.

    Raises
    ------
    InvalidInput: lengths or sizes that do not fit together.
    """

    loss_name = "cross-entropy loss"  # what a loss is called that comes from its logits

    def __init__(
        self,
        network: nn.Module | Callable[[Tensor], Any],
        *,
        class_names: Sequence[str] | Mapping[int, str],
        input_size: tuple[int, int] | int,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        name: str = "unnamed",
        resize: int | None = None,
        interpolation: str = "bilinear",
        margin_error: float | None = None,
        passes_per_query: int = 1,
        binary: bool = False,
    ) -> None:
        class_names = _names(class_names)
        input_size = (input_size, input_size) if isinstance(input_size, int) else input_size
        mean, std = tuple(map(float, mean)), tuple(map(float, std))
        if len(mean) != len(std) or len(mean) not in (1, 3):
            raise InvalidInput(f"mean and std need 1 or 3 values each; got {len(mean)} and {len(std)}")
        if not all(value > 0 for value in std):
            raise InvalidInput(f"std must be positive; got {std}")
        if max(*mean, *std) > 5:
            raise InvalidInput(f"mean and std are for pictures in [0, 1]; got {mean} and {std}: divide them by 255")
        if len(class_names) < 2:
            raise InvalidInput(f"a classifier needs at least two classes; got {list(class_names)}")
        if binary and len(class_names) != 2:
            raise InvalidInput(f"binary=True is for two classes; got {len(class_names)} names")
        if len(input_size) != 2 or min(input_size) < 1:
            raise InvalidInput(f"input_size must be (height, width) in pixels; got {input_size!r}")
        if interpolation not in ("bilinear", "bicubic"):
            raise InvalidInput(f"interpolation must be bilinear or bicubic; got {interpolation!r}")
        if not callable(network):
            raise InvalidInput(f"a network is a torch.nn.Module or a function; got {type(network).__name__}")
        self.network = evaluated(network if isinstance(network, nn.Module) else Function(network))
        self.class_names = class_names
        self.input_size = (int(input_size[0]), int(input_size[1]))
        self.mean, self.std = mean, std
        self.contract = OutputContract(len(class_names), binary)
        self.name = name
        self.resize = resize
        self.interpolation = interpolation
        self.passes_per_query = passes_per_query
        self._nonce = secrets.token_hex()
        self.margin_error = margin_error

    @property
    def margin_error(self) -> float | None:
        """None, too, once the network has changed since it was set."""
        return None if self._margin_error is None else self.margin_error_of(self.hash)

    @margin_error.setter
    def margin_error(self, value: float | None) -> None:
        self._margin_error, self._calibrated = value, None if value is None else self.hash

    def margin_error_of(self, state: str) -> float | None:
        """The ``margin_error`` if the classifier is calibrated for the state with that hash."""
        return self._margin_error if state == self._calibrated else None

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def picture_size(self) -> tuple[int, int]:
        """(H, W) of what is to be seen, which the spatial limits are a share of."""
        return self.input_size

    def __repr__(self) -> str:
        height, width = self.input_size
        return f"Classifier({self.name!r}, {len(self.class_names)} classes, {self.channels}×{height}×{width})"

    def logits(self, images: Tensor) -> Tensor:
        """N×C×H×W pictures in [0, 1], on the device of the network → N×K logits. Differentiable."""
        if images.ndim != 4 or images.shape[1:] != (self.channels, *self.input_size):
            raise InvalidInput(self._expected(images))
        normalised = normalise(images, self.mean, self.std)
        try:
            output = self.network(normalised)
        except RuntimeError:
            own = weight_type(self.network)
            if own == normalised.dtype:
                raise
            output = self.network(normalised.to(own))  # a network in half or double precision
        return self.contract.read(output, len(images), self.name)

    def prepare(self, picture: Image.Image | Tensor) -> Tensor:
        """Any picture → the float32 C×H×W tensor in [0, 1] that this classifier takes.

        Resizes the short side and crops the centre as the weights ask; adds or removes colour.
        A tensor is C×H×W or H×W in [0, 1], and rounded to 8 bits if it has another size.
        """
        if isinstance(picture, Tensor):
            if tuple(picture.shape) == (self.channels, *self.input_size) and picture.is_floating_point():
                return check_range(picture.float())
            if picture.ndim not in (2, 3):
                raise InvalidInput(f"expected one C×H×W picture; got a tensor of shape {tuple(picture.shape)}")
            picture = pictures.tensor_to_picture(check_range(picture.float().reshape(-1, *picture.shape[-2:])))
        fitted = pictures.fit(picture, self.resize, self.input_size, self.interpolation)
        return pictures.picture_to_tensor(fitted, self.channels)

    def label_index(self, label: int | str) -> int:
        """A class by its name or by its index. A text that is a name is that name, also where names are numbers; an
        index may be any integer, such as a tensor with one element.

        Raises
        ------
        InvalidInput: no such class, a name that several classes have, or anything that is not one label.
        """
        value: Any = label
        if isinstance(label, str):
            places = [place for place, name in enumerate(self.class_names) if name == readable(label)]
            if len(places) > 1:
                raise InvalidInput(
                    f"{self.name} has {len(places)} classes called {label!r}; give the index, "
                    f"{' or '.join(map(str, places))}"
                )
            if places:
                return places[0]
            if not re.fullmatch("-?[0-9]{1,9}", label):
                raise InvalidInput(f"{self.name} has no class {label!r}{_few(label, self.class_names)}")
            value = int(label)
        elif hasattr(value, "item"):  # of torch or NumPy
            value = value.item() if math.prod(value.shape) == 1 else f"one of shape {tuple(value.shape)}"
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise InvalidInput(
                f"a label is the name or the index of one class of {self.name}; got {value}. Of one-hot labels take "
                "argmax"
            )
        index = int(value)
        if not 0 <= index < len(self.class_names):
            raise InvalidInput(
                f"the label must be one of the classes 0 to {len(self.class_names) - 1} of {self.name}; got {index}"
            )
        return index

    @property
    def hash(self) -> str:
        """SHA-256 over the network (`spatial_viz.models.fingerprint`), class names and preprocessing, as they are now.

        Of a classifier with something that cannot be hashed (`unhashable`) it is another one in every process.
        """
        return self._fingerprint()[0]

    @property
    def unhashable(self) -> tuple[str, ...]:
        """What the network holds that has no hash, such as a lock: then nothing stored is known to be this one's."""
        return self._fingerprint()[1]

    def has_hash(self, stored: str) -> bool:
        """Whether a stored hash is that of this classifier, also one of version 0.3 and before."""
        own = self.hash
        return stored == own or (is_known(own) and stored == self.first_hash)

    def _fingerprint(self) -> tuple[str, tuple[str, ...]]:
        mark = Fingerprint()
        mark.add((self.mean, self.std, self.input_size, self.class_names, self.resize, self.interpolation,
                  self.contract.binary), "classifier")  # fmt: skip
        mark.add(type(self), "classifier")
        mark.add(self.network)
        if mark.unknown:
            mark.add(self._nonce)
        return f"{UNKNOWN if mark.unknown else HASH_VERSION}-{mark.hexdigest()}", tuple(mark.unknown)

    @property
    def first_hash(self) -> str | None:
        """The hash of versions up to 0.3; None where it would leave something out: a resize, an interpolation, or what
        modules of one's own hold that is no number and no text."""
        if (self.resize, self.interpolation, self.contract.binary) != (None, "bilinear", False):
            return None
        if not all(map(_was_hashed, self.network.modules())):
            return None
        digest = hashlib.sha256(repr((self.mean, self.std, self.input_size, self.class_names)).encode())
        for name, module in self.network.named_modules():
            numbers = {k: v for k, v in vars(module).items() if isinstance(v, (int, float, str)) and k != "training"}
            digest.update(repr((name, type(module).__qualname__, sorted(numbers.items()))).encode())
        for name, value in sorted(self.network.state_dict().items()):
            if not isinstance(value, Tensor):
                return None
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _expected(self, images: Tensor) -> str:
        return (
            f"{self.name} takes {self.channels}×{self.input_size[0]}×{self.input_size[1]} pictures; "
            f"got a tensor of shape {tuple(images.shape)}. Classifier.prepare(picture) brings any picture to that size"
        )

    def check_image(self, image: Tensor) -> Tensor:
        """``image`` as float32 if it is exactly what this classifier takes; else an error that names `prepare`."""
        if image.ndim != 3 or tuple(image.shape) != (self.channels, *self.input_size):
            raise InvalidInput(self._expected(image))
        if not image.is_floating_point():
            raise InvalidInput(f"expected float pictures in [0, 1]; got {image.dtype}. Classifier.prepare takes others")
        return check_range(image.float())


class Function(nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Any:
        return self.function(images)


def _was_hashed(module: nn.Module) -> bool:
    """Whether versions up to 0.3 hashed all of a module but what torch's own layers make of their settings."""
    if isinstance(module, Function) or module._forward_hooks or module._forward_pre_hooks:
        return False
    held = [value for name, value in vars(module).items() if name not in BOOKKEEPING]
    return named_alone(type(module)) or all(isinstance(value, int | float | str | None) for value in held)


def evaluated(network: nn.Module) -> nn.Module:
    """The network, put into evaluation mode; exported programs have no other."""
    with contextlib.suppress(NotImplementedError):
        network.eval()
    return network


def weight_type(network: nn.Module) -> torch.dtype:
    """That of a network's first floating weights; float32 where it has none."""
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)


def _names(names: Sequence[str] | Mapping[int, str]) -> tuple[str, ...]:
    """Class names in the order of the outputs; a mapping's in that of its keys."""
    if not isinstance(names, Iterable):
        raise InvalidInput(f"class names are a list, or a mapping from indices to names; got {names!r}")
    if not isinstance(names, Mapping):
        return tuple(str(name) for name in names)
    try:
        by_index = {int(index): str(name) for index, name in names.items()}
    except (TypeError, ValueError):
        by_index = {}
    if sorted(by_index) != list(range(len(names))):
        raise InvalidInput(
            f"class names in a mapping need the indices 0 to {len(names) - 1} as keys; got "
            f"{', '.join(map(str, list(names)[:5]))}"
        )
    return tuple(by_index[index] for index in range(len(names)))


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(images - mean) / std per channel, N×C×H×W."""
    centre, scale = (torch.tensor(v, device=images.device, dtype=images.dtype)[:, None, None] for v in (mean, std))
    return (images - centre) / scale


def check_range(image: Tensor) -> Tensor:
    """``image`` itself if every value is in [0, 1]."""
    low, high = (float(image.min()), float(image.max())) if image.numel() else (float("nan"), float("nan"))
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # NaN fails both
        raise InvalidInput(f"pixel values must lie in [0, 1]; got {low:g} to {high:g}")
    return image


def _few(name: str, options: Sequence[str]) -> str:
    """The near miss; the whole list only where it is short."""
    hint = did_you_mean(name, options)
    return hint if len(options) <= 20 else hint.split(" available:")[0] + " give its name or its index"
