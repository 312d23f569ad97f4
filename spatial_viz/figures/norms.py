"""How far apart two pictures are in the ℓp norms, and what the balls of these norms look like."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from spatial_viz.figures.style import ACCENT, Theme, palette, template
from spatial_viz.figures.text import short

NORMS = ("ℓ∞", "ℓ2", "ℓ1")


def distance(change: Tensor, norm: str) -> float:
    """The size of a change of pixels in [0, 1]: the largest, the root of the summed squares, or the sum.

    >>> import torch
    >>> [distance(torch.tensor([0.3, -0.4]), norm) for norm in NORMS]
    [0.4, 0.5, 0.7]
    """
    order = {"ℓ∞": float("inf"), "ℓ2": 2, "ℓ1": 1}[norm]
    return round(float(change.double().flatten().norm(order)), 6)


def describe_distance(change: Tensor, norm: str) -> str:
    """As one says it; the largest change of a pixel in steps of 1/255.

    >>> import torch
    >>> describe_distance(torch.tensor([8 / 255]), "ℓ∞"), describe_distance(torch.tensor([0.3, 0.4]), "ℓ2")
    ('ℓ∞ 8/255', 'ℓ2 0.5')
    """
    size = distance(change, norm)
    return f"{norm} {short(round(255 * size, 1))}/255" if norm == "ℓ∞" else f"{norm} {short(size)}"


def balls_figure(norm: str, theme: Theme = "light", height: int = 400) -> go.Figure:
    """The balls of radius 1 in the plane of two pixels' changes, one of them filled; the picture is in the middle."""
    angles = np.linspace(0, 2 * np.pi, 121)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    corners = {"ℓ∞": [[1, -1, -1, 1, 1], [1, 1, -1, -1, 1]], "ℓ1": [[1, 0, -1, 0, 1], [0, 1, 0, -1, 0]]}
    colours = palette(theme)
    figure = go.Figure()
    for name in NORMS:
        chosen = name == norm
        x, y = circle if name == "ℓ2" else corners[name]
        figure.add_trace(
            go.Scatter(
                x=x, y=y, mode="lines", name=name, hoverinfo="skip", fill="toself" if chosen else None,
                fillcolor="rgba(209,73,91,0.25)",
                line={"color": ACCENT if chosen else colours["muted"], "width": 4 if chosen else 1.5,
                      "dash": "solid" if chosen else "dot"},
            )
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(x=[0], y=[0], mode="markers", name="the picture", hoverinfo="skip",
                   marker={"size": 10, "color": colours["text"]})
    )  # fmt: skip
    figure.add_annotation(x=0, y=0, text="the picture", showarrow=False, yshift=-16)
    for name, x, y in (("ℓ∞", 0.86, 0.9), ("ℓ2", 0.6, 0.62), ("ℓ1", 0.36, 0.42)):
        text = f"<b>{name}</b>" if name == norm else name
        figure.add_annotation(x=x, y=y, text=text, showarrow=False, font={"size": 15}, bgcolor=colours["page"],
                              opacity=0.9, borderpad=1)  # fmt: skip
    ticks = {"tickvals": [-1, 0, 1], "ticktext": ["−ε", "0", "ε"], "range": [-1.25, 1.25], "zeroline": True}
    alt = (
        "Balls of radius ε around a picture, over the changes of two pixels: a square for ℓ∞, in it a circle for ℓ2, "
        f"in it a diamond for ℓ1; {norm} is filled."
    )
    figure.update_layout(
        template=template(theme), height=height, margin={"l": 52, "r": 8, "t": 8, "b": 48}, dragmode=False,
        xaxis={"title": {"text": "change of one pixel"}, **ticks},
        yaxis={"title": {"text": "change of another"}, "scaleanchor": "x", **ticks},
        meta={"theme": theme, "alt": alt},
    )  # fmt: skip
    return figure
