"""From which a training goes on: checkpoints and final weights, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from spatial_viz.errors import CorruptFile, InvalidInput, SpatialVizError
from spatial_viz.models.registry import WEIGHTS
from spatial_viz.training.data import PictureSet
from spatial_viz.training.disk import CHECKPOINT, write, writing
from spatial_viz.training.plan import TrainingPlan, plan_from

PLAN = "plan.json"


def begin(out: Path, plan: TrainingPlan, pictures: str, resume: bool) -> dict[str, Any] | None:
    """Prepare the folder of a training, and give the checkpoint from which it goes on, if there is one.

    ``pictures`` is what `fingerprint` says. Without ``resume`` a folder that holds a training is refused.
    """
    checkpoint = out / CHECKPOINT
    with writing(out):  # a folder that may not be entered
        there = checkpoint.exists()
    if there and not resume:
        raise InvalidInput(f"{out} holds a checkpoint already; add --resume to go on, or choose another --out")
    if not there:
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
