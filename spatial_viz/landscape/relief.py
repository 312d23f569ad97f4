"""How hilly a landscape is: its peaks, on one of which a path that climbs comes to rest."""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr

PEAK = 0.25
"""Nats by which a peak stands above the highest way to higher ground (its prominence): less is no more than rough."""


def peaks(loss: np.ndarray, prominence: float = PEAK) -> int:
    """The number of peaks of an array of any number of dimensions: cells from which every way to a higher cell, from
    neighbour to neighbour (diagonals count), leads down by ``prominence`` or more. The highest cell is one where it
    stands so far above the lowest.

    >>> peaks(np.array([0.0, 1.0, 0.9, 2.0, 0.0])), peaks(np.array([0.0, 1.0, 0.5, 2.0, 0.0])), peaks(np.zeros((3, 3)))
    (1, 2, 0)
    """
    heights = np.pad(np.asarray(loss, np.float64), 1, constant_values=-np.inf)  # a border that is never reached
    steps = np.array(heights.strides) // heights.itemsize
    ways = [int(np.dot(way, steps)) for way in itertools.product((-1, 0, 1), repeat=heights.ndim) if any(way)]
    flat = heights.ravel()
    order = np.argsort(-flat, kind="stable")[: np.size(loss)]
    hill = np.full(flat.size, -1)  # the highest cell that can be reached without going below what was seen so far
    count = int(flat[order[0]] - flat[order[-1]] >= prominence)

    def top(cell: int) -> int:
        while hill[cell] != cell:
            hill[cell] = hill[hill[cell]]
            cell = hill[cell]
        return cell

    for cell in order.tolist():  # from the highest down: hills grow until they meet
        meeting = sorted({top(cell + way) for way in ways if hill[cell + way] >= 0}, key=lambda each: -flat[each])
        hill[cell] = meeting[0] if meeting else cell
        for lower in meeting[1:]:
            hill[lower] = meeting[0]
            count += bool(flat[lower] - flat[cell] >= prominence)
    return count


def describe_peaks(landscape: xr.Dataset) -> str:
    """``"4 peaks"``; "about", where a part was not computed in fp32 and heights are not exact.

    A plane of noise is fp32 throughout.
    """
    count = peaks(landscape["loss"].values)
    exact = "fp32" not in landscape or bool(landscape["fp32"].all())
    return f"{'' if exact else 'about '}{count or 'no'} peak{'' if count == 1 else 's'}"
