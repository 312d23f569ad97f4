"""How live is the explorer? Measured in a real Chromium against a running app."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60_000  # milliseconds

# Times between drawn frames, taken where the explorer draws: in requestAnimationFrame.
RECORD = """() => { window.gaps = []; let last = performance.now();
  const tick = (now) => { window.gaps.push(now - last); last = now; window.raf = requestAnimationFrame(tick); };
  window.raf = requestAnimationFrame(tick); }"""


def measure() -> dict[str, str]:
    """Frame times while dragging, messages sent, release to exact answer, picture chosen to landscape drawn."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        return {"in the browser": "no Chromium"}
    from playwright.sync_api import sync_playwright

    with running_app() as url, sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
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
        for _ in range(4):
            _quiet(page)
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x - 8 * len(releases), y + 11, steps=4)
            page.mouse.up()
            releases.append(_until_exact(page))
        _quiet(page)
        chosen = [_choose(page, index) for index in (3, 7, 11)]
        browser.close()
    return {
        "dragging: median time between frames": f"{median(gaps):.1f} ms",
        "dragging: 95th percentile": f"{gaps[int(0.95 * len(gaps))]:.1f} ms",
        "dragging: messages to the server": str(during),
        "letting go to the exact answer": f"{median(releases):.0f} ms",
        "picture chosen to landscape drawn": f"{median(chosen):.2f} s",
    }


@contextlib.contextmanager
def running_app() -> Iterator[str]:
    """The app in a process of its own, with an empty cache; gives its address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "streamlit",
            "run",
            "app.py",
            "--server.headless=true",
            f"--server.port={port}",
        ]
        environment = os.environ | {"SPATIAL_VIZ_CACHE": folder}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            for _ in range(300):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://localhost:{port}/_stcore/health"):
                    break
                time.sleep(0.1)
            yield f"http://localhost:{port}"
        finally:
            process.terminate()
            process.wait(20)


def _quiet(page: Any) -> None:
    page.wait_for_function("() => !document.querySelector('[data-testid=stStatusWidget]')", timeout=PATIENCE)
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
