"""What a training step trains on. A recipe is a small declarative object; the loop is one."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    name: str
    crop: bool
    rotation: float = 0.0
    translation: float = 0.0
    candidates: int = 0


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("standard", crop=True),
        Recipe("worst-of-10-30", crop=False, rotation=30.0, translation=3.0, candidates=10),
    )
}


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides the weights. A checkpoint is only resumed by the plan that wrote it.

    ``validation`` pictures of the training data are held out; ``initial`` names a safetensors file to start from
    (None: fresh weights). ``learning_rate`` is the peak, for the mean loss of a batch; ``warm_up`` the share of the
    steps that lead to it. The biases of batch norm learn ``bias_rate`` times as fast. ``averaging``: every so many
    steps the weights are set back to their running average (`spatial_viz.training.loop.Lookahead`); 0 for never.

    The defaults are those of Jordan, *94% on CIFAR-10 in 3.29 seconds on a single GPU*, 2024, brought to batches of
    256 and to the mean loss.
    """

    recipe: str
    data: str = "cifar10"
    network: str = "whitened-convnet"
    epochs: int = 12
    batch: int = 256
    learning_rate: float = 0.375
    weight_decay: float = 1.3e-3
    momentum: float = 0.85
    label_smoothing: float = 0.2
    warm_up: float = 0.2
    bias_rate: float = 64.0
    averaging: int = 20
    seed: int = 0
    validation: int = 5000
    initial: str | None = None


def find_recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise InvalidInput(f"unknown recipe {name!r}{did_you_mean(name, RECIPES)}")
    return RECIPES[name]


def candidates_at(recipe: Recipe, epoch: int, plan: TrainingPlan) -> int:
    """How many candidates an epoch draws: fewer early, when the network still learns what the classes look like.

    The first fifth of a training from fresh weights draws 1, what follows up to three fifths half of them, the rest
    all.
    """
    if recipe.candidates <= 1:
        return recipe.candidates
    progress = epoch / plan.epochs
    if progress < 0.2 and plan.initial is None:
        return 1
    return max(1, recipe.candidates // 2) if progress < 0.6 else recipe.candidates
