"""The README's picture of the app: `make picture` opens the Explore page in Chromium and writes docs/explore.png."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.app import chromium, running_app
from benchmarks.browser import PATIENCE

VIEW = "?classifier=cifar10%2Fstandard&picture=cifar10%2F6&pose=18,1.5,-1"


def main() -> None:
    with tempfile.TemporaryDirectory() as home, running_app(Path(home)) as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{url}/{VIEW}")
        page.locator(".sv-explorer").wait_for(timeout=PATIENCE)
        page.locator('.sv-explorer[data-refining="false"]').wait_for(timeout=PATIENCE)
        page.wait_for_timeout(2000)
        page.screenshot(path=Path(__file__).with_name("explore.png"))


if __name__ == "__main__":
    main()
