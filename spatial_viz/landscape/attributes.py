"""What a landscape says of itself beside its numbers; the attribute ``card`` of its data set, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import xarray as xr

from spatial_viz.transforms.geometry import Padding

NOISE = "noise"


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
    kind: str | None = None
    epsilon: float | None = None
    seed: int | None = None

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """ValueError where the label or its name is missing."""
        if not isinstance(value, dict) or not isinstance(value.get("names"), dict) or "label" not in value:
            raise ValueError("expected the attributes of a landscape, with label and names")
        known = {name: each for name, each in value.items() if name in cls.__dataclass_fields__}
        names = {int(index): str(name) for index, name in value["names"].items()}
        known |= {"label": int(value["label"]), "names": names}
        if known["label"] not in names:
            raise ValueError(f"class {known['label']}, its label, has no name")
        known["classes"] = int(value.get("classes", max(names, default=0) + 1))
        if value.get("input_size"):
            height, width = value["input_size"]
            known["input_size"] = (int(height), int(width))
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        stored = {name: value for name, value in asdict(self).items() if value is not None}
        return stored | {"names": {str(index): name for index, name in self.names.items()}}

    def to_text(self) -> str:
        return json.dumps(self.to_json(), ensure_ascii=False, sort_keys=True)


def attributes_of(landscape: xr.Dataset) -> LandscapeAttributes:
    return LandscapeAttributes.from_json(json.loads(landscape.attrs["card"]))
