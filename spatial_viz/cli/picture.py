"""Commands about one picture."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spatial_viz.cli.parsing import (
    ClassifierOption,
    DeviceOption,
    JsonOption,
    LabelOption,
    PaddingOption,
    PictureArgument,
    RotationOption,
    TranslationOption,
    parse_epsilon,
    parse_granularity,
    path_option,
    print_json,
)
from spatial_viz.cli.progress import ProgressBar

if TYPE_CHECKING:
    from spatial_viz.models.classifier import Classifier

# Torch takes seconds to import, so the commands import what they need: help and bad arguments answer at once.


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
    from spatial_viz.export.worst_case_frames import draw_trajectory
    from spatial_viz.files import check_apart, check_writable
    from spatial_viz.landscape import cache, dataset, sweeps
    from spatial_viz.landscape.attributes import attributes_of
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
    with ProgressBar(len(grid), hidden=as_json) as advance:
        swept = sweeps.sweep_axes(model, image, index, axes, device, precision, advance, padding)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    cache.remember(model, image, index, axes, swept)
    if out is not None:
        dataset.save(swept, out)
    if figure is not None:
        _write_figures(figure, image, swept, called(picture))
    if animation is not None:
        save_animation(animation, draw_trajectory(model, image, swept, picture=called(picture)))
    known = attributes_of(swept)
    result = {"schema": 1, **dataset.landscape_summary(swept), "seconds": round(seconds, 4)}
    result |= {"device": known.device, "precision": known.precision}
    if as_json:
        print_json(result)
    else:
        print(_describe(result, model, known.labelled))


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

    from spatial_viz.attacks.base import attack_summary
    from spatial_viz.attacks.factory import make_attack
    from spatial_viz.defences.majority_vote import MajorityVote
    from spatial_viz.models.inference import one_image, runner_for, warm_up

    settings = {"granularity": parse_granularity(granularity), "k": k, "restarts": restarts,
                "epsilon": parse_epsilon(epsilon), "objective": objective}  # fmt: skip
    chosen = make_attack(attack, **settings if steps is None else {**settings, "steps": steps})
    model, image, index, grid = _question(picture, classifier, label, rotation, translation, granularity)
    if vote:
        model = MajorityVote(model, grid, votes=vote, seed=seed, padding=padding)  # type: ignore[arg-type]
    runner = runner_for(model, device, "fp32")
    natural = runner.exact(image[None], None, one_image(1), padding)  # type: ignore[arg-type]
    labelled, index = index is not None, int(natural.argmax()) if index is None else index
    warm_up(model, device, "fp32")
    started = time.perf_counter()
    outcome = chosen(model, image[None], torch.tensor([index]), grid, seed, padding=padding, device=device)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    result = {"schema": 1, **attack_summary(outcome, model, natural, index), "seconds": round(seconds, 4)}
    result |= {"device": runner.device_name, "precision": "fp32"}
    if as_json:
        print_json(result)
        return
    print(_describe(result, model, labelled))
    passes = f"{result['passes']:,} forward and {result['backward_passes']:,} backward passes"
    print(f"attack           {outcome.attack}: {passes}")
    if result["natural_misclassified"]:
        print("                 the picture is misclassified as it is: that is no merit of the attack")
    if not outcome.complete:
        print("                 interrupted: what was found so far")


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
    from spatial_viz.landscape.attributes import attributes_of

    title = f"{attributes_of(swept).classifier}: loss landscape"
    page = landscape_page(image, swept, title, picture=picture)
    write_file(path, lambda partial: partial.write_text(page, encoding="utf-8"))


def _describe(result: dict[str, Any], classifier: Classifier, labelled: bool) -> str:
    from spatial_viz.transforms.transform import Transform

    natural, worst = result["natural"], result["worst_case"]
    kind = result.get("loss_name", "loss")
    at_natural, at_worst = (
        f"{at['name']}, confidence {at['confidence']:.1%}, {kind} {at['loss']:.3f} nats" for at in (natural, worst)
    )
    true_name = classifier.class_names[result["label"]]
    verdict = "misclassified" if worst["misclassified"] else "still correct"
    tried = []
    if result["transforms"]:  # an attack by noise tries none
        share = result["misclassified"] / result["transforms"]
        tried = [f"tried            {result['misclassified']} of {result['transforms']} transforms fail ({share:.0%})"]
    held = (
        f"label            {true_name}"
        if labelled
        else f"no label given   held against its own prediction, {true_name}"
    )
    return "\n".join(
        (
            f"classifier       {classifier.name} ({result['device']}, {result['precision']})",
            held,
            f"natural          {at_natural}",
            f"worst case       {Transform(worst['rotation'], worst['dx'], worst['dy']).describe()}",
            f"                 rotation {worst['rotation']:g}°, dx {worst['dx']:g} px, dy {worst['dy']:g} px",
            f"                 {at_worst}: {verdict}",
            *tried,
            f"time             {result['seconds']:.2f} s",
        )
    )
