"""What docs/training.md says is what its command writes, and its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from command_line import parse
from toys import model_card

from benchmarks.app import ROOT
from scripts.build_training import PAGE, README, curve_pictures, curves_by_data, document, in_words, result_table
from spatial_viz.models.cards import Architecture, Provenance
from spatial_viz.models.registry import manifest
from spatial_viz.training.recipes import RECIPES

TEXT = PAGE.read_text(encoding="utf-8")
CARD = model_card(
    "mnist/standard", 0.99, 0.25,
    architecture=Architecture("tiny-convnet", tuple("0123456789"), (28, 28), (0.1,), (0.3,)),
    provenance=Provenance("0" * 64, "python -m spatial_viz train --recipe standard", 0.25),
)  # fmt: skip


def test_the_tables_follow_the_cards() -> None:
    row = result_table([CARD]).splitlines()[-1]
    easy, hard = "99.0 (98.8 to 99.2; 10,000)", "25.0 (22.4 to 27.8; 1,000)"
    assert row == f"| `mnist/standard` | tiny-convnet | 164,104 | 0.2 | {easy} | {easy} | {hard} | {hard} |"
    assert "mnist/standard" in curves_by_data([CARD])["mnist"] and "training/mnist.png" in curve_pictures([CARD])
    page = document(TEXT, [CARD])
    assert row in page and CARD.provenance.command in page
    assert document(page, [CARD]) == page
    outside = re.sub(r"(?s)(<!-- \w+ -->).*?(<!-- end -->)", r"\1\2", TEXT)
    assert re.sub(r"(?s)(<!-- \w+ -->).*?(<!-- end -->)", r"\1\2", page) == outside


def test_every_recipe_ships() -> None:
    assert {f"cifar10/{recipe}" for recipe in RECIPES} <= {card.name for card in manifest()}


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
    assert f"| `{manifest()[0].name}` |" in text
