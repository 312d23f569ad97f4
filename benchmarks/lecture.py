"""How long does a step of the lecture take to its first picture? In a real Chromium: `python -m benchmarks.lecture`.

Warmed: turned to by Page Down, while the step before was shown for some seconds. Cold: opened by a link, with a picture
that nothing is known about yet, in an app that has shown a page before. What the demonstration draws counts, a first
look at a part of the grid, too, and not the picture as it is, which step 9 and the progress bar show meanwhile. The
reach: 1 s and 3 s, on two cores.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.app import CHROMIUM, chromium, running_app
from benchmarks.browser import PATIENCE
from spatial_viz.app.lecture.page import STEPS

SHOWN_FOR = 6_000  # milliseconds; a lecturer takes longer
FILLING = 9  # the step in which the grid fills
PICTURE = ":is(img:not(.sv-waiting), canvas, svg.main-svg, ol)"  # the last step has sentences


def main() -> None:
    if CHROMIUM is None:
        sys.exit("there is no Chromium, so nothing can be measured")
    with chromium() as browser:
        warmed = _warmed(browser)
        print("| step | warmed, s | cold, s |\n|---|---|---|")
        for step in range(1, len(STEPS) + 1):
            print(f"| {step} | {warmed.get(step, '')} | {_cold(browser, step)} |", flush=True)


def _warmed(browser: Any) -> dict[int, str]:
    """Every step but the first, turned to by a key."""
    seconds = {}
    with _opened(browser) as (page, url):
        page.goto(f"{url}/lecture?step=1")
        _until_seen(page, 1)
        for step in range(2, len(STEPS) + 1):
            page.wait_for_timeout(SHOWN_FOR)
            started = time.perf_counter()
            page.keyboard.press("PageDown")
            seconds[step] = f"{_until_seen(page, step) - started:.2f}"
    return seconds


def _cold(browser: Any, step: int) -> str:
    """A step by its link, in an app that knows nothing about the picture."""
    with _opened(browser) as (page, url):
        started = time.perf_counter()
        page.goto(f"{url}/lecture?step={step}&picture=cifar10%2F8")
        return f"{_until_seen(page, step) - started:.2f}"


@contextlib.contextmanager
def _opened(browser: Any) -> Iterator[tuple[Any, str]]:
    """A new app that has shown its first page."""
    with tempfile.TemporaryDirectory() as home, running_app(Path(home)) as url:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.locator('.sv-explorer[data-refining="false"]').wait_for(timeout=PATIENCE)
        page.goto("about:blank")  # a page that is still drawing would not let go of the tab for a second
        yield page, url
        page.close()


def _until_seen(page: Any, step: int) -> float:
    drawn = ".st-key-filling svg.main-svg" if step == FILLING else PICTURE
    page.locator(f".st-key-lecture-step-{step} {drawn}").first.wait_for(timeout=PATIENCE)
    return time.perf_counter()


if __name__ == "__main__":
    main()
