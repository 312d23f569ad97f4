"""How live is the explorer? Measured in a real Chromium against a running app."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.app import CHROMIUM, chromium, running_app

PATIENCE = 60_000  # milliseconds
# Of a page: its script has run to its end.
DONE = "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"

# Times between drawn frames, taken where the explorer draws: in requestAnimationFrame.
RECORD = """() => { window.gaps = []; let last = performance.now();
  const tick = (now) => { window.gaps.push(now - last); last = now; window.raf = requestAnimationFrame(tick); };
  window.raf = requestAnimationFrame(tick); }"""


def measure() -> dict[str, str]:
    """Frame times while dragging, messages sent, release to exact answer, picture chosen to landscape drawn."""
    if CHROMIUM is None:
        return {"in the browser": "no Chromium"}
    with tempfile.TemporaryDirectory() as home, running_app(Path(home)) as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        sent: list[Any] = []
        page.on("websocket", lambda connection: connection.on("framesent", lambda frame: sent.append(frame)))
        page.goto(url)
        page.locator(".sv-explorer").wait_for(timeout=PATIENCE)
        _quiet(page)
        box = page.locator(".sv-picture").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        before = len(sent)
        page.evaluate(RECORD)
        for step in range(120):
            page.mouse.move(x + 25 * (step % 40) / 40, y - 15 * (step % 30) / 30)
            page.wait_for_timeout(8)
        gaps = sorted(page.evaluate("() => { cancelAnimationFrame(window.raf); return window.gaps; }"))
        during = len(sent) - before
        page.mouse.up()
        releases = [_until_exact(page)]
        for _ in range(3):
            _quiet(page)
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x - 8 * len(releases), y + 11, steps=4)
            page.mouse.up()
            releases.append(_until_exact(page))
            page.mouse.move(x, y)  # and again at once: the denser maps must not be in the way
            page.mouse.down()
            page.mouse.move(x + 9 * len(releases), y - 7, steps=4)
            page.mouse.up()
            releases.append(_until_exact(page))
        _quiet(page)
        chosen = [_choose(page, index) for index in (3, 7, 11)]
    return {
        "dragging: median time between frames": f"{median(gaps):.1f} ms",
        "dragging: 95th percentile": f"{gaps[int(0.95 * len(gaps))]:.1f} ms",
        "dragging: messages to the server": str(during),
        "letting go to the exact answer": f"{median(releases):.0f} ms",
        "picture chosen to landscape drawn": f"{median(chosen):.2f} s",
    }


def _quiet(page: Any) -> None:
    page.locator('.sv-explorer[data-refining="false"]').wait_for(timeout=PATIENCE)
    page.wait_for_timeout(1000)


def _until_exact(page: Any) -> float:
    """Milliseconds until the explorer shows the classifier's own answer."""
    started = time.perf_counter()
    page.locator('.sv-explorer[data-exact="true"]').wait_for(timeout=PATIENCE)
    return 1000 * (time.perf_counter() - started)


def _choose(page: Any, index: int) -> float:
    """Seconds from the click on a sample until the explorer shows its landscape."""
    revision = int(page.locator(".sv-explorer").get_attribute("data-rev"))
    started = time.perf_counter()
    page.locator(".sv-thumb").nth(index).click()
    page.locator(f'.sv-explorer[data-rev="{revision + 1}"]').wait_for(timeout=PATIENCE)
    seconds = time.perf_counter() - started
    _quiet(page)
    return seconds


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:58} {value:>10}")
