"""Addresses in a real browser: from page to page, back and forward, reloaded and copied, they say what is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from benchmarks.browser import DONE
from spatial_viz.data.samples import CLASS_NAMES, find_sample

pytestmark = pytest.mark.browser
PATIENCE = 240_000  # milliseconds; the machine may be busy with other tests
# A grid that takes a moment; with the picture turned only, the attacks have nothing to search.
QUICK = "granularity=11%2C3%2C3&shift=0"
HEADINGS = {
    "": "How far can you turn", "compare": "The same turns and shifts|No turn or shift of the grid",
    "attack": "Why does the gradient get lost", "results": "How often are classifiers right",
}  # fmt: skip
ROBUST = "cifar10/worst-of-10-30"


@dataclass
class Visitor:
    page: Any
    url: str
    stops: list[dict[str, str]] = field(default_factory=list)

    def settle(self) -> None:
        """Until page and address have not changed for a while."""
        same, last = 0, ""
        while same < 3:
            self.page.wait_for_timeout(250)
            self.page.wait_for_function(DONE, timeout=PATIENCE)
            now = self.page.url + "".join(self.page.locator("h1").all_inner_texts())
            same, last = (same + 1 if now == last else 0), now

    def said(self) -> dict[str, str]:
        """What the address says, with the page under ""."""
        parts = urlsplit(self.page.url)
        return {"": parts.path.strip("/")} | {name: values[-1] for name, values in parse_qs(parts.query).items()}

    def agrees(self, **expected: str) -> None:
        """The address says this, and it is what is shown."""
        self.settle()
        said = self.said()
        assert (said.pop("granularity"), said.pop("shift")) == ("11,3,3", "0")
        assert said == {"": said[""]} | {name or "": value for name, value in expected.items()}, said
        assert self.shows(said) == said
        assert self.page.locator("[data-testid=stException]").count() == 0

    def shows(self, said: dict[str, str]) -> dict[str, str]:
        """What of the address is to be seen on the page."""
        page, shown = self.page, dict(said)
        (heading,) = page.locator("h1").all_inner_texts()
        shown[""] = next(path for path, words in HEADINGS.items() if re.match(words, heading))
        if shown[""] == "results":
            return shown
        name = page.locator('.sv-thumb[aria-pressed="true"]').get_attribute("data-id")
        classifier = page.get_by_role("combobox", name="Classifier").input_value()
        for key, value, usual in (("picture", name, "cifar10/6"), ("classifier", classifier, "cifar10/standard")):
            shown.pop(key, None)
            if value != usual:
                shown[key] = value
        if shown[""] in ("", "compare"):  # what the sidebar says is what the explorers are about
            root = page.locator(".sv-explorer")
            root.wait_for(timeout=PATIENCE)
            true = CLASS_NAMES["cifar10"][find_sample(name).label]
            marked = root.locator(".sv-bar-name", has_text=re.compile("true$")).first
            assert marked.locator(".sv-bar-text").inner_text() == true
            if "pose" in said:
                at = [float(root.get_attribute(f"data-{axis}")) for axis in ("rotation", "dx", "dy")]
                assert at == [float(part) for part in said["pose"].split(",")]
            elif not shown[""]:
                assert float(root.get_attribute("data-rotation")) == 0
        if shown[""] == "attack":
            epsilon = page.get_by_role("slider", name="ε, the most")
            epsilon.wait_for(timeout=PATIENCE)
            shown.pop("epsilon", None)
            if (value := epsilon.input_value()) != "8":
                shown["epsilon"] = value
        return shown

    def go(self, page: str) -> None:
        self.page.get_by_role("link", name=page, exact=True).click()
        path = {"Explore": "", "Compare": "compare", "Attack": "attack", "Results": "results"}[page]
        self.page.locator("h1", has_text=re.compile(HEADINGS[path])).wait_for(timeout=PATIENCE)

    def choose(self, classifier: str) -> None:
        self.page.get_by_role("combobox", name="Classifier").click()
        self.page.get_by_role("option", name=classifier, exact=True).click()


@pytest.fixture
def visitor(app: str, browser: Any) -> Iterator[Visitor]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield Visitor(context.new_page(), app)
    context.close()


def test_the_address_says_what_is_shown_wherever_one_goes(visitor: Visitor, browser: Any) -> None:
    page = visitor.page
    page.goto(f"{visitor.url}/?{QUICK}")
    page.locator(".sv-explorer").wait_for(timeout=PATIENCE)
    stops: list[dict[str, str]] = [{}]
    visitor.agrees(**stops[-1])
    page.locator(".sv-thumb").nth(4).click()
    page.wait_for_url("**picture=cifar10*4*", timeout=PATIENCE)
    stops.append({"picture": "cifar10/4"})
    visitor.agrees(**stops[-1])
    visitor.choose(ROBUST)
    page.wait_for_url("**classifier=cifar10*worst*", timeout=PATIENCE)
    # A pose is part of the place, not a place of its own.
    visitor.settle()
    page.locator(".sv-picture").focus()
    page.keyboard.press("[")
    page.wait_for_url("**pose=*", timeout=PATIENCE)
    both = {"picture": "cifar10/4", "classifier": ROBUST}
    stops.append(both | {"pose": visitor.said()["pose"]})
    visitor.agrees(**stops[-1])
    for name in ("Compare", "Attack", "Results"):
        visitor.go(name)
        stops.append(stops[-1])
        visitor.agrees(**stops[-1])
    addresses = [page.evaluate("window.location.pathname")]
    assert not page.locator("[data-testid=stSidebar]").is_visible(), "Results are about no one picture"
    assert page.locator("h1").bounding_box()["x"] < 200, "nor is there an empty place for it"
    # One step back for every place, and forward again.
    for stop in reversed(stops[:-1]):
        page.go_back()
        visitor.agrees(**stop)
        addresses.append(page.evaluate("window.location.pathname"))
    assert addresses == ["/results", "/attack", "/compare", "/", "/", "/"]
    for stop in stops[1:]:
        page.go_forward()
        visitor.agrees(**stop)
    page.reload()
    visitor.agrees(**stops[-1])
    # What another page shows has outlived the reload; so it has in the window of whoever is sent the address.
    visitor.go("Explore")
    visitor.agrees(**stops[-1])
    other = browser.new_context(viewport={"width": 1440, "height": 900})
    guest = Visitor(other.new_page(), visitor.url)
    guest.page.goto(page.url)
    guest.page.locator(".sv-explorer").wait_for(timeout=PATIENCE)
    guest.agrees(**stops[-1])
    other.close()


def test_a_control_of_one_page_is_as_it_was_when_one_comes_back(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{visitor.url}/attack?{QUICK}&rotation=10&epsilon=12")
    visitor.agrees(epsilon="12", rotation="10")
    visitor.go("Results")
    visitor.agrees(rotation="10")
    visitor.go("Attack")
    visitor.agrees(epsilon="12", rotation="10")
    page.go_back()
    visitor.agrees(rotation="10")
    page.go_back()
    visitor.agrees(epsilon="12", rotation="10")
    # Forward and back at once: what belongs to the entry left does not overwrite the entry reached.
    page.go_forward()
    page.go_back()
    visitor.agrees(epsilon="12", rotation="10")


def test_a_link_to_what_does_not_exist_says_so_and_the_address_is_mended(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{visitor.url}/?{QUICK}&picture=cifar10%2F999&classifier=no%2Fsuch&padding=x&pose=90%2C0%2C0")
    page.locator(".sv-explorer").wait_for(timeout=PATIENCE)
    visitor.agrees(pose="30,0,0")
    words = page.locator("[data-testid=stMain] [data-testid=stAlert]").inner_text()
    for asked, shown in (("cifar10/999", "cifar10/6"), ("no/such", "cifar10/standard"), ("padding = x", "black"),
                         ("90,0,0", "30,0,0")):  # fmt: skip
        assert asked in words and f"{shown} is shown instead" in words
    assert page.evaluate("history.length") == 2, "a blank page and this one"
