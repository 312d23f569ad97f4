"""Writing files and folders: a kill at any moment leaves the old one or the new one."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` make the file under another name beside ``path``, flush it to the disk, then rename it."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        write(partial)
        _flush(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def replace_folder(path: Path, write: Callable[[Path], object]) -> None:
    """`replace` for a folder with files; one that is there already goes first."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        write(partial)
        for entry in (*partial.rglob("*"), partial):
            _flush(entry)
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
        _flush(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _flush(path: Path) -> None:
    """To the disk; Windows has no way to ask that for a folder."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
