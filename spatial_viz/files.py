"""Writing files: a kill at any moment leaves the old file or the new one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` make the file under another name beside ``path``, flush it to the disk, then rename it."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        write(partial)
        with open(partial, "rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
