"""Runs of an evaluation with made-up answers, for what reads runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from spatial_viz.data.images import tensor_to_picture
from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.data.selection import Pictures
from spatial_viz.evaluation.cards import Environment, RunCard, RunClassifier, RunData
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.shards import ShardResult, columns_of
from spatial_viz.evaluation.store import Run
from spatial_viz.landscape.dataset import severity_order
from spatial_viz.models.classifier import Classifier

NAMES = CLASS_NAMES["cifar10"]


def small_classifier(name: str = "cifar10/standard") -> Classifier:
    return Classifier(torch.nn.Flatten(), class_names=NAMES, input_size=(32, 32), name=name)


def answers(count: int, plan: EvaluationPlan, seed: int = 0) -> tuple[pd.DataFrame, xr.Dataset]:
    """A table as a shard's, with the landscapes it belongs to: every picture fails on a share of its own."""
    generator = np.random.default_rng(seed)
    grid = plan.grid((32, 32))
    table = grid.transforms().numpy().astype(np.float64)
    label = np.sort(np.arange(count) % 10)
    # The identity is right but for a few pictures.
    predicted = np.where(generator.random((count, len(grid))) < generator.random((count, 1)) ** 2,
                         generator.integers(0, 10, (count, len(grid))), label[:, None])  # fmt: skip
    predicted[::7] = label[::7, None]
    loss = generator.exponential(1.0, (count, len(grid))).astype(np.float32)
    identity = int(np.flatnonzero((table == 0).all(1))[0])
    wrong = predicted != label[:, None]
    everyone = np.arange(count)
    index = label * 1000 + everyone - np.searchsorted(label, label)  # where CIFAR-10's folders have them
    natural = predicted[:, identity]
    robust = ~wrong.any(1)
    columns = {"index": index, "label": label, "natural_predicted": natural, "natural_loss": loss[:, identity]}
    for name in plan.adversaries:
        columns |= {f"{name}_robust": robust if name == "grid" else natural == label,
                    f"{name}_passes": np.ones(count), f"{name}_backward_passes": np.zeros(count)}  # fmt: skip
    if plan.full:
        first = np.array([severity_order(w, losses, *table.T)[0] for w, losses in zip(wrong, loss, strict=True)])
        places = table[first]
        columns |= {"worst_loss": loss[everyone, first], "worst_predicted": predicted[everyone, first],
                    "failing": wrong.sum(1)}  # fmt: skip
    else:
        some = np.where(robust | (natural != label), -1, wrong.argmax(1))
        places = np.where(some[:, None] < 0, np.nan, table[some])
        columns |= {"breaking_loss": np.where(some < 0, np.nan, loss[everyone, some]),
                    "breaking_predicted": np.where(some < 0, -1, predicted[everyone, some])}  # fmt: skip
    kind = "worst" if plan.full else "breaking"
    columns |= {f"{kind}_{axis}": places[:, number] for number, axis in enumerate(("rotation", "dx", "dy"))}
    typed = {name: np.asarray(columns[name]).astype(dtype) for name, dtype in columns_of(plan).items()}
    cells = {"predicted": predicted.astype(np.int32), "loss": loss}
    landscapes = xr.Dataset(
        {
            name: (("image", "rotation", "dy", "dx"), values.reshape(count, *grid.shape))
            for name, values in cells.items()
        },
        {"image": index, **grid.axes()},
    )
    return pd.DataFrame(typed), landscapes


def write_run(store: Path, count: int = 60, shard: int = 40, name: str = "cifar10/standard", full: bool = True,
              data: str = "cifar10", shards: int | None = None, adversaries: tuple[str, ...] = ("natural", "grid"),
              padding: str = "black") -> Path:  # fmt: skip
    """A run of one classifier in ``store``; only the first ``shards`` of it where that is given."""
    plan = EvaluationPlan(adversaries, full=full, shard=shard, padding=padding)  # type: ignore[arg-type]
    table, landscapes = answers(count, plan)
    card = RunCard(
        classifiers=(RunClassifier.of(small_classifier(name), name, plan, table["label"].tolist()),),
        data=RunData(data, "test", count, "0"),
        plan=plan,
        environment=Environment("cpu", {name: "fp32"}, 1, {"torch": "0"}),
    )
    with Run(store, card, resume=False) as run:
        for number, start in list(enumerate(range(0, count, shard)))[:shards]:
            part = slice(start, start + shard)
            kept = landscapes.isel(image=part) if full else None
            run.write(0, number, ShardResult(table.iloc[part].reset_index(drop=True), kept, []), 1.0)
        return run.folder


def all_of_cifar10() -> Drawn:
    return Drawn(np.repeat(np.arange(10), 1000))


class Drawn:
    """A data set in memory, in torchvision's layout: arrays, and pictures made from them."""

    classes = tuple("abcdefghij")

    def __init__(self, labels: np.ndarray, seed: int = 0) -> None:
        self.targets = labels.tolist()
        self.data = np.random.default_rng(seed).integers(0, 256, (len(labels), 32, 32, 3), np.uint8)

    def __getitem__(self, place: int) -> tuple[object, int]:
        return tensor_to_picture(torch.from_numpy(self.data[place]).permute(2, 0, 1) / 255), self.targets[place]

    def shuffled(self) -> Drawn:
        order = np.random.default_rng(1).permutation(len(self.targets))
        other = Drawn(np.array(self.targets)[order])
        other.data = self.data[order]
        return other

    def pictures(self) -> Pictures:
        return Pictures("cifar10", self, self.classes, tuple(range(len(self.targets))), tuple(self.targets))
