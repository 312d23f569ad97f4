"""How the votes of the voters are shared out over a landscape."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import xarray as xr

from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.landscape.dataset import DIMS, label_of, misclassified
from spatial_viz.models.classifier import Classifier


def vote_shares(landscape: xr.Dataset, classifier: Classifier) -> xr.Dataset:
    """The landscape of a classifier in shares of votes, in which a vote and a single classifier can be compared.

    The votes of a `MajorityVote` follow from its logits; a single classifier has one vote, for what it predicts.

    Returns
    -------
    The landscape with shares in the place of probabilities and confidences (where classes are tied, that of the
    predicted one is larger by a ten-thousandth), and two more variables: ``share`` (rotation × dy × dx) and
    ``natural_share``, of the votes for the true class. Losses, margins and predictions stay as they are.
    """
    share = functools.partial(_share, classifier)
    cells = landscape.transpose(*DIMS, "class")
    right = ~misclassified(cells).values
    chosen = cells["predicted"].values[..., None] == cells["class"].values
    natural_right = int(cells["natural_predicted"]) == label_of(cells)
    words = {"long_name": "share of votes for the true class"}
    return cells.assign(
        probabilities=(
            (*DIMS, "class"),
            class_shares(classifier, cells["probabilities"].values, chosen),
            {"long_name": "share of votes"},
        ),
        confidence=(DIMS, share(cells["confidence"], np.ones_like(right)), {"long_name": "share of the prediction"}),
        natural_confidence=((), share(cells["natural_confidence"], True)),
        share=(DIMS, share(np.exp(-cells["loss"].astype(np.float64)), right), words),
        natural_share=((), share(np.exp(-float(cells["natural_loss"])), natural_right), words),
    )


def class_shares(classifier: Classifier, probabilities: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The share of votes behind each of a classifier's probabilities, … × class; ``predicted`` is true at the answer.

    Where classes are tied, the share of the predicted one is larger by a ten-thousandth.
    """
    shares = _share(classifier, probabilities, predicted)
    tied = (shares == shares.max(-1, keepdims=True)).sum(-1, keepdims=True) > 1
    return shares + np.float32(1e-4) * (predicted & tied)


def _share(classifier: Classifier, probability: Any, predicted: Any) -> np.ndarray:
    if not isinstance(classifier, MajorityVote):
        return np.asarray(predicted, np.float32)  # one vote, for what it predicts
    # probability = (votes for the class + its mean probability) / (votes + 1); the mean is 1 only with all votes
    counted = np.floor(np.asarray(probability, np.float64) * (classifier.votes + 1) + 1e-4)
    return (np.minimum(counted, classifier.votes) / classifier.votes).astype(np.float32)
