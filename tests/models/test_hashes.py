"""Hashes that are stored: runs of earlier versions go on, and what ships is never taken for other weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from torch import Tensor
from toys import Centroid, Net, blob

from scripts.build_results import rehash
from spatial_viz.data.images import tensor_to_picture
from spatial_viz.errors import InvalidInput
from spatial_viz.evaluation.cards import RunCard
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.results import all_results, shipped_folder
from spatial_viz.evaluation.run import evaluate
from spatial_viz.evaluation.store import run_folder, runs_in
from spatial_viz.evaluation.summary import read_summary
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.registry import load_classifier, manifest

PLAN = EvaluationPlan(granularity=(3, 3, 3), shard=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, side in (("left", -1), ("right", 1)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            picture = tensor_to_picture(blob(side * (2.0 + number), 1.0).expand(3, -1, -1))
            picture.save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


def grey(resize: int | None = None) -> Classifier:
    names = ["left", "right"]
    return Classifier(
        Centroid(), class_names=names, input_size=(32, 32), mean=(0,), std=(1,), name="toy", resize=resize
    )


def age(run: Path, classifier: Classifier) -> Path:
    """Turn a run into the one that a version up to 0.3 would have left."""
    card = json.loads((run / "card.json").read_text())
    card["classifiers"][0]["hash"] = classifier.first_hash
    (run / "card.json").write_text(json.dumps(card))
    return run.rename(run_folder(run.parent, RunCard.from_json(card)))


def test_a_run_of_an_earlier_version_goes_on(folder: Path, tmp_path: Path) -> None:
    whole = evaluate(grey(), str(folder), PLAN, store=tmp_path / "store").to_json()["results"]
    run = age(runs_in(tmp_path / "store")[0], grey())
    for shard in run.glob("*-00001.*"):
        shard.unlink()
    resumed = evaluate(grey(), str(folder), PLAN, store=tmp_path / "store", resume=True)
    assert resumed.to_json()["results"] == whole
    assert runs_in(tmp_path / "store") == [run]


def test_a_run_with_another_resize_is_another_run(folder: Path, tmp_path: Path) -> None:
    """The hash of versions up to 0.3 did not see the resize: its runs must not answer for it."""
    evaluate(grey(), str(folder), PLAN, store=tmp_path / "store")
    age(runs_in(tmp_path / "store")[0], grey())
    evaluate(grey(resize=40), str(folder), PLAN, store=tmp_path / "store", resume=True)
    assert len(runs_in(tmp_path / "store")) == 2


def test_a_classifier_that_cannot_be_hashed_resumes_nothing(folder: Path, tmp_path: Path) -> None:
    class Held(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, :2]

    def make() -> Classifier:
        held = Held(generator=(each for each in ()))
        return Classifier(held, class_names=["left", "right"], input_size=(32, 32), name="held")

    evaluate(make(), str(folder), PLAN, store=tmp_path / "store")
    with pytest.raises(InvalidInput, match=r"holds network\.generator, which cannot be hashed"):
        evaluate(make(), str(folder), PLAN, store=tmp_path / "store", resume=True)
    evaluate(make(), str(folder), PLAN, store=tmp_path / "store")
    assert len(runs_in(tmp_path / "store")) == 2


def test_nothing_that_ships_is_other_weights() -> None:
    results, problems = all_results(store=Path("no", "such", "folder"))
    assert not problems and not results["classifier"].str.contains("other weights").any()
    runs = [json.loads(path.read_text())["run"] for path in shipped_folder().glob("*.json")]
    hashes = [entry["hash"] for run in runs for entry in run["classifiers"]]
    hashes += [read_summary(path).card.classifiers[0].hash for path in shipped_folder().glob("*.npz")]
    assert all(each.startswith("2-") for each in hashes)


def test_only_hashes_of_what_ships_are_brought_up_to_date(tmp_path: Path) -> None:
    reports = shipped_folder().glob("*.json")
    source = next(path for path in reports if not json.loads(path.read_text())["run"]["plan"]["vote"])
    report = json.loads(source.read_text())
    entry = report["run"]["classifiers"][0]
    classifier = load_classifier(entry["name"])
    assert entry["name"] in {card.name for card in manifest()} and entry["hash"] == classifier.hash
    for old, new in ((classifier.first_hash, classifier.hash), ("0" * 64, "0" * 64)):
        entry["hash"] = old
        (tmp_path / source.name).write_text(json.dumps(report))
        rehash(tmp_path)
        stored = json.loads((tmp_path / source.name).read_text())
        assert stored["run"]["classifiers"][0]["hash"] == new
    shutil.copy(source, tmp_path)
    before = (tmp_path / source.name).read_bytes()
    rehash(tmp_path)
    assert (tmp_path / source.name).read_bytes() == before
