"""The whole lecture in a real browser: forwards and backwards by keyboard, by link, on the full screen, for axe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

from benchmarks.browser import DONE
from spatial_viz.app.lecture.page import STEPS

pytestmark = pytest.mark.browser
PATIENCE = 120_000  # milliseconds; the machine may be busy with other tests
COUNT = len(STEPS)
QUICK = "&granularity=11%2C3%2C3"  # a grid that takes a moment
# Of a page that is not the first Streamlit looks for its server twice, and finds it the second time.
LOOKING = ("/lecture/_stcore/health", "/lecture/_stcore/host-config")


@dataclass
class Hall:
    """The page, what its console complained about, and whom it asked."""

    page: Any
    url: str
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def open(self, step: int, more: str = QUICK) -> None:
        self.page.goto(f"{self.url}/?step={step}{more}")
        self.shows(step)

    def shows(self, step: int) -> None:
        """Wait until a step is shown, and all of it is there."""
        self.page.locator(f".st-key-lecture-step-{step}").wait_for(timeout=PATIENCE)
        title = self.page.locator(".st-key-lecture h1")
        self.page.wait_for_function(
            "(title) => document.querySelector('.st-key-lecture h1')?.innerText === title", arg=STEPS[step - 1].title,
            timeout=PATIENCE,
        )  # fmt: skip
        self.settle()
        assert title.count() == 1
        assert self.page.locator("[data-testid=stException]").count() == 0

    def settle(self) -> None:
        self.page.locator('.sv-lecture-screen[data-known="true"]').wait_for(timeout=PATIENCE)
        self.page.wait_for_function(DONE, timeout=PATIENCE)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def stays(self, step: int) -> None:
        self.page.wait_for_timeout(600)
        self.shows(step)


@contextlib.contextmanager
def entered(browser: Any, app: str, **settings: Any) -> Iterator[Hall]:
    """A page on which nothing may complain, and which asks nobody but this machine."""
    context = browser.new_context(**({"viewport": {"width": 1440, "height": 900}} | settings))
    page = context.new_page()
    hall = Hall(page, app)

    def heard(message: Any) -> None:
        if message.type == "error" and not message.location["url"].endswith(LOOKING):
            hall.complaints.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: hall.complaints.append(str(error)))
    page.on("request", lambda request: hall.strangers.append(request.url) if _strange(request.url) else None)
    page.on("websocket", lambda socket: hall.strangers.append(socket.url) if _strange(socket.url) else None)
    yield hall
    assert hall.complaints == []
    assert hall.strangers == []
    context.close()


def serious(hall: Hall, step: int) -> list[str]:
    """What axe finds in a step that is serious."""
    return [
        f"{STEPS[step - 1].title}: {problem['id']}: {[node['html'][:160] for node in problem['nodes']]}"
        for problem in Axe().run(hall.page).response["violations"]
        if problem["impact"] in ("serious", "critical")
    ]


def _strange(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob", "about") and parts.hostname not in ("localhost", "127.0.0.1")


@pytest.fixture
def hall(app: str, browser: Any) -> Iterator[Hall]:
    with entered(browser, app) as hall:
        yield hall


def test_the_whole_talk_by_keyboard(hall: Hall) -> None:
    hall.open(1)
    for step in range(2, COUNT + 1):
        hall.press("PageDown")
        hall.shows(step)
        hall.page.wait_for_function(f"() => /[?&]step={step}(&|$)/.test(location.search)", timeout=PATIENCE)
    hall.press("PageDown")  # there is no step behind the last
    hall.stays(COUNT)
    for step in range(COUNT - 1, 0, -1):
        hall.press("PageUp")
        hall.shows(step)
    hall.press("PageUp")
    hall.stays(1)


def test_a_link_opens_its_step(hall: Hall) -> None:
    for step in range(COUNT, 0, -5):
        hall.open(step)
        assert urlsplit(hall.page.url).path == "/lecture"
    hall.page.goto(f"{hall.url}/lecture?step=2{QUICK}")
    hall.shows(2)


def test_two_presses_at_once_are_two_steps(hall: Hall) -> None:
    hall.open(1)
    hall.press("PageDown")
    hall.press("PageDown")
    hall.shows(3)


def lose(hall: Hall, sign: bytes) -> list[bytes]:
    """Lose the first message with that sign on its way to the app; it is in the list then."""
    lost: list[bytes] = []

    def connect(socket: Any) -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda sent: lost.append(sent) if sign in sent and not lost else server.send(sent))

    hall.page.route_web_socket(lambda url: "/_stcore/stream" in url, connect)
    return lost


@pytest.mark.parametrize("sign", [b'{"screen":{', b'"event":"turn"'])
def test_what_is_lost_is_sent_again(sign: bytes, hall: Hall) -> None:
    lost = lose(hall, sign)
    hall.open(1)
    hall.press("PageDown")
    hall.shows(2)
    assert lost


def test_what_is_lost_undoes_no_later_choice(hall: Hall) -> None:
    lost = lose(hall, b'"event":"turn"')
    hall.open(3)
    hall.press("PageDown")
    hall.page.get_by_role("button", name="Previous").click()
    hall.shows(2)
    hall.page.wait_for_timeout(3000)
    hall.shows(2)
    assert lost


def test_arrow_keys_turn_only_while_nothing_has_the_focus(hall: Hall) -> None:
    hall.open(1)
    hall.press("ArrowRight")
    hall.shows(2)
    hall.press("ArrowDown")
    hall.shows(3)
    hall.page.locator(".sv-picture").focus()
    hall.press("ArrowLeft")  # moves the picture
    hall.page.wait_for_function("() => true")
    hall.stays(3)
    hall.press("PageDown")  # a clicker turns in any case
    hall.shows(4)
    hall.press("PageUp")
    hall.shows(3)
    hall.page.locator(".sv-picture").click()
    hall.press("ArrowLeft")
    hall.stays(3)
    hall.press("Escape")
    hall.press("ArrowLeft")
    hall.shows(2)
    radio = hall.page.get_by_role("radio", name="ℓ2")
    radio.focus()
    hall.press("ArrowRight")
    hall.stays(2)
    hall.press("Escape")
    hall.press("ArrowUp")
    hall.shows(1)


def test_a_click_on_next_leaves_the_arrow_keys_free(hall: Hall) -> None:
    hall.open(1)
    hall.page.get_by_role("button", name="Next").click()
    hall.shows(2)
    hall.press("ArrowRight")
    hall.shows(3)


def test_the_distance_follows_the_turn(hall: Hall) -> None:
    hall.open(3)
    distance = hall.page.locator(".sv-distance")
    assert distance.inner_text() == "ℓ∞ distance 0/255"
    hall.page.locator(".sv-picture").focus()
    for _ in range(10):
        hall.press("[")
    hall.page.locator('.sv-explorer[data-exact="true"]').wait_for(timeout=PATIENCE)
    assert int(distance.inner_text().split()[-1].split("/")[0]) > 60


def test_a_cell_of_the_map_can_be_clicked(hall: Hall) -> None:
    step = [each.title for each in STEPS].index("Can we train better?") + 1
    hall.open(step)
    plot = hall.page.locator(".js-plotly-plot").first
    plot.locator(".main-svg").first.wait_for(timeout=PATIENCE)
    hall.page.wait_for_timeout(1000)
    middle = """(node) => {
        const [at, inner] = [node.getBoundingClientRect(), node._fullLayout._size];
        return [at.x + inner.l + inner.w / 2, at.y + inner.t + inner.h / 2];
    }"""
    hall.page.mouse.click(*plot.evaluate(middle))  # on the unmoved picture
    hall.page.get_by_text("Your best of 1").wait_for(timeout=PATIENCE)
    hall.press("ArrowRight")  # the plot has the focus
    hall.stays(step)
    hall.press("Escape")
    hall.press("ArrowRight")
    hall.shows(step + 1)


def test_the_grid_fills_as_it_is_played(hall: Hall) -> None:
    hall.open([each.title for each in STEPS].index("Attempt 2: exhaustive search") + 1)
    chart = hall.page.locator(".st-key-filling .js-plotly-plot")
    chart.wait_for(timeout=PATIENCE)
    told = chart.locator(".slider-label").first
    assert told.text_content().startswith("0 of 99")
    chart.locator(".updatemenu-button").first.click()
    hall.page.wait_for_function(
        "() => document.querySelector('.st-key-filling .slider-label').textContent.startsWith('99 of 99')",
        timeout=PATIENCE,
    )
    assert "worst so far: loss" in told.text_content()


def test_the_full_screen_has_large_type_and_nothing_else(hall: Hall) -> None:
    hall.open(1)
    sidebar = hall.page.locator("[data-testid=stSidebar]")
    assert sidebar.is_visible()
    hall.page.get_by_role("button", name="Full screen").click()
    hall.page.get_by_role("button", name="End full screen").wait_for(timeout=PATIENCE)
    hall.settle()
    hall.page.wait_for_function("() => document.fullscreenElement !== null")
    assert not sidebar.is_visible() and not hall.page.locator("[data-testid=stHeader]").is_visible()
    for part in (".st-key-lecture-text p", ".sv-row figcaption"):
        size = hall.page.locator(part).first.evaluate("(node) => getComputedStyle(node).fontSize")
        assert float(size.removesuffix("px")) >= 24, part
    hall.page.get_by_role("button", name="Choose").click()
    sidebar.wait_for(state="visible")
    hall.page.locator(".sv-thumb").nth(3).click()
    hall.page.wait_for_url("**picture=cifar10*3*", timeout=PATIENCE)
    hall.settle()
    for _ in range(3):  # leaves the thumbnail, the choice, the full screen
        hall.press("Escape")
    hall.page.get_by_role("button", name="Full screen", exact=True).wait_for(timeout=PATIENCE)
    hall.settle()
    assert sidebar.is_visible()


# The grid that the talk is given with, and a quick one.
@pytest.mark.parametrize(("full", "scheme", "more"), [("0", "dark", ""), ("1", "light", QUICK)])
def test_the_projector_needs_no_scrolling_and_axe_finds_nothing_serious(
    full: str, scheme: str, more: str, browser: Any, app: str
) -> None:
    with entered(browser, app, viewport={"width": 1920, "height": 1080}, color_scheme=scheme) as hall:
        hall.open(1, f"{more}&full={full}")
        found = []
        for step in range(1, COUNT + 1):
            hall.shows(step)
            hall.page.wait_for_timeout(500)
            hidden = hall.page.locator("[data-testid=stMain]").evaluate(
                "(node) => [node.scrollHeight - node.clientHeight, node.scrollWidth - node.clientWidth]"
            )
            if max(hidden) > 0:
                found.append(f"{STEPS[step - 1].title}: {hidden} pixels are out of sight")
            found += serious(hall, step)
            hall.press("PageDown")
        assert found == []


def test_narrow_screens_do_not_scroll_sideways(browser: Any, app: str) -> None:
    with entered(browser, app, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as hall:
        hall.open(1)
        for step in range(1, COUNT + 1):
            hall.shows(step)
            hall.page.wait_for_timeout(300)
            assert hall.page.evaluate("document.documentElement.scrollWidth") <= 390, STEPS[step - 1].title
            hall.press("PageDown")
