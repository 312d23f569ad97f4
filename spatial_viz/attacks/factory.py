"""Attacks by name, and the combination of a spatial attack with ℓ∞ noise."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from spatial_viz.attacks.base import Attack, Report, SearchState
from spatial_viz.attacks.linf import Linf
from spatial_viz.attacks.spatial import FirstOrder, GridSearch, Random, Refine, WorstOfK
from spatial_viz.errors import InvalidInput, did_you_mean


@dataclass(frozen=True)
class Combined(Attack):
    """ℓ∞ noise on top of the transform that a spatial attack found: the two add up.

    Source: Engstrom et al., ICML 2019, on combining spatial and ℓ∞-bounded perturbations.
    """

    spatial: Attack = field(default_factory=GridSearch)
    noise: Linf = field(default_factory=Linf)
    name: ClassVar[str] = "combined"

    def search(self, query: SearchState, report: Report) -> None:
        self.spatial.search(query, report)
        self.noise.search(query, report)


ATTACKS: dict[str, type[Attack]] = {
    kind.name: kind for kind in (GridSearch, WorstOfK, Random, FirstOrder, Refine, Linf, Combined)
}


def make_attack(name: str, **settings: Any) -> Attack:
    """An attack by its name; of the settings it takes those that it has.

    >>> make_attack("worst-of-k", k=3, steps=7).k
    3
    """
    if name not in ATTACKS:
        raise InvalidInput(f"unknown attack {name!r}{did_you_mean(name, ATTACKS)}")
    if name == "combined":
        own = {key: settings[key] for key in ("criterion", "objective") if key in settings}
        return Combined(spatial=make_attack("grid", **settings), noise=make_attack("linf", **settings), **own)  # type: ignore[arg-type]
    taken = {each.name for each in fields(ATTACKS[name])} - ({"k"} if name == "random" else set())
    return ATTACKS[name](**{key: value for key, value in settings.items() if key in taken})
