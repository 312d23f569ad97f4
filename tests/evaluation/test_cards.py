"""The card of a run: read and written again it is what it was, and one that is damaged says where."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import write_run

from spatial_viz.data.images import tensor_to_picture
from spatial_viz.errors import CorruptFile
from spatial_viz.evaluation.cards import RunCard
from spatial_viz.evaluation.plan import EvaluationPlan, digest
from spatial_viz.evaluation.results import shipped_folder
from spatial_viz.evaluation.run import evaluate
from spatial_viz.evaluation.store import QUESTION, read_card, run_folder, runs_in
from spatial_viz.evaluation.summary import read_summary, summarise
from spatial_viz.models.classifier import Classifier

OF_A_REPORT = ("seconds", "unreadable", "complete")  # what a report adds to the card
STORED: dict[str, Any] = {
    "schema": 1,
    "classifiers": [
        {
            "name": "cifar10/standard", "hash": "2-0fcd", "passes_per_query": 2, "picture_size": [32, 32],
            "grid": "31,5,5 within ±30°, dx ±3 px, dy ±3 px", "class_names": {"3": "cat", "10": "café"},
        },
        {
            "name": "mine", "hash": "2-4617", "picture_size": [24, 32],
            "grid": "31,5,5 within ±30°, dx ±3 px, dy ±2 px", "class_names": {"0": "dog"},
        },
    ],
    "data": {"name": "some/pictures", "split": "test", "pictures": 500, "hash": "19c3"},
    "plan": {
        "adversaries": ["natural", "worst-of-10", "grid"], "granularity": [31, 5, 5], "rotation": 30,
        "translation": None, "padding": "black", "vote": 0, "steps": 200, "seed": 0, "precision": "auto", "full": True,
        "restrict": False, "shard": 200,
    },
    "environment": {
        "device": "cpu", "precision": {"cifar10/standard": "bf16", "mine": "fp32"}, "threads": 1,
        "versions": {"spatial_viz": "0.3.0", "torch": "2.14.1+cu130"},
    },
}  # fmt: skip


def is_exact(told: dict[str, Any]) -> bool:
    """Whether a card is the same once it is read and written again, in the order of its keys, too."""
    return json.dumps(RunCard.from_json(told).to_json()) == json.dumps(told)


def with_value(path: str, value: Any) -> dict[str, Any]:
    """`STORED` with another value at a path; without it where there is none."""
    told = copy.deepcopy(STORED)
    *parents, last = path.split(".")
    place: Any = told
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    if value is None:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return told


@pytest.mark.parametrize("path", sorted(shipped_folder().glob("*.json")), ids=lambda path: path.stem)
def test_the_card_of_what_ships_stays(path: Path) -> None:
    report = json.loads(path.read_text(encoding="utf-8"))
    told = {key: value for key, value in report["run"].items() if key not in OF_A_REPORT}
    assert is_exact(told)
    name = f"{told['data']['name']}-{told['data']['split']}-{digest({key: told[key] for key in QUESTION})[:8]}"
    assert run_folder(Path("store"), RunCard.from_json(told)) == Path("store", name)


@pytest.mark.parametrize("path", sorted(shipped_folder().glob("*.npz")), ids=lambda path: path.stem)
def test_the_card_of_a_summary_that_ships_stays(path: Path) -> None:
    with np.load(path) as stored:
        told = json.loads(bytes(stored["card"]))
    assert is_exact(told) and read_summary(path).card.to_json() == told


def test_the_card_of_a_fresh_run_stays(toy_classifier: Classifier, toy_image: Any, tmp_path: Path) -> None:
    for name in toy_classifier.class_names:
        (tmp_path / "data" / name).mkdir(parents=True)
        tensor_to_picture(toy_image).save(tmp_path / "data" / name / "0.png")
    plan = EvaluationPlan(("natural", "grid"), (3, 3, 3), rotation=20, vote=2)
    report = evaluate(toy_classifier, str(tmp_path / "data"), plan, store=tmp_path / "store")
    (folder,) = runs_in(tmp_path / "store")
    told = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert is_exact(told) and read_card(folder).plan == plan
    assert json.dumps({key: value for key, value in report.run.items() if key not in OF_A_REPORT}) == json.dumps(told)


def test_a_run_is_found_under_the_name_that_earlier_versions_gave_it() -> None:
    assert is_exact(STORED)
    assert run_folder(Path("store"), RunCard.from_json(STORED)) == Path("store", "pictures-test-2f3664af")


def test_a_summary_knows_one_classifier_by_its_attributes(tmp_path: Path) -> None:
    folder = write_run(tmp_path, 20)
    (entry,) = summarise(folder).card.classifiers
    assert entry == read_card(folder).classifiers[0]
    assert entry.picture_size == (32, 32) and entry.class_names["3"] == "cat" and entry.passes_per_query is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *[(key, None) for key in STORED],
        *[(f"data.{key}", None) for key in STORED["data"]],
        *[(f"environment.{key}", None) for key in STORED["environment"]],
        *[(f"classifiers.0.{key}", None) for key in STORED["classifiers"][0] if key != "passes_per_query"],
        ("schema", 2), ("classifiers", {}), ("data", []), ("plan", "grid"), ("environment", 1), ("classifiers.0", "x"),
        ("data.name", 1), ("data.split", []), ("data.hash", {}), ("data.pictures", "500"), ("data.pictures", 0),
        ("environment.device", 1), ("environment.threads", 1.5), ("environment.versions", {"torch": 2}),
        ("environment.precision", "bf16"), ("classifiers.1.name", {}), ("classifiers.1.hash", 7),
        ("classifiers.1.grid", []), ("classifiers.1.picture_size", 32), ("classifiers.1.picture_size", [32]),
        ("classifiers.1.picture_size", [32, "32"]), ("classifiers.1.class_names", {"0": 1}),
        ("classifiers.1.passes_per_query", 0), ("plan.shard", 1.5), ("plan.shard", 0), ("plan.vote", -1),
        ("plan.padding", "blue"), ("plan.granularity", [31, 5]), ("plan.rotation", "x"), ("plan.steps", 0),
    ],
)  # fmt: skip
def test_a_card_that_lacks_something_says_what(path: str, value: Any, tmp_path: Path) -> None:
    told = with_value(path, value)
    field = next(key for key in reversed(path.split(".")) if not key.isdigit())
    with pytest.raises(ValueError, match=field):
        RunCard.from_json(told)
    (tmp_path / "card.json").write_text(json.dumps(told))
    with pytest.raises(CorruptFile, match=r"card\.json is no run card of schema 1 \(.*\); choose another store"):
        read_card(tmp_path)


@pytest.mark.parametrize("path", ["more", "data.more", "plan.more", "environment.more", "classifiers.1.more"])
def test_what_a_card_would_not_keep_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="more"):
        RunCard.from_json(with_value(path, "x"))


def test_a_plan_of_fewer_settings_is_read_with_the_usual_ones() -> None:
    card = RunCard.from_json(with_value("plan.steps", None))
    assert card.plan.steps == EvaluationPlan().steps
