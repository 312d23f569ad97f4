"""What every source of classifiers tells of one that it has."""

from __future__ import annotations

from dataclasses import dataclass

from spatial_viz.models.cards import ModelCard


@dataclass(frozen=True)
class ClassifierEntry:
    """A classifier that can be loaded by name. ``dataset`` says which pictures it knows; ``card`` is its card in the
    manifest, and None where others trained it; ``parameters`` is then their number.

    ``available`` is false where the weights are not on this machine; ``missing`` then says what would have to be done.
    """

    name: str
    dataset: str
    available: bool
    missing: str
    card: ModelCard | None
    parameters: int | None = None
