"""The commands for a lecture: ``demo`` and ``handout``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from spatial_viz.cli.parsing import parse_granularity, path_option, print_json

# Torch takes seconds to import, so the commands import what they need: help and bad arguments answer at once.


def demo(
    imagenet: Annotated[
        str, typer.Option(help="torchvision classifiers to fetch, separated by commas, or none.")
    ] = "resnet50",
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Make everything ready that the lecture needs, and say what is. Ends with 1 if something is not."""
    from tqdm import tqdm

    from spatial_viz.lecture.prepare import prepare

    names = [] if imagenet == "none" else [f"imagenet/{name.strip()}" for name in imagenet.split(",") if name.strip()]
    rows = []
    with tqdm(unit="landscape", disable=as_json or not sys.stderr.isatty(), leave=False) as bar:

        def tell(what: str, done: int, total: int) -> None:
            bar.set_description(what, refresh=False)
            bar.total = total
            bar.update(done - bar.n)

        for each in prepare(names, offline, tell):
            rows.append(each)
            if not as_json:
                mark = "✓" if each.ready else "✕" if each.needed else "–"
                bar.write(f"{mark} {each.what:32} {each.words} ({each.seconds:.1f} s)", file=sys.stdout)
    ready = all(each.ready for each in rows if each.needed)
    if as_json:
        print_json({"schema": 1, "ready": ready, "items": [asdict(each) for each in rows]})
    else:
        print("The lecture is ready: make app, then the page Lecture." if ready else "The lecture is not ready.")
    if not ready:
        raise typer.Exit(1)


def handout(
    picture: Annotated[list[str], typer.Argument(help="Picture files, or samples such as sample:cifar10/0.")],
    classifier: Annotated[
        str | None, typer.Option(help="Up to three, separated by commas. Default: CIFAR-10's standard and robust one.")
    ] = None,
    out: Annotated[Path, path_option("Where the PDF goes.")] = Path("handout.pdf"),
    link: Annotated[str, typer.Option(help="Address of the lecture, printed as a QR code.")] = "",
    rotation: Annotated[float | None, typer.Option(help="Limit in degrees. Default: 30.")] = None,
    translation: Annotated[float | None, typer.Option(help="Limit in pixels. Default: about 10 %.")] = None,
    granularity: Annotated[str, typer.Option(help="Number of rotations, dx and dy.")] = "31,5,5",
    padding: Annotated[str, typer.Option(help="black, reflect or edge.")] = "black",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Write the lecture's handout with these pictures: a PDF of A4 pages."""
    counts = parse_granularity(granularity)
    from spatial_viz.files import check_writable, write_file

    check_writable(out)
    from tqdm import tqdm

    from spatial_viz.data.samples import called, class_names, named_picture
    from spatial_viz.lecture.handout import Chosen, usual_classifiers
    from spatial_viz.lecture.handout import handout as written
    from spatial_viz.models.registry import load_classifier
    from spatial_viz.transforms.geometry import check_padding
    from spatial_viz.transforms.grids import TransformGrid

    check_padding(padding)
    names = usual_classifiers("cifar10") if classifier is None else [name.strip() for name in classifier.split(",")]
    models = [load_classifier(name) for name in names]
    paper = TransformGrid.paper(models[0].picture_size)
    grid = TransformGrid(
        paper.rotation if rotation is None else rotation,
        paper.dx if translation is None else translation,
        paper.dy if translation is None else translation,
        counts,
    )
    chosen = []
    for text in picture:
        source, sample = named_picture(text)
        known = sample is not None and models[0].class_names == class_names(sample.dataset)
        label = sample.label if sample is not None and known else None
        name = called(text) if label is None else f"{models[0].class_names[label]} ({called(text)})"
        chosen.append(Chosen(models[0].prepare(source), label, name))
    with tqdm(total=len(chosen), unit="picture", disable=not sys.stderr.isatty(), leave=False) as bar:
        pdf = written(
            chosen, models, grid=grid, padding=padding, link=link, device=device,  # type: ignore[arg-type]
            progress=lambda done, total: bar.update(done - bar.n) or None,
        )  # fmt: skip
    write_file(out, lambda partial: partial.write_bytes(pdf))
    print(f"{out}: {len(pdf) / 1000:.0f} kB")
