"""What a network has to return, checked in one place: floating logits, one row a picture and one column a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spatial_viz.errors import InvalidInput

WRAPPER = "wrap it in a torch.nn.Module whose forward returns these logits"


@dataclass(frozen=True)
class OutputContract:
    """Number of ``classes``; ``binary``: one logit, that of the second class."""

    classes: int
    binary: bool = False

    def read(self, output: Any, count: int, name: str = "the network") -> Tensor:
        """count×K float32 logits of what a network, called ``name`` in errors, returned for ``count`` pictures.

        Unwraps ``.logits``, ``["logits"]`` and the first of a tuple, and drops trailing sizes of 1 (N×K×1×1).

        Raises
        ------
        InvalidInput: anything else; the sentence says what came and what to do.
        """
        logits = _unwrap(output)
        if not isinstance(logits, Tensor):
            raise InvalidInput(
                f"{name} returned {_kind(output)}; expected a tensor of logits, N×{self.classes}: {WRAPPER}"
            )
        while logits.ndim > 2 and logits.shape[-1] == 1:
            logits = logits[..., 0]
        if self.binary and tuple(logits.shape) in ((count,), (count, 1)):
            second = logits.reshape(count, 1)
            logits = torch.cat((torch.zeros_like(second), second), 1)
        if tuple(logits.shape) != (count, self.classes) or not logits.is_floating_point():
            raise InvalidInput(f"{name} {self._mismatch(logits, count)}")
        return logits.float()

    def _mismatch(self, logits: Tensor, count: int) -> str:
        shape = "×".join(map(str, logits.shape)) or "a single number"
        came = f"returned {shape} ({str(logits.dtype).removeprefix('torch.')}) for {count} "
        came += "picture" if count == 1 else "pictures"
        if self.binary:
            return f"{came}; expected one logit a picture, that of the second class, since binary=True: {WRAPPER}"
        expected = f"expected {count}×{self.classes} floating logits, a column for each of its class names"
        if self.classes == 2 and tuple(logits.shape) in ((count,), (count, 1)):
            return f"{came}; {expected}: give binary=True if the number is the logit of the second class"
        if logits.ndim == 2 and len(logits) == count and logits.is_floating_point():
            return f"{came}; {expected}: give {logits.shape[1]} class names, in the order of the outputs"
        return f"{came}; {expected}: {WRAPPER}"


def are_probabilities(logits: Tensor) -> bool:
    """Whether every row could be a softmax (nowhere negative, with the sum 1), or a single column a sigmoid."""
    if logits.shape[1] == 1:
        return bool(((logits >= 0) & (logits <= 1)).all())
    return bool((logits >= 0).all() and ((logits.sum(1) - 1).abs() < 1e-3).all())


def _unwrap(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output
    if isinstance(getattr(output, "logits", None), Tensor):
        return output.logits
    if isinstance(output, Mapping):
        return output.get("logits")
    return output[0] if isinstance(output, tuple | list) and output else output


def _kind(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with {', '.join(map(repr, output)) or 'nothing in it'}"
    return f"{'an' if type(output).__name__[0] in 'aeiou' else 'a'} {type(output).__name__}"
