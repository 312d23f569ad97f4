"""What a training step trains on. A recipe is a small declarative object; the loop is one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from spatial_viz.errors import InvalidInput, did_you_mean


@dataclass(frozen=True)
class Recipe:
    """One way of training.

    Parameters
    ----------
    name: as on the command line and in the catalogue.
    crop: random crop after padding by an eighth of the side (4 px on 32), besides the random flip.
    rotation, translation: limits of the random transforms, in degrees and in pixels of a 32 px picture;
        ``candidates`` random transforms are drawn per picture and the one with the highest loss is trained on.
    candidates: 0 for no transform, 1 for data augmentation, k for worst-of-k.
    invariance: weight of the Kullback-Leibler divergence of the prediction at that transform from the one at the
        natural picture (Yang, Wang, Heinze-Deml, NeurIPS 2019, equation 3).
    epsilon: of ℓ∞ noise that is added against the network (Madry et al., ICLR 2018); pictures in [0, 1].
    """

    name: str
    crop: bool
    rotation: float = 0.0
    translation: float = 0.0
    candidates: int = 0
    invariance: float = 0.0
    epsilon: float = 0.0


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("standard", crop=True),
        Recipe("no-crop", crop=False),
        Recipe("augment-30", crop=False, rotation=30.0, translation=3.0, candidates=1),
        Recipe("augment-40", crop=False, rotation=40.0, translation=4.0, candidates=1),
        Recipe("worst-of-10-30", crop=False, rotation=30.0, translation=3.0, candidates=10),
        Recipe("worst-of-10-40", crop=False, rotation=40.0, translation=4.0, candidates=10),
        Recipe("invariant-30", crop=False, rotation=30.0, translation=3.0, candidates=10, invariance=1.0),
        Recipe("linf-8", crop=True, epsilon=8 / 255),
    )
}
"""In the order in which cards and learning curves list them."""
EPSILON_OF = {"mnist": 0.3}
"""Where another noise than that of the recipe is the usual one (Madry et al., ICLR 2018)."""


def data_name(data: str) -> str:
    """What a data set is called in names of classifiers and folders of runs: of a folder, its last part.

    >>> data_name("cifar10"), data_name("../pictures/leaves/")
    ('cifar10', 'leaves')
    """
    return Path(data).resolve().name


def find_recipe(name: str, data: str = "") -> Recipe:
    """A recipe by its name, as it is for a data set."""
    if name not in RECIPES:
        raise InvalidInput(f"unknown recipe {name!r}{did_you_mean(name, RECIPES)}")
    recipe = RECIPES[name]
    return replace(recipe, epsilon=EPSILON_OF.get(data, recipe.epsilon)) if recipe.epsilon else recipe
