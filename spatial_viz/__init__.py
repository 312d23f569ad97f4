"""spatial_viz: how far can an image classifier be trusted when the picture is merely rotated and shifted?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spatial_viz.classifiers import Classifier, load_classifier
    from spatial_viz.evaluation.plan import EvaluationPlan
    from spatial_viz.evaluation.run import evaluate
    from spatial_viz.figures import heatmap, surface, worst_case_figure
    from spatial_viz.geometry import warp
    from spatial_viz.grids import TransformGrid
    from spatial_viz.images import load_image
    from spatial_viz.landscape import worst_case
    from spatial_viz.samples import load_sample
    from spatial_viz.sweeps import sweep

_HOME = {
    "Classifier": "classifiers", "load_classifier": "classifiers", "load_sample": "samples", "load_image": "images",
    "TransformGrid": "grids", "warp": "geometry", "sweep": "sweeps", "worst_case": "landscape",
    "evaluate": "evaluation.run", "EvaluationPlan": "evaluation.plan",
    "heatmap": "figures", "surface": "figures", "worst_case_figure": "figures",
}  # fmt: skip

__all__ = [
    "Classifier", "EvaluationPlan", "TransformGrid", "evaluate", "heatmap", "load_classifier", "load_image",
    "load_sample", "surface", "sweep", "warp", "worst_case", "worst_case_figure",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that the command line answers `--help` at once."""
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
