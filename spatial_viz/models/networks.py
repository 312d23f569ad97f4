"""Network architectures that this project trains. No weights here: see ``pretrained/``.

Everything is a plain chain of convolution, batch norm and activation, so that batch norm, unless a pool stands before
it, folds into the convolution for evaluation (`spatial_viz.models.networks.fold_batch_norm`).
"""

from __future__ import annotations

import copy
import itertools
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spatial_viz.errors import InvalidInput, did_you_mean

ADDED = "+"
"""In the name of a layer: a shallower network has none like it."""


def overlapping_maxima(x: Tensor) -> Tensor:
    """Maxima of all 2×2 windows: N×C×H×W → N×C×(H-1)×(W-1)."""
    if torch.is_grad_enabled():
        return F.max_pool2d(x, 2, stride=1)
    # The same values: faster on a CPU, and slower to differentiate.
    x = torch.maximum(x[:, :, :-1], x[:, :, 1:])
    return torch.maximum(x[..., :-1], x[..., 1:])


class MaxBlurPool(nn.Module):
    """Halves the resolution with little aliasing, N×C×H×W → N×C×⌊H/2⌋×⌊W/2⌋: maxima of overlapping windows, and of
    these the means of 3×3, at the border of those that are there.

    Source: after Zhang, *Making convolutional networks shift-invariant again*, ICML 2019, whose filters are binomial
    and stand behind the ReLU, not before it.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(overlapping_maxima(x), 3, stride=2, padding=1, count_include_pad=False)


class MirrorAverage(nn.Module):
    """The mean of a network's logits for a picture and for its mirror image, N×C×H×W → N×K: the same for both, at the
    price of two passes. A defence that needs no training, for pictures that mean the same in the mirror.

    Source: test-time augmentation by horizontal flips; Krizhevsky et al., *ImageNet classification with deep
    convolutional neural networks*, NeurIPS 2012, section 4.1, average probabilities so.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        # One call: a module that a network calls twice cannot have its batch norm folded.
        both: Tensor = self.network(torch.cat((x, x.flip(-1))))
        return both.unflatten(0, (2, x.shape[0])).mean(0)


class ConvUnit(nn.Sequential):
    """3×3 convolution, ``pool`` if there is one, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, pool: nn.Module | None = None) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)]
        if pool is not None:
            layers.append(pool)
        layers += [nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class ResidualPair(nn.Module):
    """Two units with a shortcut around them (He et al., *Deep residual learning*, CVPR 2016).

    Built with a ``scale`` below 1, that of its last batch norm, it starts close to the identity.
    """

    def __init__(self, channels: int, scale: float = 1.0) -> None:
        super().__init__()
        self.first = ConvUnit(channels, channels)
        self.second = ConvUnit(channels, channels)
        nn.init.constant_(self.second[1].weight, scale)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class SmallResNet(nn.Module):
    """A residual network for 28–64 px pictures.

    Parameters
    ----------
    classes: number of outputs.
    channels: colour channels of the pictures, 1 or 3.
    widths: channels of the stem and of the three stages, each of which halves the resolution.
    scale: factor on the logits; keeps the softmax soft early in training.
    blur: whether a stage halves the resolution by `MaxBlurPool` or by plain 2×2 maxima.
    pairs: residual pairs of the three stages. Those beyond the first of a stage start close to the identity, so that a
        network can go on from the weights of a shallower one (`load_weights`).

    ``forward`` maps N×channels×H×W (already normalised) to N×classes logits.
    """

    def __init__(
        self,
        classes: int = 10,
        channels: int = 3,
        widths: tuple[int, int, int, int] = (32, 64, 128, 256),
        scale: float = 0.125,
        blur: bool = False,
        pairs: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        super().__init__()
        pool = MaxBlurPool if blur else partial(nn.MaxPool2d, 2)
        layers: dict[str, nn.Module] = {"0": ConvUnit(channels, widths[0])}
        for stage, (before, width, count) in enumerate(zip(widths[:-1], widths[1:], pairs, strict=True)):
            layers[f"{2 * stage + 1}"] = ConvUnit(before, width, pool())
            for added in range(count):
                layers[f"{2 * stage + 2}{ADDED * added}"] = ResidualPair(width, scale=0.1 if added else 1)
        self.features = nn.Sequential(OrderedDict(layers))
        self.head = nn.Linear(widths[-1], classes, bias=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        # The maximum over all places, not the mean: which place shows the evidence is left open.
        x = self.features(x).amax(dim=(2, 3))
        return self.head(x) * self.scale


class NormUnit(nn.Sequential):
    """3×3 convolution, batch norm without a scale of its own, GELU; ``pool`` halves the resolution by 2×2 maxima.

    The convolution starts as the identity on the channels it receives (`torch.nn.init.dirac_`).
    """

    def __init__(self, channels_in: int, channels_out: int, pool: bool = False) -> None:
        convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        nn.init.dirac_(convolution.weight.data[:channels_in])
        norm = nn.BatchNorm2d(channels_out, momentum=0.4)
        norm.weight.requires_grad_(False)
        super().__init__(convolution, *([nn.MaxPool2d(2)] if pool else []), norm, nn.GELU())


class WhitenedConvNet(nn.Module):
    """A convolutional network behind a fixed layer that whitens 2×2 patches; learns in few epochs.

    Parameters
    ----------
    classes: number of outputs.
    channels: colour channels of the pictures, 1 or 3.
    widths: channels of the three stages; each is two units and halves the resolution.
    scale: factor on the logits.
    pool_first: whether a stage halves the resolution before its first convolution, for a quarter of the cost, or after.

    ``forward`` maps N×channels×H×W (already normalised) to N×classes logits. `whiten` sets the first layer before
    training.

    Source: the design follows Jordan, *94% on CIFAR-10 in 3.29 seconds on a single GPU*, 2024, section 3.
    """

    def __init__(
        self,
        classes: int = 10,
        channels: int = 3,
        widths: tuple[int, int, int] = (64, 256, 256),
        scale: float = 1 / 9,
        pool_first: bool = False,
    ) -> None:
        super().__init__()
        patches = 4 * channels
        self.whitening = nn.Conv2d(channels, 2 * patches, 2)
        self.whitening.weight.requires_grad_(False)
        nn.init.zeros_(self.whitening.bias)  # type: ignore[arg-type]
        units: list[nn.Module] = [nn.GELU()]
        for before, width in zip((2 * patches, *widths[:-1]), widths, strict=True):
            units += [nn.MaxPool2d(2)] if pool_first else []
            units += [NormUnit(before, width, pool=not pool_first), NormUnit(width, width)]
        self.features = nn.Sequential(*units)
        self.head = nn.Linear(widths[-1], classes, bias=False)
        self.head.weight.data.div_(self.head.weight.data.std())
        self.scale = scale

    @torch.no_grad()
    def whiten(self, images: Tensor) -> None:
        """Make the first layer the principal directions of the patches of ``images`` (normalised N×C×H×W), each
        divided by its standard deviation, and their negatives."""
        rows = F.unfold(images, 2).transpose(1, 2).flatten(0, 1).double()
        variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))
        filters = (directions / (variances + 5e-4).sqrt()).T.reshape(-1, *self.whitening.weight.shape[1:])
        self.whitening.weight.copy_(torch.cat((filters, -filters)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(self.whitening(x)).amax(dim=(2, 3))
        return self.head(x) * self.scale


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "small-resnet": SmallResNet,
    "blurpool-resnet": partial(SmallResNet, blur=True),
    "deep-blurpool-resnet": partial(SmallResNet, blur=True, pairs=(2, 2, 1)),
    "whitened-convnet": WhitenedConvNet,
    "light-convnet": partial(WhitenedConvNet, widths=(48, 128, 256), pool_first=True),
    "tiny-convnet": partial(WhitenedConvNet, widths=(24, 48, 96), pool_first=True),
}
"""By name; ``blurpool-resnet`` is for robustness against turns and shifts, ``deep-blurpool-resnet`` can go on from its
weights and takes a quarter more time, ``light-convnet`` is for trainings that ask the network often and
``tiny-convnet`` for small grey pictures such as digits."""


def build_network(name: str, **options: object) -> nn.Module:
    """The architecture called ``name`` with fresh weights; ``options`` go to its constructor."""
    if name not in NETWORKS:
        raise InvalidInput(f"unknown network {name!r}{did_you_mean(name, NETWORKS)}")
    return NETWORKS[name](**options)


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def load_weights(network: nn.Module, state: dict[str, Tensor], shallower: bool = False) -> None:
    """Load weights of any precision, with or without batch norm's counters; a RuntimeError says what does not fit.

    ``shallower``: whether they may be those of a network with fewer residual pairs; the pairs added to it stay as they
    are.
    """
    broken = [name for name, value in state.items() if not value.isfinite().all()]
    if broken:
        raise RuntimeError(f"{broken[0]} has values that are not finite")
    missing, unexpected = network.load_state_dict({name: v.float() for name, v in state.items()}, strict=False)
    missing = [name for name in missing if not (name.endswith("num_batches_tracked") or (shallower and ADDED in name))]
    if unexpected or missing:
        raise RuntimeError(f"missing {missing}, unexpected {unexpected}")


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode, without gradients, whose batch norms are folded into the convolutions before them.

    Same function up to rounding, about a third fewer memory passes. Nothing is traced: a tracer patches
    ``nn.Module.__call__`` for the whole process, and breaks whatever other threads run meanwhile. A batch norm counts
    as behind a convolution where it stands right behind it in an `nn.Sequential`, as in this project's networks, or is
    registered right behind it in a module of torchvision's. Compare the answers before using the copy of a network of
    others (`spatial_viz.models.accelerate`).
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(folded.modules()):
        if not _in_order(module):
            continue
        for (before, convolution), (behind, norm) in itertools.pairwise(list(module.named_children())):
            if _folds(convolution, norm):
                assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
                setattr(module, before, fuse_conv_bn_eval(convolution, norm))
                setattr(module, behind, nn.Identity())
    return folded


def _in_order(module: nn.Module) -> bool:
    """Whether a module asks its children in the order in which they are registered."""
    forward = type(module).forward
    return forward is nn.Sequential.forward or forward.__module__.startswith("torchvision.models.")


def _folds(convolution: nn.Module, norm: nn.Module) -> bool:
    """Whether a batch norm may be folded into a convolution: both torch's own, with nothing hooked to them."""
    return (
        type(convolution) is nn.Conv2d
        and type(norm) is nn.BatchNorm2d
        and norm.running_mean is not None
        and not (convolution.training or norm.training)
        and norm.num_features == convolution.out_channels
        and not any(map(_hooked, (convolution, norm)))
    )


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
