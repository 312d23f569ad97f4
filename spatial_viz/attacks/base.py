"""What all attacks share: the result, and one call of an attack with every answer that it has seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from spatial_viz.errors import InvalidInput, did_you_mean
from spatial_viz.landscape.dataset import severity_order
from spatial_viz.landscape.sweeps import check_finite
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.inference import Runner, runner_for
from spatial_viz.models.losses import cross_entropy, logit_margin
from spatial_viz.transforms.geometry import Padding, check_padding, warp
from spatial_viz.transforms.grids import TransformGrid

Goal = Literal["cross-entropy", "margin"]
Criterion = Callable[[Tensor, Tensor], Tensor]
"""N predicted classes and N labels → N times whether that counts as fooled."""
Report = Callable[[float, int], None]
"""Called with (pictures done, pictures in all); what is done may be a part of a picture."""
ROWS = 4096  # transforms that are asked about at once, over all pictures


def misclassified(predicted: Tensor, labels: Tensor) -> Tensor:
    """The usual criterion: any other class than the true one."""
    return predicted != labels


@dataclass(frozen=True)
class targeted:  # noqa: N801
    """The criterion of an adversary who wants one class to come out; the objective then is to raise that class."""

    target: int

    def __call__(self, predicted: Tensor, labels: Tensor) -> Tensor:
        return predicted == self.target


@dataclass(frozen=True)
class AttackResult:
    """What an attack found, per picture; all tensors are on the CPU and N long.

    ``transforms`` N×3 (degrees, pixels); ``losses`` cross-entropy in nats and ``predicted``, ``confidence`` there;
    ``success``: fooled there, by the criterion. ``natural_success``: fooled by the natural picture, which is no merit
    of the attack. ``fooled``: how many of the transforms ``tried`` did. ``passes`` forward and ``backward_passes`` are
    what the search queried the network; the query of the natural picture comes on top.

    ``paths`` (N×restarts×(steps + 1)×3) and ``path_losses`` (without the 3) are there after a first-order attack,
    NaN beyond an interruption; ``noise`` (N×C×H×W) after an ℓ∞ attack. ``complete`` is false where the attack was
    interrupted: pictures that it had not come to yet stay natural.
    """

    attack: str
    transforms: Tensor
    losses: Tensor
    predicted: Tensor
    confidence: Tensor
    success: Tensor
    natural_success: Tensor
    fooled: Tensor
    tried: Tensor
    passes: Tensor
    backward_passes: Tensor
    paths: Tensor | None = None
    path_losses: Tensor | None = None
    noise: Tensor | None = None
    complete: bool = True

    def __len__(self) -> int:
        return len(self.transforms)

    @property
    def robust(self) -> Tensor:
        """Neither naturally nor at the transform found: what counts for robust accuracy."""
        return ~(self.success | self.natural_success)


class SearchState:
    """One call of an attack: its pictures, and the most severe answer seen so far about each."""

    def __init__(
        self,
        classifier: Classifier,
        images: Tensor,
        labels: Tensor,
        limits: TransformGrid,
        seed: int,
        indices: Tensor | None,
        padding: Padding,
        device: str,
        criterion: Criterion,
        objective: Goal,
    ) -> None:
        check_padding(padding)
        if objective not in get_args(Goal):
            raise InvalidInput(f"unknown objective {objective!r}{did_you_mean(objective, get_args(Goal))}")
        if images.ndim != 4 or not len(images):
            raise InvalidInput(f"expected N×C×H×W pictures; got a tensor of shape {tuple(images.shape)}")
        self.classifier, self.limits, self.padding, self.device = classifier, limits, padding, device
        self.images = torch.stack([classifier.check_image(image) for image in images.cpu()])
        self.labels = torch.as_tensor(labels, dtype=torch.int64).reshape(-1).cpu()
        if len(self.labels) != len(images):
            raise InvalidInput(f"{len(images)} pictures need as many labels; got {len(self.labels)}")
        for label in self.labels.unique().tolist():
            classifier.label_index(label)
        self.every = torch.arange(len(images))
        self.indices = self.every if indices is None else torch.as_tensor(indices)
        if len(self.indices) != len(images):
            raise InvalidInput(f"{len(images)} pictures need as many indices; got {len(self.indices)}")
        self.seed, self.criterion, self.objective = seed, criterion, objective
        self.target = classifier.label_index(criterion.target) if isinstance(criterion, targeted) else None
        self.runner: Runner = runner_for(classifier, device, "fp32")
        self.passes = torch.zeros(len(images), dtype=torch.int64)
        self.fooled = torch.zeros(len(images), dtype=torch.int64)
        self.tried = torch.zeros(len(images), dtype=torch.int64)
        self.backward_passes = torch.zeros(len(images), dtype=torch.int64)
        self.paths: Tensor | None = None
        self.path_losses: Tensor | None = None
        self.noise: Tensor | None = None
        self.complete = True
        self._natural = self.runner.exact(self.images, None, self.every, padding)
        check_finite(self._natural, torch.zeros(len(images), 3), classifier.name, self.every)
        # The best so far; the natural picture stands here until something was queried about it.
        self._transforms, self._logits = torch.zeros(len(images), 3), self._natural.clone()
        self._asked = torch.zeros(len(images), dtype=torch.bool)

    @property
    def reach(self) -> Tensor:
        """The limits of (rotation, dx, dy)."""
        return torch.tensor(self.limits.limits)

    def ask(self, pictures: Tensor, transforms: Tensor) -> Tensor:
        """M×K logits of pictures (M numbers) at M transforms, kept as candidates for the answer."""
        logits = self.runner.exact(self.images, transforms, pictures, self.padding)
        self._record(pictures, transforms, logits)
        return logits

    def ask_all(self, pictures: Tensor, transforms: Tensor) -> None:
        """As `ask` where nobody wants the logits: a part at a time, so that many classes need little memory."""
        for part, moves in zip(pictures.split(ROWS), transforms.split(ROWS), strict=True):
            self.ask(part, moves)

    def value_and_grad(self, pictures: Tensor, transforms: Tensor) -> tuple[Tensor, Tensor]:
        """As `ask`, and the M×3 gradient of the objective."""
        labels = self.labels[pictures].to(self.runner.device)
        logits, slope = self.runner.gradient(
            self.images, transforms, pictures, self.padding, lambda answers, rows: self.value(answers, labels[rows])
        )
        self._record(pictures, transforms, logits)
        self.count(pictures, backward=True)
        return logits, slope

    def value(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The objective: the higher, the worse for the classifier; with a target, the closer to that class."""
        classes = labels if self.target is None else torch.full_like(labels, self.target)
        away = cross_entropy(logits, classes) if self.objective == "cross-entropy" else -logit_margin(logits, classes)
        return away if self.target is None else -away

    def severity(self, pictures: Tensor, transforms: Tensor, logits: Tensor) -> np.ndarray:
        """The rows from the most to the least severe."""
        labels = self.labels[pictures]
        fooled = self.criterion(logits.argmax(1), labels).numpy()
        return severity_order(fooled, self.value(logits, labels).numpy(), *transforms.numpy().T)

    def count(self, pictures: Tensor, backward: bool = False, times: int = 1) -> None:
        """Note what the network was asked about these pictures."""
        passes = torch.bincount(pictures, minlength=len(self.images)) * times * self.classifier.passes_per_query
        if backward:
            self.backward_passes += passes
        else:
            self.passes += passes

    def best(self) -> tuple[Tensor, Tensor]:
        """The most severe of all that was seen, per picture, or the natural picture: N×3 transforms, N×K logits."""
        return self._transforms, self._logits

    def result(self, attack: str) -> AttackResult:
        transforms, logits = self.best()
        if self.noise is not None:
            # The noise counts where it made things worse; elsewhere the result is the one without it.
            noisy = self.runner.exact(self.at(transforms) + self.noise, None, self.every, self.padding)
            check_finite(noisy, transforms, self.classifier.name, self.every)
            self.count(self.every)
            both = torch.cat((noisy, logits))
            order = self.severity(self.every.repeat(2), torch.zeros(len(both), 3), both)
            _, first = np.unique(order % len(self.images), return_index=True)
            worse = torch.from_numpy(order[first] < len(self.images))
            logits = torch.where(worse[:, None], noisy, logits)
            self.noise[~worse] = 0
        predicted = logits.argmax(1)
        return AttackResult(
            attack=attack,
            transforms=transforms,
            losses=cross_entropy(logits, self.labels),
            predicted=predicted,
            confidence=logits.softmax(1).amax(1),
            success=self.criterion(predicted, self.labels),
            natural_success=self.criterion(self._natural.argmax(1), self.labels),
            fooled=self.fooled,
            tried=self.tried,
            passes=self.passes,
            backward_passes=self.backward_passes,
            paths=self.paths,
            path_losses=self.path_losses,
            noise=self.noise,
            complete=self.complete,
        )

    def at(self, transforms: Tensor) -> Tensor:
        """The pictures, each at its own transform."""
        return warp(self.images, transforms, self.padding)

    def _record(self, pictures: Tensor, transforms: Tensor, logits: Tensor) -> None:
        check_finite(logits, transforms, self.classifier.name, pictures)
        self._merge(pictures, transforms, logits)
        fooled = self.criterion(logits.argmax(1), self.labels[pictures])
        self.fooled += torch.bincount(pictures[fooled], minlength=len(self.images))
        self.tried += torch.bincount(pictures, minlength=len(self.images))
        self.count(pictures)

    def _merge(self, pictures: Tensor, transforms: Tensor, logits: Tensor) -> None:
        """Keep the first in the severity order of the best so far and of these; of equals the one asked earlier."""
        before = pictures.unique()
        before = before[self._asked[before]]
        pictures = torch.cat((before, pictures))
        transforms = torch.cat((self._transforms[before], transforms))
        logits = torch.cat((self._logits[before], logits))
        order = self.severity(pictures, transforms, logits)
        indices, first = np.unique(pictures.numpy()[order], return_index=True)
        rows = torch.from_numpy(order[first])
        self._transforms[indices], self._logits[indices] = transforms[rows], logits[rows]
        self._asked[indices] = True


@dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack: `search` asks the query, and the most severe answer is the result.

    ``criterion``: what counts as fooled. ``objective``: what is made large, cross-entropy or minus the logit margin.
    """

    criterion: Criterion = misclassified
    objective: Goal = "cross-entropy"
    name: ClassVar[str]

    def __call__(
        self,
        classifier: Classifier,
        images: Tensor,
        labels: Tensor,
        limits: TransformGrid,
        generator: int | torch.Generator = 0,
        indices: Tensor | None = None,
        padding: Padding = "black",
        device: str = "auto",
        report: Report | None = None,
    ) -> AttackResult:
        """Attack N pictures.

        Parameters
        ----------
        images, labels: N×C×H×W pictures in [0, 1] exactly of the classifier's size, and N class indices.
        limits: the spatial limits; the attack has its own granularity where it needs one.
        generator: the seed of all random draws, or a torch generator whose initial seed is taken. Draws are keyed by
            (seed, picture index, draw): they depend on no batch and no order.
        indices: N picture indices for the draws; by default 0 to N - 1.

        Raises
        ------
        InvalidInput: pictures, labels or an objective that do not fit.
        SpatialVizError: a classifier that returns NaN or an infinity; the message says at which transform.
        """
        seed = generator.initial_seed() if isinstance(generator, torch.Generator) else int(generator)
        query = SearchState(
            classifier, images, labels, limits, seed, indices, padding, device, self.criterion, self.objective
        )
        try:
            self.search(query, report or _silent)
        except KeyboardInterrupt:
            query.complete = False  # what was found so far is the result
        return query.result(self.name)

    def search(self, query: SearchState, report: Report) -> None:
        raise NotImplementedError


def at_least(name: str, value: int, least: int) -> None:
    """Refuse a setting below its least value."""
    if value < least:
        raise InvalidInput(f"{name} must be {least} or more; got {value}")


def _silent(done: float, total: int) -> None:
    """Nobody asked for progress."""


def attack_summary(outcome: AttackResult, classifier: Classifier, natural: Tensor, label: int) -> dict[str, Any]:
    """The result for one picture, ready for JSON, in the shape of `spatial_viz.landscape.dataset.landscape_summary`.

    ``natural``: the 1×K logits of the natural picture. ``loss_name`` is there where the losses are those of a vote.
    """
    rotation, dx, dy = outcome.transforms[0].tolist()
    result: dict[str, Any] = {
        "label": label,
        "natural": {
            "predicted": int(natural.argmax()),
            "name": classifier.class_names[int(natural.argmax())],
            "confidence": float(natural.softmax(1).max()),
            "loss": float(cross_entropy(natural, torch.tensor([label]))),
        },
        "worst_case": {
            "rotation": rotation, "dx": dx, "dy": dy, "loss": float(outcome.losses),
            "predicted": int(outcome.predicted), "name": classifier.class_names[int(outcome.predicted)],
            "confidence": float(outcome.confidence),
            "misclassified": bool(outcome.predicted[0] != label),
        },
        "misclassified": int(outcome.fooled),
        "transforms": int(outcome.tried),
        "natural_misclassified": bool(natural.argmax() != label),
        "complete": outcome.complete,
        "classifier": classifier.name,
        "attack": outcome.attack,
        "passes": int(outcome.passes),
        "backward_passes": int(outcome.backward_passes),
    }  # fmt: skip
    if classifier.loss_name != Classifier.loss_name:
        result["loss_name"] = classifier.loss_name
    if outcome.paths is not None:
        result["path"] = [path[~path.isnan().any(1)].tolist() for path in outcome.paths[0]]  # as far as it came
    return result
