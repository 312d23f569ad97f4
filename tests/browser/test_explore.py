"""The Explore page in a real browser."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image

from spatial_viz.data.samples import samples

pytestmark = pytest.mark.browser
PATIENCE = 120_000  # milliseconds; the machine may be busy with other tests


@dataclass
class Visit:
    """A page, what its console complained about, and the messages it sent to the server."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.root.wait_for(timeout=PATIENCE)
        self.settle()

    def settle(self) -> None:
        """Until the server has nothing left to do and the maps are complete."""
        self.page.wait_for_function(
            "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState !== 'running'",
            timeout=PATIENCE,
        )
        self.page.locator('.sv-explorer[data-refining="false"]').wait_for(timeout=2 * PATIENCE)
        self.page.wait_for_timeout(300)

    @property
    def root(self) -> Any:
        return self.page.locator(".sv-explorer")

    def data(self, name: str) -> str:
        return str(self.root.get_attribute(f"data-{name}"))

    def wait_exact(self) -> None:
        # What was done a moment ago is drawn with the next frame; until then the page stands at the pose before.
        self.page.evaluate("() => new Promise(requestAnimationFrame)")
        self.page.locator('.sv-explorer[data-exact="true"]').wait_for(timeout=PATIENCE)

    def bars(self) -> str:
        return str(self.page.locator(".sv-bars").inner_text())


@pytest.fixture
def visit(app: str, browser: Any) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    visit = Visit(page)
    page.on("console", lambda message: visit.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: visit.sent.append(frame)))
    yield visit
    assert visit.complaints == []
    context.close()


def test_the_first_screen_tells_the_whole_story(visit: Visit, app: str) -> None:
    visit.open(app)
    for part in (".sv-picture", ".sv-map-shift", ".sv-map-rotation", ".sv-curve", ".sv-bars", ".sv-jump-worst"):
        box = visit.page.locator(part).first.bounding_box()
        assert box and box["y"] + box["height"] <= 900, f"{part} is not on the first screen: {box}"
    text = visit.root.inner_text()
    assert "Original" in text and ("Worst case" in text or "Strongest transform" in text)
    assert "of 775 transforms fail" in text
    assert visit.page.locator("[data-testid=stException]").count() == 0


def test_dragging_needs_no_server_and_letting_go_brings_the_exact_answer(visit: Visit, app: str) -> None:
    visit.open(app)
    before, bars = len(visit.sent), visit.bars()
    frames = int(visit.data("frames"))
    box = visit.page.locator(".sv-picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    visit.page.mouse.move(x, y)
    visit.page.mouse.down()
    visit.page.mouse.move(x + 20, y - 12, steps=20)
    visit.page.wait_for_timeout(200)
    assert float(visit.data("dx")) > 0.5 and float(visit.data("dy")) < -0.3
    assert visit.data("exact") == "false" and "interpolated" in visit.root.inner_text()
    assert visit.bars() != bars, "the probabilities should follow the drag"
    assert int(visit.data("frames")) > frames
    assert len(visit.sent) == before, "a drag must not send anything"
    visit.page.mouse.up()
    visit.wait_exact()
    assert len(visit.sent) == before + 1
    assert "exact" in visit.root.inner_text()
    visit.settle()
    visit.page.wait_for_url("**pose=*")


def test_keys_and_the_map_move_the_pose(visit: Visit, app: str) -> None:
    visit.open(app)
    visit.page.locator(".sv-picture").focus()
    for key in ("ArrowRight", "ArrowDown", "["):
        visit.page.keyboard.press(key)
    visit.wait_exact()
    assert float(visit.data("dx")) > 0 and float(visit.data("dy")) > 0 and float(visit.data("rotation")) != 0
    visit.page.keyboard.press("0")
    visit.page.wait_for_timeout(600)
    assert float(visit.data("rotation")) == float(visit.data("dx")) == 0
    box = visit.page.locator(".sv-map-shift").bounding_box()
    visit.page.mouse.click(box["x"] + 0.35 * box["width"], box["y"] + 0.3 * box["height"])
    visit.wait_exact()
    assert float(visit.data("dx")) != 0 or float(visit.data("dy")) != 0


def test_the_worst_case_is_one_click_away(visit: Visit, app: str) -> None:
    visit.open(app)
    visit.page.locator(".sv-jump-worst").click()
    visit.wait_exact()
    named = visit.page.locator(".sv-jump-name").last.inner_text()
    assert visit.data("predicted") == named


def test_another_picture_and_another_classifier(visit: Visit, app: str) -> None:
    visit.open(app)
    visit.page.locator(".sv-thumb").nth(4).click()
    visit.page.wait_for_url("**picture=cifar10*4*", timeout=PATIENCE)
    visit.settle()
    assert "frog" in visit.page.locator(".sv-jump-name").first.inner_text() or "frog" in visit.root.inner_text()
    visit.page.get_by_role("combobox", name="Classifier").click()
    visit.page.get_by_role("option", name="cifar10/worst-of-10-30", exact=True).click()
    visit.page.wait_for_url("**classifier=cifar10*worst*", timeout=PATIENCE)
    visit.settle()
    assert visit.page.locator(".sv-thumb").count() == 20


def test_an_uploaded_photo_is_held_against_its_own_prediction(visit: Visit, app: str) -> None:
    visit.open(app)
    visit.page.locator("[data-testid=stSidebar]").get_by_text("Upload", exact=True).first.click()
    chooser = visit.page.locator('input[type="file"]')
    chooser.wait_for(state="attached", timeout=PATIENCE)
    photo = next(sample for sample in samples("imagenet")).path
    chooser.set_input_files(str(photo))
    visit.page.get_by_text("Nobody labelled this picture").wait_for(timeout=PATIENCE)
    visit.settle()
    # A file that is no picture: one sentence, and the page goes on.
    chooser.set_input_files([{"name": "<b>x</b>.png", "mimeType": "image/png", "buffer": b"not a picture"}])
    visit.page.get_by_text("<b>x</b>.png").first.wait_for(timeout=PATIENCE)
    visit.page.locator("[data-testid=stAlert]").first.wait_for(timeout=PATIENCE)
    assert visit.page.locator("[data-testid=stException]").count() == 0
    stream = io.BytesIO()
    Image.new("RGB", (50, 40), "green").save(stream, "PNG")
    chooser.set_input_files([{"name": "green.png", "mimeType": "image/png", "buffer": stream.getvalue()}])
    visit.page.get_by_text("Nobody labelled this picture").wait_for(timeout=PATIENCE)


def test_a_deep_link_opens_the_same_view(visit: Visit, app: str) -> None:
    link = "/?classifier=cifar10%2Fworst-of-10-30&picture=cifar10%2F7&pose=12.5%2C1.5%2C-2"
    visit.open(app + link)
    assert [float(visit.data(axis)) for axis in ("rotation", "dx", "dy")] == [12.5, 1.5, -2]
    visit.wait_exact()
    assert visit.page.get_by_role("combobox", name="Classifier").input_value() == "cifar10/worst-of-10-30"
    assert visit.page.locator('.sv-thumb[aria-pressed="true"]').get_attribute("data-id") == "cifar10/7"


def test_the_attack_page(visit: Visit, app: str) -> None:
    visit.open(app)
    visit.page.locator(".sv-thumb").nth(4).click()
    visit.page.wait_for_url("**picture=cifar10*4*", timeout=PATIENCE)
    visit.settle()
    visit.page.get_by_role("link", name="Attack").click()
    visit.page.get_by_text("Why does the gradient get lost").wait_for(timeout=PATIENCE)
    chart = visit.page.locator(".st-key-attack-map .js-plotly-plot").last
    chart.wait_for(timeout=4 * PATIENCE)
    visit.page.get_by_text("What does a majority vote buy?").wait_for(timeout=PATIENCE)
    assert visit.page.locator('.sv-thumb[aria-pressed="true"]').get_attribute("data-id") == "cifar10/4"

    count = """(node, name) => (node._fullData ?? []).filter((trace) => trace.name.startsWith(name))
        .reduce((sum, trace) => sum + (trace.x.length ?? trace.x._inputArray.length), 0)"""

    def points(name: str) -> int:
        return int(chart.evaluate(count, name))

    assert points("random draws") == 10
    whole = points("first-order paths")
    # The animation plays: the paths are short again, and grow.
    visit.page.wait_for_timeout(1000)
    chart.locator(".updatemenu-button").first.click()
    visit.page.wait_for_timeout(700)
    early = points("first-order paths")
    assert early < whole
    visit.page.wait_for_timeout(1500)
    assert points("first-order paths") > early
    # The slider of k changes the dots, and nothing is swept again.
    slider = visit.page.get_by_role("slider", name="k, the number of random draws")
    slider.focus()
    for _ in range(3):
        slider.press("ArrowRight")
    for _ in range(PATIENCE // 200):  # the chart is mounted anew
        if points("random draws") == 13:
            break
        visit.page.wait_for_timeout(200)
    else:
        pytest.fail("the dots did not follow the slider")
    assert visit.page.get_by_text("Sweeping the grid").count() == 0
    assert visit.page.locator("[data-testid=stException]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_do_not_scroll_sideways(browser: Any, app: str, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme=scheme
    )
    page = context.new_page()
    visit = Visit(page)
    visit.open(app)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = visit.root.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    context.close()
