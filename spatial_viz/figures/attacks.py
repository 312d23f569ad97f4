"""What attacks did, drawn on the landscape that they searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from PIL import Image

from spatial_viz.data.images import data_uri
from spatial_viz.figures.descriptions import axis_title
from spatial_viz.figures.heatmaps import heatmap
from spatial_viz.figures.marks import cell_edges
from spatial_viz.figures.style import ACCENT, Theme, loss_colours, new_figure, palette
from spatial_viz.figures.surfaces import surface
from spatial_viz.figures.text import decimal, short, spread
from spatial_viz.landscape.dataset import loss_title

FRAMES = 60  # of the animation, at most
STOPS = 100  # of the slider below it
STEP_MS = 60
CELL = 24  # pixels of a cell in the image of a map, which the browser fits to the figure


def attack_map(
    landscape: xr.Dataset,
    draws: np.ndarray,
    fooled: np.ndarray,
    worst_draw: int,
    paths: np.ndarray,
    path_losses: np.ndarray,
    theme: Theme = "light",
) -> go.Figure:
    """The map over rotation and dx (dy maximised over) with random draws as dots and first-order paths that grow.

    Parameters
    ----------
    draws, fooled: k×3 transforms (degrees, pixels) and whether each fools; ``worst_draw`` is the number of the most
        severe. k may be 0; then ``worst_draw`` is not used.
    paths, path_losses: R×S×3 and R×S; the play button and the slider below run through the S steps.
    """
    figure = heatmap(landscape, "rotation", "dx", at="max", theme=theme)
    for wrong, symbol, words in ((False, "circle-open", "correct"), (True, "x-thin-open", "fooled")):
        some = draws[fooled == wrong]
        figure.add_trace(_dots(some, symbol, f"random draws: {words}"))
    if len(draws):
        best = draws[[worst_draw]]
        figure.add_trace(
            go.Scatter(
                x=best[:, 0], y=best[:, 1], mode="markers", name="worst draw", hoverinfo="skip",
                marker={"symbol": "circle-open", "size": 16, "color": "#ffffff", "line": {"width": 3}},
            )
        )  # fmt: skip
    first = len(figure.data)
    steps = paths.shape[1]
    figure.add_traces(_trails(paths, steps - 1))
    shown = spread(steps - 1, FRAMES)
    moving = list(range(first, len(figure.data)))
    figure.frames = [go.Frame(data=_trails(paths, step), traces=moving, name=str(step)) for step in shown]
    best = np.maximum.accumulate(path_losses.max(0))
    labels = [f"step {step}, highest {loss_title(landscape)} so far {best[step]:.2f}" for step in shown]
    add_player(figure, labels, len(labels) - 1, STEP_MS, palette(theme)["text"])
    return figure


def attack_surface(
    landscape: xr.Dataset, draws: np.ndarray, losses: np.ndarray, paths: np.ndarray, path_losses: np.ndarray,
    theme: Theme = "light",
) -> go.Figure:  # fmt: skip
    """The same on the surface, at the losses that were met; static, to be turned by hand."""
    figure = surface(landscape, "rotation", "dx", at="max", theme=theme)
    figure.add_trace(
        go.Scatter3d(
            x=draws[:, 0], y=draws[:, 1], z=losses, mode="markers", name="random draws", hoverinfo="skip",
            marker={"size": 3, "color": "#ffffff", "line": {"color": "#000000", "width": 1}},
        )
    )  # fmt: skip
    for path, loss in zip(paths, path_losses, strict=True):
        figure.add_trace(
            go.Scatter3d(
                x=path[:, 0], y=path[:, 1], z=loss + 0.02, mode="lines", hoverinfo="skip", name="first-order path",
                line={"color": "#35c2c2", "width": 6},
            )
        )  # fmt: skip
    return figure


def starts_figure(landscape: xr.Dataset, path_losses: np.ndarray, theme: Theme = "light") -> go.Figure:
    """How far each start got (the highest loss on its way), against the worst case of the grid."""
    worst = float(landscape["loss"].max())
    reached = np.sort(path_losses.max(1))[::-1]
    begun = path_losses[np.argsort(-path_losses.max(1)), 0]
    number = np.arange(1, len(reached) + 1)
    traces = [
        go.Bar(x=number, y=reached, marker_color=ACCENT, name="reached",
               hovertemplate="start %{x}: %{y:.2f} nats<extra></extra>"),
        go.Scatter(x=number, y=begun, mode="markers", name="begun",
                   marker={"symbol": "line-ew-open", "size": 16, "color": palette(theme)["text"]},
                   hovertemplate="began at %{y:.2f} nats<extra></extra>"),
    ]  # fmt: skip
    close = int((reached >= worst - 0.05).sum())
    notes = [f"{close} of {len(reached)} starts come within 0.05 nats of the grid's {decimal(worst)}",
             "line: where it began"]  # fmt: skip
    figure = new_figure(traces, landscape, theme, "How far each start got", notes, 300)
    figure.add_hline(y=worst, line={"color": palette(theme)["text"], "dash": "dot"}, annotation_text="grid")
    figure.update_layout(
        xaxis={"title": {"text": "start, best first"}, "dtick": max(1, len(reached) // 10)},
        yaxis={"title": {"text": axis_title(landscape, "loss")}, "rangemode": "tozero"},
    )
    return figure


def tally_figure(
    landscape: xr.Dataset, names: Sequence[str], votes: np.ndarray, label: int, theme: Theme = "light"
) -> go.Figure:
    """How many voters say what: classes with a vote, most first. ``names`` and ``votes`` cover all classes."""
    order = [index for index in np.argsort(-votes, kind="stable").tolist() if votes[index]][::-1]
    colours = [ACCENT if index == label else palette(theme)["muted"] for index in order]
    bars = go.Bar(
        y=[names[index] for index in order], x=votes[order], orientation="h", marker_color=colours,
        text=votes[order], hoverinfo="skip",
    )  # fmt: skip
    figure = new_figure([bars], landscape, theme, "The tally", [], 110 + 32 * len(order))
    figure.update_layout(
        xaxis={"range": [0, int(votes.sum())], "dtick": 2, "title": {"text": "votes"}}, yaxis={"type": "category"}
    )
    return figure


def _maps_as_images(figure: go.Figure) -> None:
    """Have an image show what the heat maps of a figure show.

    plotly.js 4 animates smoothly (``redraw`` off) by drawing only scatter and bar traces, and it removes the layers of
    all others. So the heat maps become clear: they answer the pointer and have the colour bar.
    """
    layout = figure.layout
    for trace in figure.select_traces({"type": "heatmap"}):
        colours = loss_colours(np.asarray(trace.z, float), trace.zmax)
        falling = [axis.range[0] > axis.range[1] for axis in (layout.xaxis, layout.yaxis)]
        colours = colours[:: 1 if falling[1] else -1, :: -1 if falling[0] else 1]  # as on the screen, from top left
        height, width = colours.shape[:2]
        picture = Image.fromarray(colours).resize((CELL * width, CELL * height), Image.Resampling.NEAREST)
        (left, *_, right), (lower, *_, upper) = (cell_edges(np.asarray(each)) for each in (trace.x, trace.y))
        figure.add_layout_image(
            source=data_uri(picture), xref="x", yref="y", x=(left + right) / 2, y=(lower + upper) / 2,
            sizex=right - left, sizey=upper - lower, xanchor="center", yanchor="middle", sizing="stretch",
            layer="below",
        )  # fmt: skip
        trace.opacity = 0


def _dots(points: np.ndarray, symbol: str, name: str) -> go.Scatter:
    texts = [f"{short(r)}°, dx {short(x)}, dy {short(y)}<br>{name}" for r, x, y in points]
    return go.Scatter(
        x=points[:, 0], y=points[:, 1], mode="markers", name=name, text=texts, hovertemplate="%{text}<extra></extra>",
        marker={"symbol": symbol, "size": 9, "color": "#ffffff", "line": {"width": 2}},
    )  # fmt: skip


def _trails(paths: np.ndarray, step: int) -> list[Any]:
    """All paths up to a step as one line with gaps, and where they are now."""
    gap = np.full((len(paths), 1, 2), np.nan)
    lines = np.concatenate([paths[:, : step + 1, :2], gap], 1).reshape(-1, 2)
    now = paths[:, step, :2]
    return [
        go.Scatter(x=lines[:, 0], y=lines[:, 1], mode="lines", name="path halo", hoverinfo="skip",
                   line={"color": "rgba(0,0,0,0.7)", "width": 4.5}),
        go.Scatter(x=lines[:, 0], y=lines[:, 1], mode="lines", name="first-order paths", hoverinfo="skip",
                   line={"color": "#35c2c2", "width": 2}),
        go.Scatter(x=now[:, 0], y=now[:, 1], mode="markers", name="now", hoverinfo="skip",
                   marker={"size": 8, "color": "#35c2c2", "line": {"color": "#000000", "width": 1}}),
    ]  # fmt: skip


def add_player(figure: go.Figure, labels: Sequence[str], active: int, step_ms: int, colour: str) -> None:
    """A play button and a slider below a figure with frames: a label for each of them, and the one that is shown.

    The frames move lines and dots over heat maps of losses, whose axes have their ranges by now. The slider stops at
    `STOPS` of the frames at most, the first and the last among them: the browser measures each.
    """
    _maps_as_images(figure)
    stops = spread(len(labels) - 1, STOPS)
    at_once = {"frame": {"duration": 0, "redraw": False}, "mode": "immediate", "transition": {"duration": 0}}
    running = {"frame": {"duration": step_ms, "redraw": False}, "transition": {"duration": 0}, "fromcurrent": False}
    figure.update_layout(
        height=figure.layout.height + 96,
        margin_b=146,
        updatemenus=[
            {
                "type": "buttons", "x": 0, "xanchor": "left", "y": 0, "yanchor": "top", "direction": "right",
                "pad": {"t": 76, "l": -48}, "showactive": False, "font": {"size": 14},
                "bgcolor": "rgba(128,128,128,0.15)", "bordercolor": "rgba(128,128,128,0.5)",
                "buttons": [
                    {"label": "▶", "method": "animate", "args": [None, running]},
                    {"label": "■", "method": "animate", "args": [[None], at_once]},
                ],
            }
        ],
        sliders=[
            {
                "active": int(np.searchsorted(stops, active)), "x": 0.16, "len": 0.84, "y": 0, "yanchor": "top",
                "pad": {"t": 56},
                "currentvalue": {"visible": True, "font": {"size": 12, "color": colour}}, "ticklen": 0,
                "minorticklen": 0, "font": {"size": 1, "color": "rgba(0,0,0,0)"},
                "steps": [
                    {"label": labels[stop], "method": "animate", "args": [[figure.frames[stop].name], at_once]}
                    for stop in stops
                ],
            }
        ],
    )  # fmt: skip
