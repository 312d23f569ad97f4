"""The command line, called in this process."""

from __future__ import annotations

import sys

import pytest
from typer.main import get_command

from spatial_viz.cli.main import app, main

SMALL = ["--granularity", "3,3,3"]


def run(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["spatial_viz", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def parse(words: list[str]) -> None:
    """Read a command as the command line does, without doing it; an error says what it lacks or does not know."""
    command = get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    command.make_context(words[0], words[1:])
