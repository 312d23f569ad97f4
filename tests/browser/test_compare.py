"""The Compare page in a real browser: one pose, one camera, one scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from toys import most_robust

from spatial_viz.data.images import load_image
from spatial_viz.data.samples import opening_sample
from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.figures.comparison import comparison_rows
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.landscape.vote_shares import vote_shares
from spatial_viz.models.registry import load_classifier
from spatial_viz.transforms.grids import TransformGrid

pytestmark = pytest.mark.browser
PATIENCE = 120_000  # milliseconds; the machine may be busy with other tests
QUICK = "granularity=11%2C3%2C3"  # a grid that takes a moment
GRID = TransformGrid(30, 3, 3, (11, 3, 3))
ROBUST = most_robust("cifar10")
CLASSIFIERS = ("cifar10/standard", ROBUST.name)  # the page opens with these
# Of a page that is not the first Streamlit looks for its server twice, and finds it the second time.
LOOKING = ("/compare/_stcore/health", "/compare/_stcore/host-config")
EYE = "plots => plots.map(plot => Object.values(plot.layout.scene.camera.eye).map(v => Math.round(v * 1e4) / 1e4))"


@dataclass
class Visit:
    """A page, what its console complained about, and the messages it sent to the server."""

    page: Any
    url: str
    complaints: list[str] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)

    def open(self, parameters: str = "") -> None:
        self.page.goto(f"{self.url}/compare?{QUICK}&{parameters}", timeout=PATIENCE)
        self.settle()

    def settle(self) -> None:
        self.page.locator('.sv-explorer[data-refining="false"]').wait_for(timeout=PATIENCE)
        self.page.wait_for_function(
            "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'",
            timeout=PATIENCE,
        )
        self.page.wait_for_timeout(300)

    @property
    def root(self) -> Any:
        return self.page.locator(".sv-explorer")

    def pose(self) -> list[float]:
        return [float(self.root.get_attribute(f"data-{axis}")) for axis in ("rotation", "dx", "dy")]

    def surfaces(self) -> Any:
        """All of them, once they are drawn."""
        self.page.locator(".sv-surfaces").scroll_into_view_if_needed()
        self.page.locator('.sv-surfaces[data-drawn="true"]').wait_for(timeout=PATIENCE)
        return self.page.locator(".sv-surface")

    def table(self) -> list[dict[str, str]]:
        heads = self.page.locator(".sv-table thead th").all_inner_texts()
        rows = self.page.locator(".sv-table tbody tr").all()
        return [dict(zip(heads, row.locator("th, td").all_inner_texts(), strict=True)) for row in rows]


@pytest.fixture
def visit(app: str, browser: Any) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    visit = Visit(context.new_page(), app)
    visit.page.set_default_timeout(PATIENCE)

    def heard(message: Any) -> None:
        if message.type == "error" and urlsplit(message.location["url"]).path not in LOOKING:
            visit.complaints.append(message.text)

    visit.page.on("console", heard)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: visit.sent.append(frame)))
    yield visit
    assert visit.complaints == []
    context.close()


def opening_picture() -> tuple[Any, int]:
    sample = opening_sample("cifar10")
    return load_image(sample.path), sample.label


def test_the_first_screen_tells_the_story(visit: Visit) -> None:
    visit.open()
    badges = visit.page.locator(".sv-verdict .sv-badge").all_inner_texts()
    assert sorted(badge[0] for badge in badges) == ["✓", "✕"]
    for part in (".sv-picture", ".sv-map-shift", ".sv-verdict", ".sv-jump-worst", ".sv-sliders"):
        for box in (each.bounding_box() for each in visit.page.locator(part).all()):
            assert box and box["y"] + box["height"] <= 900, f"{part} is not on the first screen: {box}"
    assert visit.page.locator("h1").all_inner_texts()[0].startswith("The same turns and shifts")


def test_the_table_is_what_the_library_says(visit: Visit) -> None:
    visit.open()
    picture, label = opening_picture()
    landscapes = []
    for name in CLASSIFIERS:
        classifier = load_classifier(name)
        landscapes.append(sweep(classifier, classifier.prepare(picture), label, GRID))
    assert visit.table() == comparison_rows(CLASSIFIERS, landscapes)


def test_all_panes_follow_one_drag_and_nothing_is_sent(visit: Visit) -> None:
    visit.open("pose=0%2C0%2C0")
    paint = "canvas => canvas.toDataURL()"
    canvases = visit.page.locator(".sv-picture")
    before = [canvases.nth(number).evaluate(paint) for number in (0, 1)]
    sent, frames = len(visit.sent), int(visit.root.get_attribute("data-frames"))
    box = canvases.nth(1).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    visit.page.mouse.move(x, y)
    visit.page.mouse.down()
    visit.page.mouse.move(x + 14, y - 10, steps=14)
    visit.page.wait_for_timeout(300)
    _, right, down = visit.pose()
    assert right > 0.5 and down < -0.3
    after = [canvases.nth(number).evaluate(paint) for number in (0, 1)]
    assert after[0] != before[0] and after[1] != before[1]
    assert after[0] == after[1], "the same picture in the same pose"
    assert visit.page.locator(".sv-status").all_inner_texts() == ["≈ interpolated"] * 2
    assert int(visit.root.get_attribute("data-frames")) > frames
    assert len(visit.sent) == sent, "a drag must not send anything"
    visit.page.mouse.up()
    visit.page.locator('.sv-explorer[data-exact="true"]').wait_for()
    assert len(visit.sent) == sent + 1
    assert visit.page.locator(".sv-status").all_inner_texts() == ["exact"] * 2
    visit.page.wait_for_url("**pose=0%2C*")
    visit.settle()


def test_who_turns_one_surface_turns_all(visit: Visit) -> None:
    visit.open()
    surfaces = visit.surfaces()
    assert surfaces.count() == 2
    home = surfaces.evaluate_all(EYE)
    sent = len(visit.sent)
    box = surfaces.nth(1).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    visit.page.mouse.move(x, y)
    visit.page.mouse.down()
    visit.page.mouse.move(x + 90, y + 30, steps=6)
    visit.page.wait_for_timeout(1000)
    turned = surfaces.evaluate_all(EYE)
    assert turned[0] == turned[1] != home[1], "while it is held"
    visit.page.mouse.up()
    surfaces.first.focus()
    visit.page.keyboard.press("ArrowUp")
    visit.page.keyboard.press("-")
    visit.page.wait_for_timeout(1000)
    keyed = surfaces.evaluate_all(EYE)
    assert keyed[0] == keyed[1] != turned[1]
    visit.page.get_by_role("button", name="Reset the view").click()
    visit.page.wait_for_timeout(1000)
    assert surfaces.evaluate_all(EYE) == home
    assert len(visit.sent) == sent
    # The camera stays where another slice is drawn.
    surfaces.first.focus()
    visit.page.keyboard.press("ArrowLeft")
    visit.page.wait_for_timeout(500)
    left = surfaces.evaluate_all(EYE)
    visit.page.get_by_role("radio", name="dx × dy").click()
    visit.page.get_by_text("Highest loss over all values of rotation").first.wait_for()
    visit.settle()
    visit.surfaces()
    assert visit.page.locator(".sv-surface").evaluate_all(EYE) == left != home


def test_a_link_opens_the_same_comparison(visit: Visit) -> None:
    visit.open("compare=Paddings&paddings=black&paddings=reflect&paddings=edge&pose=12.5%2C1.5%2C-2&slice=dx+%C3%97+dy")
    assert visit.page.locator(".sv-title").all_inner_texts() == ["padding black", "padding reflect", "padding edge"]
    assert visit.pose() == [12.5, 1.5, -2]
    visit.page.locator('.sv-explorer[data-exact="true"]').wait_for()
    visit.page.get_by_text("Highest loss over all values of rotation").first.wait_for()


def test_a_vote_is_shown_in_shares_of_votes(visit: Visit) -> None:
    visit.open("compare=Majority+vote&shift=0")
    picture, label = opening_picture()
    alone = load_classifier(CLASSIFIERS[0])
    grid = TransformGrid(30, 0, 0, (11, 3, 3))
    vote = MajorityVote(alone, grid)
    image = alone.prepare(picture)
    shares = [vote_shares(sweep(each, image, label, grid), each) for each in (alone, vote)]
    titles = visit.page.locator(".sv-title").all_inner_texts()
    assert visit.table() == comparison_rows(titles, shares)
    for words in visit.page.locator(".sv-verdict").all_inner_texts():
        assert "of votes" in words and "true class" in words and "loss" not in words
    assert "nats" not in visit.root.inner_text()
    assert all("share of votes" in words for words in visit.page.locator(".sv-caption").all_inner_texts())


def test_another_classifier_is_taken_away_and_the_page_goes_on(visit: Visit) -> None:
    visit.open()
    visit.page.locator(".st-key-against_chosen").get_by_role("button", name="Clear").first.click()
    visit.page.get_by_text("A comparison needs two").wait_for()
    visit.page.wait_for_url("**against=nobody*")
    visit.page.locator(".st-key-against_chosen input").click()
    visit.page.get_by_role("option", name=CLASSIFIERS[1], exact=True).click()
    visit.page.wait_for_url(f"**against=cifar10*{ROBUST.recipe}*")
    visit.settle()
    assert visit.page.locator(".sv-title").all_inner_texts() == list(CLASSIFIERS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_do_not_scroll_sideways(browser: Any, app: str, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme=scheme
    )
    visit = Visit(context.new_page(), app)
    visit.open()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    for pane in visit.page.locator(".sv-pane").all():
        box = pane.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        for part in pane.locator("*").all():
            inner = part.bounding_box()
            assert not inner or inner["x"] + inner["width"] <= box["x"] + box["width"] + 1, part.get_attribute("class")
    context.close()


def test_axe_finds_nothing_serious(visit: Visit) -> None:
    visit.open()
    visit.surfaces()
    found = Axe().run(visit.page).response["violations"]
    ours = [
        (violation["id"], node["html"][:200])
        for violation in found if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
        if any(mark in node["html"] for mark in ("sv-", "plotly", "<h1", "<h2", "<table"))
    ]  # fmt: skip
    assert ours == []
    headings = visit.page.locator("[data-testid=stMain] :is(h1, h2, h3, h4)")
    levels = headings.evaluate_all("all => all.map(heading => Number(heading.tagName[1]))")
    assert levels[0] == 1 and all(after - before <= 1 for before, after in pairwise(levels)), levels
