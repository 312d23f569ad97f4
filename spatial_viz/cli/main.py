"""``python -m spatial_viz sweep | attack | evaluate | train | publish | demo | handout | models | samples``.

Results go to stdout, progress and errors to stderr. Bad arguments end with exit code 2 and one sentence.
"""

from __future__ import annotations

import io
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from spatial_viz.cli import lecture, training
from spatial_viz.cli.parsing import (
    name_option,
    parse_epsilon,
    parse_granularity,
    parse_indices,
    path_option,
    print_json,
)
from spatial_viz.errors import InvalidInput, SpatialVizError, SpatialVizWarning

# Torch takes seconds to import, so the commands import what they need: help and bad arguments answer at once.

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


# What several commands ask for.
PictureArgument = Annotated[str, typer.Argument(help="A picture file, or a sample such as sample:cifar10/0.")]
ClassifierOption = Annotated[str, typer.Option(help="See the command models.")]
LabelOption = Annotated[
    str | None, typer.Option(help="True class, name or index. Default: the sample's; else the natural prediction.")
]
RotationOption = Annotated[float | None, typer.Option(help="Limit in degrees. Default: 30.")]
TranslationOption = Annotated[
    float | None, typer.Option(help="Limit in pixels of the model's input. Default: about 10 %.")
]
PaddingOption = Annotated[str, typer.Option(help="black, reflect or edge.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.callback()
def root_options() -> None:
    """How far can an image classifier be trusted when the picture is merely rotated and shifted?"""


@app.command()
def sweep(
    picture: PictureArgument,
    classifier: ClassifierOption = "cifar10/standard",
    label: LabelOption = None,
    rotation: RotationOption = None,
    translation: TranslationOption = None,
    granularity: Annotated[str, typer.Option(help="Number of rotations, dx and dy.")] = "31,5,5",
    padding: PaddingOption = "black",
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    device: DeviceOption = "auto",
    out: Annotated[Path | None, path_option("Write the landscape (NetCDF).")] = None,
    figure: Annotated[
        Path | None, path_option("Write the live explorer and the figures (HTML that opens offline).")
    ] = None,
    animation: Annotated[Path | None, path_option("Write the way to the worst case (.gif; .mp4 with ffmpeg).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Sweep one picture over the grid and report its worst case."""
    from spatial_viz.data.samples import called
    from spatial_viz.export.video import check_ending, save_animation
    from spatial_viz.export.worst_case_frames import draw_way
    from spatial_viz.files import check_apart, check_writable
    from spatial_viz.landscape import cache, dataset, sweeps
    from spatial_viz.models.inference import warm_up

    check_apart((out, figure, animation), None if picture.startswith("sample:") else Path(picture))
    for path in (out, figure, animation):
        if path is not None:
            check_writable(path)
    if animation is not None:
        check_ending(animation)
    model, image, index, grid = _question(picture, classifier, label, rotation, translation, granularity)
    warm_up(model, device, precision)  # type: ignore[arg-type]
    axes = grid.axes()
    started = time.perf_counter()
    with _progress(len(grid), hidden=as_json) as advance:
        swept = sweeps.sweep_axes(model, image, index, axes, device, precision, advance, padding)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    cache.remember(model, image, index, axes, swept)
    if out is not None:
        dataset.save(swept, out)
    if figure is not None:
        _write_figures(figure, image, swept, called(picture))
    if animation is not None:
        save_animation(animation, draw_way(model, image, swept, picture=called(picture)))
    card = dataset.card_of(swept)
    result = {"schema": 1, **dataset.summary(swept), "seconds": round(seconds, 4)}
    result |= {"device": card["device"], "precision": card["precision"]}
    if as_json:
        print_json(result)
    else:
        print(_in_words(result, card))


@app.command()
def attack(
    picture: PictureArgument,
    attack: Annotated[str, typer.Option(help="grid, worst-of-k, random, first-order, refine, linf or combined.")],
    classifier: ClassifierOption = "cifar10/standard",
    label: LabelOption = None,
    rotation: RotationOption = None,
    translation: TranslationOption = None,
    granularity: Annotated[str, typer.Option(help="Grid and refine: number of rotations, dx and dy.")] = "31,5,5",
    k: Annotated[int, typer.Option(help="Worst-of-k: random transforms.")] = 10,
    steps: Annotated[int | None, typer.Option(help="First-order (200), refine (20), linf and combined (40).")] = None,
    restarts: Annotated[int, typer.Option(help="First-order: random starts.")] = 1,
    epsilon: Annotated[str, typer.Option(help="Linf and combined: such as 8/255.")] = "8/255",
    objective: Annotated[str, typer.Option(help="cross-entropy or margin.")] = "cross-entropy",
    vote: Annotated[int, typer.Option(min=0, help="Attack a majority vote of so many; 0: none.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    padding: PaddingOption = "black",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Attack one picture, and report the worst that the attack found."""
    import torch

    from spatial_viz.attacks.base import summary
    from spatial_viz.attacks.spatial import make_attack
    from spatial_viz.defences.majority_vote import MajorityVote
    from spatial_viz.models.inference import runner_for, warm_up

    settings = {"granularity": parse_granularity(granularity), "k": k, "restarts": restarts,
                "epsilon": parse_epsilon(epsilon), "objective": objective}  # fmt: skip
    chosen = make_attack(attack, **settings if steps is None else {**settings, "steps": steps})
    model, image, index, grid = _question(picture, classifier, label, rotation, translation, granularity)
    if vote:
        model = MajorityVote(model, grid, votes=vote, seed=seed, padding=padding)  # type: ignore[arg-type]
    runner = runner_for(model, device, "fp32")
    natural = runner.exact(image, None, padding)  # type: ignore[arg-type]
    labelled, index = index is not None, int(natural.argmax()) if index is None else index
    warm_up(model, device, "fp32")
    started = time.perf_counter()
    found = chosen(model, image[None], torch.tensor([index]), grid, seed, padding=padding, device=device)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    result = {"schema": 1, **summary(found, model, natural, index), "seconds": round(seconds, 4)}
    result |= {"device": runner.device_name, "precision": "fp32"}
    if as_json:
        print_json(result)
        return
    names = {str(index): model.class_names[index]}
    card = {"classifier": model.name, "device": runner.device_name, "precision": "fp32", "names": names}
    print(_in_words(result, card | {"labelled": labelled}))
    asked = f"{result['passes']:,} forward and {result['backward_passes']:,} backward passes"
    print(f"attack           {found.attack}: {asked}")
    if result["natural_misclassified"]:
        print("                 the picture is misclassified as it is: that is no merit of the attack")
    if not found.complete:
        print("                 interrupted: what was found so far")


@app.command()
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


app.command()(training.train)
app.command()(training.publish)
app.command()(lecture.demo)
app.command()(lecture.handout)


@app.command()
def models(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List the classifiers, and whether their weights are on this machine."""
    from spatial_viz.models.registry import catalogue

    entries = catalogue()
    if as_json:
        print_json([{"name": e.name, "available": e.available, **e.card} for e in entries])
        return
    for entry in entries:
        facts = entry.missing or "weights on this machine"
        if "natural_accuracy" in entry.card:
            facts = _accuracies(entry.card)
        print(f"{entry.name:28} {facts}")


@app.command()
def samples(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List the labelled pictures that are at hand without a network."""
    from spatial_viz.data.samples import class_names
    from spatial_viz.data.samples import samples as listed

    rows = [
        {"name": f"sample:{entry.name}", "label": entry.label, "class": class_names(entry.dataset)[entry.label]}
        for entry in listed()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['name']:22} {row['label']:>4}  {row['class']}")


def _accuracies(card: dict[str, Any]) -> str:
    """Those that were measured for the card, in words."""
    keys = [key for key in ("natural", "random", "worst_of_10", "grid") if f"{key}_accuracy" in card]
    told = (f"{key.replace('_', '-')} {card[f'{key}_accuracy']:.1%} of {card[f'{key}_pictures']:,}" for key in keys)
    return f"{', '.join(told)} pictures"


def _question(
    picture: str,
    classifier: str,
    label: str | None,
    rotation: float | None,
    translation: float | None,
    granularity: str,
) -> tuple[Any, Any, int | None, Any]:
    """The classifier, the prepared picture, its label where there is one, and the grid."""
    from spatial_viz.data.samples import class_names, named_picture
    from spatial_viz.models.registry import load_classifier
    from spatial_viz.transforms.grids import TransformGrid

    model = load_classifier(classifier)
    paper = TransformGrid.paper(model.picture_size)
    grid = TransformGrid(
        paper.rotation if rotation is None else rotation,
        paper.dx if translation is None else translation,
        paper.dy if translation is None else translation,
        parse_granularity(granularity),
    )
    source, sample = named_picture(picture)
    if sample and label is None and model.class_names == class_names(sample.dataset):
        label = str(sample.label)
    return model, model.prepare(source), None if label is None else model.label_index(label), grid


def _write_figures(path: Path, image: Any, swept: Any, picture: str) -> None:
    from spatial_viz.export.html import landscape_page
    from spatial_viz.files import write_file
    from spatial_viz.landscape.dataset import card_of

    title = f"{card_of(swept)['classifier']}: loss landscape"
    page = landscape_page(image, swept, title, picture=picture)
    write_file(path, lambda partial: partial.write_text(page, encoding="utf-8"))


def _in_words(result: dict[str, Any], card: dict[str, Any]) -> str:
    from spatial_viz.landscape.dataset import transform_words

    natural, worst = result["natural"], result["worst_case"]
    kind = result.get("loss_name", "loss")
    at_natural, at_worst = (
        f"{at['name']}, confidence {at['confidence']:.1%}, {kind} {at['loss']:.3f} nats" for at in (natural, worst)
    )
    true_name = card["names"][str(result["label"])]
    verdict = "misclassified" if worst["misclassified"] else "still correct"
    tried = []
    if result["transforms"]:  # an attack by noise tries none
        share = result["misclassified"] / result["transforms"]
        tried = [f"tried            {result['misclassified']} of {result['transforms']} transforms fail ({share:.0%})"]
    held = (
        f"label            {true_name}"
        if card["labelled"]
        else f"no label given   held against its own prediction, {true_name}"
    )
    return "\n".join(
        (
            f"classifier       {card['classifier']} ({card['device']}, {card['precision']})",
            held,
            f"natural          {at_natural}",
            f"worst case       {transform_words(worst['rotation'], worst['dx'], worst['dy'])}",
            f"                 rotation {worst['rotation']:g}°, dx {worst['dx']:g} px, dy {worst['dy']:g} px",
            f"                 {at_worst}: {verdict}",
            *tried,
            f"time             {result['seconds']:.2f} s",
        )
    )


class _progress:  # noqa: N801
    """A progress bar on stderr, as a context that gives the callback of a sweep."""

    def __init__(self, total: int, hidden: bool) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, unit="transform", disable=hidden or not sys.stderr.isatty(), leave=False)

    def __enter__(self) -> Any:
        return lambda done, total: self.bar.update(done - self.bar.n)

    def __exit__(self, *_: object) -> None:
        self.bar.close()


def main() -> None:
    """The entry point: every foreseen error is one sentence on stderr and exit code 2."""
    _prepare_console()
    try:
        sys.exit(typer.main.get_command(app).main(sys.argv[1:] or ["--help"], standalone_mode=False) or 0)
    except SpatialVizError as error:
        _fail(str(error))
    except (typer.Abort, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        # Typer's own complaints about the arguments have this method, and no public base class.
        if not hasattr(error, "format_message"):
            raise
        _fail(error.format_message())


def _prepare_console() -> None:
    """Once, before any work: names that the console's encoding lacks are escaped, warnings are one sentence each, and
    Pillow's remarks about odd metadata are no business of whoever measures a classifier."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, SpatialVizWarning):
            print(f"warning: {message}", file=sys.stderr)
        else:
            shown(message, category, *where)

    warnings.showwarning = show  # type: ignore[assignment]
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
