"""The command line: its JSON, its words, its files, and its refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import xarray as xr
from command_line import SMALL, run
from PIL import Image
from safetensors.torch import save_file

from benchmarks.app import ROOT
from spatial_viz.data.samples import find_sample, load_sample
from spatial_viz.errors import SpatialVizWarning
from spatial_viz.landscape.dataset import landscape_summary, load
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.networks import build_network
from spatial_viz.models.registry import load_classifier, manifest
from spatial_viz.transforms.grids import TransformGrid


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path / "cache"))


def test_json_is_one_object_with_the_numbers_of_the_library(monkeypatch, capsys) -> None:
    code, out, _ = run(["sweep", "sample:cifar10/0", "--classifier", "cifar10/standard", "--json"], monkeypatch, capsys)
    result = json.loads(out)
    assert code == 0 and out.count("\n") == 1
    image, label = load_sample("cifar10", 0)
    expected = landscape_summary(sweep(load_classifier("cifar10/standard"), image, label))
    assert {key: result[key] for key in expected} == expected
    assert result["schema"] == 1 and result["transforms"] == 775 and result["label"] == 3
    assert result["seconds"] > 0 and result["precision"] in ("bf16", "fp32") and result["device"]


def test_words(monkeypatch, capsys) -> None:
    code, out, _ = run(["sweep", "sample:cifar10/0", *SMALL], monkeypatch, capsys)
    assert code == 0
    for part in ("natural          cat", "worst case", "of 27 transforms fail", "rotation", "nats", "time"):
        assert part in out


def test_files(monkeypatch, capsys, tmp_path: Path) -> None:
    landscape, figure = tmp_path / "landscape.nc", tmp_path / "landscape.html"
    options = [*SMALL, "--out", str(landscape), "--figure", str(figure), "--json"]
    code, out, _ = run(["sweep", "sample:cifar10/3", *options], monkeypatch, capsys)
    assert code == 0
    assert landscape_summary(load(landscape))["worst_case"] == json.loads(out)["worst_case"]
    page = figure.read_text(encoding="utf-8")
    assert "Plotly.newPlot" in page and 'src="http' not in page and len(page) > 1_000_000


def test_the_way_to_the_worst_case(monkeypatch, capsys, tmp_path: Path) -> None:
    path = tmp_path / "way.gif"
    code, out, _ = run(["sweep", "sample:cifar10/6", *SMALL, "--animation", str(path)], monkeypatch, capsys)
    assert code == 0 and "worst case" in out
    assert Image.open(path).n_frames > 10  # type: ignore[attr-defined]


def test_a_photo_of_ones_own_has_no_label(monkeypatch, capsys, tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "teal").save(tmp_path / "<b>teal.png")
    code, out, _ = run(["sweep", str(tmp_path / "<b>teal.png"), *SMALL], monkeypatch, capsys)
    assert code == 0 and "held against its own prediction" in out


def test_a_label_by_name(monkeypatch, capsys) -> None:
    code, out, _ = run(["sweep", "sample:cifar10/0", *SMALL, "--label", "dog", "--json"], monkeypatch, capsys)
    assert code == 0 and json.loads(out)["label"] == 5


def test_limits(monkeypatch, capsys, tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    options = ["--rotation", "12", "--translation", "2", *SMALL, "--padding", "reflect", "--out", str(path)]
    assert run(["sweep", "sample:cifar10/0", *options], monkeypatch, capsys)[0] == 0
    landscape: xr.Dataset = load(path)
    grid = TransformGrid(12, 2, 2, (3, 3, 3))
    assert landscape["rotation"].values.tolist() == list(grid.values("rotation"))
    assert landscape["dx"].values.tolist() == list(grid.values("dx"))
    assert json.loads(landscape.attrs["card"])["padding"] == "reflect"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "missing.png"], "missing.png does not exist"),
        (["sweep", "sample:cifar10/20"], "0 to 19"),
        (["sweep", "sample:cifar11/0"], "did you mean 'cifar10'"),
        (["sweep", "sample:cifar10/0", "--classifier", "cifar10/standart"], "did you mean 'cifar10/standard'"),
        (["sweep", "sample:cifar10/0", "--label", "12"], "0 to 9"),
        (["sweep", "sample:cifar10/0", "--label", "katze"], "has no class 'katze'"),
        (["sweep", "sample:cifar10/0", "--rotation", "nan"], "rotation must be a number of degrees"),
        (["sweep", "sample:cifar10/0", "--rotation", "-3"], "0 or more; got -3"),
        (["sweep", "sample:cifar10/0", "--translation", "inf"], "number of pixels"),
        (["sweep", "sample:cifar10/0", "--granularity", "0,5,5"], "at least 1"),
        (["sweep", "sample:cifar10/0", "--granularity", "1000000,5,5"], "25,000,000 forward passes"),
        (["sweep", "sample:cifar10/0", "--granularity", "31x5x5"], "three whole numbers"),
        (["sweep", "sample:cifar10/0", "--granularity", "9999999,9999999,9999999"], "forward passes"),
        (["sweep", "sample:cifar10/0", "--granularity", "²,5,5"], "three whole numbers"),
        (["sweep", "sample:cifar10/0", "--label", "²"], "has no class '²'"),
        (["sweep", "sample:cifar10/0", "--padding", "white"], "black, reflect, edge"),
        (["sweep", "sample:cifar10/0", "--precision", "fp8"], "auto, bf16 or fp32"),
        (["sweep", "sample:cifar10/0", "--device", "quantum"], "unknown device"),
        (["sweep", "sample:cifar10/0", "--out", "no/such/folder/a.nc"], "there is no folder"),
        (["sweep", "sample:cifar10/0", "--animation", "way.avi"], "a .gif, or a .mp4 where ffmpeg is at hand"),
        (["sweep", "sample:cifar10/0", "--animation", "no/such/folder/way.gif"], "there is no folder"),
        (["sweep", "sample:cifar10/0", "--bogus"], "No such option"),
        (["sweep"], "Missing argument"),
        (["fly"], "No such command"),
        (["attack", "sample:cifar10/0", "--attack", "gird"], "did you mean 'grid'"),
        (["attack", "sample:cifar10/0", "--attack", "worst-of-k", "--k", "0"], "k must be 1 or more; got 0"),
        (["attack", "sample:cifar10/0", "--attack", "first-order", "--steps", "-5"], "steps must be 0 or more"),
        (["attack", "sample:cifar10/0", "--attack", "worst-of-k", "--k", "999999999"], "999,999,999 forward passes"),
        (["attack", "sample:cifar10/0", "--attack", "first-order", "--restarts", "9999"], "2,009,799 forward passes"),
        (["attack", "sample:cifar10/0", "--attack", "combined", "--steps", "9999999"], "9,999,999 forward passes"),
        (["attack", "sample:cifar10/0", "--attack", "grid", "--vote", "9999999"], "9,999,999 forward passes"),
        (["attack", "sample:cifar10/0", "--attack", "linf", "--epsilon", "-8/255"], "a fraction such as 8/255"),
        (["attack", "sample:cifar10/0", "--attack", "linf", "--epsilon", "1/0"], "a fraction such as 8/255"),
        (["attack", "sample:cifar10/0", "--attack", "linf", "--epsilon", "300/255"], "between 0 and 1"),
        (["attack", "sample:cifar10/0", "--attack", "grid", "--objective", "logit"], "unknown objective 'logit'"),
        (["attack", "sample:cifar10/0"], "Missing option"),
        (["train", "--recipe", "standrad"], "did you mean 'standard'"),
        (["train", "--recipe", "standard", "--root", "nowhere"], "nowhere"),
        (["publish", "nowhere"], "no finished training"),
    ],
)
def test_bad_arguments_end_with_2_and_one_sentence(arguments: list[str], message: str, monkeypatch, capsys) -> None:
    code, out, err = run(arguments, monkeypatch, capsys)
    assert code == 2
    assert out == ""
    assert message in err and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize("case", ["truncated", "empty", "svg", "bomb", "folder"])
def test_bad_pictures(case: str, monkeypatch, capsys, tmp_path: Path) -> None:
    from encoded_images import png_header

    from spatial_viz.data.samples import samples

    path = tmp_path / "picture.png"
    content = {
        "truncated": samples("imagenet")[0].path.read_bytes()[:900],
        "empty": b"",
        "svg": b"<svg/>",
        "bomb": png_header(50_000, 50_000),
    }
    if case == "folder":
        path.mkdir()
    else:
        path.write_bytes(content[case])
    code, out, err = run(["sweep", str(path)], monkeypatch, capsys)
    assert code == 2 and out == "" and err.count("\n") == 1 and "picture.png" in err


@pytest.mark.parametrize("attack", ["grid", "worst-of-k", "random", "first-order", "refine", "linf", "combined"])
def test_every_attack(attack: str, monkeypatch, capsys) -> None:
    options = ["--granularity", "3,3,3", "--steps", "2", "--k", "4", "--seed", "1", "--json"]
    code, out, _ = run(["attack", "sample:cifar10/6", "--attack", attack, *options], monkeypatch, capsys)
    result = json.loads(out)
    assert code == 0 and result["schema"] == 1 and result["attack"] == attack and result["passes"] >= 1
    assert result["worst_case"]["misclassified"] == (result["worst_case"]["predicted"] != result["label"])
    assert ("path" in result) == (attack in ("first-order", "refine"))
    assert {"natural", "misclassified", "transforms", "seconds", "device", "precision"} <= set(result)
    assert "loss_name" not in result, "it is that of a single classifier"
    if attack == "grid":
        code, out, _ = run(["sweep", "sample:cifar10/6", "--granularity", "3,3,3", "--json"], monkeypatch, capsys)
        swept = json.loads(out)
        for key in ("label", "misclassified", "transforms"):
            assert swept[key] == result[key]
        assert swept["worst_case"]["rotation"] == result["worst_case"]["rotation"]
        assert swept["worst_case"]["loss"] == pytest.approx(result["worst_case"]["loss"], abs=1e-4)


def test_a_vote_can_be_attacked(monkeypatch, capsys) -> None:
    options = ["--attack", "worst-of-k", "--k", "3", "--vote", "4", "--json"]
    code, out, _ = run(["attack", "sample:cifar10/6", *options], monkeypatch, capsys)
    assert code == 0 and json.loads(out)["passes"] == 12 and json.loads(out)["transforms"] == 3
    assert json.loads(out)["loss_name"] == "vote loss"
    code, out, _ = run(["attack", "sample:cifar10/6", *options[:-1]], monkeypatch, capsys)
    assert code == 0 and "vote of 4" in out and "12 forward" in out and out.count("vote loss") == 2


def test_lists(monkeypatch, capsys) -> None:
    code, out, _ = run(["models"], monkeypatch, capsys)
    assert code == 0 and "cifar10/standard" in out and "imagenet/resnet50" in out
    card = next(card for card in manifest() if card.name == "cifar10/standard")
    assert f"natural {card.accuracies['natural'].accuracy:.1%} of 10,000, " in out
    assert f", grid {card.accuracies['grid'].accuracy:.1%} of {card.accuracies['grid'].pictures:,} pictures" in out
    code, out, _ = run(["samples"], monkeypatch, capsys)
    assert code == 0 and len(out.splitlines()) == 60 and "sample:cifar10/0" in out and "cat" in out
    code, out, _ = run(["samples", "--json"], monkeypatch, capsys)
    assert len(json.loads(out)) == 60


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "spatial_viz"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "sweep" in done.stdout and "error" not in done.stderr


def test_a_training_of_ones_own_is_asked_by_its_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    network = build_network("tiny-convnet", classes=10, channels=1)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    described = {"network": "tiny-convnet", "class_names": list("0123456789"), "input_size": [28, 28], "mean": [0.1],
                 "std": [0.3]}  # fmt: skip
    (tmp_path / "classifier.json").write_text(json.dumps(described))
    code, out, _ = run(
        ["sweep", "sample:mnist/3", "--classifier", str(tmp_path), *SMALL, "--json"], monkeypatch, capsys
    )
    result = json.loads(out)
    assert code == 0 and result["label"] == find_sample("mnist/3").label
    assert result["precision"] == "fp32"


@pytest.mark.parametrize("option", ["--json", "--padding=black"])
def test_any_console_can_print_any_name(option: str, tmp_path: Path) -> None:
    """Measured for minutes, and then nothing printed, because the console's encoding lacks a letter: never."""
    save_file(build_network("tiny-convnet", classes=2, channels=1).state_dict(), tmp_path / "weights.safetensors")
    described = {"network": "tiny-convnet", "class_names": ["猫 żaba", "😀"], "input_size": [28, 28], "mean": [0.1],
                 "std": [0.3]}  # fmt: skip
    (tmp_path / "classifier.json").write_text(json.dumps(described))
    command = ["sweep", "sample:mnist/3", "--classifier", str(tmp_path), *SMALL, "--label", "1", option]
    done = subprocess.run([sys.executable, "-m", "spatial_viz", *command], cwd=ROOT, capture_output=True,
                          env={**os.environ, "PYTHONIOENCODING": "cp1252"})  # fmt: skip
    out = done.stdout.decode("cp1252")
    assert done.returncode == 0, done.stderr
    if option == "--json":
        assert json.loads(out)["label"] == 1 and json.loads(out)["natural"]["name"] in described["class_names"]
    else:
        assert r"label            \U0001f600" in out and "worst case" in out


def test_remarks_of_ours_are_one_line_and_those_of_pillow_none(monkeypatch, capsys) -> None:
    def remark(*_: object) -> None:
        warnings.warn("three files are left out", SpatialVizWarning, stacklevel=1)
        warnings.warn_explicit("odd metadata", UserWarning, "TiffImagePlugin.py", 1, "PIL.TiffImagePlugin")

    monkeypatch.setattr("spatial_viz.data.samples.samples", lambda: remark() or [])
    code, _, err = run(["samples"], monkeypatch, capsys)
    assert code == 0 and err == "warning: three files are left out\n"
