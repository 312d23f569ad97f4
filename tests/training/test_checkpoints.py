"""A training that is cut off, and one that cannot write or go on."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_training import add_small_networks, plan, toy_pictures

from benchmarks.app import ROOT
from spatial_viz.data.samples import load_sample
from spatial_viz.errors import CorruptFile, InvalidInput, SpatialVizError
from spatial_viz.models.networks import build_network, load_weights
from spatial_viz.models.registry import load_classifier
from spatial_viz.training import log, loop, trainer
from spatial_viz.training.checkpoints import write_weights
from spatial_viz.training.data import PictureSet
from spatial_viz.training.log import read_metrics
from spatial_viz.training.loop import train

KILLED = """
import sys
from pathlib import Path
import pytest
from toy_training import add_small_networks, plan, toy_pictures
from spatial_viz.training import loop
loop.CHECKPOINT_SECONDS = 0
loop.LOG_STEPS = 1
add_small_networks(pytest.MonkeyPatch())
loop.train(plan(recipe="augment-30", epochs=4, averaging=4), toy_pictures(), Path(sys.argv[1]), resume=True)
"""


@pytest.fixture
def data() -> PictureSet:
    return toy_pictures()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    add_small_networks(monkeypatch)


def same_weights(one: Path, other: Path) -> bool:
    first, second = (load_file(folder / "weights.safetensors") for folder in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_was_cut_off_ends_with_the_same_weights(
    data: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = plan(recipe="worst-of-10-30", epochs=4, averaging=4)
    train(recipe, data, tmp_path / "whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    taken = 0
    real = trainer._step

    def cut(*arguments: object) -> float:
        nonlocal taken
        taken += 1
        if taken == 15:  # in the middle of the third epoch
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "_step", cut)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, data, tmp_path / "parts")
    train(recipe, data, tmp_path / "parts", resume=True)
    assert taken == 15 + 24 - 13  # the checkpoint of 14 steps was waiting for the next loss
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    told = read_metrics(tmp_path / "parts")
    assert len(told.starts) == 2 and [line["epoch"] for line in told.epochs] == [1, 2, 3, 4]
    assert [line["step"] for line in told.steps] == [10, 20]
    unmeasured = [{key: line[key] for key in line if key != "seconds"} for line in told.epochs]
    whole = read_metrics(tmp_path / "whole").epochs
    assert unmeasured == [{key: line[key] for key in line if key != "seconds"} for line in whole]


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(data: PictureSet, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(KILLED)
    out, threads = tmp_path / "killed", str(torch.get_num_threads())
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}",
        "OMP_NUM_THREADS": threads,
    }
    for lines in (5, 15, None):  # so many lines of metrics, then the end
        process = subprocess.Popen([sys.executable, str(script), str(out)], env=environment, stderr=subprocess.DEVNULL)
        while lines and process.poll() is None:
            time.sleep(0.002)
            if (out / "metrics.jsonl").is_file() and (out / "metrics.jsonl").read_bytes().count(b"\n") >= lines:
                process.send_signal(signal.SIGKILL)
        assert process.wait() == (-signal.SIGKILL if lines else 0)
    train(plan(recipe="augment-30", epochs=4, averaging=4), data, tmp_path / "whole")
    assert same_weights(tmp_path / "whole", out)
    told = read_metrics(out)
    assert [line["step"] for line in told.steps] == list(range(1, 25))
    assert [line["epoch"] for line in told.epochs] == list(range(1, 5))


def test_a_checkpoint_is_not_overwritten_or_mixed(data: PictureSet, tmp_path: Path) -> None:
    train(plan(epochs=1), data, tmp_path)
    with pytest.raises(InvalidInput, match="add --resume"):
        train(plan(epochs=1), data, tmp_path)
    with pytest.raises(InvalidInput, match="another recipe; choose another --out"):
        train(plan(epochs=1, recipe="no-crop"), data, tmp_path, resume=True)
    with pytest.raises(InvalidInput, match="another epochs, seed"):
        train(plan(epochs=2, seed=1), data, tmp_path, resume=True)
    edited = replace(data, pictures=data.pictures.clone())
    edited.pictures[5, 3, 3] += 1
    for others in (toy_pictures(121), edited):
        with pytest.raises(InvalidInput, match="made with other pictures"):
            train(plan(epochs=1), others, tmp_path, resume=True)
    (tmp_path / "checkpoint.pt").write_bytes((tmp_path / "checkpoint.pt").read_bytes()[:1000])
    with pytest.raises(CorruptFile, match="cannot be read as a checkpoint"):
        train(plan(epochs=1), data, tmp_path, resume=True)
    (tmp_path / "checkpoint.pt").unlink()
    with pytest.raises(InvalidInput, match="holds a finished training without a checkpoint"):
        train(plan(epochs=1), data, tmp_path, resume=True)


def test_a_checkpoint_of_an_earlier_version_is_one_of_the_defaults(data: PictureSet, tmp_path: Path) -> None:
    train(plan(), data, tmp_path / "whole")
    cut_off(plan(), data, tmp_path / "parts", after=10)
    file = tmp_path / "parts" / "checkpoint.pt"
    saved = torch.load(file, weights_only=True)
    for added in ("partial_batch", "processes", "sync_batch_norm", "size", "mirrored"):
        del saved["plan"][added]
    del saved["pictures"]
    torch.save(saved, file)
    with pytest.raises(InvalidInput, match="another partial_batch"):
        train(plan(partial_batch=True), data, tmp_path / "parts", resume=True)
    train(plan(), data, tmp_path / "parts", resume=True)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")


def cut_off(recipe: object, data: PictureSet, out: Path, after: int) -> None:
    """A training that ended after so many steps; its checkpoint is that of one step before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0)
        real = trainer.Training.advance

        def advance(run: trainer.Training) -> int:
            if run.step == after:
                raise KeyboardInterrupt
            return real(run)

        patch.setattr(trainer.Training, "advance", advance)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, data, out)  # type: ignore[arg-type]


@pytest.mark.parametrize(("broken", "where"), [(14, "epoch 3, step 3"), (12, "epoch 3, step 1")])
def test_the_last_checkpoint_before_weights_that_are_no_numbers_is_a_good_one(
    broken: int, where: str, data: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(plan(), data, tmp_path / "whole")
    real, taken = trainer._step, 0

    def explode(run: trainer.Training, *others: object) -> float:
        """A step with a finite loss, after which the weights are none."""
        nonlocal taken
        taken += 1
        loss = real(run, *others)  # type: ignore[arg-type]
        if taken == broken:
            with torch.no_grad():
                run.core.head.weight.fill_(torch.nan)
        return loss

    out = tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0)
        patch.setattr(trainer, "_step", explode)
        words = rf"the loss became nan in {where} of 6; the last good checkpoint is {out / 'checkpoint.pt'}. Lower"
        with pytest.raises(SpatialVizError, match=words):
            train(plan(), data, out)
    saved = torch.load(out / "checkpoint.pt", weights_only=True)
    assert saved["state"]["step"] == broken - 1
    assert all(value.isfinite().all() for value in saved["network"].values())
    train(plan(), data, out, resume=True)
    assert same_weights(tmp_path / "whole", out)


def test_a_learning_rate_that_is_too_high_stops_at_once(data: PictureSet, tmp_path: Path) -> None:
    words = r"the loss became .* in epoch 1, step \d of 6; there is no checkpoint yet\. Lower --learning-rate"
    with pytest.raises(SpatialVizError, match=words):
        train(plan(learning_rate=1e9), data, tmp_path)
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_full_disk_leaves_the_checkpoint_before_it(
    data: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(plan(), data, tmp_path / "whole")
    out = tmp_path / "full"
    real, written = Path.write_bytes, 0

    def write(path: Path, content: bytes) -> int:
        nonlocal written
        written += path.name.startswith("checkpoint")
        if written == 5:
            real(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, content)

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write)
        with pytest.raises(SpatialVizError) as told:
            train(plan(), data, out)
    assert str(told.value) == (
        f"cannot write {out / 'checkpoint.pt'}: No space left on device; "
        "make room there and go on from the last checkpoint with --resume"
    )
    assert torch.load(out / "checkpoint.pt", weights_only=True)["state"]["step"] == 4
    assert not list(out.glob("*.partial"))
    train(plan(), data, out, resume=True)
    assert same_weights(tmp_path / "whole", out)


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_while_metrics_are_written(
    data: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(plan(), data, tmp_path / "whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    out = tmp_path / "parts"
    with monkeypatch.context() as patch:
        written = 0

        def opened(*path: object, **how: object) -> io.IOBase:
            nonlocal written
            written += 1
            return open(*path, **how) if written <= 2 else FullDisk()  # type: ignore[call-overload, no-any-return]

        patch.setattr(log, "open", opened, raising=False)  # in the second epoch, at step 10
        with pytest.raises(SpatialVizError) as told:
            train(plan(), data, out)
    assert str(told.value) == (
        f"cannot write {out / 'metrics.jsonl'}: No space left on device; "
        "make room there and go on from the last checkpoint with --resume"
    )
    train(plan(), data, out, resume=True)
    assert same_weights(tmp_path / "whole", out)


def test_a_torn_line_of_metrics_is_left_out(data: PictureSet, tmp_path: Path) -> None:
    train(plan(), data, tmp_path / "whole")
    cut_off(plan(), data, tmp_path / "parts", after=13)
    with open(tmp_path / "parts" / "metrics.jsonl", "a") as handle:
        handle.write('{"step": 20, "los')  # what a full disk, or a kill, leaves of a line
    assert [line["step"] for line in read_metrics(tmp_path / "parts").steps] == [10]
    train(plan(), data, tmp_path / "parts", resume=True)
    lines = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line).get("step") for line in lines if "step" in line] == [10]
    assert same_weights(tmp_path / "whole", tmp_path / "parts")


def test_a_place_that_cannot_be_written(data: PictureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SpatialVizError, match=r"cannot write .*file/run: Not a directory; choose another --out"):
        train(plan(), data, tmp_path / "file" / "run")

    def refuse(path: Path, content: bytes) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)  # root may write anywhere
        with pytest.raises(SpatialVizError, match=r"cannot write .*plan.json: Permission denied; choose another --out"):
            train(plan(), data, tmp_path / "run")
    monkeypatch.setattr(Path, "exists", lambda path: refuse(path, b""))  # a folder that may not be entered
    with pytest.raises(SpatialVizError, match=r"cannot write .*locked: Permission denied; choose another --out"):
        train(plan(), data, tmp_path / "locked")


def test_what_float16_cannot_hold_stays_in_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network("tiny-convnet", channels=1).eval()
    norm = network.get_submodule("features.2.1")
    assert isinstance(norm, torch.nn.BatchNorm2d) and norm.running_var is not None
    norm.running_var[3] = 1e6
    write_weights(network, tmp_path / "weights.safetensors")
    stored = load_file(tmp_path / "weights.safetensors")
    in_float32 = [name for name, value in stored.items() if value.dtype == torch.float32]
    assert in_float32 == ["features.2.1.running_var"]
    loaded = build_network("tiny-convnet", channels=1).eval()
    load_weights(loaded, stored)
    images = torch.rand(4, 1, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), network(images), atol=0.02, rtol=0.02)


def test_weights_that_are_no_numbers_are_neither_written_nor_read(tmp_path: Path) -> None:
    network = build_network("tiny-convnet", channels=1)
    file = tmp_path / "weights.safetensors"
    write_weights(network, file)
    network.get_parameter("head.weight").data[0, 0] = torch.inf
    with pytest.raises(SpatialVizError, match=r"the weights are not finite \(head.weight\). Lower --learning-rate"):
        write_weights(network, tmp_path / "other.safetensors")
    assert not (tmp_path / "other.safetensors").exists()
    stored = load_file(file)
    stored["features.2.1.running_var"][0] = torch.inf
    with pytest.raises(RuntimeError, match=r"features.2.1.running_var has values that are not finite"):
        load_weights(network, stored)


def test_a_deeper_network_goes_on_from_the_weights_of_a_shallower_one() -> None:
    torch.manual_seed(0)
    shallow, deep = build_network("blurpool-resnet").eval(), build_network("deep-blurpool-resnet").eval()
    load_weights(deep, shallow.state_dict(), shallower=True)
    images = torch.rand(4, 3, 32, 32)
    deep(images).sum().backward()  # close to the identity, not at it: a scale of zero before a ReLU would never learn
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in deep.parameters())

    trained = load_classifier("cifar10/worst-of-10-40")
    images = torch.stack([trained.prepare(load_sample("cifar10", number)[0]) for number in range(20)])
    with torch.no_grad():
        expected = trained.logits(images).softmax(1)
        load_weights(deep, trained.network.state_dict(), shallower=True)
        trained.network = deep.eval()
        torch.testing.assert_close(trained.logits(images).softmax(1), expected, atol=0.05, rtol=0)

    with pytest.raises(RuntimeError, match=r"missing \['features.2\+.first"):
        load_weights(deep, shallow.state_dict())
    with pytest.raises(RuntimeError, match=r"unexpected \['features.2\+.first"):
        load_weights(shallow, deep.state_dict(), shallower=True)
    part = {name: value for name, value in shallow.state_dict().items() if not name.startswith("features.6")}
    with pytest.raises(RuntimeError, match=r"missing .*features.6.first"):
        load_weights(deep, part, shallower=True)


def test_training_does_not_begin_from_weights_of_another_network(data: PictureSet, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    write_weights(build_network("tiny-convnet", channels=1), file)
    with pytest.raises(InvalidInput, match=r"weights.safetensors does not hold the weights of a tiny for 4 classes"):
        train(plan(initial=str(file)), data, tmp_path / "run")
    file.write_bytes(b"no weights")
    with pytest.raises(InvalidInput, match=r"weights.safetensors does not hold the weights of a tiny"):
        train(plan(initial=str(file)), data, tmp_path / "run")
