"""Pages that explain themselves without a network or a server."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go
import xarray as xr
from plotly.io import to_html as plotly_html
from torch import Tensor

from spatial_viz.figure_style import palette
from spatial_viz.figures import heatmap, loss_curve, surface, worst_case_figure
from spatial_viz.landscape import DIMS


def landscape_page(image: Tensor, landscape: xr.Dataset, title: str) -> str:
    """The offline page of one swept picture (C×H×W in [0, 1]): its worst case, and what its axes allow."""
    parts = [worst_case_figure(image, landscape)]
    moving = [dim for dim in DIMS if landscape.sizes[dim] > 1]
    parts += [heatmap(landscape, x, y) for x, y in (("dx", "dy"), ("rotation", "dx")) if {x, y} <= set(moving)]
    parts += [loss_curve(landscape)] if "rotation" in moving else []
    if len(moving) > 1:
        parts.append(surface(landscape, moving[0], moving[-1]))
    return to_html(parts, title)


def to_html(figures: Sequence[go.Figure], title: str) -> str:
    """One page with all figures, one below the other, that opens offline: plotly.js is in it once.

    ``title`` is plain text. The theme of the page is that of the first figure; what a screen reader says comes from
    the ``alt`` in each figure's ``layout.meta``.
    """
    metas = [figure.layout.meta or {} for figure in figures]
    theme = metas[0].get("theme", "light") if metas else "light"
    colours = palette(theme)
    parts = []
    for number, (figure, meta) in enumerate(zip(figures, metas, strict=True)):
        chart = plotly_html(
            figure, full_html=False, include_plotlyjs=number == 0, include_mathjax=False, div_id=f"figure-{number}",
            config={"displaylogo": False, "responsive": True},
        )  # fmt: skip
        alt = html.escape(str(meta.get("alt", title)))
        parts.append(f'<figure role="group" aria-label="{alt}">{chart}</figure>\n')
    safe = html.escape(title)
    return (
        "<!doctype html>\n"
        f'<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{safe}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>:root {{ color-scheme: {theme}; }} body {{ margin: 0; background: {colours['page']}; "
        f"color: {colours['text']}; font-family: system-ui, sans-serif; }} "
        "main { max-width: 960px; margin: 0 auto; padding: 12px; } h1 { font-size: 20px; margin: 0 0 8px; } "
        "figure { margin: 0 0 24px; }</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{safe}</h1>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )
