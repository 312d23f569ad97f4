"""A majority vote over random transforms."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from spatial_viz.errors import InvalidInput
from spatial_viz.models.classifier import Classifier, normalise
from spatial_viz.transforms.geometry import Padding, warp
from spatial_viz.transforms.grids import TransformGrid, check_cost, draw_transforms

VOTERS = (
    1 << 40
)  # in the place of a picture's number: an attack with the same seed must not draw the voters' transforms


class MajorityVote(Classifier):
    """A classifier that looks at ``votes`` random transforms of every picture and answers by their majority.

    It is a classifier like any other: sweeps, attacks and evaluations run on it unchanged, each answer at the price of
    ``votes`` forward passes. ``logits = log((votes per class + mean probability) / (votes + 1))``: the largest is the
    majority, and a tie goes to the class with the higher mean probability. A loss that comes from these logits is a
    *vote loss*; it must not be shown on one scale with that of a single network.

    Parameters
    ----------
    classifier: who votes.
    limits: the spatial limits of the transforms; by default the paper's for the classifier's pictures.
    votes: how many.
    seed: of the transforms. With ``redraw=False`` they are a function of the seed alone, the same for every picture.
        With ``redraw=True`` every query has its own, keyed by (seed, the picture as it is asked about): the picture and
        the transform that an attack chose. The key is made of the pixels in sixteenths of a grey level.

    Source: Engstrom et al., ICML 2019, section 5 ("aggregating random transformations").
    """

    loss_name = "vote loss"

    def __init__(
        self,
        classifier: Classifier,
        limits: TransformGrid | None = None,
        votes: int = 10,
        seed: int = 0,
        redraw: bool = False,
        padding: Padding = "black",
    ) -> None:
        if votes < 1:
            raise InvalidInput(f"a vote needs at least one voter; got votes={votes}")
        check_cost(f"votes = {votes:,}", votes, "fewer votes")
        limits = limits or TransformGrid.paper(classifier.picture_size)
        how = "drawn anew for every query" if redraw else "the same for every picture"
        super().__init__(
            VotingNetwork(classifier, limits, votes, seed, redraw, padding),
            class_names=classifier.class_names,
            input_size=classifier.input_size,
            mean=(0.0,) * classifier.channels,
            std=(1.0,) * classifier.channels,
            name=f"{classifier.name}, vote of {votes} ({how}, seed {seed})",
            resize=classifier.resize,
            interpolation=classifier.interpolation,
            passes_per_query=votes * classifier.passes_per_query,
        )
        self.voter, self.votes = classifier, votes

    @property
    def picture_size(self) -> tuple[int, int]:
        return self.voter.picture_size

    def prepare(self, picture: Image.Image | Tensor) -> Tensor:
        return self.voter.prepare(picture)

    def ballots(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What each voter sees and says: N×votes×3 transforms, N×votes×K probabilities, for N pictures in [0, 1]."""
        network: VotingNetwork = self.network  # type: ignore[assignment]
        with torch.inference_mode():
            transforms = network.transforms_for(images)
            return transforms, network.probabilities(images, transforms)


class VotingNetwork(nn.Module):
    """The network of a `MajorityVote`: N×C×H×W pictures in [0, 1] → N×K logits."""

    fixed: Tensor

    def __init__(
        self, classifier: Classifier, limits: TransformGrid, votes: int, seed: int, redraw: bool, padding: Padding
    ) -> None:
        super().__init__()
        self.network, self.contract = classifier.network, classifier.contract
        self.mean, self.std, self.padding = classifier.mean, classifier.std, padding
        self.preprocessing = repr((self.mean, self.std))  # a text among the settings, which are part of the hash
        self.limits, self.votes, self.seed, self.redraw = limits, votes, seed, redraw
        # float32 even in a bf16 pass: a transform is not a weight.
        self.register_buffer("fixed", limits.draw(votes, seed, picture=VOTERS))

    def transforms_for(self, images: Tensor) -> Tensor:
        """N×votes×3 transforms."""
        if not self.redraw:
            return self.fixed.float().expand(len(images), -1, -1)
        # Off the whole and half grey levels, on which pictures and half-pixel shifts lie: rounding must not decide.
        pixels = (images.detach().float() * (255 * 16) + 0.37).floor().to("cpu", torch.int32).numpy()
        digests = [hashlib.blake2b(picture.tobytes(), digest_size=8).digest() for picture in pixels]
        keys = np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)
        return draw_transforms(self.limits, keys, self.votes, self.seed).to(images.device)

    def probabilities(self, images: Tensor, transforms: Tensor) -> Tensor:
        """N×votes×K."""
        each = []
        for number in range(self.votes):
            seen = normalise(warp(images, transforms[:, number], self.padding), self.mean, self.std)
            each.append(self.contract.read(self.network(seen), len(seen)).softmax(1))
        return torch.stack(each, 1)

    def forward(self, images: Tensor) -> Tensor:
        probabilities = self.probabilities(images, self.transforms_for(images))
        votes = F.one_hot(probabilities.argmax(2), probabilities.shape[2]).sum(1)
        mean = probabilities.mean(1).clamp(min=torch.finfo(torch.float32).tiny)  # may underflow to 0
        return torch.log((votes + mean) / (self.votes + 1))
