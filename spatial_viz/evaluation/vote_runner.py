"""What a majority vote answers, exactly, and with as few ballots as that takes."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_viz.defences.majority_vote import MajorityVote, VotingNetwork
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.devices import fast_batch
from spatial_viz.models.inference import Answers, Inference, Precision, runner_for
from spatial_viz.transforms.geometry import Padding, warp

BATCHES = 4  # of questions that are asked at once: the first voters fill them, and the last ones see what is open


class EarlyStoppingVote(Inference):
    """A majority vote on one device: its voters at one precision, one after the other, until the rest cannot change
    the majority.

    What each says is what it says in fp32 (see `Runner.answer`), and a tie, which the mean probability settles, is
    asked about again in fp32: the answers are those of the whole vote.
    """

    def __init__(self, vote: MajorityVote, device: str, precision: Precision) -> None:
        self.whole, self.voter = runner_for(vote, device, "fp32"), runner_for(vote.voter, device, precision)
        self.network = cast(VotingNetwork, vote.network)
        self.classes = len(vote.class_names)
        self.name, self.device, self.device_name = self.whole.name, self.whole.device, self.whole.device_name
        self.precision = self.voter.precision

    def exact(self, images: Tensor, transforms: Tensor | None, index: Tensor, padding: Padding) -> Tensor:
        return self.whole.exact(images, transforms, index, padding)

    def answer(self, images: Tensor, transforms: Tensor, index: Tensor, padding: Padding) -> Answers:
        """In the place of logits the ballots for each class that were counted, NaN where a voter's logits are not
        finite; where it was a tie, the logits of the whole vote."""
        at_once = BATCHES * fast_batch(self.device, self.precision, (images.shape[-2], images.shape[-1]))
        polled = [
            self._poll(warp(images[index[rows]].to(self.device), transforms[rows].to(self.device), padding))
            for rows in torch.arange(len(index)).split(at_once)
        ]
        counts, tied, passes = (torch.cat(parts) for parts in zip(*polled, strict=True))
        if tied.any():
            counts[tied] = self.exact(images, transforms[tied], index[tied], padding)
        return Answers(counts, tied, passes)

    def _poll(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of N pictures the N×K ballots, whether it is a tie, and how many forward passes the voters took."""
        ballots = self.network.transforms_for(seen).cpu()
        counts = torch.zeros(len(seen), self.classes)
        passes = torch.zeros(len(seen), dtype=torch.int64)
        rows = torch.arange(len(seen))  # those that are not settled
        for number in range(self.network.votes):
            if not len(rows):
                break
            logits = self.voter.answer(seen, ballots[rows, number], rows, self.network.padding).logits
            counts[rows] += F.one_hot(logits.argmax(1), self.classes)
            counts[rows[~logits.isfinite().all(1)]] = torch.nan
            passes[rows] += self.voter.passes_per_query
            rows = rows[_lead(counts[rows]) <= self.network.votes - number - 1]
        tied = torch.zeros(len(seen), dtype=torch.bool)
        tied[rows] = True
        return counts, tied, passes


def _lead(counts: Tensor) -> Tensor:
    """By how many ballots the first class is ahead of the second; N×K → N."""
    first = counts.max(1, keepdim=True)
    return first.values[:, 0] - counts.scatter(1, first.indices, -torch.inf).amax(1)


def grid_runner(classifier: Classifier, plan: EvaluationPlan, device: str) -> Inference:
    """Who answers the questions about the grid. Where verdicts are all that is asked for, and not a whole landscape of
    losses, a majority vote asks no more voters than it needs."""
    if isinstance(classifier, MajorityVote) and not plan.full:
        return EarlyStoppingVote(classifier, device, plan.precision)
    return runner_for(classifier, device, plan.precision)
