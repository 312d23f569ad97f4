"""How long does a step of the lecture take to its first picture? In a real Chromium: `python -m benchmarks.lecture`.

Warmed: turned to by Page Down, while the step before was shown for some seconds. Cold: opened by a link, with a picture
that nothing is known about yet, in an app that has shown a page before. The reach: 1 s and 3 s, on two cores.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.app import CHROMIUM, chromium, running_app
from benchmarks.browser import PATIENCE

STEPS = 16
SHOWN_FOR = 6_000  # milliseconds; a lecturer takes longer
PICTURE = ":is(img, canvas, svg.main-svg, [role=img], ol)"  # the last step has sentences


def main() -> None:
    if CHROMIUM is None:
        sys.exit("there is no Chromium, so nothing can be measured")
    with tempfile.TemporaryDirectory() as home, running_app(Path(home)) as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.locator('.sv-explorer[data-refining="false"]').wait_for(timeout=PATIENCE)
        print("| step | warmed, s | cold, s |\n|---|---|---|")
        page.goto(f"{url}/lecture?step=1")
        warmed = [_seen(page, 1, time.perf_counter())]
        for step in range(2, STEPS + 1):
            page.wait_for_timeout(SHOWN_FOR)
            started = time.perf_counter()
            page.keyboard.press("PageDown")
            warmed.append(_seen(page, step, started))
        page.close()
        for step in range(1, STEPS + 1):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            started = time.perf_counter()
            page.goto(f"{url}/lecture?step={step}&picture=cifar10%2F{(step + 6) % 20}")
            cold = _seen(page, step, started)
            page.wait_for_timeout(3000)  # let go of what it warms
            page.close()
            print(f"| {step} | {f'{warmed[step - 1]:.2f}' if step > 1 else ''} | {cold:.2f} |", flush=True)


def _seen(page: Any, step: int, started: float) -> float:
    page.locator(f".st-key-lecture-step-{step} {PICTURE}").first.wait_for(timeout=PATIENCE)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
