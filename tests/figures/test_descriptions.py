"""Larger type for the last row."""

from __future__ import annotations

import tomllib

import plotly.graph_objects as go
import pytest

from benchmarks.app import ROOT
from spatial_viz.figures.style import PALETTE, enlarged, template


def test_type_and_the_space_that_holds_it_grow_together() -> None:
    figure = go.Figure(
        [go.Scatter(x=[1, 2], y=[3, 4], marker={"size": 10})],
        {"template": template("light"), "height": 400, "margin": {"l": 50, "t": 40},
         "title": {"text": "A <span style='font-size:12px'>small</span> one", "pad": {"t": 26}},
         "annotations": [{"text": "here", "x": 1, "y": 3, "ax": -20, "ay": 30, "font": {"size": 11}}]},
    )  # fmt: skip
    large = enlarged(figure, 1.5)
    assert large.layout.template.layout.font.size == pytest.approx(1.5 * 13)
    assert large.layout.margin.l == 75 and large.layout.margin.t == 60 and large.layout.title.pad.t == 39
    assert "font-size:18px" in large.layout.title.text
    note = large.layout.annotations[0]
    assert (note.font.size, note.ax, note.ay) == (16.5, -30, 45) and (note.x, note.y) == (1, 3)
    assert large.layout.height == 400 and large.data[0].marker.size == 10 and list(large.data[0].y) == [3, 4]
    assert figure.layout.margin.l == 50, "the figure itself stays as it is"


def test_axes_in_three_dimensions_grow_less() -> None:
    figure = go.Figure(go.Surface(z=[[1, 2], [3, 4]]), {"scene": {"xaxis": {"tickfont": {"size": 12}}}})
    assert 12 < enlarged(figure, 2).layout.scene.xaxis.tickfont.size < 18


@pytest.mark.parametrize("theme", PALETTE)
def test_figures_have_the_background_of_the_app(theme: str) -> None:
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert PALETTE[theme]["page"] == settings["theme"][theme]["backgroundColor"]
