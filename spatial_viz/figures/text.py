"""Numbers and names as the texts of a figure."""

from __future__ import annotations

import html
import textwrap

import numpy as np

_WRAP = 44  # characters of 12 px that fit a telephone's width


def decimal(value: float, digits: int = 2) -> str:
    """With a real minus sign, and no minus before a zero."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "" if float(text) == 0 else "−")


def short(value: float) -> str:
    text = decimal(value)
    return text.rstrip("0").rstrip(".")


def percent(share: float) -> str:
    """Never rounded to a clean 0 or 100; number and unit stay on one line."""
    text = "< 1" if 0 < share < 0.005 else "> 99" if 0.995 < share < 1 else str(round(100 * share))
    return f"{text} %".replace(" ", "\u00a0")


def escaped(text: str) -> str:
    """For Plotly, which reads tags in every text; it does not know ``&quot;``, so quotes stay."""
    return html.escape(text, quote=False)


def spread(last: int, most: int) -> list[int]:
    """At most ``most`` of the numbers 0 to ``last``, as evenly as can be, both ends among them.

    >>> spread(10, 4), spread(2, 4)
    ([0, 3, 7, 10], [0, 1, 2])
    """
    numbers: list[int] = np.unique(np.linspace(0, last, min(last + 1, most)).round().astype(int)).tolist()
    return numbers


def wrapped(text: str, width: int = _WRAP) -> list[str]:
    """Wrapped to lines of about one length, so that no word is left over; Plotly does not wrap."""
    count = -(-len(text) // width)
    return textwrap.wrap(text, min(width, len(text) // max(count, 1) + 6))
