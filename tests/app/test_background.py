"""Refining beside the page: wanted first, dropped when not wanted, errors where they can be shown."""

from __future__ import annotations

import threading
import time

import pytest
import xarray as xr

from spatial_viz.app.background import BackgroundJobs
from spatial_viz.errors import InvalidInput
from spatial_viz.models.engine import Progress


def wait(background: BackgroundJobs, key: object) -> xr.Dataset:
    for _ in range(500):
        if (found := background.get(key)) is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("nothing after five seconds")


def answer(value: int) -> xr.Dataset:
    return xr.Dataset(attrs={"value": value})


def test_they_come_in_the_order_wanted() -> None:
    background, done = BackgroundJobs(), []

    def job(value: int) -> xr.Dataset:
        done.append(value)
        return answer(value)

    background.submit({value: lambda _, value=value: job(value) for value in (2, 0, 1)})
    wait(background, 1)
    assert done == [2, 0, 1]
    assert [background.get(key).attrs["value"] for key in (0, 1, 2)] == [0, 1, 2]
    background.submit({1: lambda _: job(9)})
    assert wait(background, 1).attrs["value"] == 1  # kept
    assert background.get(0) is None  # dropped
    assert done == [2, 0, 1]


def test_what_is_no_longer_wanted_stops_at_its_next_batch() -> None:
    background = BackgroundJobs()
    started, steps = threading.Event(), []

    def endless(progress: Progress) -> xr.Dataset:
        for step in range(10_000):
            steps.append(step)
            started.set()
            progress(step, 10_000)
            time.sleep(0.001)
        return answer(0)

    background.submit({"endless": endless})
    assert started.wait(5)
    background.submit({"short": lambda _: answer(1)})
    assert wait(background, "short").attrs["value"] == 1
    assert background.get("endless") is None
    assert len(steps) < 10_000


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    background = BackgroundJobs()

    def fails(progress: Progress) -> xr.Dataset:
        raise InvalidInput("no such thing")

    background.submit({"a": fails, "b": lambda _: answer(2)})
    assert wait(background, "b").attrs["value"] == 2
    with pytest.raises(InvalidInput, match="no such thing"):
        background.get("a")


def test_a_pause_keeps_what_is_there() -> None:
    background, go = BackgroundJobs(), threading.Event()

    def waits(progress: Progress) -> xr.Dataset:
        go.wait(5)
        progress(1, 2)
        return answer(0)

    background.submit({"there": lambda _: answer(1), "to come": waits, "later": lambda _: answer(2)})
    wait(background, "there")
    background.pause()
    go.set()
    background.submit({"there": waits, "last": lambda _: answer(3)})
    wait(background, "last")
    assert background.get("there").attrs["value"] == 1
    assert background.get("to come") is None and background.get("later") is None
