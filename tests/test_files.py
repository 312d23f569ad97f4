"""Files that turn, places that cannot be written, work that is stopped: noticed, told in a sentence, nothing lost."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray as xr
from command_line import SMALL, run
from PIL import Image
from torch import Tensor
from toys import blob

from benchmarks.app import ROOT
from spatial_viz.data.images import tensor_to_picture
from spatial_viz.errors import CorruptFile, InvalidInput, SpatialVizError
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.report import report_on
from spatial_viz.evaluation.run import evaluate
from spatial_viz.evaluation.store import open_landscapes, read_card, read_table, runs_in
from spatial_viz.evaluation.summary import read_summary, summarise, write_summary
from spatial_viz.export.video import save_animation
from spatial_viz.files import (
    check_apart,
    check_folder,
    check_writable,
    checksum_path,
    intact,
    replace_file,
    replace_folder,
    write_file,
)
from spatial_viz.landscape import cache
from spatial_viz.landscape.dataset import load, save
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models import registry
from spatial_viz.models.classifier import Classifier
from spatial_viz.training import loop
from spatial_viz.transforms.grids import TransformGrid

GRID = TransformGrid(30, 3, 3, (5, 3, 3))


def flipped(path: Path, seed: int, trials: int) -> Iterator[int]:
    """The file with one bit turned, at another place each time; its places, and at the end the file as it was."""
    content, places = path.read_bytes(), random.Random(seed)
    for _ in range(trials):
        place = places.randrange(8 * len(content))
        turned = bytearray(content)
        turned[place // 8] ^= 1 << place % 8
        path.write_bytes(turned)
        yield place
    path.write_bytes(content)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "blobs"
    for name, turn in (("left", 0.0), ("right", 0.7)):
        (root / name).mkdir(parents=True)
        for number in range(3):
            tensor_to_picture(blob(2.0 * number + turn, 3.0 - turn)).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def evaluated(toy_classifier: Classifier, pictures: Path, tmp_path: Path) -> Path:
    """The folder of a run with landscapes in two shards."""
    plan = EvaluationPlan(("natural", "grid"), GRID.granularity, full=True, shard=3)
    evaluate(toy_classifier, str(pictures), plan, store=tmp_path / "store")
    return runs_in(tmp_path / "store")[0]


# --- Bits that turn -------------------------------------------------------------------------------------------------


def test_a_cached_landscape_is_the_one_that_was_computed_or_is_computed_again(
    toy_classifier: Classifier, toy_image: Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path))
    first = cache.cached_sweep(toy_classifier, toy_image, 0, GRID.axes())
    (entry,) = tmp_path.glob("*.nc")
    assert cache.is_cached(toy_classifier, toy_image, 0, GRID.axes())
    for place in flipped(entry, seed=1, trials=300):
        assert not cache.is_cached(toy_classifier, toy_image, 0, GRID.axes()), f"bit {place} is served as truth"
    for place in flipped(checksum_path(entry), seed=2, trials=30):
        assert not cache.is_cached(toy_classifier, toy_image, 0, GRID.axes()), f"bit {place} of the checksum"
    for _ in flipped(entry, seed=3, trials=1):  # what is broken is replaced
        again = cache.cached_sweep(toy_classifier, toy_image, 0, GRID.axes())
        assert cache.is_cached(toy_classifier, toy_image, 0, GRID.axes())
        xr.testing.assert_equal(again, first)
    checksum_path(entry).unlink()  # one of an earlier version
    assert not cache.is_cached(toy_classifier, toy_image, 0, GRID.axes())
    cache.cached_sweep(toy_classifier, toy_image, 0, GRID.axes())
    assert cache.is_cached(toy_classifier, toy_image, 0, GRID.axes())


def test_the_cache_lets_go_of_a_landscape_together_with_its_checksum(
    toy_classifier: Classifier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path))
    images = [blob(place, 0.0) for place in (1.0, 2.0, 3.0)]
    for number, image in enumerate(images):
        cache.cached_sweep(toy_classifier, image, 0, GRID.axes())
        if number == 1:
            monkeypatch.setattr(cache, "MAX_BYTES", sum(each.stat().st_size for each in tmp_path.iterdir()))
            for entry in tmp_path.iterdir():
                os.utime(entry, (time.time() - 60 + entry.stat().st_ino % 7, time.time() - 60))
            assert cache.is_cached(toy_classifier, images[0], 0, GRID.axes())  # the one that was asked for last stays
    known = [cache.is_cached(toy_classifier, image, 0, GRID.axes()) for image in images]
    assert known == [True, False, True]


def test_a_broken_file_of_a_landscape_is_one_sentence(
    toy_classifier: Classifier, toy_image: Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "a.nc"
    save(sweep(toy_classifier, toy_image, 0, GRID), path)
    refused = 0
    for _ in flipped(path, seed=4, trials=60):
        try:
            load(path)
        except CorruptFile as error:
            assert "a.nc is not" in str(error)
            refused += 1
    assert refused > 5, "the seeds find nothing that h5py notices"


def test_a_shard_that_turned_is_named(evaluated: Path) -> None:
    table = evaluated / "00-00001.parquet"
    whole = read_table(evaluated)[0]
    for path, trials in ((table, 200), (checksum_path(table), 30)):
        for place in flipped(path, seed=5, trials=trials):
            with pytest.raises(CorruptFile, match=r"00-00001\.parquet is damaged: .*remove the table.*--resume"):
                read_table(evaluated)
                pytest.fail(f"bit {place} of {path.name} is served as truth")
    pd.testing.assert_frame_equal(read_table(evaluated)[0], whole)


def test_a_damaged_shard_stops_a_run_before_the_work_and_removed_it_is_made_again(
    evaluated: Path, toy_classifier: Classifier, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = report_on(evaluated).results
    plan = EvaluationPlan(("natural", "grid"), GRID.granularity, full=True, shard=3)
    table = evaluated / "00-00000.parquet"
    for _ in flipped(table, seed=6, trials=1):
        with monkeypatch.context() as patch, pytest.raises(CorruptFile, match=r"00-00000\.parquet is damaged"):
            patch.setattr("spatial_viz.evaluation.jobs.Worker.answer", lambda *_: pytest.fail("it works first"))
            evaluate(toy_classifier, str(pictures), plan, store=evaluated.parent, resume=True)
    table.unlink()
    again = evaluate(toy_classifier, str(pictures), plan, store=evaluated.parent, resume=True)
    assert again.run["complete"] and again.results == before and intact(table)


def test_shards_of_earlier_versions_have_no_checksums_and_count(
    evaluated: Path, toy_classifier: Classifier, pictures: Path
) -> None:
    before = report_on(evaluated).results
    for path in evaluated.glob("*.sha256"):
        path.unlink()
    plan = EvaluationPlan(("natural", "grid"), GRID.granularity, full=True, shard=3)
    assert evaluate(toy_classifier, str(pictures), plan, store=evaluated.parent, resume=True).results == before
    assert not list(evaluated.glob("*.sha256")) and len(summarise(evaluated)) == 6
    raised = 0
    for _ in flipped(evaluated / "00-00001.parquet", seed=7, trials=100):  # not all can be noticed; none is a traceback
        try:
            report_on(evaluated)
        except SpatialVizError as error:
            assert "00-00001.parquet" in str(error) or "card.json" in str(error)
            raised += 1
    assert raised > 20


def test_kept_landscapes_that_turned_are_named(evaluated: Path) -> None:
    found = open_landscapes(evaluated).load()
    for path in sorted(entry for entry in (evaluated / "00-00001.zarr").rglob("*") if entry.is_file()):
        for place in flipped(path, seed=8, trials=8):
            with pytest.raises(CorruptFile, match=r"00-00001\.zarr is damaged: .*--resume"):
                open_landscapes(evaluated)
                pytest.fail(f"bit {place} of {path} is served as truth")
    chunk = next(path for path in evaluated.glob("00-00001.zarr/loss/c/**/*") if path.is_file())
    content = chunk.read_bytes()
    chunk.unlink()  # zarr itself would fill the gap with zeros
    with pytest.raises(CorruptFile, match=r"00-00001\.zarr is damaged"):
        summarise(evaluated)
    chunk.write_bytes(content)
    xr.testing.assert_identical(open_landscapes(evaluated).load(), found)


def test_landscapes_of_earlier_versions_that_are_broken_are_one_sentence(evaluated: Path) -> None:
    for path in evaluated.glob("*.sha256"):
        path.unlink()
    refused = 0
    for path in sorted(entry for entry in (evaluated / "00-00001.zarr").rglob("*") if entry.is_file()):
        for _ in flipped(path, seed=9, trials=4):
            with contextlib.suppress(CorruptFile):
                summarise(evaluated)
                refused -= 1
            refused += 1
    assert refused > 5


def test_landscapes_without_a_table_do_not_count(evaluated: Path) -> None:
    (evaluated / "00-00001.parquet").unlink()
    (evaluated / "00-00001.zarr" / "zarr.json").write_text("half a st")
    assert len(open_landscapes(evaluated)["image"]) == len(summarise(evaluated)) == 3


def test_a_run_card_that_turned_is_one_sentence(evaluated: Path) -> None:
    refused = 0
    for _ in flipped(evaluated / "card.json", seed=10, trials=300):
        try:
            report_on(evaluated)
        except SpatialVizError as error:
            assert "card.json" in str(error)
            refused += 1
    assert refused > 100 and read_card(evaluated)


def test_a_summary_that_turned_is_never_served(evaluated: Path, tmp_path: Path) -> None:
    path = tmp_path / "summary.npz"
    write_summary(summarise(evaluated), path)
    whole = read_summary(path)
    refused = 0
    for place in flipped(path, seed=11, trials=300):
        try:
            found = read_summary(path)
        except CorruptFile as error:
            assert "summary.npz is no summary" in str(error)
            refused += 1
            continue
        pd.testing.assert_frame_equal(found.table(), whole.table(), obj=f"after bit {place}")
        assert found.card == whole.card
    assert refused > 100


def test_a_kill_between_checksum_and_file_is_a_file_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = tmp_path / "a.nc", tmp_path / "b.zarr"

    def make(partial: Path) -> None:
        partial.mkdir()
        (partial / "0").write_bytes(b"zero")
        (partial / "c").mkdir()
        (partial / "c" / "1").write_bytes(b"one")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        renamed = Path.replace
        patch.setattr(Path, "replace", lambda self, to: renamed(self, to) if to.suffix == ".sha256" else killed())
        with pytest.raises(KeyboardInterrupt):
            replace_file(path, lambda partial: partial.write_bytes(b"content"), with_checksum=True)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(folder, make)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.nc.sha256", "b.zarr.sha256"]
    replace_file(path, lambda partial: partial.write_bytes(b"other"), with_checksum=True)
    replace_folder(folder, make)
    assert intact(path) and intact(folder)
    told = subprocess.run(["sha256sum", "--check", *tmp_path.glob("*.sha256")], cwd=tmp_path, capture_output=True)
    assert told.returncode == 0 and told.stdout.count(b": OK") == 3, "in the form that every system can check"
    (folder / "c" / "2").write_bytes(b"two")
    assert intact(folder) is False and intact(tmp_path / "c") is None


# --- Places ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Something that is no regular file; as root a device would go the same way."""
    os.mkfifo(tmp_path / "way.gif")
    return tmp_path / "way.gif"


WRITERS = (
    ["sweep", "sample:cifar10/0", "--out"], ["sweep", "sample:cifar10/0", "--figure"],
    ["sweep", "sample:cifar10/0", "--animation"], ["handout", "sample:cifar10/0", "--out"],
)  # fmt: skip


@pytest.mark.parametrize("command", WRITERS, ids=" ".join)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    command: list[str], pipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "load_classifier", lambda *_: pytest.fail("it works first"))
    folder = tmp_path / "folder.gif"
    folder.mkdir()
    (tmp_path / "link.gif").symlink_to(pipe)
    for place, message in (
        (pipe, "is no regular file, and would be lost"), (tmp_path / "link.gif", "is no regular file"),
        (folder, "is a folder; name a file in it"), (tmp_path / "none" / "way.gif", "there is no folder"),
        (Path("/proc/way.gif"), "cannot write /proc/way.gif"), (tmp_path / ("x" * 300 + ".gif"), "name too long"),
        (tmp_path / "a\0b.gif", "null byte"), ("", "a path is needed; got an empty text"),
    ):  # fmt: skip
        code, out, err = run([*command, str(place)], monkeypatch, capsys)
        assert code == 2 and not out and message in err and err.count("\n") == 1
    assert pipe.is_fifo() and folder.is_dir()


def test_every_writer_refuses_what_is_no_file(
    pipe: Path, toy_classifier: Classifier, toy_image: Tensor, evaluated: Path, tmp_path: Path
) -> None:
    landscape = sweep(toy_classifier, toy_image, 0, GRID)
    frames, folder = [Image.new("RGB", (4, 4))] * 2, tmp_path / "folder.gif"
    folder.mkdir()
    for write in (
        lambda path: save(landscape, path), lambda path: save_animation(path, frames),
        lambda path: write_summary(summarise(evaluated), path), lambda path: write_file(path, Path.touch),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match="is no regular file"):
            write(pipe)
        with pytest.raises(InvalidInput, match="is a folder"):
            write(folder)
    assert pipe.is_fifo() and not list(folder.iterdir())


def test_a_link_stays_and_leads_to_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "file")
    for content in (b"one", b"two"):
        check_writable(link)
        write_file(link, lambda partial, content=content: partial.write_bytes(content))  # type: ignore[misc]
        assert link.is_symlink() and (tmp_path / "there" / "file").read_bytes() == content
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["x" * 255, "ż" * 127])
def test_names_may_be_as_long_as_the_disk_takes(name: str, tmp_path: Path) -> None:
    check_writable(tmp_path / name)
    write_file(tmp_path / name, lambda partial: partial.write_bytes(b"content"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_folders_for_files(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "folders")
    assert not list(tmp_path.iterdir()), "asked, not made"
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInput, match="file is no folder; choose another place"):
            check_folder(place)
    with pytest.raises(InvalidInput, match="cannot write /proc/none"):
        check_folder(Path("/proc/none"))


def test_stores_and_trainings_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "load_classifier", lambda *_: pytest.fail("it works first"))
    monkeypatch.setattr("spatial_viz.training.data.read", lambda *_: pytest.fail("it reads first"))
    (tmp_path / "file").touch()
    for command in (
        ["evaluate", "--classifier", "cifar10/standard", "--store"], ["train", "--recipe", "standard", "--out"],
    ):  # fmt: skip
        for place, message in (
            (tmp_path / "file", "is no folder"),
            (Path("/proc/none"), "cannot write"),
            ("", "empty"),
        ):
            code, _, err = run([*command, str(place)], monkeypatch, capsys)
            assert code == 2 and message in err and err.count("\n") == 1


@pytest.mark.parametrize("words", [["sweep", "sample:mnist/0"], ["evaluate"], ["handout", "sample:mnist/0"]])
def test_names_of_classifiers_of_any_length(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("x" * 3000, "a\0b", ""):
        code, _, err = run([*words, "--classifier", name], monkeypatch, capsys)
        assert code == 2 and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [["evaluate", "--classifier", "x", "--data"], ["evaluate", "--classifier", "x", "--root"],
     ["evaluate", "--classifier", "x", "--store"], ["train", "--recipe", "standard", "--data"],
     ["train", "--recipe", "standard", "--initial"], ["publish"], ["sweep"], ["handout"]],
    ids=" ".join,
)  # fmt: skip
def test_paths_that_are_none(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("x" * 3000, "a\0b", ""):
        code, out, err = run([*words, place], monkeypatch, capsys)
        assert code == 2 and not out and err.startswith("error: ") and err.count("\n") == 1


@contextlib.contextmanager
def small_disk(most: int) -> Iterator[None]:
    """No file may grow beyond ``most`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("command", "name"), list(zip(WRITERS, ("a.nc", "a.html", "a.gif", "a.pdf"), strict=True)), ids=str
)
def test_a_disk_that_fills_leaves_the_old_file(
    command: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "out" / name
    path.parent.mkdir()
    path.write_bytes(b"the old one")
    monkeypatch.setattr(logging, "raiseExceptions", False)  # the log of another library's thread meets the limit, too
    with small_disk(5_000):
        code, _, err = run([*command, str(path), *SMALL], monkeypatch, capsys)
    assert code == 2 and f"cannot write {path}: File too large; make room there" in err and err.count("\n") == 1
    assert path.read_bytes() == b"the old one" and [each.name for each in path.parent.iterdir()] == [name]


# --- Stopped --------------------------------------------------------------------------------------------------------


def heed_the_keyboard() -> None:
    """In a child: a shell's job in the background ignores the keyboard, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_evaluation_stopped_by_the_keyboard_says_how_to_go_on(pictures: Path, tmp_path: Path) -> None:
    for name in ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"):
        (tmp_path / "cifar" / name).mkdir(parents=True)
        for number in range(20):  # many: on a busy machine it goes on for a while before it is stopped
            Image.new("RGB", (32, 32), "teal").save(tmp_path / "cifar" / name / f"{number}.png")
    store = tmp_path / "store"
    command = [sys.executable, "-m", "spatial_viz", "evaluate", "--classifier", "cifar10/standard", "--data",
               str(tmp_path / "cifar"), "--full", "--shard", "1", "--store", str(store)]  # fmt: skip
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=heed_the_keyboard)  # fmt: skip
    try:
        while started.poll() is None and not list(store.glob("*/*.parquet")):
            time.sleep(0.02)
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 130 and out == ""
    assert err.strip() == f"stopped; what is done is in {store}, and the same command with --resume goes on"


def test_a_training_stopped_by_the_keyboard_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from toy_training import toy_folder

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", stopped)
    leaves = toy_folder(tmp_path / "leaves", ("ash", "oak"), train=6, test=1)
    command = ["train", "--recipe", "no-crop", "--data", str(leaves), "--out", str(tmp_path / "run")]
    code, _, err = run(command, monkeypatch, capsys)
    last = err.strip().splitlines()[-1]
    assert code == 130
    assert last == f"stopped; what is done is in {tmp_path / 'run'}, and the same command with --resume goes on"


def test_outputs_never_replace_the_picture_nor_one_another(tmp_path: Path) -> None:
    one, other = tmp_path / "one.png", tmp_path / "link.png"
    one.write_bytes(b"picture")
    other.symlink_to(one)
    for paths, source in (
        ((one, one), None),
        ((other,), one),
        ((one, None, other), None),
        ((one, tmp_path / "." / "one.png"), None),
    ):
        with pytest.raises(InvalidInput, match="which would be lost; choose another place"):
            check_apart(paths, source)
    check_apart((one, None, tmp_path / "two"), tmp_path / "three")
    one.chmod(0o444)
    with pytest.raises(InvalidInput, match="it is read-only"):
        check_writable(one)
