"""What a training does: every setting of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spatial_viz.errors import InvalidInput
from spatial_viz.training.recipes import Recipe


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
