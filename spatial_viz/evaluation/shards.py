"""One shard: decoded pictures × adversaries → a table of verdicts, and the landscapes where they are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from spatial_viz.attacks.base import AttackResult
from spatial_viz.attacks.spatial import FirstOrder, WorstOfK
from spatial_viz.evaluation.decode import Shard
from spatial_viz.evaluation.exhaustive import break_pictures
from spatial_viz.evaluation.plan import EvaluationPlan, draws_of
from spatial_viz.evaluation.vote_runner import grid_runner
from spatial_viz.landscape.dataset import DIMS, UNITS, label_of, misclassified, worst_case
from spatial_viz.landscape.sweeps import check_finite, sweep
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.inference import runner_for
from spatial_viz.models.losses import cross_entropy
from spatial_viz.transforms.transform import Transform

KEPT = ("loss", "margin", "predicted", "confidence")
"""The variables of a landscape that `EvaluationPlan.full` keeps."""


@dataclass
class ShardResult:
    """``table``: a row per picture (`columns_of`); ``landscapes``: image × rotation × dy × dx, with ``full`` only;
    ``unreadable``: files left out, and why."""

    table: pd.DataFrame
    landscapes: xr.Dataset | None
    unreadable: list[tuple[str, str]]


def evaluate_shard(
    classifier: Classifier,
    shard: Shard,
    plan: EvaluationPlan,
    device: str = "auto",
    report: Callable[[int, int], None] | None = None,
) -> ShardResult:
    """The verdict on every picture of a shard under every adversary of the plan.

    ``report`` is called with (pictures still standing, pictures). Columns of the table: ``index``, ``label``,
    ``natural_predicted``, ``natural_loss``, and for each adversary ``<name>_robust``, ``<name>_passes``,
    ``<name>_backward_passes``; for those that draw, ``<name>_correct``, how many draws were classified correctly; for
    the grid ``breaking_*`` (rotation, dx, dy, loss, predicted), or with ``full`` ``worst_*`` and ``failing``, the
    number of misclassified transforms.
    """
    images, labels = shard.images, shard.labels
    columns: dict[str, Any] = {"index": shard.indices.numpy(), "label": labels.numpy()}
    if not len(images):
        return ShardResult(_empty(plan), None, shard.unreadable)
    natural = runner_for(classifier, device, "fp32").exact(images, None, torch.arange(len(images)), plan.padding)
    check_finite(natural, torch.zeros(len(images), 3), classifier.name, shard.indices)
    correct = natural.argmax(1) == labels
    columns["natural_predicted"] = natural.argmax(1).numpy()
    columns["natural_loss"] = cross_entropy(natural, labels).numpy()
    landscapes = None
    grid = plan.grid(classifier.picture_size)
    per_query = classifier.passes_per_query
    for name in plan.adversaries:
        draws = draws_of(name)
        if name == "natural":
            _put(columns, name, correct, torch.full((len(images),), per_query))
        elif draws is not None:
            result = WorstOfK(k=draws)(
                classifier, images, labels, grid, plan.seed, shard.indices, plan.padding, device
            )  # fmt: skip
            _whole(result)
            _put(columns, name, result.robust, result.passes)
            columns[f"{name}_correct"] = (result.tried - result.fooled).numpy()
        elif name == "first-order":
            _first_order(columns, classifier, shard, plan, device, correct)
        elif plan.full:
            landscapes = _sweep_all(columns, classifier, shard, plan, device, correct, report)
        else:
            tell = None if report is None else lambda standing: report(standing, len(images))
            runner = grid_runner(classifier, plan, device)
            broken = break_pictures(runner, images, labels, grid, plan.padding, correct, shard.indices, tell)
            _put(columns, name, broken.robust, broken.passes)
            _where(columns, "breaking", broken.transforms.numpy(), broken.losses.numpy(), broken.predicted.numpy())
    return ShardResult(_typed(columns, plan), landscapes, shard.unreadable)


def _first_order(
    columns: dict[str, Any], classifier: Classifier, shard: Shard, plan: EvaluationPlan, device: str, correct: Any
) -> None:
    """Only pictures that are naturally right need an attack: the others are broken already."""
    robust = correct.clone()
    passes, backward = (torch.zeros(len(correct), dtype=torch.int64) for _ in range(2))
    rows = correct.nonzero()[:, 0]
    if len(rows):
        result: AttackResult = FirstOrder(steps=plan.steps)(
            classifier, shard.images[rows], shard.labels[rows], plan.grid(classifier.picture_size), plan.seed,
            shard.indices[rows], plan.padding, device,
        )  # fmt: skip
        _whole(result)
        robust[rows], passes[rows], backward[rows] = result.robust, result.passes, result.backward_passes
    _put(columns, "first-order", robust, passes, backward)


def _sweep_all(
    columns: dict[str, Any],
    classifier: Classifier,
    shard: Shard,
    plan: EvaluationPlan,
    device: str,
    correct: Any,
    report: Callable[[int, int], None] | None,
) -> xr.Dataset:
    """The whole landscape of every picture."""
    grid = plan.grid(classifier.picture_size)
    stored, robust, failing, worst = [], correct.clone(), [], []
    for number, (image, label) in enumerate(zip(shard.images, shard.labels.tolist(), strict=True)):
        swept = sweep(classifier, image, label, grid, device, plan.precision, padding=plan.padding)
        failing.append(int(misclassified(swept).sum()))
        robust[number] &= not failing[-1]
        worst.append(worst_case(swept))
        assert label_of(swept) == label
        stored.append(swept[list(KEPT)].drop_attrs(deep=False))
        if report:
            report(int(robust[: number + 1].sum()), number + 1)
    _put(columns, "grid", robust, torch.full((len(robust),), len(grid) * classifier.passes_per_query))
    places = np.array([at.transform for at in worst])
    _where(columns, "worst", places, np.array([at.loss for at in worst]), np.array([at.predicted for at in worst]))
    columns["failing"] = np.array(failing)
    landscapes = xr.concat(stored, dim="image", coords="minimal", compat="override", join="override")
    landscapes = landscapes.assign_coords(image=("image", shard.indices.numpy()))
    assert all(landscapes[dim].attrs["units"] == UNITS[dim] for dim in DIMS)
    return landscapes


def _whole(result: AttackResult) -> None:
    """An attack that was interrupted answers with what it has; that is no verdict."""
    if not result.complete:
        raise KeyboardInterrupt


def _put(columns: dict[str, Any], name: str, robust: Any, passes: Any, backward: Any = None) -> None:
    columns[f"{name}_robust"] = robust.numpy()
    columns[f"{name}_passes"] = passes.numpy()
    columns[f"{name}_backward_passes"] = np.zeros(len(robust), np.int64) if backward is None else backward.numpy()


def _where(
    columns: dict[str, Any], kind: str, places: np.ndarray, losses: np.ndarray, predicted: np.ndarray
) -> None:  # fmt: skip
    for number, axis in enumerate(Transform._fields):
        columns[f"{kind}_{axis}"] = places[:, number]
    columns[f"{kind}_loss"], columns[f"{kind}_predicted"] = losses, predicted


def columns_of(plan: EvaluationPlan) -> dict[str, str]:
    """Name → dtype of the columns of a shard's table."""
    types = {"index": "int64", "label": "int32", "natural_predicted": "int32", "natural_loss": "float32"}
    for name in plan.adversaries:
        types |= {f"{name}_robust": "bool", f"{name}_passes": "int64", f"{name}_backward_passes": "int64"}
        if draws_of(name) is not None:
            types[f"{name}_correct"] = "int32"
    if "grid" in plan.adversaries:
        kind = "worst" if plan.full else "breaking"
        types |= {f"{kind}_{axis}": "float32" for axis in ("rotation", "dx", "dy", "loss")}
        types[f"{kind}_predicted"] = "int32"
        if plan.full:
            types["failing"] = "int32"
    return types


def _typed(columns: dict[str, Any], plan: EvaluationPlan) -> pd.DataFrame:
    return pd.DataFrame({name: np.asarray(columns[name]).astype(kind) for name, kind in columns_of(plan).items()})


def _empty(plan: EvaluationPlan) -> pd.DataFrame:
    return pd.DataFrame({name: np.zeros(0, kind) for name, kind in columns_of(plan).items()})
