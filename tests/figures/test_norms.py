"""Distances that can be checked by hand, and the balls that go with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatial_viz.figures.norms import NORMS, balls_figure, describe_distance, distance


def test_distances_of_a_change_that_can_be_checked_by_hand() -> None:
    change = torch.zeros(3, 2, 2)
    change[0, 0, 0], change[1, 1, 1], change[2, 0, 1] = 2 / 255, -3 / 255, 6 / 255
    sizes = {norm: 255 * distance(change, norm) for norm in NORMS}
    assert sizes["ℓ∞"] == pytest.approx(6, abs=1e-3)
    assert sizes["ℓ2"] == pytest.approx(7, abs=1e-3)  # 4 + 9 + 36
    assert sizes["ℓ1"] == pytest.approx(11, abs=1e-3)
    assert describe_distance(change, "ℓ∞") == "ℓ∞ 6/255"


@pytest.mark.parametrize("norm", NORMS)
def test_each_ball_has_radius_one_in_its_norm(norm: str) -> None:
    figure = balls_figure(norm)
    (ball,) = (trace for trace in figure.data if trace.fill == "toself")
    assert ball.name == norm
    order = {"ℓ∞": np.inf, "ℓ2": 2, "ℓ1": 1}[norm]
    assert np.linalg.norm(np.stack([ball.x, ball.y]), order, axis=0) == pytest.approx(1)
    assert f"{norm} is filled" in figure.layout.meta["alt"]
