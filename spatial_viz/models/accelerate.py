"""The network that a runner asks: a copy of the caller's own, made faster where the copy gives the same answers.

Casting to fp32, folding batch norm and the channels-last layout are accelerations. Each is tried on a small batch
against the caller's own module, and left out where it raises or differs by more than rounding. Nothing is traced, and
nothing of the process is switched: other threads go on sweeping meanwhile.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from spatial_viz.errors import InvalidInput, warn
from spatial_viz.models.classifier import Classifier, evaluated, normalise, weight_type
from spatial_viz.models.networks import fold_batch_norm
from spatial_viz.models.outputs import OutputContract, are_probabilities

PROBES = 2
ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-4}
"""By which share of the largest logit rounding may move one, by the type that the caller's module computes in."""
COARSE = 2e-2
"""The same for coarser types; int8 scaled by what is in the batch moves a logit by as much."""
_log = logging.getLogger(__name__)
_ONE_AT_A_TIME = threading.RLock()  # for modules that cannot be copied: they may keep notes while they run


@dataclass
class Prepared:
    """A network for one device, by the ``name`` of its classifier.

    ``dtype`` and ``layout`` are those of its input; ``copied``: it is the runner's own and may be copied for each
    thread, else it is the caller's module, which one thread at a time asks. ``alone``: one image at a time.
    """

    name: str
    network: nn.Module
    contract: OutputContract
    dtype: torch.dtype
    layout: torch.memory_format
    copied: bool
    alone: bool = False

    def ask(self, network: nn.Module, images: Tensor) -> Tensor:
        """N×K float32 logits of N×C×H×W normalised images."""
        images = images.to(self.dtype).contiguous(memory_format=self.layout)
        with contextlib.nullcontext() if self.copied else _in_evaluation(network):
            return self.contract.read(network(images), len(images), self.name)

    def cast(self, dtype: torch.dtype) -> Prepared:
        """A copy that computes in another type."""
        network = copy.deepcopy(self.network).to(dtype)
        return replace(self, network=network, dtype=dtype)

    def thread_copy(self) -> nn.Module:
        """A copy with the same weights: a module may keep notes of its own while it runs, in buffers, too."""
        return copy.deepcopy(self.network, {id(weight): weight for weight in self.network.parameters()})


@contextlib.contextmanager
def _in_evaluation(network: nn.Module) -> Iterator[None]:
    """The caller's own module, for one thread alone, in evaluation mode; afterwards in the mode in which it was."""
    with _ONE_AT_A_TIME:
        training = [module for module in network.modules() if module.training]
        evaluated(network)
        try:
            yield
        finally:
            for module in training:
                module.training = True


def prepare(classifier: Classifier, device: torch.device) -> Prepared:
    """The fastest form of a classifier's network that gives the answers of the network itself.

    Raises
    ------
    InvalidInput: answers that are no logits (`OutputContract`), or that depend on chance or on the rest of the batch.
    """
    if any(nn.parameter.is_lazy(parameter) for parameter in classifier.network.parameters()):
        raise InvalidInput(f"{classifier.name} has weights that are not initialised: run one batch through it first")
    plain = _plain(classifier, device)
    images = normalise(_probes(classifier), classifier.mean, classifier.std).to(_device_of(plain.network, device))
    try:
        truth = _truth(plain, images)
    except InvalidInput:
        raise
    except Exception as error:  # the caller's code may raise anything; asked about a picture, the runner says what
        _log.info("%s was not accelerated: it raised %r on noise", classifier.name, error)
        with contextlib.suppress(Exception):  # perhaps it takes one image at a time
            _truth(plain, images[-1:])
            plain.alone = True
        return plain
    if not truth.isfinite().all():
        return plain  # whoever asks it will see
    _check_steady(plain, images, truth)
    if are_probabilities(truth[:, 1:] if plain.contract.binary else truth):
        warn(
            f"{classifier.name} seems to return probabilities, which are not logits: losses and gradients would be "
            "wrong. Leave its softmax or sigmoid out"
        )
    return _fastest(plain, images, truth) if plain.copied else plain


def _plain(classifier: Classifier, device: torch.device) -> Prepared:
    """The caller's network as it is, or a copy of it where it can be copied."""
    plain = Prepared(
        classifier.name, classifier.network, classifier.contract, torch.float32, torch.contiguous_format, True
    )
    try:
        plain.network = evaluated(copy.deepcopy(classifier.network)).requires_grad_(False).to(device)
        plain.thread_copy()
    except Exception as error:  # locks, sessions and weights that are computed cannot be copied
        _log.info("%s was not accelerated: it cannot be copied (%r)", classifier.name, error)
        plain.network, plain.copied = classifier.network, False
    return plain


def _probes(classifier: Classifier) -> Tensor:
    """PROBES×C×H×W images of noise, each darker than the one before: statistics of a batch are not those of one."""
    noise = torch.rand(PROBES, classifier.channels, *classifier.input_size, generator=torch.Generator().manual_seed(0))
    return noise * 0.3 ** torch.arange(PROBES)[:, None, None, None]


def _truth(plain: Prepared, images: Tensor) -> Tensor:
    """The logits of the caller's network; sets the type of input that it takes."""
    try:
        return _answer(plain, plain.network, images)
    except RuntimeError:
        if weight_type(plain.network) == plain.dtype:
            raise
        plain.dtype = weight_type(plain.network)
        return _answer(plain, plain.network, images)


@torch.inference_mode()
def _answer(form: Prepared, network: nn.Module, images: Tensor) -> Tensor:
    return form.ask(network, images)


def _check_steady(plain: Prepared, images: Tensor, truth: Tensor) -> None:
    """Whether the same picture gets the same answer again, and alone."""
    again, alone = _answer(plain, plain.network, images), _answer(plain, plain.network, images[-1:])
    name = plain.name
    if not _agree(plain, again, truth):
        raise InvalidInput(
            f"{name} answers the same picture differently each time, by up to {_apart(again, truth):.2g} in a logit: "
            "turn off what is random in it (dropout with training=self.training, a fixed seed)"
        )
    plain.alone = not _agree(plain, alone, truth[-1:])
    if plain.alone and not _agree(plain, alone, truth[-1:], COARSE):
        raise InvalidInput(
            f"{name} answers a picture differently alone and in a batch, by up to {_apart(alone, truth[-1:]):.2g} in a "
            "logit: its answers must depend on the picture alone (batch norm needs running statistics and eval())"
        )


def _fastest(plain: Prepared, images: Tensor, truth: Tensor) -> Prepared:
    """The first of the accelerated forms that agrees with the plain one."""
    folds: list[Callable[[nn.Module], nn.Module]] = [fold_batch_norm, copy.deepcopy]
    for layout, fold in itertools.product((torch.channels_last, torch.contiguous_format), folds):
        try:
            network = fold(plain.network).to(torch.float32).to(memory_format=layout)
            form = replace(plain, network=network, dtype=torch.float32, layout=layout)
            answer = _answer(form, form.thread_copy(), images)
        except Exception as error:
            _log.info("%s: %s, %s left out: %r", plain.name, fold.__name__, layout, error)
            continue
        if _agree(plain, answer, truth, least=0):
            return form
        _log.info("%s: %s, %s left out: it differs", plain.name, fold.__name__, layout)
    return plain


def _agree(plain: Prepared, answer: Tensor, truth: Tensor, share: float | None = None, least: float = 0.1) -> bool:
    """Whether two answers differ by rounding alone, of logits of the size ``least`` or more."""
    scale = max(least, float(truth.abs().max()))
    return _apart(answer, truth) <= (share or ROUNDING.get(plain.dtype, COARSE)) * scale


def _apart(answer: Tensor, truth: Tensor) -> float:
    return float((answer - truth).abs().max())


def _device_of(network: nn.Module, device: torch.device) -> torch.device:
    """Where a network is; ``device`` where it has no weights."""
    return next((tensor.device for tensor in itertools.chain(network.parameters(), network.buffers())), device)
