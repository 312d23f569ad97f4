"""What an evaluation is asked: everything that decides its verdicts, and the adversaries by their names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.errors import InvalidInput, did_you_mean
from spatial_viz.fields import read_fields
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.inference import Precision
from spatial_viz.models.outputs import OutputContract
from spatial_viz.transforms.geometry import Padding, check_padding
from spatial_viz.transforms.grids import TransformGrid

ADVERSARIES = ("natural", "random", "worst-of-10", "first-order", "grid")
"""Those of the paper's tables; worst-of-k for any other k works, too."""
MAX_K = 10_000


@dataclass(frozen=True)
class EvaluationPlan:
    """Everything that decides the verdicts of a run but classifiers and pictures.

    Parameters
    ----------
    adversaries: some of `ADVERSARIES`. A picture is robust against one when it is classified correctly naturally and at
        every transform that the adversary tries.
    granularity: of the grid, in the order rotation, dx, dy.
    rotation, translation: spatial limits in degrees and in pixels of the classifier's input; None: the paper's.
    vote: the classifiers are asked by a majority vote of so many; 0: each by itself.
    steps: of the first-order adversary.
    seed: of all random draws, which are keyed by (seed, picture index, draw).
    full: keep the whole landscape of every picture; else a picture is done once it is broken.
    restrict: only the outputs for the data set's classes count; else all outputs do.
    shard: pictures that are worked on, and written, together.
    """

    adversaries: tuple[str, ...] = ("natural", "grid")
    granularity: tuple[int, int, int] = (31, 5, 5)
    rotation: float | None = None
    translation: float | None = None
    padding: Padding = "black"
    vote: int = 0
    steps: int = 200
    seed: int = 0
    precision: Precision = "auto"
    full: bool = False
    restrict: bool = False
    shard: int = 200

    def __post_init__(self) -> None:
        if not self.adversaries:
            raise InvalidInput(f"name at least one adversary; available: {', '.join(ADVERSARIES)}")
        for name in self.adversaries:
            k = draws_of(name)
            if k is None and name not in ADVERSARIES:
                raise InvalidInput(f"unknown adversary {name!r}{did_you_mean(name, ADVERSARIES)}")
            if k is not None and not 1 <= k <= MAX_K:
                raise InvalidInput(f"worst-of-k takes k from 1 to {MAX_K:,}; got {name!r}")
        check_padding(self.padding)
        for setting, least in (("vote", 0), ("steps", 1), ("shard", 1)):
            if getattr(self, setting) < least:
                raise InvalidInput(f"{setting} must be {least} or more; got {getattr(self, setting)}")
        if self.full and "grid" not in self.adversaries:
            raise InvalidInput("full landscapes come from the grid; add the adversary grid, or leave full out")

    def grid(self, size: tuple[int, int]) -> TransformGrid:
        """The grid for a classifier that sees pictures of (H, W) pixels."""
        paper = TransformGrid.paper(size)
        return TransformGrid(
            paper.rotation if self.rotation is None else self.rotation,
            paper.dx if self.translation is None else self.translation,
            paper.dy if self.translation is None else self.translation,
            self.granularity,
        )


def card_key(adversary: str) -> str:
    """What begins the entries about an adversary on the card of a classifier.

    >>> card_key("worst-of-10")
    'worst_of_10'
    """
    return adversary.replace("-", "_")


def draws_of(adversary: str) -> int | None:
    """How many random transforms it tries; None: it does not draw.

    >>> draws_of("worst-of-10"), draws_of("random"), draws_of("grid")
    (10, 1, None)
    """
    if adversary == "random":
        return 1
    match = re.fullmatch("worst-of-([0-9]{1,6})", adversary)
    return int(match[1]) if match else None


def full_passes(adversary: str, plan: EvaluationPlan, grid: TransformGrid) -> int:
    """Forward passes for one picture if nothing is left out, at one for a query."""
    draws = draws_of(adversary)
    if draws is not None:
        return draws
    return {"natural": 1, "first-order": plan.steps + 1, "grid": len(grid)}[adversary]


class Restricted(torch.nn.Module):
    """A network of which only some outputs are left, in the order of ``classes``."""

    kept: torch.Tensor

    def __init__(self, network: torch.nn.Module, contract: OutputContract, classes: Sequence[int]) -> None:
        super().__init__()
        self.network, self.contract = network, contract
        self.classes = repr(list(classes))  # a text among the settings, which are part of the classifier's hash
        self.register_buffer("kept", torch.tensor(list(classes)), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.contract.read(self.network(images), len(images))[:, self.kept]


def restricted(classifier: Classifier, classes: Sequence[int]) -> Classifier:
    """The classifier with the outputs ``classes`` (indices) alone."""
    return Classifier(
        Restricted(classifier.network, classifier.contract, classes),
        class_names=[classifier.class_names[index] for index in classes],
        input_size=classifier.input_size,
        mean=classifier.mean,
        std=classifier.std,
        name=classifier.name,
        resize=classifier.resize,
        interpolation=classifier.interpolation,
        margin_error=classifier.margin_error,
        passes_per_query=classifier.passes_per_query,
    )


def voted(classifier: Classifier, plan: EvaluationPlan) -> Classifier:
    """The classifier as the plan asks it: by itself, or by majority vote."""
    if not plan.vote:
        return classifier
    return MajorityVote(classifier, plan.grid(classifier.picture_size), plan.vote, plan.seed, padding=plan.padding)


def settings_of(plan: EvaluationPlan) -> dict[str, Any]:
    """The plan, ready for JSON."""
    return json.loads(json.dumps(asdict(plan)))


def plan_of(settings: dict[str, Any]) -> EvaluationPlan:
    """What `settings_of` said, as it stands on a run card."""
    return read_fields(EvaluationPlan, settings, "the plan")


def digest(value: Any) -> str:
    """SHA-256 of anything that JSON can say."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
