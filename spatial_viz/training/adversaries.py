"""What a step trains against: the worst of some random transforms, or ℓ∞ noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spatial_viz.models.devices import fast_at_bf16
from spatial_viz.models.losses import cross_entropy
from spatial_viz.models.networks import fold_batch_norm
from spatial_viz.transforms.geometry import warp


@torch.no_grad()
def worst_candidate(network: nn.Module, images: Tensor, labels: Tensor, draws: Tensor) -> Tensor:
    """Of each picture's candidate transforms (``draws``: N×k×3) apply the one with the highest loss.

    The losses are those of the network in evaluation mode, batch norm folded where it can be, in bf16 where that is
    fast: they only choose.
    """
    if draws.shape[1] == 1:
        return warp(images, draws[:, 0]).contiguous(memory_format=torch.channels_last)
    dtype = torch.bfloat16 if fast_at_bf16(images.device) else torch.float32
    judge = fold_batch_norm(network).to(dtype)
    worst = torch.full((len(images),), -math.inf, device=images.device)
    chosen = torch.empty_like(images)
    for candidate in draws.unbind(1):
        warped = warp(images, candidate).contiguous(memory_format=torch.channels_last)
        loss = cross_entropy(judge(warped.to(dtype)), labels)
        higher = ~(loss <= worst)  # of a loss that is no number, too: every picture gets one of its candidates
        worst = torch.where(higher, loss, worst)
        chosen = torch.where(higher[:, None, None, None], warped, chosen)
    return chosen


def worst_noise(network: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """The pictures with ℓ∞ noise that raises the loss of the network in evaluation mode: foolbox's projected gradient
    descent, seven steps of a quarter of ``epsilon`` from the pictures themselves."""
    import foolbox

    model = foolbox.models.pytorch.PyTorchModel(fold_batch_norm(network), bounds=(0, 1), device=images.device)
    attack = foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=7, random_start=False)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=fast_at_bf16(images.device)):
        noisy: Tensor = attack.run(model, images, foolbox.criteria.Misclassification(labels), epsilon=epsilon)
    return noisy.detach().contiguous(memory_format=torch.channels_last)
