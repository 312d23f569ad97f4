"""Programs that stand in for those of the system."""

from __future__ import annotations

import stat
from pathlib import Path


def program(folder: Path, text: str) -> None:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
