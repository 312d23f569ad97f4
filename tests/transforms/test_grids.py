"""The paper's grid, other grids, random draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatial_viz.errors import InvalidInput
from spatial_viz.transforms.grids import TransformGrid, draw_transforms, keyed_uniform


@pytest.mark.parametrize(("size", "shift"), [(28, 3), (32, 3), (64, 6), (128, 13), (224, 24)])
def test_the_papers_grid(size: int, shift: int) -> None:
    grid = TransformGrid.paper(size)
    transforms = grid.transforms()
    assert len(grid) == 775 == len(transforms)
    assert (grid.rotation, grid.dx, grid.dy) == (30, shift, shift)
    assert (transforms == 0).all(1).sum() == 1  # the identity, once
    assert len(transforms.unique(dim=0)) == 775
    assert transforms.abs().amax(0).tolist() == [30, shift, shift]


def test_sides_have_their_own_limits() -> None:
    grid = TransformGrid.paper((224, 112))
    assert (grid.dy, grid.dx) == (24, 12)


def test_grid_order_is_rotation_then_dy_then_dx() -> None:
    grid = TransformGrid(10, 2, 3, (3, 5, 2))
    assert grid.shape == (3, 2, 5)
    assert grid.transforms()[:6].tolist() == [
        [-10, -2, -3], [-10, -1, -3], [-10, 0, -3], [-10, 1, -3], [-10, 2, -3], [-10, -2, 3],
    ]  # fmt: skip


def test_one_value_is_zero_and_a_limit_of_zero_is_one_value() -> None:
    assert TransformGrid(30, 3, 3, (1, 1, 1)).transforms().tolist() == [[0, 0, 0]]
    assert TransformGrid(0, 3, 3).granularity == (1, 5, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((float("nan"), 3, 3), "rotation must be a number of degrees"),
        ((-1, 3, 3), "rotation must be a number of degrees, 0 or more; got -1"),
        ((30, float("inf"), 3), "dx must be a number of pixels"),
        ((181, 3, 3), "at most 180"),
        ((30, 3, 3, (0, 5, 5)), "at least 1"),
        ((30, 3, 3, (31, 5)), "three whole numbers"),
        ((30, 3, 3, (31, 5, 5.5)), "three whole numbers"),
        ((30, 3, 3, (10**6, 5, 5)), "25,000,000 forward passes"),
    ],
)
def test_refusals(arguments: tuple, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        TransformGrid(*arguments)


def test_draws_are_within_the_limits_and_fill_them() -> None:
    grid = TransformGrid(30, 3, 2)
    draws = grid.draw(4000, seed=1)
    assert (draws.abs() <= torch.tensor([30, 3, 2])).all()
    np.testing.assert_allclose(draws.mean(0), [0, 0, 0], atol=1)
    np.testing.assert_allclose(draws.std(0), np.array([60, 6, 4]) / np.sqrt(12), rtol=0.05)


def test_a_draw_depends_on_seed_picture_and_number_alone() -> None:
    grid = TransformGrid()
    assert torch.equal(grid.draw(10, seed=3, picture=7)[:4], grid.draw(4, seed=3, picture=7))
    together = draw_transforms(grid, np.array([5, 7, 9]), 10, seed=3)
    assert torch.equal(together[1], grid.draw(10, seed=3, picture=7))
    assert not torch.equal(grid.draw(10, seed=3), grid.draw(10, seed=4))
    assert not torch.equal(grid.draw(10, picture=1), grid.draw(10, picture=2))


def test_keyed_numbers_look_uniform_and_independent() -> None:
    table = keyed_uniform(0, np.arange(500)[:, None], np.arange(40)[None, :])
    counts = np.histogram(table, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi-square, 19 degrees of freedom, p < 0.001
    assert abs(np.corrcoef(table[:-1, 0], table[1:, 0])[0, 1]) < 0.15
    assert abs(np.corrcoef(table[:, 0], table[:, 1])[0, 1]) < 0.15
