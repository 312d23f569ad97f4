"""From a finished training to its card."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run as run_command
from toy_training import add_small_networks, plan, toy_folder

from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.evaluation.intervals import wilson
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.run import evaluate
from spatial_viz.files import checksum
from spatial_viz.models import registry
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.registry import load_classifier, manifest
from spatial_viz.training import publish
from spatial_viz.training.data import read
from spatial_viz.training.loop import train

SHIPPED = manifest()


def stored() -> tuple[dict[str, Any], ...]:
    """The cards of the manifest as it has them."""
    return tuple(card.to_json() for card in manifest())


@pytest.fixture(autouse=True)
def short_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU without bf16 the whole one takes a minute, and there is one a publication."""
    monkeypatch.setattr(publish, "CALIBRATION_PICTURES", 8)


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder in the place of ``pretrained/``."""
    folder = tmp_path / "pretrained"
    folder.mkdir()
    for module in (registry, publish):
        monkeypatch.setattr(module, "pretrained_folder", lambda: folder)
    return folder


def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, test: int, **changes: int) -> tuple[Path, Path]:
    """The folder of toy pictures that pass for CIFAR-10, ``test`` of each class to test with, and that of a training
    on them."""
    add_small_networks(monkeypatch)
    root, run = toy_folder(tmp_path / "data", CLASS_NAMES["cifar10"], train=12, test=test), tmp_path / "run"
    train(plan(data="cifar10", recipe="augment-30", **changes), read("cifar10", root, "train"), run)
    return root, run


def test_a_card_says_what_was_done_and_what_the_shipped_file_reaches(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = trained(monkeypatch, tmp_path, test=4, validation=20, epochs=2)
    card = publish.publish(run, root, pictures=20).to_json()
    assert stored() == (card,)
    assert card["hardware"] and card["versions"].keys() == {"spatial_viz", "torch"} and card["hours"] >= 0
    assert [line["epoch"] for line in card["learning_curve"]] == [1, 2]
    expected = {
        "epoch", "loss", "learning_rate", "candidates", "validation_accuracy", "validation_worst_of_10",
    }  # fmt: skip
    assert all(line.keys() == expected for line in card["learning_curve"])

    classifier = load_classifier("cifar10/augment-30")
    tried = ("random", "worst-of-10", "grid")
    for adversaries, limit, count in ((("natural",), None, 40), (tried, 20, 20)):
        report = evaluate(classifier, "cifar10", EvaluationPlan(adversaries), root=root, limit=limit)
        for result in report.results:
            key = result.adversary.replace("-", "_")
            assert card[f"{key}_pictures"] == result.n == count
            assert card[f"{key}_accuracy"] == pytest.approx(result.accuracy, abs=1e-6)
            assert (card[f"{key}_low"], card[f"{key}_high"]) == pytest.approx(wilson(result.correct, count), abs=1e-6)
    assert card["grid"] == "31,5,5 within ±30°, dx ±3 px, dy ±3 px, black"
    _, out, _ = run_command(["models"], monkeypatch, capsys)
    for key in ("natural", "random", "worst-of-10", "grid"):
        name = key.replace("-", "_")
        assert f"{key} {card[f'{name}_accuracy']:.1%} of {card[f'{name}_pictures']}" in out


def test_one_that_is_stopped_changes_nothing_and_goes_on(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root, run = trained(monkeypatch, tmp_path, test=2, validation=0, epochs=1)
    asked: list[Any] = []

    def stop(*arguments: Any, **chosen: Any) -> Any:
        asked.append(arguments)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return evaluate(*arguments, **chosen)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            publish.publish(run, root, pictures=20)
    assert not list(shipped.iterdir())
    parquet = {path: path.stat().st_mtime_ns for path in run.rglob("*.parquet")}
    card = publish.publish(run, root, pictures=20).to_json()
    assert parquet and all(path.stat().st_mtime_ns == at for path, at in parquet.items())
    assert card["validation"] == 0 and card["learning_curve"][0]["validation_accuracy"] is None
    assert card["margin_error"] > 0 and card["grid_pictures"] == 20
    assert publish.publish(run, root, pictures=10).to_json() == card  # fewer pictures take nothing away
    wrong = stored()[0] | {"grid_accuracy": 2.0}
    (shipped / "manifest.json").write_text(json.dumps({"schema": 1, "models": [wrong]}))
    monkeypatch.setattr(publish, "VERSION", "another")  # which does not go on with what this one has measured
    assert publish.publish(run, root, pictures=20).to_json()["grid_accuracy"] == card["grid_accuracy"]

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(publish, "replace_file", refuse)
    with pytest.raises(SpatialVizError, match=r"cannot write .*pretrained: Permission denied; make it writable"):
        publish.publish(run, root, pictures=10)


def test_own_pictures_become_a_classifier_of_the_catalogue(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_small_networks(monkeypatch)
    leaves = toy_folder(tmp_path / "leaves", ("ash", "oak", "yew"), train=20, test=4)
    out = tmp_path / "run"
    options = ["--network", "tiny", "--epochs", "2", "--batch", "16", "--learning-rate", "0.05", "--bias-rate", "4"]
    code, _, told = run_command(["train", "--data", str(leaves), "--recipe", "no-crop", *options, "--out", str(out)],
                                monkeypatch, capsys)  # fmt: skip
    assert code == 0 and "pictures/s" in told and "loss=" in told and "learning_rate=" in told
    code, _, _ = run_command(["publish", str(out), "--pictures", "6"], monkeypatch, capsys)
    assert code == 0
    classifier = load_classifier("leaves/no-crop")
    assert classifier.class_names == ("ash", "oak", "yew")
    (card,) = stored()
    assert card["natural_pictures"] == 12 and card["grid_pictures"] == 6
    assert card["mean"] == json.loads((out / "classifier.json").read_text())["mean"]
    shutil.rmtree(leaves / "train" / "yew")
    shutil.rmtree(leaves / "test" / "yew")
    with pytest.raises(InvalidInput, match=r"leaves has other classes or sizes than when .*run was trained"):
        publish.publish(out)


def test_published_weights_can_be_asked_about_the_mirror_image_too(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = trained(monkeypatch, tmp_path, test=2, validation=20, epochs=1)
    with pytest.raises(InvalidInput, match=r"cifar10/augment-30 is not published with the weights of .*run; pub"):
        publish.publish(run, root, pictures=10, mirror=True)
    card = publish.publish(run, root, pictures=10).to_json()
    command = ["publish", str(run), "--root", str(root), "--pictures", "10", "--mirror"]
    code, out, _ = run_command(command, monkeypatch, capsys)
    mirror = json.loads(out)
    assert code == 0 and stored() == (card, mirror) and mirror["name"] == "cifar10/augment-30-mirror"
    assert mirror["file"] == card["file"] and mirror["mirror"] and len(list(shipped.iterdir())) == 2

    alone, both = load_classifier(card["name"]), load_classifier(mirror["name"])
    pictures = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(both.logits(pictures), (alone.logits(pictures) + alone.logits(pictures.flip(3))) / 2)
    report = evaluate(both, "cifar10", EvaluationPlan(("natural", "grid")), root=root, limit=10)
    assert mirror["grid_accuracy"] == pytest.approx(report.results[1].accuracy, abs=1e-6)
    natural = report.results[0]
    assert natural.passes == natural.passes_full == 2 * natural.n
    (landscapes,) = evaluate(both, "cifar10", EvaluationPlan(("grid",), full=True), root=root, limit=10).results
    assert landscapes.passes == landscapes.passes_full == 2 * 775 * 10
    cards = [json.loads(path.read_text()) for path in run.glob("evaluation/*/*/card.json")]
    assert sorted(entry["hash"] for each in cards for entry in each["classifiers"]) == sorted(
        2 * [alone.hash, both.hash]
    )

    assert publish.publish(run, root, pictures=10).to_json() == card and stored() == (card, mirror)
    assert publish.publish(run, root, pictures=10, mirror=True).to_json() == mirror and stored() == (card, mirror)

    other = tmp_path / "other"
    train(plan(data="cifar10", recipe="augment-30", validation=20, epochs=1, seed=1),
          read("cifar10", root, "train"), other)  # fmt: skip
    before = {path.name: path.read_bytes() for path in shipped.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(publish, "evaluate", lambda *_, **__: pytest.fail("it measures first"))
        code, out, err = run_command(["publish", str(other), "--root", str(root)], monkeypatch, capsys)
    assert code == 2 and not out
    assert err.splitlines()[-1] == (
        "error: cifar10/augment-30 is published with other weights; with --replace these take their place, and what "
        "goes is cifar10/augment-30 and cifar10/augment-30-mirror"
    )
    assert {path.name: path.read_bytes() for path in shipped.iterdir()} == before
    command = ["publish", str(other), "--root", str(root), "--pictures", "10", "--replace"]
    code, out, err = run_command(command, monkeypatch, capsys)
    assert code == 0 and json.loads(out)["name"] == card["name"]
    assert err.endswith("with their earlier weights went cifar10/augment-30 and cifar10/augment-30-mirror\n")
    (now,) = stored()  # the weights of the one with a mirror are gone
    assert now["name"] == card["name"] and now["sha256"] == checksum(other / "weights.safetensors") != card["sha256"]


def test_another_publication_meanwhile_is_not_replaced(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root, run = trained(monkeypatch, tmp_path, test=2, validation=0, epochs=1)

    own = {"name": "cifar10/augment-30", "file": "cifar10-augment-30.safetensors", "sha256": "0" * 64}
    other = SHIPPED[0].to_json() | own

    def meanwhile(*arguments: Any, **chosen: Any) -> Any:
        (shipped / "manifest.json").write_text(json.dumps({"schema": 1, "models": [other]}))
        return evaluate(*arguments, **chosen)

    monkeypatch.setattr(publish, "evaluate", meanwhile)
    with pytest.raises(InvalidInput, match=r"with --replace these take their place, and what goes is cifar10/augment"):
        publish.publish(run, root, pictures=10).to_json()
    assert stored() == (other,) and not list(shipped.glob("*.safetensors"))


def test_a_folder_that_cannot_be_written_is_refused_before_measuring(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root, run = trained(monkeypatch, tmp_path, test=2, validation=0, epochs=1)
    for module in (registry, publish):
        monkeypatch.setattr(module, "pretrained_folder", lambda: Path("/proc"))
    monkeypatch.setattr(publish, "evaluate", lambda *_, **__: pytest.fail("it measures first"))
    with pytest.raises(InvalidInput, match=r"cannot write /proc/manifest\.json"):
        publish.publish(run, root, pictures=10)


def test_pictures_that_mean_something_else_in_the_mirror_are_not_asked_about_there(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_small_networks(monkeypatch)
    leaves, run = toy_folder(tmp_path / "leaves", ("ash", "oak"), train=12, test=2), tmp_path / "run"
    train(plan(data=str(leaves), recipe="augment-30", validation=4, epochs=1, mirrored=False),
          read(str(leaves), None, "train", mirrored=False), run)  # fmt: skip
    publish.publish(run, pictures=4)
    with pytest.raises(InvalidInput, match=r"leaves do not mean the same in the mirror; publish without --mirror"):
        publish.publish(run, pictures=4, mirror=True)


def test_what_is_no_finished_training_is_refused(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(asdict(plan())))
    with pytest.raises(InvalidInput, match=r"holds no finished training: it needs plan.json and weights.safetensors"):
        publish.publish(tmp_path)
    assert not list(shipped.iterdir())


def test_own_pictures_need_some_that_the_training_did_not_see_and_a_name_of_their_own(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    leaves = toy_folder(tmp_path / "leaves", ("ash", "oak"), train=3, test=1)
    run = tmp_path / "run"
    run.mkdir()
    (run / "weights.safetensors").write_bytes(b"")
    (run / "plan.json").write_text(json.dumps(asdict(plan(data=str(leaves)))))
    (leaves / "test").rename(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match=r"leaves has no test/ with pictures that the training did not see"):
        publish.publish(run)
    (tmp_path / "elsewhere").rename(leaves / "test")
    other = SHIPPED[0].to_json() | {"name": "leaves/standard", "data": "/other/leaves"}
    (shipped / "manifest.json").write_text(json.dumps({"schema": 1, "models": [other]}))
    with pytest.raises(InvalidInput, match=r"leaves/standard was trained on /other/leaves and not on .*; rename"):
        publish.publish(run)


def test_a_run_over_more_pictures_brings_the_card_up_to_date(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root, run = trained(monkeypatch, tmp_path, test=4, validation=20, epochs=1)
    publish.publish(run, root, pictures=10)
    (card,) = stored()
    asked = EvaluationPlan(("natural", "random", "grid"), shard=7)
    classifier = load_classifier("cifar10/augment-30")

    def improved(**changes: Any) -> list[str]:
        chosen = {"limit": None, "plan": asked, "classifiers": classifier} | changes
        return publish.improve_cards(evaluate(data="cifar10", root=root, **chosen), root)

    other = Classifier(
        classifier.network, class_names=classifier.class_names, input_size=(32, 32), name=classifier.name
    )
    for same in ({"limit": 10}, {"plan": replace(asked, vote=2)}, {"plan": replace(asked, padding="edge")},
                 {"plan": replace(asked, granularity=(3, 3, 3))}, {"plan": replace(asked, seed=1)},
                 {"split": "train", "limit": 100}, {"indices": range(1, 12)}, {"classifiers": other}):  # fmt: skip
        assert not improved(**same) and stored() == (card,)
    assert improved(limit=20) == ["cifar10/augment-30"] and stored()[0]["grid_pictures"] == 20
    assert improved() == ["cifar10/augment-30"] and not improved(limit=20)
    (now,) = stored()
    report = evaluate(classifier, "cifar10", asked, root=root)
    for result in report.results[1:]:
        assert card[f"{result.adversary}_pictures"] == 10 and now[f"{result.adversary}_pictures"] == result.n == 40
        assert now[f"{result.adversary}_accuracy"] == pytest.approx(result.accuracy, abs=1e-6)
        assert now[f"{result.adversary}_low"] == pytest.approx(result.low, abs=1e-6)
    same = {key for key in card if not key.startswith(("random", "grid_"))}
    assert all(now[key] == card[key] for key in same) and "worst_of_10_pictures" in same
