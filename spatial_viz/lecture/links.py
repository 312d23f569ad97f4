"""A link that others can open, and its QR code."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit, urlunsplit

import segno

from spatial_viz.errors import InvalidInput

LONGEST = 1200  # characters of a link in a code that a telephone still reads from a screen


def only_here(host: str | None) -> bool:
    """Whether a host name or address is that of the machine itself, which nobody else can reach.

    >>> only_here("localhost"), only_here("127.0.0.1"), only_here("::1"), only_here("192.168.1.20"), only_here(None)
    (True, True, True, False, False)
    """
    if not host:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def own_address() -> str | None:
    """The address of this machine in the network that it is in; None where it is in none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation; a datagram socket only looks up the way
            address = str(probe.getsockname()[0])
        except OSError:
            return None
    return None if only_here(address) or address == "0.0.0.0" else address


def reachable(url: str, listens_on: str | None, own: str | None) -> str | None:
    """The address of the app by which other people reach it, or None where they cannot.

    Parameters
    ----------
    url: the app's address as the browser has it, which may be ``http://localhost:8501``.
    listens_on: host name or address of the interface that the server listens on; None or "" for all of them.
    own: this machine's address in its network, see `own_address`.

    Examples
    --------
    >>> reachable("http://localhost:8501/lecture", "0.0.0.0", "192.168.1.20")
    'http://192.168.1.20:8501/lecture'
    >>> reachable("http://localhost:8501/lecture", "localhost", "192.168.1.20") is None
    True
    >>> reachable("https://talks.example.org/app", "localhost", None)  # something in front of it passes requests on
    'https://talks.example.org/app'
    """
    parts = urlsplit(url)
    if not only_here(parts.hostname):
        return url
    everywhere = listens_on in (None, "", "0.0.0.0", "::")
    host = own if everywhere else None if only_here(listens_on) else listens_on
    if not host:
        return None
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=f"[{host}]{port}" if ":" in host else f"{host}{port}"))


def with_parameters(url: str, parameters: Mapping[str, str | list[str]]) -> str:
    """The address with query parameters in the place of any that it has, in the order given.

    >>> with_parameters("http://localhost:8501/lecture?step=2", {"picture": "cifar10/6", "step": "16"})
    'http://localhost:8501/lecture?picture=cifar10%2F6&step=16'
    """
    return urlunsplit(urlsplit(url)._replace(query=urlencode(parameters, doseq=True), fragment=""))


def qr_code(text: str) -> str:
    """A QR code as a data URI of an SVG drawing: black on white with the quiet border that readers need.

    Raises
    ------
    InvalidInput: a text too long to be read from a screen.
    """
    if len(text) > LONGEST:
        raise InvalidInput(
            f"a QR code holds a link of up to {LONGEST} characters here; got {len(text)}. Copy the link instead"
        )
    return str(segno.make_qr(text, error="m").svg_data_uri(scale=8, border=4, dark="#000", light="#fff"))
