"""What docs/training.md says is what its command writes, and its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from command_line import parse

from benchmarks.app import ROOT
from scripts.build_training import PAGE, README, curve_pictures, curves_by_data, document, in_words, result_table
from spatial_viz.models.registry import manifest
from spatial_viz.training.recipes import RECIPES

TEXT = PAGE.read_text(encoding="utf-8")
CARD: dict[str, Any] = {
    "name": "mnist/standard",
    "data": "mnist",
    "network": "tiny-convnet",
    "class_names": list("0123456789"),
    "mean": [0.1],
    "hours": 0.25,
    "command": "python -m spatial_viz train --recipe standard",
    "natural_accuracy": 0.99,
    "natural_pictures": 10000,
    "grid_accuracy": 0.25,
    "grid_pictures": 1000,
    "learning_curve": [{"epoch": 1, "loss": 0.5, "learning_rate": 0.1, "candidates": 0, "validation_accuracy": 0.9}],
}


def test_the_tables_follow_the_cards() -> None:
    row = result_table([CARD]).splitlines()[-1]
    assert row == (
        "| `mnist/standard` | tiny-convnet | 164,104 | 0.2 | 99.0 (98.8 to 99.2; 10,000) | – | – "
        "| 25.0 (22.4 to 27.8; 1,000) |"
    )
    assert "mnist/standard" in curves_by_data([CARD])["mnist"] and "training/mnist.png" in curve_pictures([CARD])
    page = document(TEXT, [CARD])
    assert row in page and CARD["command"] in page
    assert document(page, [CARD]) == page
    outside = re.sub(r"(?s)(<!-- \w+ -->).*?(<!-- end -->)", r"\1\2", TEXT)
    assert re.sub(r"(?s)(<!-- \w+ -->).*?(<!-- end -->)", r"\1\2", page) == outside


def test_every_recipe_ships() -> None:
    assert {f"cifar10/{recipe}" for recipe in RECIPES} <= {card["name"] for card in manifest()}


def test_every_recipe_is_told_in_words_of_its_own() -> None:
    told = [in_words(recipe) for recipe in RECIPES.values()]
    assert len(set(told)) == len(told) == 8
    assert in_words(RECIPES["linf-8"]).endswith("within 8/255 at every pixel (MNIST: 0.3)")
    assert in_words(RECIPES["linf-8"], "cifar10").endswith("within 8/255 at every pixel")


def test_the_commands_can_be_given() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if "-m spatial_viz" in line]
    assert len(lines) >= 4
    for line in lines:
        words = shlex.split(line, comments=True)
        parse(words[words.index("spatial_viz") + 1 :])


def test_links_lead_somewhere() -> None:
    for path in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
        assert (ROOT / "docs" / path).exists(), path


@pytest.mark.parametrize("page", [PAGE, README], ids=lambda page: page.name)
def test_the_page_is_of_today(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert document(text, manifest()) == text, f"{page.name} is older than the cards: make training"
    assert f"| `{manifest()[0]['name']}` |" in text
