"""What a landscape says of itself beside its numbers; the attribute ``card`` of its data set, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, Self

import xarray as xr

from spatial_viz.fields import read_fields
from spatial_viz.transforms.geometry import Padding

NOISE: Literal["noise"] = "noise"


@dataclass(frozen=True, kw_only=True)
class LandscapeAttributes:
    """What a landscape was computed of, and by what. Only ``label`` and ``names`` have to be told.

    ``label``: the class that the loss is of; ``labelled``: it was given, and is not the classifier's own prediction.
    ``names``: of every class that occurs, by its index. ``classes``: how many the classifier knows. ``input_size``
    (H, W) in pixels. ``device`` and ``precision``: where and how it was computed; ``margin_error`` as
    `spatial_viz.models.inference.calibrate` gives it, where bf16 was used. ``kind``: ``noise`` for a plane of noise
    within ``epsilon`` drawn with ``seed``, else None.
    """

    label: int
    names: Mapping[int, str]
    labelled: bool = True
    classifier: str = "unnamed"
    classifier_hash: str = ""
    classes: int = 0
    input_size: tuple[int, int] | None = None
    image_hash: str = ""
    padding: Padding = "black"
    device: str = "unknown"
    precision: str = "unknown"
    margin_error: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    kind: Literal["noise"] | None = None
    epsilon: float | None = None
    seed: int | None = None

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """ValueError where label or names are missing, or something is of another type or unknown."""
        attributes = read_fields(cls, value, "the card of the landscape")
        if attributes.label not in attributes.names:
            raise ValueError(f"class {attributes.label}, its label, has no name")
        return attributes if attributes.classes > 0 else replace(attributes, classes=max(attributes.names) + 1)

    def to_json(self) -> dict[str, Any]:
        stored = {name: value for name, value in asdict(self).items() if value is not None or name == "margin_error"}
        return stored | {"names": {str(index): name for index, name in self.names.items()}}

    def to_text(self) -> str:
        return json.dumps(self.to_json(), ensure_ascii=False, sort_keys=True)


def attributes_of(landscape: xr.Dataset) -> LandscapeAttributes:
    return _parsed(str(landscape.attrs["card"]))


@lru_cache(64)
def _parsed(text: str) -> LandscapeAttributes:
    return LandscapeAttributes.from_json(json.loads(text))
