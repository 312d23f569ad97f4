"""The pictures of the app in README.md and docs/lecture.md: `make pictures` opens its pages in Chromium."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.app import CHROMIUM, ROOT, chromium, running_app
from benchmarks.browser import DONE, PATIENCE

FOLDER = ROOT / "docs" / "pictures"
VIEWS = {
    "explore": "?classifier=cifar10%2Fstandard&picture=cifar10%2F6&pose=18,1.5,-1",
    "first-order": "?step=7&full=1",
    "landscape": "?step=8&full=1",
    "flattened": "?step=11&full=1&pose=20,1,0.5",
    "numbers": "?step=12&full=1",
}
"""File → link. ``full=1`` is the large type of the full screen."""
HEIGHTS = {"explore": 846}
"""Pixels, where 900 would cut through what comes below."""


def main() -> None:
    if CHROMIUM is None:
        sys.exit("there is no Chromium, so the pictures stay as they are")
    with tempfile.TemporaryDirectory() as home, running_app(Path(home)) as url, chromium() as browser:
        for name, view in VIEWS.items():
            page = browser.new_page(viewport={"width": 1440, "height": HEIGHTS.get(name, 900)})
            page.goto(f"{url}/{view}")
            _wait(page, view)
            if name == "numbers":
                page.get_by_role("button", name="All").click()
            page.wait_for_timeout(4000)  # what is drawn comes to rest
            page.screenshot(path=FOLDER / f"{name}.png")
            page.close()
            print(FOLDER / f"{name}.png")


def _wait(page: Any, view: str) -> None:
    if "step" in view:
        page.locator('.sv-lecture-screen[data-known="true"]').wait_for(timeout=PATIENCE)
        page.wait_for_function(DONE, timeout=PATIENCE)
    else:
        page.locator('.sv-explorer[data-refining="false"]').wait_for(timeout=PATIENCE)


if __name__ == "__main__":
    main()
