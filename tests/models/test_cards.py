"""A manifest or a weight file that is damaged or cannot be there: one sentence, on the command line and in the app."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import run
from streamlit.testing.v1 import AppTest

from spatial_viz.errors import CorruptFile, MissingFile, SpatialVizError
from spatial_viz.evaluation.results import all_results, rows_of_card
from spatial_viz.lecture.figures import curves_of, learning_curves
from spatial_viz.lecture.handout import usual_classifiers
from spatial_viz.lecture.headline_accuracies import groups
from spatial_viz.models import registry
from spatial_viz.models.cards import ModelCard, manifest_text, read_cards
from spatial_viz.models.registry import dataset_of, load_classifier, pretrained_folder

MANIFEST = pretrained_folder() / "manifest.json"
WHOLE = json.loads(MANIFEST.read_text(encoding="utf-8"))


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest to damage, in the place of the one that ships; the weights are those that ship."""
    folder = tmp_path / "pretrained"
    folder.mkdir()
    shutil.copy(MANIFEST, folder)
    for path in pretrained_folder().glob("*.safetensors"):
        (folder / path.name).symlink_to(path)
    monkeypatch.setattr(registry, "pretrained_folder", lambda: folder)
    return folder / "manifest.json"


def read_by_all(cards: tuple[ModelCard, ...]) -> None:
    """What the pages and the documents make of the cards."""
    for card in cards:
        rows_of_card(card)
        dataset_of(card.name)
    learning_curves(curves_of(cards))
    groups(all_results(Path("none"), Path("none"), cards)[0], cards)
    usual_classifiers("cifar10")


def test_the_one_that_ships_is_whole() -> None:
    cards = read_cards(MANIFEST)
    assert manifest_text(cards) == MANIFEST.read_text(encoding="utf-8") and json.loads(manifest_text(cards)) == WHOLE
    read_by_all(cards)


def test_a_bit_that_turned_is_a_sentence_or_does_no_harm(copied: Path) -> None:
    content, places = copied.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(100):
        place = places.randrange(8 * len(content))
        turned = bytearray(content)
        turned[place // 8] ^= 1 << place % 8
        copied.write_bytes(turned)
        try:
            read_by_all(read_cards(copied))
        except SpatialVizError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("number", [0, 7])
def test_every_key_of_a_card_is_missed(number: int, tmp_path: Path) -> None:
    """Also those that not every card has: without ``mirror`` a classifier would silently be another one."""
    path = tmp_path / "manifest.json"
    for key in WHOLE["models"][number]:
        turned = key[:-1] + chr(ord(key[-1]) ^ 1)
        card = {turned if each == key else each: value for each, value in WHOLE["models"][number].items()}
        path.write_text(json.dumps({"schema": 1, "models": [card]}))
        with pytest.raises(CorruptFile, match=r"manifest\.json is damaged \(.*\); restore it or install the package"):
            read_cards(path)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "binary": lambda content: b"\xff\xfe" + content,
    "no JSON": lambda content: b"<html>" + content,
    "a list": lambda content: b"[1, 2]",
    "another schema": lambda content: content.replace(b'"schema": 1', b'"schema": 2', 1),
    "no models": lambda content: content.replace(b'"models"', b'"modems"', 1),
    "models in a mapping": lambda content: b'{"schema": 1, "models": {"a": 1}}',
    "cards that are texts": lambda content: b'{"schema": 1, "models": ["cifar10/standard"]}',
    "a key": lambda content: content.replace(b'"network"', b'"networl"', 1),
    "a value": lambda content: content.replace(b'"class_names": [', b'"class_names": [7, ', 1),
    "too deep": lambda content: b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_sentence_on_the_command_line(
    damage: str, copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied.write_bytes(DAMAGE[damage](copied.read_bytes()))
    for command in (["models"], ["sweep", "sample:mnist/0"], ["handout", "sample:mnist/0"], ["demo", "--offline"]):
        code, out, err = run(command, monkeypatch, capsys)
        assert code == 2 and not out and err.count("\n") == 1
        assert err.startswith(f"error: {copied} is damaged (") and "; restore it or install the package again" in err


@pytest.mark.parametrize(
    "page", ["pages.explore", "lecture.page", "pages.attack", "pages.compare", "pages.results", "pages.browse"]
)
def test_damage_is_one_sentence_in_the_app(
    page: str, copied: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SPATIAL_VIZ_STORE", str(tmp_path / "store"))
    copied.write_bytes(copied.read_bytes()[:5000])

    def script(name: str) -> None:
        import importlib

        import streamlit as st

        from spatial_viz.app import dataset_image, sidebar

        module = importlib.import_module(f"spatial_viz.app.{name}")
        st.session_state["explore"] = st.Page(lambda: None, title="Explore")
        st.session_state["view"] = dataset_image.opened(sidebar.chosen_view())
        module.page()

    shown = AppTest.from_function(script, default_timeout=120, args=(page,)).run()
    assert not shown.exception
    assert shown.error and all("is damaged" in each.value for each in shown.error)


# --- Weights of ImageNet classifiers --------------------------------------------------------------------------------


def test_a_home_that_cannot_be_written_is_named_and_no_file_is_blamed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file" / "below", Path("/proc/none")):
        monkeypatch.setenv("TORCH_HOME", str(home))
        code, _, err = run(["sweep", "sample:imagenet/0", "--classifier", "imagenet/resnet18"], monkeypatch, capsys)
        assert code == 2 and err.count("\n") == 1 and "delete" not in err
        assert f"cannot be kept in, or read from, {home}/hub/checkpoints (" in err and "TORCH_HOME" in err
        assert run(["models"], monkeypatch, capsys)[0] == 0


def test_what_came_is_blamed_where_nothing_was_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torchvision.models import _api

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def other(*_: Any, **__: Any) -> None:
        raise RuntimeError('invalid hash value (expected "f37072fd", got "00000000")')

    monkeypatch.setattr(_api, "load_state_dict_from_url", other)
    with pytest.raises(MissingFile, match=r"what came from https://.* are not the weights of imagenet/resnet18 \(inva"):
        load_classifier("imagenet/resnet18")
    path = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a file")
    with pytest.raises(CorruptFile, match=r"resnet18-f37072fd\.pth cannot be read as weights .*; delete it"):
        load_classifier("imagenet/resnet18")
