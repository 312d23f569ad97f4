"""The texts of the browser's part, for the app and for exported pages."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "static"
EXPLORER = (
    "save_image", "format", "payload", "warp", "interpolation", "canvas", "heatmap", "pane", "gestures", "popover",
    "explorer",
)  # fmt: skip
JOINED = {"explorer": (*EXPLORER, "component"), "offline_page": (*EXPLORER, "flat", "offline_page"),
          "downloads": ("save_image", "downloads"), "surfaces": ("flat", "surfaces")}  # fmt: skip
"""Scripts made of several files: what goes inline cannot import another file."""


def script(name: str) -> str:
    """The JavaScript module called ``name``."""
    return "\n".join((FOLDER / f"{part}.js").read_text(encoding="utf-8") for part in JOINED.get(name, (name,)))


def style(name: str) -> str:
    """The style sheet called ``name``."""
    return (FOLDER / f"{name}.css").read_text(encoding="utf-8")
