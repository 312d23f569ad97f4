"""The thin Streamlit adapter of the explorer: two components, registered once per process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

FOLDER = Path(__file__).parent


@cache
def _renderer(name: str) -> Any:
    # The text goes inline: file names would need an installed distribution.
    css, js = ((FOLDER / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return st.components.v2.component(f"spatial_viz_{name}", css=css, js=js)


def explorer(
    payload: dict[str, Any], key: str, on_pose_change: Callable[[], None] | None = None
) -> dict[str, float] | None:
    """Draw the explorer; return the pose last let go of, ``{"rotation", "dx", "dy", "seq"}``, or None before.

    To move the picture from Python, set ``st.session_state[key]["pose"]`` before this call (None for home)
    and raise the payload's ``rev``.
    """
    result = _renderer("explorer")(
        key=key, data=payload, default={"pose": None}, on_pose_change=on_pose_change or _nothing
    )
    pose = result.get("pose")
    return dict(pose) if pose else None


def gallery(
    items: Sequence[dict[str, str]],
    selected: str | None,
    key: str,
    on_change: Callable[[], None] | None = None,
) -> str | None:
    """Draw thumbnails ``{"id", "label", "src"}`` to click; return the id clicked last, or ``selected`` before.

    To select from Python, pass it as ``selected`` and set ``st.session_state[key]["selected"]`` as well.
    """
    result = _renderer("gallery")(
        key=key,
        data={"items": list(items), "selected": selected},
        default={"selected": selected},
        on_selected_change=on_change or _nothing,
    )
    chosen = result.get("selected")
    return selected if chosen is None else str(chosen)


def _nothing() -> None:
    """Streamlit wants a callback for every state key that has a default."""
