"""Pages that work without a network or a server: one HTML file with the live explorer and the figures in it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import plotly.graph_objects as go
import xarray as xr
from plotly.offline import get_plotlyjs
from torch import Tensor

from spatial_viz.explorer.assets import script, style
from spatial_viz.explorer.payload import Pane, explorer_payload
from spatial_viz.figures.captions import caption_parts
from spatial_viz.figures.heatmaps import heatmap
from spatial_viz.figures.loss_curve import loss_curve
from spatial_viz.figures.style import ACCENT, Theme, palette
from spatial_viz.figures.surfaces import surface
from spatial_viz.figures.worst_case import worst_case_figure
from spatial_viz.files import readable
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.dataset import DIMS
from spatial_viz.transforms.transform import Transform
from spatial_viz.version import VERSION

Draw = Callable[[Theme], Sequence[go.Figure]]
"""The figures of a page in a theme; a page has both and shows the one that the reader's system asks for."""


def landscape_page(
    image: Tensor, landscape: xr.Dataset, title: str, *, picture: str = "", planes: Sequence[xr.Dataset] = (),
    pose: Transform | None = None,
) -> str:  # fmt: skip
    """The offline page of one swept picture (C×H×W in [0, 1]): the explorer, the worst case, what the axes allow.

    ``title`` is plain text; ``picture``, ``planes`` and ``pose`` as for `explorer_page`.
    """
    pane = pane_of(image, landscape, planes=planes)
    return explorer_page(
        [pane], title, picture=picture, pose=pose, draw=lambda theme: landscape_figures(image, landscape, theme)
    )


def landscape_figures(image: Tensor, landscape: xr.Dataset, theme: Theme = "light") -> list[go.Figure]:
    """The worst case beside the original, the maps and the curve, and the surface, as far as the axes move."""
    figures = [worst_case_figure(image, landscape, theme=theme)]
    moving = [dim for dim in DIMS if landscape.sizes[dim] > 1]
    if len(moving) > 1:
        figures.append(surface(landscape, moving[0], moving[-1], theme=theme))
    maps = [(x, y) for x, y in (("dx", "dy"), ("rotation", "dx")) if {x, y} <= set(moving)]
    figures += [heatmap(landscape, x, y, theme=theme) for x, y in maps]
    return figures + ([loss_curve(landscape, theme=theme)] if "rotation" in moving else [])


def pane_of(image: Tensor, landscape: xr.Dataset, *, title: str = "", planes: Sequence[xr.Dataset] = ()) -> Pane:
    """A pane of the explorer from a landscape alone: its attributes have the names of all classes that occur in it."""
    attributes = attributes_of(landscape)
    names = [attributes.names.get(index, f"class {index}") for index in range(attributes.classes)]
    return Pane(landscape, image, names, title or attributes.classifier, planes)


def explorer_page(
    panes: Sequence[Pane],
    title: str,
    *,
    picture: str = "",
    pose: Transform | None = None,
    exact: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    draw: Draw | None = None,
) -> str:
    """A page with the live explorer of one to four panes, and figures below it.

    Parameters
    ----------
    title: plain text. picture: what the picture is called, for the caption; its label is there in any case.
    pose, exact, notes: as `explorer_payload` takes them. The classifiers are not in the page: between the computed
        cells the values are interpolated, and the explorer says so.
    draw: makes the figures in a theme.
    """
    payload = explorer_payload(panes, pose=pose or Transform(), exact=exact, notes=notes)
    facts = [caption_parts(pane.landscape, picture) for pane in panes]
    figures: dict[Theme, Sequence[go.Figure]] = {theme: draw(theme) for theme in get_args(Theme)} if draw else {}
    return _page(title, facts, payload, figures)


def to_html(figures: Sequence[go.Figure], title: str) -> str:
    """One page with all figures that opens offline. Its theme is that of the first figure; ``title`` is plain text."""
    theme: Theme = (figures[0].layout.meta or {}).get("theme", "light") if figures else "light"
    return _page(title, [], None, {theme: figures})


def _page(
    title: str, facts: Sequence[Mapping[str, str]], payload: dict[str, Any] | None,
    figures: Mapping[Theme, Sequence[go.Figure]],
) -> str:  # fmt: skip
    """The page; it has plotly.js only where there are figures. What is read aloud is in each figure's ``meta``."""
    shown = next(iter(figures.values()), [])
    body = [f"<h1>{html.escape(title)}</h1>", *map(_facts, facts)]
    data = []
    scripts = [script("offline_page")]
    if payload is not None:
        body.append('<div id="explorer"></div>')
        data.append(_json("explorer-data", json.dumps(payload, ensure_ascii=False)))
    if shown:
        metas = [figure.layout.meta or {} for figure in shown]
        parts = [_figure(number, str(meta.get("alt", title))) for number, meta in enumerate(metas)]
        body += ["<h2>Figures</h2>" * bool(payload), '<div class="figures">', *parts, "</div>"]
        themes = (f'"{theme}": [{", ".join(figure.to_json() for figure in each)}]' for theme, each in figures.items())
        data.append(_json("figure-data", f"{{{', '.join(themes)}}}"))
        scripts.insert(0, get_plotlyjs())
    # Nothing but these very scripts may run, and nothing may be fetched: whatever a name or a title holds is only text.
    scripts = [text.replace("</script", "<\\/script") for text in scripts]
    allowed = " ".join(f"'sha256-{_hash(text)}'" for text in scripts)
    policy = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
    *libraries, own = scripts
    theme = f' data-theme="{next(iter(figures))}"' if len(figures) == 1 else ""
    page = f"""<!doctype html>
<html lang="en"{theme}>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{_colours()}{style("explorer")}{style("offline_page")}</style>
</head>
<body>
<main>
{"".join(body)}
<noscript>This page is drawn by JavaScript, which is off.</noscript>
<footer>Made with spatial_viz {VERSION}. After Engstrom, Tran, Tsipras, Schmidt, Mądry: \
<cite>Exploring the Landscape of Spatial Robustness</cite>, ICML 2019.</footer>
</main>
{"".join(data)}
{"".join(f"<script>{text}</script>" for text in libraries)}
<script type="module">{own}</script>
</body>
</html>
"""
    return readable(page)  # names of files may hold what no encoding can write


def _facts(facts: Mapping[str, str]) -> str:
    rows = (f"<div><dt>{term}</dt><dd>{html.escape(text)}</dd></div>" for term, text in facts.items())
    return f'<dl class="facts">{"".join(rows)}</dl>'


def _figure(number: int, alt: str) -> str:
    name = f"figure-{number}"
    buttons = " ".join(
        f'<button type="button" data-figure="{name}" data-format="{format}">{words}</button>'
        for format, words in (("png", "Save as PNG, three times the size"), ("svg", "as SVG"))
    )
    return (
        f'<figure role="group" aria-label="{html.escape(alt)}"><div id="{name}"></div>'
        f'<div class="save">{buttons}</div></figure>'
    )


def _json(name: str, text: str) -> str:
    """Data in the page; no ``<`` is left in it, so nothing can end the element."""
    safe = text.replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{safe}</script>'


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _colours() -> str:
    """The explorer's colours and those of the page, for both themes."""
    sets = {}
    for theme in get_args(Theme):
        colours = palette(theme)
        sets[theme] = (
            f"--st-text-color: {colours['text']}; --st-background-color: {colours['page']}; "
            f"--st-secondary-background-color: {colours['grid']}; --st-primary-color: {ACCENT};"
        )
    return (
        f":root {{ {sets['light']} }}\n@media (prefers-color-scheme: dark) {{ :root:not([data-theme]) "
        f'{{ {sets["dark"]} }} }}\n:root[data-theme="dark"] {{ {sets["dark"]} }}\n'
    )
