"""Work done beside a page that goes on answering: most wanted first, what nobody wants any more dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from spatial_viz.models.engine import Progress

Job = Callable[[Progress], Any]

# One at a time, whoever asks: a sweep keeps every core busy, and two of them would only wait for each other.
_WORKER = ThreadPoolExecutor(1, thread_name_prefix="refining")


class BackgroundJobs:
    """What one page wants beside what it shows, landscapes mostly. Safe to call while it is being computed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[Hashable, Job] = {}
        self._ready: dict[Hashable, Any] = {}
        self._failed: dict[Hashable, Exception] = {}
        self._working = False

    def submit(self, jobs: Mapping[Hashable, Job]) -> None:
        """From now on submit exactly these, in this order; whatever else is there or under way goes."""
        with self._lock:
            self._submit(jobs)

    def get(self, key: Hashable) -> Any:
        """What was wanted under ``key``, once it is there, else None; the error it ended with is raised here."""
        with self._lock:
            if key in self._failed:
                raise self._failed[key]
            return self._ready.get(key)

    def pause(self) -> None:
        """Keep what is there, and no longer submit the rest."""
        with self._lock:
            self._submit({key: job for key, job in self._jobs.items() if key in self._ready})

    def _submit(self, jobs: Mapping[Hashable, Job]) -> None:
        self._jobs = dict(jobs)
        self._ready = {key: value for key, value in self._ready.items() if key in jobs}
        self._failed = {key: value for key, value in self._failed.items() if key in jobs}
        self._go_on()

    def _next(self) -> Hashable | None:
        return next((key for key in self._jobs if key not in self._ready and key not in self._failed), None)

    def _go_on(self) -> None:
        if not self._working and (key := self._next()) is not None:
            self._working = True
            _WORKER.submit(self._work, key, self._jobs[key])

    def _work(self, key: Hashable, job: Job) -> None:
        def progress(done: int, total: int) -> None:
            if key not in self._jobs:
                raise _NoLongerNeeded

        result: Any
        try:
            progress(0, 1)  # it may have waited for others for long
            result = job(progress)
        except Exception as error:  # `get` raises it where it can be shown
            result = error
        with self._lock:
            self._working = False
            if key in self._jobs and not isinstance(result, _NoLongerNeeded):
                if isinstance(result, Exception):
                    self._failed[key] = result
                else:
                    self._ready[key] = result
            self._go_on()


class _NoLongerNeeded(Exception):
    """Raised in a job that goes on for nothing."""
