"""Marks on a map: outlines, hatches, crosses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from spatial_viz.figures.style import (
    HALO,
    HOVER,
    WHITE,
)

Line = tuple[list[float | None], list[float | None]]


def cell_edges(values: np.ndarray) -> np.ndarray:
    """The borders of cells centred at ascending ``values``: half-way between them; a single one is 1 wide."""
    values = np.asarray(values, np.float64)
    if len(values) == 1:
        return np.array([values[0] - 0.5, values[0] + 0.5])
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def outline(wrong: np.ndarray, edges_x: np.ndarray, edges_y: np.ndarray) -> Line:
    """The border of the True cells of a y × x mask, as straight runs along the cell borders, separated by None."""
    padded = np.pad(wrong.astype(np.int8), 1)
    xs: list[float | None] = []
    ys: list[float | None] = []
    upright = padded[1:-1, 1:] != padded[1:-1, :-1]  # border between columns j - 1 and j of each row
    for j in range(upright.shape[1]):
        for first, last in runs_of(upright[:, j]):
            xs += [edges_x[j], edges_x[j], None]
            ys += [edges_y[first], edges_y[last], None]
    level = padded[1:, 1:-1] != padded[:-1, 1:-1]
    for i in range(level.shape[0]):
        for first, last in runs_of(level[i]):
            xs += [edges_x[first], edges_x[last], None]
            ys += [edges_y[i], edges_y[i], None]
    return xs, ys


def hatch(wrong: np.ndarray, edges_x: np.ndarray, edges_y: np.ndarray) -> Line:
    """Diagonals through the True cells: they tell the inside of the outline without any colour."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    step = 1 + sum(wrong.shape) // 20
    for i, j in zip(*wrong.nonzero(), strict=True):
        if (i + j) % step == 0:
            xs += [edges_x[j], edges_x[j + 1], None]
            ys += [edges_y[i + 1], edges_y[i], None]
    return xs, ys


def runs_of(flags: np.ndarray) -> list[tuple[int, int]]:
    """[first, last) of every run of True."""
    change = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(change[::2], change[1::2], strict=True)]


def haloed(name: str, line: Line, width: float, colour: str = WHITE, halo: str = HALO) -> list[Any]:
    """A light line over a wider dark one."""
    if not line[0]:
        return []
    common = {"x": line[0], "y": line[1], "mode": "lines", "hoverinfo": "skip", "cliponaxis": False}
    return [
        go.Scatter(line={"color": halo, "width": width + 2}, name=f"{name} halo", **common),
        go.Scatter(line={"color": colour, "width": width}, name=name, **common),
    ]


def cross_marks(
    name: str, xs: Sequence[float], ys: Sequence[float], symbol: str, size: int, hover: str | None = None
) -> Any:
    line = {"color": HALO, "width": 2 if size > 5 else 1}
    marker = {"symbol": symbol, "size": size, "color": WHITE, "line": line}
    texts = {"hoverinfo": "skip"} if hover is None else {"text": [hover], "hovertemplate": HOVER}
    return go.Scatter(x=xs, y=ys, mode="markers", marker=marker, name=name, cliponaxis=False, **texts)


def open_mark(name: str, x: float, y: float, symbol: str, size: int, hover: str, strong: bool) -> list[Any]:
    """Only the line of a symbol, with a halo; faint where it does not hold in this slice."""
    common = {"x": [x], "y": [y], "mode": "markers", "cliponaxis": False, "opacity": 1 if strong else 0.6}

    def marker(width: int, colour: str) -> dict[str, Any]:
        return {"symbol": symbol, "size": size, "color": colour, "line": {"width": width, "color": colour}}

    return [
        go.Scatter(marker=marker(5, HALO), name=f"{name} halo", hoverinfo="skip", **common),
        go.Scatter(marker=marker(2, WHITE), name=name, text=[hover], hovertemplate=HOVER, **common),
    ]
