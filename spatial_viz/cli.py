"""``python -m spatial_viz sweep | train | models | samples``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def root_options() -> None:
    """How far can an image classifier be trusted when the picture is merely rotated and shifted?"""


@app.command()
def train(
    recipe: Annotated[str, typer.Option(help="standard or worst-of-10-30.")],
    data: Annotated[str, typer.Option(help="Name of the data set.")] = "cifar10",
    root: Annotated[Path, typer.Option(help="Folder with train/<class>/*.")] = Path("data/cifar10"),
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    batch: Annotated[int, typer.Option(min=2)] = 256,
    learning_rate: Annotated[float, typer.Option()] = 0.25,
    seed: Annotated[int, typer.Option()] = 0,
    validation: Annotated[int, typer.Option(min=0, help="Training pictures held out.")] = 5000,
    initial: Annotated[Path | None, typer.Option(help="Weights (safetensors) to start from.")] = None,
    out: Annotated[Path | None, typer.Option(help="Default: runs/DATA/RECIPE.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in --out.")] = False,
) -> None:
    """Train a classifier by one of the paper's recipes."""
    from spatial_viz.training.data import read_folder
    from spatial_viz.training.loop import TrainingPlan
    from spatial_viz.training.loop import train as run

    plan = TrainingPlan(
        recipe, data, epochs=epochs, batch=batch, learning_rate=learning_rate, seed=seed, validation=validation,
        initial=str(initial) if initial else None,
    )  # fmt: skip
    run(plan, read_folder(root / "train"), out or Path("runs") / data / recipe, resume=resume)


def main() -> None:
    app()
