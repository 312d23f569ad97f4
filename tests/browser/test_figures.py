"""What figures look like in a real browser, by their pixels: while they play, without WebGL, and in which direction."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.app import ARGUMENTS, CHROMIUM
from benchmarks.browser import DONE
from spatial_viz.app.lecture.page import STEPS

pytestmark = pytest.mark.browser
PATIENCE = 120_000  # milliseconds; the machine may be busy with other tests
QUICK = "granularity=11%2C3%2C3"  # a grid that takes a moment
NUMBER = {step.title: number for number, step in enumerate(STEPS, start=1)}
CLIMB, LANDSCAPE, FILL = (NUMBER[title] for title in (
    "Attempt 1: first-order methods", "The landscape", "Attempt 2: exhaustive search"))  # fmt: skip
NO_WEBGL = ("--disable-webgl", "--disable-3d-apis")
SEEN = 0.95  # of a map's pixels at least are not the page's background

# The inside of a plot's axes, in CSS pixels of the window, and a place beside it.
AREA = """(node) => {
    const [at, { l, t, w, h }] = [node.getBoundingClientRect(), node._fullLayout._size];
    return { x: at.x + l + 2, y: at.y + t + 2, width: w - 4, height: h - 4 };
}"""


@contextlib.contextmanager
def opened(browser: Any, scheme: str = "light", **settings: Any) -> Iterator[Any]:
    """A page whose scripts may not fail."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme=scheme, **settings)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    failed: list[str] = []
    # An animation that is stopped is a promise that Plotly rejects, with nothing.
    page.on("pageerror", lambda error: None if str(error) == "undefined" else failed.append(str(error)))
    yield page
    assert failed == []
    context.close()


def settled(page: Any, url: str) -> None:
    page.goto(url)
    page.wait_for_function(DONE, timeout=PATIENCE)
    assert page.locator("[data-testid=stException]").count() == 0


def pixels(page: Any, clip: dict[str, float]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")).astype(int)


class Plot:
    """A figure of Plotly on the page, by what is seen of it."""

    def __init__(self, page: Any, selector: str) -> None:
        self.page, self.node = page, page.locator(selector).first
        self.node.locator(".main-svg").first.wait_for()
        for _ in range(PATIENCE // 700):  # until a script run that ends just now no longer replaces it
            node = self.node.element_handle()
            node.evaluate("(node) => node.scrollIntoView({ block: 'center', behavior: 'instant' })")
            page.wait_for_timeout(700)
            if node.evaluate("(node) => node.isConnected && node.checkVisibility()"):
                break

    def inside(self) -> np.ndarray:
        """The pixels within its axes."""
        return pixels(self.page, self.node.evaluate(AREA))

    def seen(self) -> float:
        """The share of them that is not background: of the plot where it has one of its own, else of the page."""
        box = self.node.bounding_box()
        background = pixels(self.page, {"x": box["x"] + 1, "y": box["y"] + 1, "width": 2, "height": 2})[0, 0]
        own = str(self.node.evaluate("(node) => node._fullLayout.plot_bgcolor"))
        if own.startswith("#"):
            background = np.array(list(bytes.fromhex(own[1:])))
        return float((abs(self.inside() - background).max(-1) > 3).mean())

    def colours(self) -> int:
        return len(np.unique(self.inside().reshape(-1, 3), axis=0))

    # ---- the player below

    def label(self) -> str:
        return str(self.node.locator(".slider-label").first.text_content())

    def play_to_the_middle(self) -> None:
        """Play, and stop on the way."""
        first = str(self.node.evaluate("(node) => node._fullLayout.sliders[0].steps[0].label"))
        buttons = self.node.locator(".updatemenu-button")
        before = self.label()
        buttons.first.click()
        for _ in range(PATIENCE // 50):
            if self.label() not in (first, before):
                break
            self.page.wait_for_timeout(50)
        buttons.nth(1).click()
        self.page.wait_for_timeout(300)

    def play_to_the_end(self) -> None:
        last = self.node.evaluate("(node) => node._fullLayout.sliders[0].steps.at(-1).label")
        self.node.locator(".updatemenu-button").first.click()
        self.page.wait_for_timeout(500)
        for _ in range(PATIENCE // 200):
            if self.label() == last:
                break
            self.page.wait_for_timeout(200)
        self.page.wait_for_timeout(300)
        assert self.label() == last

    def pull(self, share: float) -> None:
        """Pull the slider to a share of its length."""
        rail = self.node.locator(".slider-rail-touch-rect").first.bounding_box()
        y = rail["y"] + rail["height"] / 2
        self.page.mouse.move(rail["x"] + rail["width"] * (share + (0.1 if share < 0.5 else -0.1)), y)
        self.page.mouse.down()
        self.page.mouse.move(rail["x"] + rail["width"] * share, y, steps=4)
        self.page.mouse.up()
        self.page.wait_for_timeout(500)


# --- Maps while they play -------------------------------------------------------------------------------------------


def check_map_stays(plot: Plot) -> None:
    """Paths move over a map: all else is as it was, on the way, at the end, and where the slider is pulled to."""
    assert plot.seen() > SEEN and plot.colours() > 20
    still = plot.inside()

    def the_same() -> float:
        return float((abs(plot.inside() - still).max(-1) <= 3).mean())

    plot.play_to_the_middle()
    assert the_same() > 0.9, plot.label()
    plot.play_to_the_end()
    assert the_same() > 0.97, plot.label()
    plot.pull(0.4)
    assert the_same() > 0.9, plot.label()


def check_map_fills(plot: Plot) -> None:
    assert plot.seen() < 0.05
    plot.play_to_the_middle()
    half = plot.seen()
    assert 0.01 < half < SEEN, plot.label()
    plot.play_to_the_end()
    # Lines in the page's colour part the bands.
    assert plot.seen() > 0.93 and plot.colours() > 20, plot.label()
    plot.pull(0.5)
    assert 0.3 < plot.seen() < 0.7, plot.label()
    right = plot.inside()[:, -30:]
    assert np.ptp(right[::9].reshape(-1, 3), axis=0).max() < 60, "what is to come lies on the right"
    plot.pull(0)
    assert plot.seen() < 0.05, plot.label()


def test_maps_of_the_lecture_stay_while_they_play_and_are_pulled(app: str, browser: Any) -> None:
    with opened(browser, "light") as page:
        settled(page, f"{app}/?step={CLIMB}&{QUICK}")
        page.locator(".st-key-reached .main-svg").first.wait_for()
        check_map_stays(Plot(page, "[class*=st-key-starts-map] .js-plotly-plot"))
        settled(page, f"{app}/?step={FILL}&{QUICK}")
        check_map_fills(Plot(page, ".st-key-filling .js-plotly-plot"))


def test_the_map_of_attacks_stays_on_its_page_and_in_its_export(app: str, browser: Any, tmp_path: Path) -> None:
    with opened(browser, "dark") as page:
        settled(page, f"{app}/attack?classifier=mnist%2Fstandard&{QUICK}")
        check_map_stays(Plot(page, ".st-key-attack-map .js-plotly-plot"))
        exported = downloaded(page, "Page that works offline (HTML)", tmp_path / "attack.html")
        page.goto(exported.as_uri())
        page.locator("#figure-1 .main-svg").first.wait_for()
        check_map_stays(Plot(page, "#figure-1"))


def downloaded(page: Any, button: str, path: Path) -> Path:
    with page.expect_download(timeout=PATIENCE) as download:
        page.get_by_role("button", name=button).click()
    download.value.save_as(path)
    return path


# --- Without WebGL --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flat_browser(browser: Any) -> Iterator[Any]:
    launched = browser.browser_type.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *NO_WEBGL])
    yield launched
    launched.close()


def check_flat(page: Any, selector: str, count: int) -> None:
    """Maps in the place of surfaces, with a sentence, and no address of anybody."""
    page.locator(f'{selector}[data-flat="true"][data-drawn="true"]').wait_for()
    assert page.locator(f"{selector} .js-plotly-plot").count() == count
    for number in range(count):
        plot = Plot(page, f"{selector} figure:nth-child({number + 1}) .js-plotly-plot")
        assert plot.seen() > SEEN and plot.colours() > 20
    assert "WebGL is off in this browser" in page.locator(f"{selector} .sv-surfaces-hint").inner_text()
    assert "webgl.org" not in page.content() and page.locator(".no-webgl").count() == 0


def test_without_webgl_explore_and_its_exported_page_show_maps(app: str, flat_browser: Any, tmp_path: Path) -> None:
    with opened(flat_browser) as page:
        settled(page, f"{app}/?{QUICK}")
        check_flat(page, ".st-key-surface .sv-surfaces", 1)
        picture = tmp_path / "map.png"
        with page.expect_download(timeout=PATIENCE) as download:
            page.get_by_role("button", name="PNG, three times the size").click()
        download.value.save_as(picture)
        assert "from-above" in download.value.suggested_filename
        saved = np.asarray(Image.open(picture).convert("RGB"))
        middle = saved[saved.shape[0] // 4 : saved.shape[0] // 2, saved.shape[1] // 4 : saved.shape[1] // 2]
        assert (middle.min(-1) < 250).mean() > SEEN, "a map is in the picture"
        page.get_by_text("saved as a heat map, from above").wait_for()
        exported = downloaded(page, "Page that works offline (HTML)", tmp_path / "explore.html")
        page.goto(exported.as_uri())
        page.get_by_text("WebGL is off in this browser").wait_for()
        plot = Plot(page, '.js-plotly-plot[data-flat="true"]')
        assert plot.seen() > SEEN and plot.colours() > 20
        assert page.locator(".no-webgl").count() == 0
        name = plot.node.get_attribute("id")
        with page.expect_download(timeout=PATIENCE) as download:
            page.locator(f'[data-figure="{name}"][data-format="png"]').click()
        assert Image.open(download.value.path()).size[0] > 1000


def test_without_webgl_compare_and_the_lecture_show_maps(app: str, flat_browser: Any) -> None:
    with opened(flat_browser, "dark") as page:
        settled(page, f"{app}/compare?{QUICK}")
        page.locator(".st-key-compare-surfaces .sv-surfaces").scroll_into_view_if_needed()
        check_flat(page, ".st-key-compare-surfaces .sv-surfaces", 2)
        settled(page, f"{app}/?step={LANDSCAPE}&{QUICK}")
        check_flat(page, ".st-key-talk-surfaces .sv-surfaces", 2)


def test_the_older_webgl_is_enough(app: str, browser: Any) -> None:
    launched = browser.browser_type.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, "--disable-webgl2"])
    with opened(launched) as page:
        settled(page, f"{app}/?{QUICK}")
        page.locator('.st-key-surface .sv-surfaces[data-flat="false"][data-drawn="true"]').wait_for()
        assert page.locator(".st-key-surface .gl-container canvas").count() and not page.locator(".no-webgl").count()
    launched.close()


# --- Directions -----------------------------------------------------------------------------------------------------


def middle_of_accent(page: Any, selector: str) -> tuple[float, float]:
    """Where the marks in the accent's colour lie on an element, as shares of its width and height."""
    node = page.locator(selector).first
    accent = node.evaluate("""(node) => {
        const colour = getComputedStyle(node.closest('.sv-explorer')).getPropertyValue('--sv-accent').trim();
        const context = document.createElement('canvas').getContext('2d');
        context.fillStyle = colour;
        return context.fillStyle;
    }""")
    shade = np.array([int(accent[i : i + 2], 16) for i in (1, 3, 5)])
    box = node.bounding_box()
    picture = pixels(page, box)
    found = np.argwhere(abs(picture - shade).max(-1) < 16)
    assert len(found) > 20, selector
    y, x = np.median(found, axis=0) / picture.shape[:2]
    return float(x), float(y)


def test_left_is_left_for_handle_slider_maps_axes_and_words(app: str, browser: Any) -> None:
    with opened(browser) as page:
        settled(page, f"{app}/?{QUICK}")
        root = page.locator(".sv-explorer")
        root.and_(page.locator('[data-refining="false"]')).wait_for()
        box = page.locator(".sv-picture").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + 11
        slider = page.locator('.sv-slider input[data-axis="rotation"]')

        def check(words: str, sign: int) -> None:
            page.evaluate("() => new Promise(requestAnimationFrame)")
            page.wait_for_timeout(200)
            assert sign * float(root.get_attribute("data-rotation")) > 3, words
            assert page.locator(".sv-slider output").first.inner_text().endswith(words)
            assert words in page.locator(".sv-figure-shift .sv-caption").inner_text()
            assert slider.get_attribute("aria-valuetext").endswith(words)
            for part in ('.sv-slider input[data-axis="rotation"]', ".sv-map-rotation", ".sv-curve"):
                at = middle_of_accent(page, part)[0]
                assert at < 0.45 if words == "left" else at > 0.55, f"{part} at {at:.2f}, {words}"

        for words, sign in (("left", 1), ("right", -1)):
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x - sign * 50, y, steps=5)
            page.mouse.up()
            check(words, sign)
            page.locator(".sv-button", has_text="Reset").click()
            slider.focus()
            for _ in range(20):
                page.keyboard.press(f"Arrow{words.capitalize()}")
            check(words, sign)
            page.locator(".sv-button", has_text="Reset").click()
            inside = page.locator(".sv-map-rotation").bounding_box()
            page.mouse.click(inside["x"] + inside["width"] * (0.5 - sign * 0.25), inside["y"] + inside["height"] / 2)
            check(words, sign)
            page.locator(".sv-button", has_text="Reset").click()
        # Up is up, too.
        page.mouse.move(x, y + 150)
        page.mouse.down()
        page.mouse.move(x + 20, y + 130, steps=5)
        page.mouse.up()
        page.wait_for_timeout(300)
        assert float(root.get_attribute("data-dy")) < 0 < float(root.get_attribute("data-dx"))
        assert middle_of_accent(page, ".sv-map-shift")[1] < 0.4
        # The figures below, as Plotly has drawn them.
        plot = Plot(page, ".st-key-heatmap .js-plotly-plot")
        ends = """(node) => [['xaxis', 30, -30], ['yaxis', -3, 3]].map(
            ([axis, first, last]) => [node._fullLayout[axis].d2p(first), node._fullLayout[axis].d2p(last)])"""
        (left_end, right_end), (top, bottom) = plot.node.evaluate(ends)
        assert left_end < right_end and top < bottom
        page.locator('.st-key-surface .sv-surfaces[data-drawn="true"]').wait_for()
        scene = page.locator(".st-key-surface .js-plotly-plot").evaluate(
            "(node) => [node._fullLayout.scene.xaxis.range, node._fullLayout.scene.yaxis.range]"
        )
        assert scene == [[30, -30], [3, -3]]


# --- The server's log -----------------------------------------------------------------------------------------------


def test_a_walk_over_all_pages_leaves_no_trace_in_the_log(app: str, app_home: Path, browser: Any) -> None:
    log = app_home / "app.log"
    before = len(log.read_text())
    with opened(browser) as page:
        for place in ("", "attack", "compare", "results", "browse"):
            settled(page, f"{app}/{place}?{QUICK}")
        settled(page, f"{app}/?step=1&{QUICK}")
        page.locator('.sv-lecture-screen[data-known="true"]').wait_for()
        for number in range(2, len(STEPS) + 1):
            page.keyboard.press("PageDown")
            page.locator(f".st-key-lecture-step-{number}").wait_for()
            page.wait_for_function(DONE, timeout=PATIENCE)
            page.locator('.sv-lecture-screen[data-known="true"]').wait_for()
    written = log.read_text()[before:]
    for trace in ("Traceback", "Stack (most recent call last)", "alt", "Error"):
        assert trace not in written, written[-3000:]
