"""The README's picture of the app: `make picture` opens the Explore page in Chromium and writes docs/explore.png."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.browser import PATIENCE, running_app

VIEW = "?classifier=cifar10%2Fstandard&picture=cifar10%2F6&pose=18,1.5,-1"


def main() -> None:
    with running_app() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{url}/{VIEW}")
        page.locator(".sv-explorer").wait_for(timeout=PATIENCE)
        page.wait_for_function("() => !document.querySelector('[data-testid=stStatusWidget]')", timeout=PATIENCE)
        page.wait_for_timeout(2000)
        page.screenshot(path=Path(__file__).with_name("explore.png"))
        browser.close()


if __name__ == "__main__":
    main()
