"""Projected gradient descent within a small ℓ∞ ball."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from spatial_viz.attacks.base import Attack, Report, SearchState, at_least, misclassified
from spatial_viz.errors import InvalidInput
from spatial_viz.models.engine import TorchEngine
from spatial_viz.transforms.grids import check_cost, keyed_uniform


@dataclass(frozen=True)
class Linf(Attack):
    """Noise within ±epsilon at every pixel, by foolbox's projected gradient descent with a keyed random start.

    Nothing moves: the limits are not used. Criterion and objective are the usual ones.

    Source: Madry et al., *Towards deep learning models resistant to adversarial attacks*, ICLR 2018.
    """

    epsilon: float = 8 / 255
    steps: int = 40
    name: ClassVar[str] = "linf"

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)
        check_cost(f"steps = {self.steps:,}", self.steps, "fewer steps")
        if not 0 <= self.epsilon <= 1:
            raise InvalidInput(f"epsilon must be between 0 and 1, the range of a pixel; got {self.epsilon:g}")

    def search(self, query: SearchState, report: Report) -> None:
        if query.criterion is not misclassified or query.objective != "cross-entropy":
            raise InvalidInput("the noise raises the cross-entropy of the true class; it has no other objective")
        pictures = query.at(query.best()[0])
        query.noise = torch.zeros_like(pictures)
        if not self.epsilon:
            return
        keys = query.indices.numpy()[:, None], np.arange(pictures[0].numel())[None]
        unit = torch.from_numpy(keyed_uniform(query.seed, np.array(1), *keys)).float().reshape(pictures.shape)
        noisy = pictures + self.epsilon * (2 * unit - 1)
        engine, count, size = query.runner.reference, len(pictures), (pictures.shape[-2], pictures.shape[-1])

        def ask(network: nn.Module, rows: Tensor) -> Tensor:
            return _linf_step(engine, network, pictures[rows], noisy[rows], query.labels[rows], self.epsilon)

        for number in range(self.steps):
            done = 0
            with contextlib.closing(engine.batches(count, size, ask)) as parts:
                for stepped in parts:
                    these = slice(done, done + len(stepped))
                    noisy[these], query.noise[these] = stepped, stepped - pictures[these]
                    query.count(query.every[these])
                    query.count(query.every[these], backward=True)
                    done += len(stepped)
                    report((number * count + done) / self.steps, count)


def _linf_step(
    engine: TorchEngine, network: nn.Module, pictures: Tensor, noisy: Tensor, labels: Tensor, epsilon: float
) -> Tensor:
    """One step of foolbox's projected gradient descent around pictures, from where the noise has brought them."""
    import foolbox

    class Step(foolbox.attacks.LinfPGD):
        def get_random_start(self, x0: Any, epsilon: float) -> Any:
            return type(x0)(noisy.to(engine.device))

    model = foolbox.models.pytorch.PyTorchModel(_Logits(engine, network).eval(), bounds=(0, 1), device=engine.device)
    criterion = foolbox.criteria.Misclassification(labels.to(engine.device))
    with torch.enable_grad():
        return Step(steps=1).run(model, pictures.to(engine.device), criterion, epsilon=epsilon).cpu()


class _Logits(nn.Module):
    """A classifier for foolbox: pictures in [0, 1] → logits."""

    def __init__(self, engine: TorchEngine, network: nn.Module) -> None:
        super().__init__()
        self.engine, self.network = engine, network

    def forward(self, images: Tensor) -> Tensor:
        return self.engine.classify(images, self.network)
