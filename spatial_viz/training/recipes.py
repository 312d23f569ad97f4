"""What a training step trains on. A recipe is a small declarative object; the loop is one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
        picture as it is (Yang, Wang, Heinze-Deml, NeurIPS 2019, equation 3).
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


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides the weights. A checkpoint is only resumed by the plan that wrote it.

    ``validation`` pictures of the training data are held out; ``initial`` names a safetensors file to start from
    (None: fresh weights). ``learning_rate`` is the peak, for the mean loss of a batch; ``warm_up`` the share of the
    steps that lead to it. Biases and the scales of batch norm learn ``bias_rate`` times as fast. ``averaging``: every
    so many steps the weights are set back to their running average (`spatial_viz.training.trainer.Lookahead`); 0 for
    never.
    ``partial_batch``: an epoch ends with a smaller batch of the pictures that are left, instead of leaving them out.
    ``processes`` share each batch; every one normalises its share by itself, unless ``sync_batch_norm`` has them
    compute the statistics of the whole batch together. ``size`` and ``mirrored`` are those of
    `spatial_viz.training.data.read`.

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
    partial_batch: bool = False
    processes: int = 1
    sync_batch_norm: bool = False
    size: int | None = None
    mirrored: bool = True


def plan_from(settings: dict[str, Any]) -> TrainingPlan:
    """A plan as a training wrote it down, also one from before some of the settings existed."""
    unknown = [name for name in settings if name not in TrainingPlan.__dataclass_fields__]
    if unknown:
        raise InvalidInput(
            f"the plan has a setting {unknown[0]!r} that this version does not know; install a newer one"
        )
    return TrainingPlan(**settings)


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


def epsilon_at(recipe: Recipe, progress: float, plan: TrainingPlan) -> float:
    """The ℓ∞ noise of a step: from fresh weights it grows for the first half of the training (``progress`` from 0 to
    1). With all of it from the start a network has nothing to begin with where it is large, as on MNIST.
    """
    return recipe.epsilon * (min(1.0, 2 * progress) if plan.initial is None else 1.0)
