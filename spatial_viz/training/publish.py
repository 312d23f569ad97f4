"""From a finished training to a file in ``pretrained/`` and its card; accuracies are measured with that file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from spatial_viz.data.folders import has_split
from spatial_viz.data.selection import is_folder, select_pictures
from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.evaluation.plan import EvaluationPlan, card_key, digest, plan_of
from spatial_viz.evaluation.report import Accuracy, Report
from spatial_viz.evaluation.run import evaluate
from spatial_viz.files import check_writable, checksum, replace_file
from spatial_viz.models.cards import Architecture, MeasuredAccuracy, ModelCard, manifest_text
from spatial_viz.models.inference import calibrate
from spatial_viz.models.registry import DESCRIPTION, load_classifier, load_trained, manifest, pretrained_folder
from spatial_viz.training.data import architecture_of, read, split_validation, to_images
from spatial_viz.training.log import read_metrics
from spatial_viz.training.provenance import plan_in, provenance_of
from spatial_viz.training.recipes import RECIPES, data_name
from spatial_viz.transforms.grids import TransformGrid
from spatial_viz.version import VERSION

MANIFEST = "manifest.json"
MIRROR = "-mirror"  # ends the name of a classifier that asks about the mirror image, too
CALIBRATION_PICTURES, CALIBRATION_TRANSFORMS = 200, 25


def publish(
    run: Path, root: Path | None = None, pictures: int = 2000, mirror: bool = False, replace_earlier: bool = False,
    tell: Callable[[str], None] | None = None,
) -> ModelCard:  # fmt: skip
    """Measure the weights of ``run``, copy them into ``pretrained/``, and put their card into the manifest.

    Stopped while it measures, it changes nothing, and goes on where it was when it is called again with the same
    versions and number of threads.

    Parameters
    ----------
    run: the ``--out`` folder of a finished training.
    root: the data set's folder with ``train/`` and ``test/``; by default ``data/`` and its name.
    pictures: how many test pictures all but the natural accuracy are measured on; the first of every class. What a
        card knows of more pictures, for the same weights, stays.
    mirror: add another classifier with the weights of ``run``, which are published already: the
        `spatial_viz.models.networks.MirrorAverage` of its network, with ``-mirror`` behind its name. It stays until its
        classifier is published with other weights.
    replace_earlier: publish it also where other weights have its name: they go, and so does their mirror.
    tell: called with a sentence about what went.

    Raises
    ------
    InvalidInput: no finished training; pictures that are no longer those of its training, or none to measure it with;
        a mirror where it changes what a picture means, or of other weights than those that are published; a name that
        other weights have, or a folder that cannot be written.
    """
    weights = run / "weights.safetensors"
    if not weights.is_file() or not (run / "plan.json").is_file():
        raise InvalidInput(f"{run} holds no finished training: it needs plan.json and {weights.name}")
    plan = plan_in(run)
    plain = f"{data_name(plan.data)}/{plan.recipe}"
    name = plain + MIRROR if mirror else plain
    earlier = _card_of(name)
    if earlier and earlier.data != plan.data:
        raise InvalidInput(f"{name} was trained on {earlier.data} and not on {plan.data}; rename that folder first")
    content = weights.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    check_writable(pretrained_folder() / MANIFEST)
    if mirror:
        _refuse_other_weights(plain, run)
    elif not replace_earlier:
        _refuse_to_replace(plain, sha256)
    if is_folder(plan.data) and not has_split(Path(plan.data), "test"):
        raise InvalidInput(f"{plan.data} has no test/ with pictures that the training did not see; put some there")
    data = read(plan.data, root, "train", size=plan.size, mirrored=plan.mirrored)
    if mirror and not data.mirrored:
        raise InvalidInput(f"the pictures of {plan.data} do not mean the same in the mirror; publish without --mirror")
    provenance = provenance_of(run, sha256)
    classifier = load_trained(run, mirror)
    classifier.name = name
    architecture = Architecture.from_json(json.loads((run / DESCRIPTION).read_text(encoding="utf-8")))
    if architecture_of(architecture.network, data, architecture.mean, architecture.std) != architecture:
        raise InvalidInput(f"{plan.data} has other classes or sizes than when {run} was trained; train again")
    training, validation = split_validation(data, plan.validation)
    held_out = validation if len(validation) else training  # margins of logits hardly depend on who saw the pictures
    draws = TransformGrid.paper(classifier.input_size).draw(CALIBRATION_TRANSFORMS, seed=1)
    spread = torch.linspace(0, len(held_out) - 1, CALIBRATION_PICTURES).long()  # over all classes
    images = to_images(held_out.pictures[spread]).contiguous()
    classifier.margin_error = round(calibrate(classifier, images, draws) + 5e-4, 3)
    versions = {"spatial_viz": VERSION, "torch": torch.__version__}
    store = run / "evaluation" / digest({"versions": versions, "threads": torch.get_num_threads()})[:8]
    measure = partial(evaluate, classifier, plan.data, root=root, store=store, resume=True)
    report = measure(EvaluationPlan(("random", "worst-of-10", "grid")), limit=pictures)
    (grid,) = (entry["grid"] for entry in report.run["classifiers"])
    card = ModelCard(
        name=name,
        file=_file_of(plain),
        architecture=architecture,
        mirror=mirror,
        data=plan.data,
        recipe=plan.recipe,
        seed=plan.seed,
        epochs=plan.epochs,
        validation=plan.validation,
        provenance=replace(provenance, hours=round(provenance.hours, 2), versions=provenance.versions or versions),
        learning_curve=_learning_curve(run),
        margin_error=classifier.margin_error,
        grid=f"{grid}, {report.run['plan']['padding']}",
        accuracies=earlier.accuracies if earlier and earlier.sha256 == sha256 else {},
    )
    card = _with_more(card, (*measure(EvaluationPlan(("natural",))).results, *report.results), again=True)
    try:
        if mirror:
            _refuse_other_weights(plain, run)  # measuring takes its time
        elif not replace_earlier:
            _refuse_to_replace(plain, sha256)
        gone = [] if mirror else _names_with_other_weights(plain, sha256)
        if not mirror:
            replace_file(pretrained_folder() / card.file, lambda path: path.write_bytes(content))
        _write(card)
    except OSError as error:
        raise SpatialVizError(
            f"cannot write {pretrained_folder()}: {error.strerror or error}; make it writable, or make room there, and "
            "publish again"
        ) from error
    if gone and tell:
        tell(f"with their earlier weights went {' and '.join(gone)}")
    return card


def _refuse_to_replace(name: str, sha256: str) -> None:
    """An error where a classifier of that name is published with other weights."""
    gone = _names_with_other_weights(name, sha256)
    if gone:
        raise InvalidInput(
            f"{name} is published with other weights; with --replace these take their place, and what goes is "
            f"{' and '.join(gone)}"
        )


def _names_with_other_weights(name: str, sha256: str) -> list[str]:
    """The classifiers that are gone once the weights of that checksum have the name: what had it, and its mirror."""
    return [card.name for card in _cards() if card.file == _file_of(name) and card.sha256 != sha256]


def _file_of(name: str) -> str:
    return f"{name.replace('/', '-')}.safetensors"


def _refuse_other_weights(name: str, run: Path) -> None:
    """An error unless the card of that name is about the weights of ``run``."""
    published = _card_of(name)
    if not published or published.sha256 != checksum(run / "weights.safetensors"):
        raise InvalidInput(f"{name} is not published with the weights of {run}; publish them without --mirror first")


def improve_cards(report: Report, root: Path | None = None) -> list[str]:
    """Put what a run found on more test pictures into the cards that knew fewer of them; the names of these cards.

    Only answers to the questions of `publish` count: a complete run of the weights that ship on all test pictures or
    on the first of every class. ``root`` as there.
    """
    run, plan = report.run, plan_of(report.run["plan"])
    usual = EvaluationPlan(plan.adversaries, precision=plan.precision, full=plan.full, shard=plan.shard)
    if not run["complete"] or run["unreadable"] or plan != usual:
        return []
    hashes = {entry["name"]: entry["hash"] for entry in run["classifiers"]}
    better = []
    for card in _cards():
        measured = card.name in hashes and card.data == run["data"]["name"]
        if not measured or not load_classifier(card.name).has_hash(hashes[card.name]):
            continue
        more = _with_more(card, (result for result in report.results if result.classifier == card.name))
        if more != card:
            better.append(more)
    if not better or not _first_pictures(run["data"], root):
        return []
    for card in better:
        _write(card)
    return [card.name for card in better]


def _first_pictures(data: Mapping[str, Any], root: Path | None) -> bool:
    """Whether a run is about all test pictures, or as many of the first of every class."""
    try:
        return any(select_pictures(data["name"], root, "test", limit, None).hash() == data["hash"]
                   for limit in (None, data["pictures"]))  # fmt: skip
    except InvalidInput:  # so many are not as many of every class
        return False


def _with_more(card: ModelCard, results: Iterable[Accuracy], again: bool = False) -> ModelCard:
    """The card with the results of those adversaries of which it knows fewer pictures, or, measured ``again``, as
    many."""
    accuracies = dict(card.accuracies)
    for result in results:
        key = card_key(result.adversary)
        if key in accuracies and result.n < accuracies[key].pictures + (not again):
            continue
        shares = (round(share, 6) for share in (result.accuracy, result.low, result.high))
        accuracies[key] = MeasuredAccuracy(result.n, *shares)
    return replace(card, accuracies=accuracies)


def _learning_curve(run: Path) -> tuple[dict[str, Any], ...]:
    """The epochs of a training without their times."""
    return tuple({key: value for key, value in line.items() if key != "seconds"} for line in read_metrics(run).epochs)


def _write(card: ModelCard) -> None:
    """Put a card into the manifest, in the place of an earlier one of that name and of those whose weights are gone; by
    data set and recipe."""
    stay = (other for other in _cards() if other.file != card.file or other.sha256 == card.sha256)
    cards = {each.name: each for each in (*stay, card)}
    order = {recipe: number for number, recipe in enumerate(RECIPES)}
    models = sorted(cards.values(), key=lambda each: (each.data, order.get(each.recipe, len(order)), each.name))
    text = manifest_text(models)
    replace_file(pretrained_folder() / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))


def _card_of(name: str) -> ModelCard | None:
    return next((card for card in _cards() if card.name == name), None)


def _cards() -> tuple[ModelCard, ...]:
    return manifest() if (pretrained_folder() / MANIFEST).is_file() else ()
