"""Whole data sets: verdicts, passes, the store that survives a kill, reports, refusals."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from toys import Centroid, blob

from benchmarks.app import ROOT
from spatial_viz.attacks.spatial import WorstOfK
from spatial_viz.data.images import load_image, tensor_to_picture
from spatial_viz.data.samples import class_names, samples
from spatial_viz.data.selection import select_pictures
from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.errors import CorruptFile, InvalidInput, MissingFile, PictureError, SpatialVizError, SpatialVizWarning
from spatial_viz.evaluation import store as stores
from spatial_viz.evaluation.decode import class_map, imagenet_wnids
from spatial_viz.evaluation.exhaustive import break_pictures, extremes_first
from spatial_viz.evaluation.intervals import wilson
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.report import report_on
from spatial_viz.evaluation.run import Progress, evaluate
from spatial_viz.evaluation.store import open_landscapes, read_table, runs_in
from spatial_viz.evaluation.vote_runner import EarlyStoppingVote
from spatial_viz.landscape.dataset import misclassified, worst_case
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.inference import exact_logits, runner_for
from spatial_viz.models.registry import load_classifier
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid

GRID = TransformGrid(30, 3, 3, (7, 3, 3))
PLAN = EvaluationPlan(("natural", "random", "worst-of-5", "grid"), GRID.granularity, shard=5)
PLACES = [(math.cos(a) * r, math.sin(a) * r) for r in (2.0, 5.0, 8.0) for a in (0.3, 1.2, 2.5, 4.0)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two class folders with twelve blobs each; which class one is in says nothing about where its blob lies."""
    root = tmp_path / "blobs"
    for name, turn in (("left", 0.0), ("right", 0.7)):
        (root / name).mkdir(parents=True)
        for number, (right, down) in enumerate(PLACES):
            tensor_to_picture(blob(right + turn, down - turn)).save(root / name / f"{number:02}.png")
    return root


def brute_force(classifier: Classifier, root: Path) -> list[bool]:
    """Robust or not, every picture by its full sweep."""
    robust = []
    for label, name in enumerate(classifier.class_names):
        for path in sorted((root / name).iterdir()):
            swept = sweep(classifier, path, label, GRID)
            robust.append(bool(swept["natural_predicted"] == label) and not bool(misclassified(swept).any()))
    return robust


def test_verdicts_are_those_of_the_full_sweep_with_fewer_passes(toy_classifier: Classifier, folder: Path) -> None:
    report = evaluate(toy_classifier, str(folder), PLAN)
    robust = brute_force(toy_classifier, folder)
    assert 2 < sum(robust) < 20
    natural, random, worst, grid = report.results
    assert (grid.n, grid.correct) == (24, sum(robust))
    assert grid.passes < grid.passes_full == 24 * 63
    assert (grid.low, grid.high) == wilson(grid.correct, 24) and grid.accuracy == grid.correct / 24
    assert natural.correct >= random.correct >= worst.correct >= 0
    assert (natural.passes, random.passes, worst.passes) == (24, 24, 120)
    counts = report.per_class[toy_classifier.name]["grid"]
    assert sum(each["n"] for each in counts.values()) == 24
    assert sum(each["correct"] for each in counts.values()) == sum(robust)
    assert report.run["complete"] and not report.run["unreadable"]


def test_every_row_can_be_checked(toy_classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    evaluate(toy_classifier, str(folder), PLAN, store=tmp_path / "store")
    table, facts = read_table(runs_in(tmp_path / "store")[0])
    assert facts["shards"] == facts["shards_in_all"] == 5 and table["index"].tolist() == list(range(24))
    assert table["grid_robust"].tolist() == brute_force(toy_classifier, folder)
    paths = sorted(folder.glob("*/*.png"))
    for row in table.to_dict("records"):
        image, label = toy_classifier.prepare(load_image(paths[row["index"]])), row["label"]
        natural = sweep(toy_classifier, image, label, TransformGrid(0, 0, 0, (1, 1, 1)))
        assert int(natural["natural_predicted"]) == row["natural_predicted"]
        assert float(natural["natural_loss"]) == pytest.approx(row["natural_loss"], abs=1e-6)
        broken_by_grid = not row["grid_robust"] and row["natural_predicted"] == label
        assert np.isfinite(row["breaking_loss"]) == broken_by_grid == (row["breaking_predicted"] >= 0)
        if broken_by_grid:
            place = [[row[f"breaking_{axis}"] for axis in ("rotation", "dx", "dy")]]
            logits = exact_logits(toy_classifier, image, torch.tensor(place))
            assert int(logits.argmax()) == row["breaking_predicted"] != label
        draws = WorstOfK(k=5)(
            toy_classifier, image[None], torch.tensor([label]), GRID, 0, indices=torch.tensor([row["index"]])
        )
        assert int(draws.tried - draws.fooled) == row["worst-of-5_correct"]
        assert bool(draws.robust) == row["worst-of-5_robust"]


def test_the_answer_depends_on_no_shard_no_choice_and_no_order(toy_classifier: Classifier, folder: Path) -> None:
    def rows(store: Path, plan: EvaluationPlan, **options: Any) -> pd.DataFrame:
        evaluate(toy_classifier, str(folder), plan, store=store, **options)
        return read_table(runs_in(store)[0])[0].set_index("index").sort_index()

    whole = rows(folder / ".one", PLAN)
    for number, (plan, options) in enumerate(
        [(replace(PLAN, shard=7), {}), (replace(PLAN, shard=100), {}), (PLAN, {"indices": [20, 3, 11]})]
    ):
        part = rows(folder / f".{number}", plan, **options)
        same = [name for name in whole.columns if not name.startswith("breaking") and name != "grid_passes"]
        pd.testing.assert_frame_equal(part[same], whole.loc[part.index, same])


def test_the_extremes_go_first() -> None:
    order = extremes_first(TransformGrid.paper(32))
    assert len(order) == 775 and len(order.unique(dim=0)) == 775
    assert (order[:8].abs() == torch.tensor([30.0, 3.0, 3.0])).all() and (order[-1] == 0).all()


def test_full_keeps_every_landscape(toy_classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, adversaries=("natural", "grid"), full=True)
    report = evaluate(toy_classifier, str(folder), plan, store=tmp_path / "store")
    run = runs_in(tmp_path / "store")[0]
    table = read_table(run)[0]
    kept = open_landscapes(run)
    assert table["grid_robust"].tolist() == brute_force(toy_classifier, folder)
    assert report.results[1].passes == report.results[1].passes_full
    assert kept["image"].values.tolist() == table["index"].tolist()
    for row in table[::5].itertuples():
        path = sorted(folder.glob("*/*.png"))[row.index]
        swept = sweep(toy_classifier, path, row.label, GRID)
        own = kept.sel(image=row.index)
        for name in ("loss", "margin", "predicted", "confidence"):
            np.testing.assert_array_equal(own[name].values, swept[name].values)
            assert own[name].dims == swept[name].dims
        worst = worst_case(swept)
        place = (row.worst_rotation, row.worst_dx, row.worst_dy)
        assert place == (worst.rotation, worst.dx, worst.dy) and row.failing == int(misclassified(swept).sum())
        assert own["rotation"].attrs["units"] == "degree"


def test_a_vote_costs_its_votes(toy_classifier: Classifier, folder: Path) -> None:
    report = evaluate(toy_classifier, str(folder), replace(PLAN, vote=3), indices=range(6))
    natural, _, worst, grid = report.results
    assert natural.vote == 3 and natural.classifier == "toy"
    assert (natural.passes, worst.passes) == (6 * 3, 6 * 5 * 3) and grid.passes < grid.passes_full == 6 * 63 * 3


@pytest.mark.parametrize("votes", [1, 2, 5, 10])
@pytest.mark.parametrize("redraw", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_more_voters_are_asked_than_it_takes(votes: int, redraw: bool, precision: str) -> None:
    """Of every question by hand, from all the ballots: the class, and after which one no other could win any more."""
    alone = load_classifier("cifar10/standard")
    vote = MajorityVote(alone, votes=votes, seed=4, redraw=redraw)
    images = torch.stack([alone.prepare(load_image(sample.path)) for sample in samples("cifar10")[:5]])
    pictures, moves = torch.arange(5).repeat(6), TransformGrid.paper(32).draw(30, 3)
    decided, exact, passes = EarlyStoppingVote(vote, "cpu", precision).answer(images, moves, pictures, "black")
    seen = warp(images[pictures], moves)
    cast, ties = vote.ballots(seen)[1].argmax(2), 0
    for row, ballots in enumerate(cast.tolist()):
        counts = [
            sorted((ballots[:asked].count(name) for name in range(10)), reverse=True) for asked in range(votes + 1)
        ]
        settled = [count[0] - count[1] > votes - asked for asked, count in enumerate(counts)]
        assert passes[row] == (settled.index(True) if any(settled) else votes)
        assert exact[row] == (not any(settled))
        ties += not any(settled)
    assert torch.equal(decided.argmax(1), vote.logits(seen).argmax(1))
    torch.testing.assert_close(decided[exact], vote.logits(seen)[exact])
    assert ties > 0 if votes == 2 else passes.sum() < 30 * votes or votes == 1


def test_a_voter_that_returns_nan_is_named(toy_classifier: Classifier) -> None:
    class Sometimes(Centroid):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where((x[:, 0, :, 26:].sum((1, 2)) > 5)[:, None], torch.nan, super().forward(x))

    broken = Classifier(Sometimes(), class_names=["left", "right"], input_size=toy_classifier.input_size, mean=(0.0,),
                        std=(1.0,), name="broken")  # fmt: skip
    runner = EarlyStoppingVote(MajorityVote(broken, GRID, 3), "cpu", "auto")
    with pytest.raises(SpatialVizError, match=r"broken, vote of 3.*picture 7"):
        break_pictures(
            runner, blob(9, 0)[None], torch.ones(1).long(), GRID, "black", torch.ones(1) > 0, torch.tensor([7])
        )


def test_first_order_leaves_out_what_is_wrong_already(toy_classifier: Classifier, folder: Path) -> None:
    plan = EvaluationPlan(("natural", "first-order"), steps=5)
    natural, first_order = evaluate(toy_classifier, str(folder), plan).results
    assert first_order.passes == natural.correct * 6 and first_order.passes_full == 24 * 6
    assert first_order.correct <= natural.correct


# --- Nothing is lost ------------------------------------------------------------------------------------------------


def test_a_run_that_was_cut_off_ends_as_an_undisturbed_one(
    toy_classifier: Classifier, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(toy_classifier, str(folder), PLAN, store=tmp_path / "whole")
    written = []
    original = stores.Run.write

    def write(self: stores.Run, *arguments: Any) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments)
        original(self, *arguments)

    monkeypatch.setattr(stores.Run, "write", write)
    with pytest.raises(KeyboardInterrupt):
        evaluate(toy_classifier, str(folder), PLAN, store=tmp_path / "parts")
    run = runs_in(tmp_path / "parts")[0]
    assert not report_on(run).run["complete"] and report_on(run).results[0].n == 10
    monkeypatch.undo()
    told: list[Progress] = []
    evaluate(toy_classifier, str(folder), PLAN, store=tmp_path / "parts", resume=True, progress=told.append)
    assert told[0].total == 24 and told[-1].done == 24 and told[0].done >= 10
    whole = runs_in(tmp_path / "whole")[0]
    assert whole.name == run.name
    for path in whole.glob("*.parquet"):
        assert pq.read_table(path).equals(pq.read_table(run / path.name))
    # What is complete is not done again, and says the same.
    again = evaluate(toy_classifier, str(folder), PLAN, store=tmp_path / "parts", resume=True)
    assert again.results == report_on(whole).results
    assert told[-1].broken == 24 - again.results[3].correct and told[-1].begun == 24


def test_kill_dash_nine(tmp_path: Path, folder: Path) -> None:
    """The command itself, killed without notice once two shards are there."""
    pictures = tmp_path / "cifar"
    for name in ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"):
        (pictures / name).mkdir(parents=True)
        tensor_to_picture(torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(len(name)))).save(
            pictures / name / "0.png"
        )
    command = [sys.executable, "-m", "spatial_viz", "evaluate", "--classifier", "cifar10/standard", "--data",
               str(pictures), "--granularity", "5,3,3", "--shard", "1", "--json", "--store"]  # fmt: skip
    whole = subprocess.run([*command, str(tmp_path / "whole")], cwd=ROOT, capture_output=True, check=True)
    started = subprocess.Popen([*command, str(tmp_path / "parts")], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        for _ in range(3000):
            if len(list((tmp_path / "parts").glob("*/*.parquet"))) >= 2 or started.poll() is not None:
                break
            time.sleep(0.02)
    finally:
        os.kill(started.pid, signal.SIGKILL)
        started.communicate()
    resumed = subprocess.run([*command, str(tmp_path / "parts"), "--resume"], cwd=ROOT, capture_output=True, check=True)
    one, other = (json.loads(each.stdout) for each in (whole, resumed))
    assert one["results"] == other["results"] and other["run"]["complete"]
    assert one["run"]["plan"] == other["run"]["plan"]


def test_what_must_not_be_mixed_is_refused(
    toy_classifier: Classifier, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    evaluate(toy_classifier, str(folder), PLAN, store=store)
    with pytest.raises(InvalidInput, match="holds this run already; add --resume"):
        evaluate(toy_classifier, str(folder), PLAN, store=store)
    evaluate(toy_classifier, str(folder), replace(PLAN, seed=1), store=store)  # another question: another folder
    assert len(runs_in(store)) == 2
    monkeypatch.setattr(torch, "__version__", "0.0")
    with pytest.raises(InvalidInput, match=r'another environment.versions.torch \(".*"; now "0.0"\)'):
        evaluate(toy_classifier, str(folder), PLAN, store=store, resume=True)


def test_a_second_writer_and_a_strange_store_are_refused(
    toy_classifier: Classifier, folder: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    evaluate(toy_classifier, str(folder), PLAN, store=store)
    run = runs_in(store)[0]
    with (
        stores.Run(store, stores.read_card(run), resume=True),
        pytest.raises(InvalidInput, match="another process is writing"),
    ):
        evaluate(toy_classifier, str(folder), PLAN, store=store, resume=True)
    (run / "card.json").unlink()
    with pytest.raises(CorruptFile, match="it is no run; choose another store"):
        evaluate(toy_classifier, str(folder), PLAN, store=store, resume=True)
    (run / "card.json").write_text('{"schema": 7}')
    with pytest.raises(CorruptFile, match="no run card of schema 1"):
        evaluate(toy_classifier, str(folder), PLAN, store=store, resume=True)


def test_a_disk_that_fills_is_one_sentence_and_nothing_is_lost(
    toy_classifier: Classifier, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = pq.write_table, []

    def full(*arguments: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) > 2:
            Path(arguments[1]).write_bytes(b"half a ta")
            raise OSError(28, "No space left on device")
        original(*arguments, **options)

    monkeypatch.setattr(stores.pq, "write_table", full)
    with pytest.raises(SpatialVizError, match=r"No space left on device.*--resume"):
        evaluate(toy_classifier, str(folder), PLAN, store=tmp_path)
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*.partial"))
    assert report_on(runs_in(tmp_path)[0]).results[0].n == 10
    assert evaluate(toy_classifier, str(folder), PLAN, store=tmp_path, resume=True).run["complete"]


# --- Pictures -------------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_read_are_named_and_left_out(toy_classifier: Classifier, folder: Path) -> None:
    bad = folder / "right" / "03.png"
    bad.write_bytes(bad.read_bytes()[:60])
    report = evaluate(toy_classifier, str(folder), PLAN)
    assert report.results[0].n == 23 and [Path(name).name for name, _ in report.run["unreadable"]] == ["03.png"]
    assert f"left out: 1 file that cannot be read: {bad} is damaged or cut short" in report.to_text()
    (folder / "left" / "00.png").write_bytes(b"")
    assert "left out: 2 files that cannot be read, the first: " in evaluate(toy_classifier, str(folder), PLAN).to_text()
    with pytest.raises(PictureError, match=r"0[03]\.png.*strict"):
        evaluate(toy_classifier, str(folder), PLAN, strict=True)


def test_folders_of_wnids_become_imagenet_classes(tmp_path: Path) -> None:
    wnids = imagenet_wnids()
    assert len(wnids) == 1000 == len(set(wnids)) and list(wnids) == sorted(wnids) and wnids[0] == "n01440764"
    for wnid in (wnids[7], wnids[650]):
        (tmp_path / "photos" / wnid).mkdir(parents=True)
        tensor_to_picture(torch.rand(3, 40, 40)).save(tmp_path / "photos" / wnid / "a.jpg")
    pictures = select_pictures(str(tmp_path / "photos"), None, "test", None, None)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1000))
    nn.init.zeros_(network[2].weight)  # the same answer to every picture
    classifier = Classifier(network, class_names=class_names("imagenet"), input_size=(32, 32), name="means")
    assert class_map(pictures, classifier) == [7, 650]
    plan = EvaluationPlan(("natural",))
    assert evaluate(classifier, pictures.name, plan).run["classifiers"][0]["class_names"].keys() == {"7", "650"}
    half = evaluate(classifier, pictures.name, replace(plan, restrict=True))
    assert half.results[0].correct == 1, "of two classes this network can only ever name one"
    assert "only the outputs for the classes of the data set count" in half.to_text()
    with pytest.raises(InvalidInput, match="named by ImageNet's identifiers"):
        evaluate("cifar10/standard", pictures.name, plan)


def test_where_nothing_can_be_read_there_is_no_table(toy_classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    """A clone without its LFS files gave an empty table and exit code 0."""
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    for resume in (False, True):
        with pytest.raises(
            PictureError, match=r"none of the 24 pictures of .* can be read; the first: .* git lfs pull"
        ):
            evaluate(toy_classifier, str(folder), PLAN, store=tmp_path / "store", resume=resume)


def test_what_is_left_out_of_a_folder_is_told(toy_classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    (folder / "left" / "12.jfif").touch()
    (folder / "left" / ".ipynb_checkpoints").mkdir()
    (folder / "left" / "00.png").rename(folder / "left" / ".ipynb_checkpoints" / "00.png")
    folder.rename(tmp_path / "Testing")
    (tmp_path / "Training").mkdir()
    with pytest.warns(SpatialVizWarning) as told:
        report = evaluate(toy_classifier, str(tmp_path), EvaluationPlan(("natural",)))
    assert report.results[0].n == 23
    first, second = (str(warning.message) for warning in told)
    assert first == f"the split 'test' of {tmp_path} is Testing"
    assert "1 file by ending (1 .jfif) and 1 hidden folder" in second


def test_detector_data_are_told_of_once(toy_classifier: Classifier, folder: Path) -> None:
    for path in folder.glob("left/*.png"):
        Image.fromarray((np.asarray(Image.open(path)).astype(np.uint16)) * 16).save(path)
    with pytest.warns(
        SpatialVizWarning, match=r"/left/.*\.png has no value above 4,095 of 65,535.*may be like it"
    ) as told:
        evaluate(toy_classifier, str(folder), EvaluationPlan(("natural",)))
    assert len(told) == 1


def test_names_of_any_bytes_are_stored_and_printed(folder: Path, tmp_path: Path) -> None:
    """File, class and data set named in Latin-1, as old archives have them."""
    raw = os.fsencode(tmp_path) + b"/donn\xe9es"
    os.rename(folder, raw)
    os.rename(raw + b"/left", raw + b"/\xe9t\xe9")
    os.rename(raw + b"/right/00.png", raw + b"/right/\xfc.png")
    with open(raw + b"/right/\xe4.png", "wb") as broken:
        broken.write(b"no picture")
    classifier = Classifier(Centroid(), class_names=["été", "right"], input_size=(32, 32), mean=(0.0,), std=(1.0,))
    for full in (False, True):
        plan = EvaluationPlan(("natural", "grid"), (3, 3, 3), full=full)
        report = evaluate(classifier, os.fsdecode(raw), plan, store=tmp_path / "store")
        assert report.results[0].n == 24
        assert report.per_class["unnamed"]["natural"].keys() == {"été", "right"}
        assert report.run["data"]["name"].endswith("données")
        ((name, why),) = report.run["unreadable"]
        assert name.endswith("données/right/ä.png") and "ä.png is not a picture that can be read" in why
        for text in (report.to_text(), report.to_csv(), report.to_markdown(), json.dumps(report.to_json())):
            text.encode()


def test_a_training_on_folders_of_wnids_knows_them_by_its_own_names(tmp_path: Path) -> None:
    wnids = imagenet_wnids()
    for wnid in (wnids[7], wnids[650]):
        (tmp_path / wnid).mkdir()
        tensor_to_picture(torch.rand(3, 40, 40)).save(tmp_path / wnid / "a.jpg")
    pictures = select_pictures(str(tmp_path), None, "test", None, None)

    def means(*names: str) -> Classifier:
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, len(names)))
        return Classifier(network, class_names=names, input_size=(32, 32), name="means")

    assert class_map(pictures, means(wnids[7], wnids[650])) == [0, 1]
    assert class_map(pictures, means("other", wnids[650], wnids[7])) == [2, 1]
    with pytest.raises(InvalidInput, match=f"means has no class '{wnids[650]}'; its classes are {wnids[7]}, other"):
        class_map(pictures, means(wnids[7], "other"))


def test_folders_named_by_numbers_are_known_by_their_names(tmp_path: Path) -> None:
    for name in ("0", "1", "10", "2"):
        (tmp_path / name).mkdir()
        tensor_to_picture(torch.rand(3, 40, 40)).save(tmp_path / name / "a.jpg")
    pictures = select_pictures(str(tmp_path), None, "test", None, None)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 11))
    digits = Classifier(network, class_names=[str(number) for number in range(11)], input_size=(32, 32))
    assert class_map(pictures, digits) == [0, 1, 10, 2]
    twice = Classifier(network, class_names=["0", "1", "2", "2", "10"], input_size=(32, 32))
    with pytest.raises(
        InvalidInput, match="has 2 classes called '2'; name the class folders by ImageNet's identifiers"
    ):
        class_map(pictures, twice)


def test_other_classes_are_refused(toy_classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    (folder / "left").rename(folder / "up")
    with pytest.raises(InvalidInput, match="toy has no class 'up'; its classes are left, right"):
        evaluate(toy_classifier, str(folder), PLAN)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="has no class folders"):
        evaluate(toy_classifier, str(tmp_path / "empty"), PLAN)
    with pytest.raises(InvalidInput, match="there is no data set 'cifar100'; did you mean 'cifar10'"):
        evaluate(toy_classifier, "cifar100", PLAN)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adversaries": ("gird",)}, "unknown adversary 'gird'; did you mean 'grid'"),
        ({"adversaries": ()}, "at least one adversary"),
        ({"adversaries": ("worst-of-0",)}, "k from 1 to"),
        ({"shard": 0}, "shard must be 1 or more"),
        ({"padding": "pink"}, "pink"),
        ({"adversaries": ("natural",), "full": True}, "add the adversary grid"),
    ],
)
def test_plans_that_make_no_sense(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        replace(PLAN, **changes)


def test_choices_that_make_no_sense(toy_classifier: Classifier, folder: Path) -> None:
    for options, said in (
        ({"indices": [24]}, "numbered 0 to 23; got 24"),
        ({"indices": []}, "nothing|empty"),
        ({"limit": 3}, "multiple of the 2 classes"),
        ({"limit": 2, "indices": [1]}, "not both"),
        ({"engine": "spark"}, "unknown engine 'spark'"),
    ):
        with pytest.raises(InvalidInput, match=said):
            evaluate(toy_classifier, str(folder), PLAN, **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="name of its own"):
        evaluate([toy_classifier, toy_classifier], str(folder), PLAN)
    with pytest.raises(MissingFile):
        evaluate(toy_classifier, "cifar10", PLAN, root=folder / "nowhere")


def test_a_classifier_that_returns_nan_is_named_with_picture_and_transform(folder: Path) -> None:
    class Blind(Centroid):
        """Not a number as soon as the light has left the middle."""

        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return torch.where((x[:, 0, :, 26:].sum((1, 2)) > 5)[:, None], torch.nan, logits)

    blind = Classifier(Blind(), class_names=["left", "right"], input_size=(32, 32), mean=(0.0,), std=(1.0,))
    with pytest.raises(SpatialVizError, match=r"not finite at rotation .*picture \d+"):
        evaluate(blind, str(folder), PLAN)


# --- Reports --------------------------------------------------------------------------------------------------------


def test_reports_say_the_same_in_every_form(toy_classifier: Classifier, folder: Path) -> None:
    report = evaluate(toy_classifier, str(folder), PLAN)
    told = json.loads(json.dumps(report.to_json()))
    assert told["schema"] == 1 and told["run"]["data"]["pictures"] == 24
    keys = ["classifier", "adversary", "vote", "n", "correct", "accuracy", "low", "high", "passes", "passes_full"]
    assert all(list(entry) == keys for entry in told["results"])
    assert told["run"]["classifiers"][0]["grid"] == "7,3,3 within ±30°, dx ±3 px, dy ±3 px"
    draws = told["average_random"]["toy"]
    assert draws["draws"] == 5 and told["results"][2]["accuracy"] <= draws["accuracy"] <= 1

    *rows, last = csv.DictReader(io.StringIO(report.to_csv()))
    assert list(last) == [*keys, "class"] and last["adversary"] == "average of 5 random"
    assert float(last["accuracy"]) == draws["accuracy"]
    for number, entry in enumerate(report.results):
        row, *classes = rows[3 * number : 3 * number + 3]
        assert (row["adversary"], row["class"]) == (entry.adversary, "")
        assert (int(row["correct"]), int(row["passes"])) == (entry.correct, entry.passes)
        assert [each["class"] for each in classes] == ["left", "right"]
        assert sum(int(each["correct"]) for each in classes) == entry.correct
        assert [each["n"] for each in classes] == ["12", "12"]
        for each in classes:
            share, low, high = (float(each[key]) for key in ("accuracy", "low", "high"))
            assert share == int(each["correct"]) / 12 and (low, high) == wilson(int(each["correct"]), 12)

    left = [f"{report.per_class['toy'][entry.adversary]['left']['correct'] / 12:.1%}" for entry in report.results]
    text, marked = report.to_text(), report.to_markdown()
    assert len(re.findall("^[|]", marked, re.M)) == (2 + 4) + (2 + 2)
    assert f"| left | {' | '.join(left)} | 12 |" in marked
    for form in (text, marked):
        assert f"{report.results[3].accuracy:.2%}" in form and "seed 0" in form
        assert f"{draws['accuracy']:.1%} on average over 5 random transforms each" in form
    assert any(line.split() == ["left", *left, "12"] for line in text.splitlines())


def test_bf16_changes_no_verdict() -> None:
    """The path in bf16 on a real network, emulated where the hardware has none."""
    classifier = load_classifier("cifar10/standard")
    chosen = samples("cifar10")[:8]
    images = torch.stack([classifier.prepare(load_image(sample.path)) for sample in chosen])
    labels = torch.tensor([sample.label for sample in chosen])
    grid = TransformGrid(30, 3, 3, (5, 3, 3))
    standing, numbers = torch.ones(8, dtype=torch.bool), torch.arange(8)
    one, other = (
        break_pictures(runner_for(classifier, "cpu", precision), images, labels, grid, "black", standing, numbers)
        for precision in ("fp32", "bf16")
    )
    assert torch.equal(one.robust, other.robust) and torch.equal(one.passes, other.passes)
    assert torch.equal(one.transforms.nan_to_num(-1), other.transforms.nan_to_num(-1))
    torch.testing.assert_close(one.losses, other.losses, equal_nan=True, atol=1e-5, rtol=1e-5)
    assert torch.equal(one.predicted, other.predicted) and 0 < int(one.robust.sum()) < 8
