"""A progress bar on stderr."""

from __future__ import annotations

import sys
from typing import Any


class ProgressBar:
    """A progress bar on stderr, as a context that gives the callback of a sweep."""

    def __init__(self, total: int, hidden: bool) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, unit="transform", disable=hidden or not sys.stderr.isatty(), leave=False)

    def __enter__(self) -> Any:
        return lambda done, total: self.bar.update(done - self.bar.n)

    def __exit__(self, *_: object) -> None:
        self.bar.close()
