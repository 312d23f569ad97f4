"""One transform: read, written, brought within limits, and what `warp` makes of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import blob

from spatial_viz.errors import InvalidInput
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid
from spatial_viz.transforms.transform import Transform

numbers = st.integers(-4000, 4000).map(lambda value: value / 100)


@given(numbers, numbers, numbers)
def test_an_address_gives_back_what_was_written(rotation: float, dx: float, dy: float) -> None:
    transform = Transform(rotation, dx, dy)
    assert Transform.from_query(transform.to_query()) == transform


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "a,b,c", "nan,0,0", "0,inf,0", "1;2;3"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"three numbers, rotation, dx and dy, such as 12,1\.5,-2; got"):
        Transform.from_query(text)


@given(numbers, numbers, numbers)
def test_within_the_limits_is_nearest(rotation: float, dx: float, dy: float) -> None:
    transform, limits = Transform(rotation, dx, dy), TransformGrid(30.0, 3.0, 2.0).limits
    near = transform.within(limits)
    assert all(abs(value) <= limit for value, limit in zip(near, limits, strict=True))
    for value, was, limit in zip(near, transform, limits, strict=True):
        assert value == was if abs(was) <= limit else value == (limit if was > 0 else -limit)


def test_the_tensor_is_what_warp_takes() -> None:
    picture, transform = blob(8, 0), Transform(90.0, 1.0, 0.0)
    assert transform.tensor().dtype == torch.float32 and transform.tensor().shape == (1, 3)
    # Counter-clockwise by a quarter what was on the right is at the top; then a pixel to the right.
    torch.testing.assert_close(warp(picture[None], transform.tensor())[0], blob(1, -8), atol=2e-3, rtol=0)
