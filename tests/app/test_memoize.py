"""Answers are found once, for as many as ask, and old ones go."""

from __future__ import annotations

import threading
import time

import pytest

from spatial_viz.app.memoize import Memory


def test_an_answer_is_found_once_and_the_least_recent_goes() -> None:
    memory, asked = Memory(2), []

    def ask(key: str) -> str:
        return memory.get(key, lambda: asked.append(key) or key.upper())

    assert [ask(key) for key in "abab"] == ["A", "B", "A", "B"] and asked == ["a", "b"]
    ask("a")
    ask("c")  # b goes
    assert "a" in memory and "c" in memory and "b" not in memory
    ask("b")
    assert asked == ["a", "b", "c", "b"]
    memory.forget("b")
    memory.forget("b")
    ask("b")
    assert asked[-2:] == ["b", "b"]


def test_who_asks_meanwhile_waits_for_the_one_answer() -> None:
    memory, asked, got = Memory(4), [], []
    begun = threading.Event()

    def slow() -> int:
        asked.append(1)
        begun.set()
        time.sleep(0.1)
        return 7

    def ask() -> None:
        got.append(memory.get("key", slow))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    threads[0].start()
    begun.wait(5)
    assert memory.get("another", lambda: 1) == 1  # another question waits for nobody
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert got == [7] * 5 and asked == [1]


def test_an_error_is_raised_and_not_kept() -> None:
    memory = Memory(2)
    with pytest.raises(ZeroDivisionError):
        memory.get("key", lambda: 1 // 0)
    assert "key" not in memory
    assert memory.get("key", lambda: 3) == 3
