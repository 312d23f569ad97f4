"""The files of a training, checkpoints and final weights: written whole or not at all, and in one sentence why not."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from spatial_viz.errors import CorruptFile, InvalidInput, SpatialVizError
from spatial_viz.files import FULL, replace_file
from spatial_viz.models.registry import WEIGHTS
from spatial_viz.training.data import PictureSet
from spatial_viz.training.plan import TrainingPlan, plan_from

CHECKPOINT, PLAN = "checkpoint.pt", "plan.json"


def begin(out: Path, plan: TrainingPlan, pictures: str, resume: bool) -> dict[str, Any] | None:
    """Prepare the folder of a training, and give the checkpoint from which it goes on, if there is one.

    ``pictures`` is what `fingerprint` says. Without ``resume`` a folder that holds a training is refused.
    """
    checkpoint = out / CHECKPOINT
    with writing(out):  # a folder that may not be entered
        resumable = checkpoint.exists()
    if resumable and not resume:
        raise InvalidInput(f"{out} holds a checkpoint already; add --resume to go on, or choose another --out")
    if not resumable:
        if (out / WEIGHTS).exists():
            raise InvalidInput(f"{out} holds a finished training without a checkpoint; choose another --out")
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        write(out / PLAN, json.dumps(asdict(plan), indent=2).encode())
        return None
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        before = plan_from(saved["plan"])
    except InvalidInput:
        raise
    except OSError as error:
        raise InvalidInput(f"cannot read {checkpoint}: {error.strerror or error}; choose another --out") from error
    except Exception as error:  # torch.load raises whatever the broken file makes it raise
        raise CorruptFile(f"{checkpoint} cannot be read as a checkpoint; choose another --out") from error
    changed = [name for name, value in asdict(plan).items() if getattr(before, name) != value]
    if changed:
        raise InvalidInput(f"the checkpoint in {out} was made with another {', '.join(changed)}; choose another --out")
    if saved.get("pictures", pictures) != pictures:  # those of earlier versions do not say
        raise InvalidInput(f"the checkpoint in {out} was made with other pictures; choose another --out")
    return dict(saved)


def pack(content: dict[str, Any]) -> bytes:
    """The content of a checkpoint, as it is at this moment, for the file."""
    target = io.BytesIO()
    torch.save(content, target)
    return target.getvalue()


def write_weights(network: nn.Module, path: Path) -> None:
    """The state as float16 safetensors, contiguous, counters of batch norm left out.

    A tensor with values beyond float16's 65,504, such as the running variance of a channel that batch norm tames, stays
    in float32.
    """
    state: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        exact = value.detach().cpu().contiguous()
        half = exact.to(torch.float16)
        if name.endswith("num_batches_tracked"):
            continue
        if not exact.isfinite().all():
            raise SpatialVizError(f"the weights are not finite ({name}). Lower --learning-rate")
        state[name] = half if half.isfinite().all() else exact
    write(path, to_safetensors(state))


def fingerprint(data: PictureSet) -> str:
    """SHA-256 of the pictures, their size and labels, and the names of the classes."""
    state = hashlib.sha256(repr((tuple(data.pictures.shape), data.class_names)).encode())
    for part in (data.labels, data.pictures):
        state.update(part.contiguous().numpy().data)
    return state.hexdigest()


def write(path: Path, content: bytes) -> None:
    """Put ``content`` into a file in the place of what it held; if that fails, it still holds it."""
    with writing(path):
        replace_file(path, lambda partial: partial.write_bytes(content))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes ``path``: where that fails, say why, and what to do."""
    try:
        yield
    except OSError as error:
        advice = "choose another --out"
        if error.errno in FULL:
            resumable = (path.parent / CHECKPOINT).is_file()
            advice = (
                f"make room there and {'go on from the last checkpoint with --resume' if resumable else 'try again'}"
            )
        raise SpatialVizError(f"cannot write {path}: {error.strerror or error}; {advice}") from error
