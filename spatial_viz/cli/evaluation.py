"""The command about whole data sets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from spatial_viz.cli import training
from spatial_viz.cli.parsing import (
    DeviceOption,
    JsonOption,
    PaddingOption,
    RotationOption,
    TranslationOption,
    name_option,
    parse_granularity,
    parse_indices,
    path_option,
    print_json,
)
from spatial_viz.errors import InvalidInput

# Torch takes seconds to import, so the commands import what they need: help and bad arguments answer at once.


def evaluate(
    classifier: Annotated[list[str], typer.Option(help="One or more, also separated by commas; see models.")],
    data: Annotated[
        str, name_option("cifar10, mnist, imagenette, imagenet, or a folder with a folder per class.")
    ] = "cifar10",
    root: Annotated[Path | None, path_option("Where the data set lies. Default: data/DATA.")] = None,
    split: Annotated[str, typer.Option(help="test or train; of a folder, any that it has.")] = "test",
    limit: Annotated[int | None, typer.Option(help="Only so many pictures, the first of every class.")] = None,
    indices: Annotated[str | None, typer.Option(help="Places in the data set, such as 0,5,100-199.")] = None,
    adversary: Annotated[
        str, typer.Option(help="Separated by commas: natural, random, worst-of-10 (any k), first-order, grid.")
    ] = "natural,grid",
    vote: Annotated[int, typer.Option(min=0, help="Ask by a majority vote of so many; 0: none.")] = 0,
    granularity: Annotated[str, typer.Option(help="Number of rotations, dx and dy.")] = "31,5,5",
    rotation: RotationOption = None,
    translation: TranslationOption = None,
    padding: PaddingOption = "black",
    steps: Annotated[int, typer.Option(min=1, help="Of the first-order adversary.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    device: DeviceOption = "auto",
    full: Annotated[bool, typer.Option("--full", help="Keep the whole landscape of every picture.")] = False,
    restrict: Annotated[bool, typer.Option("--restrict", help="Count outputs for the data's classes only.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse files that cannot be read.")] = False,
    download: Annotated[bool, typer.Option(help="Fetch the data set where it is missing.")] = False,
    shard: Annotated[int, typer.Option(min=1, help="Pictures that are written together.")] = 200,
    store: Annotated[Path, path_option("The folder of runs.")] = Path("runs/evaluation"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    engine: Annotated[str, typer.Option(help="local, or ray (see docs/cluster.md).")] = "local",
    address: Annotated[str | None, typer.Option(help="ray: of the cluster. Default: one on this machine.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="ray: how many.")] = 1,
    cpus: Annotated[float, typer.Option(min=0, help="ray: of each worker.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="ray: of each worker.")] = 0,
    form: Annotated[str, typer.Option("--format", help="table, csv or markdown.")] = "table",
    as_json: JsonOption = False,
) -> None:
    """Measure classifiers on a data set: exact accuracy, natural and under adversaries."""
    if form not in ("table", "csv", "markdown"):
        raise InvalidInput(f"--format takes table, csv or markdown; got {form!r}")
    places = None if indices is None else parse_indices(indices)
    from tqdm import tqdm

    from spatial_viz.evaluation.plan import EvaluationPlan
    from spatial_viz.evaluation.run import Progress
    from spatial_viz.evaluation.run import evaluate as measure
    from spatial_viz.files import check_folder
    from spatial_viz.models.devices import keep_freed_memory

    plan = EvaluationPlan(
        tuple(name.strip() for name in adversary.split(",") if name.strip()), parse_granularity(granularity), rotation,
        translation, padding, vote, steps, seed, precision, full, restrict, shard,  # type: ignore[arg-type]
    )  # fmt: skip
    check_folder(store)
    keep_freed_memory()
    names = [name.strip() for each in classifier for name in each.split(",") if name.strip()]
    cluster = {"address": address, "workers": workers, "cpus": cpus, "gpus": gpus} if engine == "ray" else None
    with (
        training.resumable(store),
        tqdm(unit="picture", disable=as_json or not sys.stderr.isatty(), leave=False) as bar,
    ):

        def tell(at: Progress) -> None:
            bar.total = at.total
            if "grid" in plan.adversaries:
                bar.set_postfix(broken=f"{at.broken / max(1, at.begun):.0%}", refresh=False)
            bar.update(at.done - bar.n)

        report = measure(
            names, data, plan, root=root, split=split, limit=limit, indices=places, store=store, resume=resume,
            strict=strict, download=download, device=device, engine=engine, cluster=cluster, progress=tell,
        )  # fmt: skip
    if as_json:
        print_json(report.to_json())
    else:
        print({"table": report.to_text, "csv": report.to_csv, "markdown": report.to_markdown}[form]())
