"""Links that others can open, and their QR codes."""

from __future__ import annotations

import base64
import re
import urllib.parse
import xml.etree.ElementTree as ElementTree

import pytest
import segno

from spatial_viz.errors import InvalidInput
from spatial_viz.lecture.links import own_address, qr_code, reachable, with_parameters

HERE = "http://localhost:8501/lecture"


@pytest.mark.parametrize("listens_on", [None, "", "0.0.0.0", "::"])
def test_on_every_interface_the_machines_own_address_takes_the_place_of_localhost(listens_on: str | None) -> None:
    assert reachable(HERE, listens_on, "10.1.2.3") == "http://10.1.2.3:8501/lecture"
    assert reachable(HERE, listens_on, None) is None  # in no network there is no such address


@pytest.mark.parametrize("listens_on", ["localhost", "127.0.0.1", "::1"])
def test_on_localhost_only_nobody_else_reaches_it(listens_on: str) -> None:
    for url in (HERE, "http://127.0.0.1:8501", "http://[::1]:8501/"):
        assert reachable(url, listens_on, "10.1.2.3") is None


def test_one_interface_is_the_address() -> None:
    assert reachable(HERE, "192.168.7.7", "10.1.2.3") == "http://192.168.7.7:8501/lecture"
    assert reachable(HERE, "fe80::1", None) == "http://[fe80::1]:8501/lecture"


def test_an_address_that_is_no_localhost_is_the_one_that_others_use() -> None:
    for url in ("http://192.168.1.9:8501/lecture", "https://talks.example.org/app/lecture"):
        assert reachable(url, "localhost", None) == url


def test_the_machines_own_address_is_no_localhost() -> None:
    found = own_address()
    assert found is None or (re.fullmatch(r"[0-9.]+", found) and not found.startswith("127."))


def test_parameters_arrive_as_they_were() -> None:
    parameters = {"picture": "cifar10/6", "pose": "12,1.5,-3", "classifier": "a b&c=<d>", "step": "16"}
    link = with_parameters(f"{HERE}?step=2#x", parameters)
    assert dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link).query)) == parameters
    assert link.startswith(f"{HERE}?") and "#" not in link


def test_the_code_is_black_on_white_with_a_quiet_border_and_has_the_link_in_it() -> None:
    link = with_parameters("http://10.1.2.3:8501/lecture", {"picture": "cifar10/6", "step": "16"})
    kind, data = qr_code(link).split(",", 1)
    assert kind.startswith("data:image/svg+xml")
    text = base64.b64decode(data).decode() if kind.endswith("base64") else urllib.parse.unquote(data)
    drawing = ElementTree.fromstring(text)
    expected = segno.make_qr(link, error="m")
    side = 8 * (expected.symbol_size(border=0)[0] + 2 * 4)
    assert (int(drawing.attrib["width"]), int(drawing.attrib["height"])) == (side, side)
    assert "#fff" in text and "#000" in text
    assert qr_code(link) != qr_code(link.replace("16", "15"))


def test_a_link_that_no_telephone_would_read_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Copy the link instead"):
        qr_code("http://x/" + "a" * 2000)
