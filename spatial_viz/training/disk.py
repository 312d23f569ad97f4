"""Writing the files of a training: whole or not at all, and in one sentence why not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spatial_viz.errors import SpatialVizError
from spatial_viz.files import FULL, replace_file

CHECKPOINT = "checkpoint.pt"


def write(path: Path, content: bytes) -> None:
    """Put ``content`` into a file in the place of what it held; if that fails, it still holds it."""
    with writing(path):
        replace_file(path, lambda partial: partial.write_bytes(content))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes ``path``: where that fails, say why, and what to do."""
    try:
        yield
    except OSError as error:
        advice = "choose another --out"
        if error.errno in FULL:
            there = (path.parent / CHECKPOINT).is_file()
            advice = f"make room there and {'go on from the last checkpoint with --resume' if there else 'try again'}"
        raise SpatialVizError(f"cannot write {path}: {error.strerror or error}; {advice}") from error
