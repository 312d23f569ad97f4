"""`make training` writes the tables of docs/training.md, and the one in README.md, from the recipes and the cards in
pretrained/manifest.json, and, where there is a Chromium, the pictures of the learning curves in docs/training/."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.app import CHROMIUM, ROOT, chromium
from benchmarks.browser import PATIENCE
from spatial_viz.evaluation.intervals import wilson
from spatial_viz.export.html import to_html
from spatial_viz.files import write_file
from spatial_viz.lecture.figures import curves_of, learning_curves
from spatial_viz.models.cards import ModelCard
from spatial_viz.models.networks import build_network, count_parameters
from spatial_viz.models.registry import dataset_of, manifest, without_mirrors
from spatial_viz.training.publish import MIRROR
from spatial_viz.training.recipes import RECIPES, Recipe, find_recipe

PAGE = ROOT / "docs" / "training.md"
README = ROOT / "README.md"
CURVES = ROOT / "docs" / "training"
ADVERSARIES = {"natural": "natural", "random": "random", "worst_of_10": "worst of 10", "grid": "grid"}


def main() -> None:
    cards = manifest()
    for page in (PAGE, README):
        text = document(page.read_text(encoding="utf-8"), cards)
        write_file(page, lambda partial, text=text: partial.write_text(text, encoding="utf-8"))  # type: ignore[misc]
        print(f"{page}: {len(cards)} classifiers")
    if CHROMIUM is None and curves_by_data(cards):
        sys.exit("there is no Chromium, so the pictures of the learning curves stay as they are")
    for data, curves in curves_by_data(cards).items():
        draw(curves, CURVES / f"{data}.png")


def document(text: str, cards: Sequence[ModelCard]) -> str:
    """A page with what is between its marks made anew."""
    parts = {
        "classifiers": classifier_table(cards),
        "recipes": recipe_table(), "results": result_table(cards), "curves": curve_pictures(cards),
        "commands": commands(cards),
    }  # fmt: skip
    for name, part in parts.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda match, part=part: f"{match[1]}\n{part}\n\n{match[2]}", text, flags=re.DOTALL)
    return text


def recipe_table() -> str:
    rows = ["| recipe | what a step trains on |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{name}` | {in_words(recipe)} |" for name, recipe in RECIPES.items())])


def in_words(recipe: Recipe, data: str = "") -> str:
    """``data``: for that data set alone."""
    limits = f"within ±{recipe.rotation:g}° and ±{recipe.translation:g} px"
    words = ["flips and random crops" if recipe.crop else "flips"]
    if recipe.candidates == 1:
        words.append(f"one random rotation and shift {limits}")
    elif recipe.candidates:
        words.append(f"the rotation and shift with the highest loss of {recipe.candidates} random ones {limits}")
    if recipe.invariance:
        words.append("a penalty (KL divergence) if the prediction there differs from that for the picture as it is")
    if recipe.epsilon:
        digits = find_recipe(recipe.name, "mnist").epsilon
        digits_too = "" if data else f" (MNIST: {digits:g})"
        words.append(f"adversarial noise within {round(recipe.epsilon * 255)}/255 at every pixel{digits_too}")
    return "; ".join(words)


def classifier_table(cards: Sequence[ModelCard]) -> str:
    """The classifiers of CIFAR-10 in short."""
    lines = ["| classifier | trained on | natural | grid |", "|---|---|---:|---:|"]
    for card in cards:
        if card.data == "cifar10":
            shares = " | ".join(_accuracy(card, key) for key in ("natural", "grid"))
            words = in_words(RECIPES[card.recipe], card.data)
            if card.mirror:
                plain = card.name.removesuffix(MIRROR)
                words = f"nothing more: the answers of `{plain}` for a picture and for its mirror image, averaged"
            lines.append(f"| `{card.name}` | {words} | {shares} |")
    return "\n".join(lines)


def result_table(cards: Sequence[ModelCard]) -> str:
    head = ["classifier", "network", "parameters", "hours", *ADVERSARIES.values()]
    lines = [f"| {' | '.join(head)} |", "|---|---|---:|---:|" + "---:|" * len(ADVERSARIES)]
    for card in cards:
        made = card.architecture
        network = build_network(made.network, classes=len(made.class_names), channels=len(made.mean))
        hours = "–" if card.mirror else f"{card.provenance.hours:.1f}"  # not trained: the weights are another's
        cells = [f"`{card.name}`", made.network, f"{count_parameters(network):,}", hours]
        lines.append(f"| {' | '.join([*cells, *(_accuracy(card, key) for key in ADVERSARIES)])} |")
    return "\n".join(lines)


def _accuracy(card: ModelCard, key: str) -> str:
    share, count = card.accuracies[key].accuracy, card.accuracies[key].pictures
    low, high = wilson(round(share * count), count)
    return f"{100 * share:.1f} ({100 * low:.1f} to {100 * high:.1f}; {count:,})"


def curves_by_data(cards: Sequence[ModelCard]) -> dict[str, dict[str, Sequence[Mapping[str, Any]]]]:
    """The learning curves of the cards, by data set."""
    curves: dict[str, dict[str, Sequence[Mapping[str, Any]]]] = {}
    for name, curve in curves_of(without_mirrors(cards)).items():
        curves.setdefault(dataset_of(name), {})[name] = curve
    return curves


def curve_pictures(cards: Sequence[ModelCard]) -> str:
    names = curves_by_data(cards)
    return "\n\n".join(f"![Learning curves of the classifiers of {data}](training/{data}.png)" for data in names)


def commands(cards: Sequence[ModelCard]) -> str:
    """How every shipped classifier was trained, and the weights that it began from; each of them is told of once."""
    mirrors = {card.sha256: card.name for card in cards if card.mirror}
    cards = without_mirrors(cards)
    known = {card.sha256: f"`{card.name}`" for card in cards}
    lines = []
    for card in cards:
        made = card.provenance
        machine = f" on {made.hardware}" if made.hardware else ""
        lines.append(f"* `{card.name}`, {made.hours:.1f} hours{machine}:\n  `{made.command}`")
        before = made.began_from
        while before:
            weights = known.get(before.sha256)
            if weights:
                lines.append(f"\n  It began from {weights}.")
                break
            short = f"the weights {before.sha256[:8]}…"
            known[before.sha256] = f"{short} (above)"
            lines.append(f"\n  It began from {short}, which were made by\n  `{before.command}`")
            before = before.began_from
        if card.sha256 in mirrors:
            both = f"`{mirrors[card.sha256]}` has the weights of `{card.name}`"
            lines.append(f"\n  {both}: `python -m spatial_viz publish RUN --mirror`.")
    return "\n".join(lines)


def draw(curves: Mapping[str, Sequence[Mapping[str, Any]]], target: Path) -> None:
    """A picture of the learning curves."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        html = Path(folder, "curves.html")
        html.write_text(to_html([learning_curves(curves)], target.stem), encoding="utf-8")
        page = browser.new_page(viewport={"width": 820, "height": 700})
        page.goto(html.as_uri(), timeout=PATIENCE)
        figure = page.locator(".plot-container").first
        figure.wait_for(timeout=PATIENCE)
        page.wait_for_timeout(500)
        target.parent.mkdir(exist_ok=True)
        figure.screenshot(path=target)


if __name__ == "__main__":
    main()
