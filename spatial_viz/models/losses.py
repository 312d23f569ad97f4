"""Per-example losses: thin reductions over logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in nats, N×K logits and N labels → N. Computed in at least float32."""
    return F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels, reduction="none")


def logit_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """True logit minus the best other logit, N×K and N → N; negative where misclassified.

    Source: the Carlini–Wagner objective (Carlini, Wagner, *Towards evaluating the robustness of neural networks*,
    2017, equation f6) with the opposite sign.
    """
    true = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], float("-inf"))
    return true - others.amax(dim=1)
