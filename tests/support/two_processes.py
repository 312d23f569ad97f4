"""What each of the two processes of training/test_distributed.py runs: trainings that share every batch."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_training import add_small_networks, plan, toy_pictures

from spatial_viz.errors import SpatialVizError
from spatial_viz.training import adversaries, loop, trainer
from spatial_viz.training.distributed import join
from spatial_viz.training.loop import train

TOGETHER = {"network": "smooth", "epochs": 2, "processes": 2}
PLANS = {
    # 97 pictures in batches of 15: shares of 8 and 7, and at the end of an epoch of 4 and 3.
    "uneven": plan(recipe="augment-30", batch=15, validation=23, partial_batch=True, averaging=4, **TOGETHER),
    "worst-of-5": plan(recipe="invariant-30", averaging=0, **TOGETHER),
}
CUT = 9  # steps


def main(out: Path) -> None:
    add_small_networks(pytest.MonkeyPatch())
    for module in (adversaries, trainer):
        module.fast_at_bf16 = lambda _: False
    with join("cpu") as team:
        told: dict[str, Any] = {}
        for name, recipe in PLANS.items():
            told[name] = train(recipe, toy_pictures(), out / name, team=team).state_dict()

        loop.CHECKPOINT_SECONDS = 0
        real = trainer.Training.advance

        def cut(run: trainer.Training) -> int:
            if run.step == CUT:
                raise InterruptedError
            return real(run)

        trainer.Training.advance = cut  # type: ignore[method-assign]
        try:
            train(PLANS["uneven"], toy_pictures(), out / "resumed", team=team)
        except InterruptedError:
            trainer.Training.advance = real  # type: ignore[method-assign]
        told["resumed"] = train(PLANS["uneven"], toy_pictures(), out / "resumed", True, team).state_dict()

        for name, recipe in (("held", PLANS["uneven"]), ("exploded", replace(PLANS["uneven"], learning_rate=1e9))):
            try:
                train(recipe, toy_pictures(), out / ("uneven" if name == "held" else name), team=team)
            except SpatialVizError as error:
                told[name] = str(error)
        torch.save(told, out / f"{team.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
