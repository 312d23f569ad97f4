"""What the README says works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import plotly.graph_objects as go
import pytest
from command_line import parse

from benchmarks.app import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_library_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[go.Figure] = []
    monkeypatch.setattr(go.Figure, "show", lambda self, *_, **__: shown.append(self))
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    assert len(shown) == 3 and "nats" in capsys.readouterr().out


def test_the_commands_can_be_given() -> None:
    lines = [line.split("#")[0] for block in blocks("sh") for line in block.splitlines() if "-m spatial_viz" in line]
    assert len(lines) == 6
    for line in lines:
        parse(shlex.split(line)[3:])


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z]+)", TEXT)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_links_lead_somewhere() -> None:
    for path in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
        assert (ROOT / Path(path)).exists(), path
