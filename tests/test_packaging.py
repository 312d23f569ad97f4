"""What an installed package must bring along."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from setuptools import build_meta

from benchmarks.app import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_wheel_has_weights_and_explorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".venv", "runs", ".git", "build", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=lambda folder, names: (
        {*ignored(folder, names), *({"data"} if Path(folder) == ROOT else ())}))  # fmt: skip
    monkeypatch.chdir(source)
    wheel = build_meta.build_wheel(str(tmp_path))
    names = set(zipfile.ZipFile(tmp_path / wheel).namelist())
    modules = {f"spatial_viz/{path.relative_to(ROOT / 'spatial_viz')}" for path in (ROOT / "spatial_viz").rglob("*.py")}
    assert modules <= names
    package = ROOT / "spatial_viz"
    beside = [*(package / "explorer" / "static").iterdir()]
    assert {f"spatial_viz/{path.relative_to(package)}" for path in beside} <= names
    assert {f"spatial_viz/evaluation/{name}" for name in ("imagenet_wnids.txt", "published.csv")} <= names
    references = {path.name for path in (ROOT / "pretrained" / "results").iterdir() if path.suffix in (".json", ".npz")}
    assert {f"spatial_viz/pretrained/results/{name}" for name in references} <= names
    shipped = {path.name for path in (ROOT / "pretrained").iterdir() if path.suffix in (".json", ".safetensors")}
    assert {f"spatial_viz/pretrained/{name}" for name in shipped} <= names


def test_what_the_package_needs_is_pinned_for_the_tests() -> None:
    needed = {re.split(r"[><=]", entry)[0] for entry in PROJECT["project"]["dependencies"]}
    pinned = dict(re.findall(r"^([a-z0-9_-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert needed <= set(pinned)
    assert set(pinned) - needed == {
        "pytest", "hypothesis", "scipy", "playwright", "axe-playwright-python", "setuptools",
    }  # fmt: skip
