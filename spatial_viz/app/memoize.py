"""Answers kept in memory for whoever asks the same again; who asks while one is being found waits for that one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Memory:
    """The most recent answers, at most ``most`` of them. Safe to ask from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()
        self._asking: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The answer under ``key``; ``make`` finds it where it is not there. An error is raised, and not kept."""
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            with self._lock:
                if key in self._answers:
                    self._answers.move_to_end(key)
                    return self._answers[key]
            answer = make()
            with self._lock:
                self._answers[key] = answer
                while len(self._answers) > self._most:
                    gone, _ = self._answers.popitem(last=False)
                    self._asking.pop(gone, None)
            return answer

    def forget(self, key: Hashable) -> None:
        """The next who asks has it found anew."""
        with self._lock:
            self._answers.pop(key, None)

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._answers
