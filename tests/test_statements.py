"""What the app and the docs say in numbers is what the project's own tables, cards and classifiers say."""

from __future__ import annotations

import re

import pytest
import torch

from benchmarks.app import ROOT
from spatial_viz.app.lecture.page import STEPS
from spatial_viz.app.pages.attack import why
from spatial_viz.data.samples import load_sample
from spatial_viz.evaluation.results import all_results
from spatial_viz.lecture.handout import STORY
from spatial_viz.lecture.headline_accuracies import BETWEEN_THE_POINTS
from spatial_viz.models.registry import dataset_of, load_classifier, manifest
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid

METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_what_breaks_between_the_points_is_that_of_the_table() -> None:
    pictures = int(re.search(r"the first (\d+) CIFAR-10 test pictures", METHOD)[1])
    grid, refined = (round(float(re.search(rf"^\| {row}.*?\| ([\d.]+)%", METHOD, re.MULTILINE)[1]) * pictures / 100)
                     for row in (r"grid, 31 × 5 × 5", r"grid, then first-order"))  # fmt: skip
    assert re.findall(r"\b\d+\b", BETWEEN_THE_POINTS.replace("CIFAR-10", "")) == [
        str(pictures), str(grid), str(grid - refined)
    ]  # fmt: skip
    assert f"{grid} of the {pictures}" in METHOD and f"{grid - refined} of these {grid} break between" in METHOD
    (exhaustive,) = (step for step in STEPS if "exhaustive" in step.title)
    said = why("3 peaks")
    for text in (said["The grid"], exhaustive.note, STORY["Why the gradient gets lost"]):
        assert BETWEEN_THE_POINTS in text
    assert "3 peaks" in said["The gradient"], "of the landscape itself"
    everything = " ".join([*said.values(), *STORY.values(), *(step.text + step.note for step in STEPS)])
    for false in ("differs much", "many bumps", "flat ground", "smooth slope", "smaller change"):
        assert false not in everything


def test_the_batch_moves_logits_by_rounding_alone() -> None:
    bound = float(re.search(r"by at most ([\d.]+),\s+and no predicted class changed", METHOD)[1])
    classifier = load_classifier("cifar10/standard")
    image, _ = load_sample("cifar10", 3)
    transforms = TransformGrid(30.0, 3.0, 3.0, (5, 3, 3)).transforms()
    with torch.inference_mode():
        seen = warp(image.expand(len(transforms), -1, -1, -1), transforms, "black")
        alone, *others = (
            torch.cat([classifier.logits(part) for part in seen.split(batch)]) for batch in (1, 7, 32, len(seen))
        )
    for batched in others:
        assert float((batched - alone).abs().max()) <= bound
        assert torch.equal(batched.argmax(1), alone.argmax(1))


def test_the_readme_begins_with_the_numbers_of_the_cards() -> None:
    shares = {card.name: {key: each.accuracy for key, each in card.accuracies.items()} for card in manifest()}
    standard, digits = shares["cifar10/standard"], shares["mnist/invariant-30"]
    best = {data: max(each["grid"] for name, each in shares.items() if dataset_of(name) == data)
            for data in ("cifar10", "mnist")}  # fmt: skip
    told = re.search(r"gets (\d+) % of the test pictures right\. Only (\d+) % are right at all of (\d+)", README)
    assert told is not None
    assert [int(each) for each in told.groups()] == [
        round(100 * standard["natural"]), round(100 * standard["grid"]), len(TransformGrid())
    ]  # fmt: skip
    assert f"With the most robust classifier, {100 * best['cifar10']:.0f} % are." in README
    assert f"{digits['natural']:.1%} natural and {digits['grid']:.2%} " in README
    assert digits["grid"] == best["mnist"]


def test_the_parameters_that_the_readme_counts() -> None:
    counts: dict[str, list[float]] = {"cifar10": [], "mnist": []}
    for card in manifest():
        network = load_classifier(card.name).network
        counts[card.data].append(sum(weights.numel() for weights in network.parameters()) / 1e6)
    low, high = map(float, re.search(r"of ([\d.]+) to ([\d.]+) million parameters", README).groups())
    assert (low, high) == (round(min(counts["cifar10"]), 1), round(max(counts["cifar10"]), 1))
    assert {f"{count:.2f}" for count in counts["mnist"]} == set(re.findall(r"([\d.]+) M parameters each", README))
    assert len(counts["mnist"]) == 5 and "Five classifiers of\nMNIST" in README


@pytest.mark.parametrize("name", ["standard", "worst-of-10-30", "invariant-30", "invariant-30-mirror"])
def test_votes_are_told_as_they_were_measured(name: str) -> None:
    rows = all_results()[0]
    rows = rows[(rows["vote"] == 10) & (rows["adversary"] == "grid") & (rows["n"] == 1000)]
    share = float(rows[rows["classifier"].str.split(",").str[0] == f"cifar10/{name}"]["accuracy"].iloc[0])
    assert re.search(rf"`cifar10/{name}`\s+from [\d.]+ to {100 * share:.1f}", METHOD), share
