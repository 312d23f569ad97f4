"""What the Attack page has computed for a picture, kept for its session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from PIL import Image
from torch import Tensor

from spatial_viz.app.view import View
from spatial_viz.app.widgets import theme_of_page
from spatial_viz.data.images import tensor_to_picture
from spatial_viz.figures.style import Theme
from spatial_viz.landscape.sweeps import pixel_hash

Drawing = Callable[[Theme], dict[str, go.Figure]]  # charts by their keys, in a theme


SHOWN = 192  # pixels, of a picture on the page


def draw_part(view: View, part: str, draw: Drawing) -> dict[str, go.Figure]:
    """The figures of a part of the page, in its theme; an exported page will draw them again, in both."""
    part_drawings(view)[part] = draw
    return draw(theme_of_page())


def part_drawings(view: View) -> dict[str, Drawing]:
    drawings: dict[str, Drawing] = memory_of(view).setdefault("drawings", {})
    return drawings


def memory_of(view: View) -> dict[Any, Any]:
    """What was computed for this question; another question begins with nothing."""
    state = st.session_state
    if state.get("attack_question") != (question := (*view.question[:1], pixel_hash(view.image), *view.question[2:])):
        state["attack_question"], state["attack_memory"] = question, {}
    memory: dict[Any, Any] = state["attack_memory"]
    return memory


def kept(view: View, key: Any, make: Any) -> Any:
    memory = memory_of(view)
    if key not in memory:
        memory[key] = make()
    return memory[key]


def enlarged(picture: Tensor) -> Image.Image:
    """Pixels as the network sees them, where they are few."""
    image = tensor_to_picture(picture)
    scale = max(1, SHOWN // max(image.size))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
