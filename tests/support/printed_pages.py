"""What is in a PDF."""

from __future__ import annotations

import re
import zlib


def text_of(pdf: bytes) -> list[str]:
    """The text of every page as a reader selects it: the letters' codes, through the tables that name them."""
    parts = streams(pdf)
    tables = []
    for part in parts:
        if b"beginbfchar" in part or b"beginbfrange" in part:
            pairs = re.findall(rb"<([0-9A-Fa-f]{4})> <([0-9A-Fa-f]+)>\s", part)
            tables.append({int(code, 16): bytes.fromhex(name.decode()).decode("utf-16-be") for code, name in pairs})
    pages = [part for part in parts if b" Tf" in part and b"BT" in part]
    assert len(tables) == 2, "regular and bold"
    said = []
    for page in pages:
        words, font = [], 0
        fonts: list[bytes] = sorted(set(re.findall(rb"/(F\d+) [\d.]+ Tf", b"".join(pages))))
        for name, code in re.findall(rb"/(F\d+) [\d.]+ Tf|\(((?:\\.|[^\\)])*)\) ?T[jJ]", page, re.DOTALL):
            if name:
                font = fonts.index(name)
                continue
            raw = re.sub(rb"\\(.)", lambda match: ESCAPES.get(match[1], match[1]), code, flags=re.DOTALL)
            numbers = [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]
            words.append("".join(tables[font].get(number, "?") for number in numbers))
        said.append(" ".join(words))
    return said


ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def streams(pdf: bytes) -> list[bytes]:
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    unpacked = []
    for each in found:
        try:
            unpacked.append(zlib.decompress(each))
        except zlib.error:
            unpacked.append(each)
    return unpacked
