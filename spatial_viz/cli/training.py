"""The commands ``train`` and ``publish``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from spatial_viz.cli.parsing import name_option, parse_path, path_option, print_json
from spatial_viz.training.plan import TrainingPlan
from spatial_viz.training.recipes import RECIPES, data_name, find_recipe

# Torch takes seconds to import, so the commands import what they need: help and bad arguments answer at once.


@contextmanager
def resumable(place: Path, leads: bool = True) -> Iterator[None]:
    """Around work of which the parts that are done lie in ``place``: whoever stops it reads how to go on. In one of
    several processes only the first ``leads``."""
    try:
        yield
    except KeyboardInterrupt:
        if leads:
            print(f"stopped; what is done is in {place}, and the same command with --resume goes on", file=sys.stderr)
        raise typer.Exit(130) from None


def train(
    recipe: Annotated[str, typer.Option(help=", ".join(RECIPES))],
    data: Annotated[
        str, name_option("cifar10, mnist, or a folder with a folder per class, or with train/ (and val/, test/).")
    ] = TrainingPlan.data,
    root: Annotated[Path | None, path_option("Where a data set lies. Default: data/DATA.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the data set where it is missing.")] = False,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side in pixels of the pictures. Default: their own, at most 64.")
    ] = None,
    mirrored: Annotated[
        bool, typer.Option(help="Whether a picture means the same in the mirror; digits never do.")
    ] = TrainingPlan.mirrored,
    network: Annotated[
        str,
        typer.Option(
            help="small-resnet, blurpool-resnet, deep-blurpool-resnet, whitened-convnet, light-convnet or tiny-convnet."
        ),
    ] = TrainingPlan.network,
    epochs: Annotated[int, typer.Option(min=1)] = TrainingPlan.epochs,
    batch: Annotated[int, typer.Option(min=2, help="Pictures of a step, of all processes.")] = TrainingPlan.batch,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak learning rate.")] = TrainingPlan.learning_rate,
    weight_decay: Annotated[float, typer.Option(min=0)] = TrainingPlan.weight_decay,
    momentum: Annotated[float, typer.Option(min=0, max=1)] = TrainingPlan.momentum,
    label_smoothing: Annotated[float, typer.Option(min=0, max=1)] = TrainingPlan.label_smoothing,
    warm_up: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the steps that lead to the peak.")
    ] = TrainingPlan.warm_up,
    bias_rate: Annotated[
        float, typer.Option(min=1, help="Biases and batch norm's scales learn so many times as fast.")
    ] = TrainingPlan.bias_rate,
    averaging: Annotated[
        int, typer.Option(min=0, help="Average weights every so many steps; 0: never.")
    ] = TrainingPlan.averaging,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Seed of fresh weights and all random draws.")
    ] = TrainingPlan.seed,
    validation: Annotated[
        int | None, typer.Option(min=0, help="Training pictures held out. Default: val/, or a tenth, at most 5,000.")
    ] = None,
    initial: Annotated[
        Path | None,
        path_option("Weights (safetensors) to start from. deep-blurpool-resnet also takes those of blurpool-resnet."),
    ] = None,
    partial_batch: Annotated[
        bool, typer.Option("--partial-batch", help="Train on what is left at the end of an epoch, too.")
    ] = False,
    sync_batch_norm: Annotated[
        bool, typer.Option("--sync-batch-norm", help="GPUs: batch statistics over all processes.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    out: Annotated[Path | None, path_option("Default: runs/DATA/RECIPE.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
) -> None:
    """Train a classifier by one of the recipes.

    Into --out go checkpoints, metrics.jsonl, training.html with the curves, and at the end weights.safetensors.
    Several processes, or machines, share the work: torchrun --nproc-per-node 2 -m spatial_viz train ...
    """
    from spatial_viz.files import check_folder
    from spatial_viz.models.devices import keep_freed_memory
    from spatial_viz.models.networks import build_network
    from spatial_viz.training.data import default_validation, read
    from spatial_viz.training.distributed import join
    from spatial_viz.training.loop import train as run

    keep_freed_memory()
    find_recipe(recipe), build_network(network)  # unknown names are refused before the data are read
    with join(device) as team:

        def tell(line: str) -> None:
            if team.leads:
                print(line, file=sys.stderr)

        place = out or Path("runs") / data_name(data) / recipe
        team.agree(lambda: check_folder(place))
        pictures = team.in_turn(lambda: read(data, root, "train", download, size, mirrored, tell))
        plan = TrainingPlan(
            recipe, data, network, epochs, batch, learning_rate, weight_decay, momentum, label_smoothing, warm_up,
            bias_rate, averaging, seed, default_validation(pictures) if validation is None else validation,
            str(initial) if initial else None, partial_batch, team.size, sync_batch_norm, size, mirrored,
        )  # fmt: skip
        with resumable(place, team.leads):
            run(plan, pictures, place, resume, team)


def publish(
    run: Annotated[Path, typer.Argument(parser=parse_path, help="The --out folder of a finished training.")],
    root: Annotated[Path | None, path_option("Folder with train/ and test/. Default: data/DATA.")] = None,
    pictures: Annotated[int, typer.Option(min=1, help="Test pictures for all but the natural accuracy.")] = 2000,
    mirror: Annotated[
        bool,
        typer.Option(
            "--mirror",
            help="Add a second classifier of these weights, which are published already: "
            "its logits are the mean of those for a picture and for its mirror image.",
        ),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let go of an earlier classifier of that name, and of its mirror.")
    ] = False,
) -> None:
    """Measure trained weights and put them into pretrained/, with their card."""
    from spatial_viz.models.devices import keep_freed_memory
    from spatial_viz.training.publish import publish as measure

    keep_freed_memory()
    card = measure(run, root, pictures, mirror, replace, tell=lambda line: print(line, file=sys.stderr))
    print_json(card.to_json(), indent=2)
