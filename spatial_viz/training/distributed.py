"""Several processes that train one network together: who has which pictures, and what they exchange.

Each process takes its share of every batch. The gradients are those of the mean loss over the whole batch, also where
the shares differ in size. Batch norm works with each process's own share, and the running statistics that it collects
are averaged after every step, so all processes hold the same network at any moment.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.models.devices import pick_device

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Team:
    """The place of this process, ``rank`` of ``size``, and the device it computes on. Alone it exchanges nothing."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and shows progress."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch; no part is larger than another by more than one."""
        return batch.tensor_split(self.size)[self.rank]

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network as it is to be called, so that a backward pass leaves the average of all gradients in it."""
        if self.size == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)

    def mean(self, loss: Tensor, share: float) -> float:
        """The mean loss over the whole batch, of which this process's ``share`` (in all 1) has the mean ``loss``."""
        total = loss.detach()
        if self.size > 1:
            total = total * share
            dist.all_reduce(total)
        return float(total)

    @torch.no_grad()
    def average_statistics(self, network: nn.Module) -> None:
        """Set the running means and variances of batch norm to their average over the processes."""
        if self.size == 1:
            return
        statistics = [
            value for name, value in network.named_buffers() if name.endswith(("running_mean", "running_var"))
        ]
        flat = torch.cat([value.flatten() for value in statistics])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([value.numel() for value in statistics])
        for value, part in zip(statistics, parts, strict=True):
            value.copy_(part.view_as(value))

    def agree(self, ask: Callable[[], Answer]) -> Answer:
        """What the first process gets from ``ask``, for all; an error that it meets is raised in all of them."""
        if self.size == 1:
            return ask()
        shared: list[Answer | SpatialVizError | None] = [None]
        if self.leads:
            try:
                shared = [ask()]
            except SpatialVizError as error:
                shared = [error]
        dist.broadcast_object_list(shared, src=0)
        if isinstance(shared[0], SpatialVizError):
            raise shared[0]
        return shared[0]  # type: ignore[return-value]

    def in_turn(self, read: Callable[[], Answer]) -> Answer:
        """What ``read`` gives, asked first by the first process: it may fetch what the others then find. An error that
        it meets is raised in all of them."""
        answers: list[Answer] = []
        self.agree(lambda: answers.append(read()))
        return answers[0] if answers else read()


@contextmanager
def join(device: str = "auto") -> Iterator[Team]:
    """The processes that ``torchrun`` started; without it, this one alone.

    They talk by NCCL where each has a GPU of its own, else by Gloo.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = pick_device(device)
    if size == 1:
        yield Team(chosen)
        return
    if chosen.type == "mps":
        raise InvalidInput("several processes cannot share Apple's GPU; use --device cpu")
    if chosen.type == "cuda":
        place, devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if place >= devices:
            raise InvalidInput(f"each process needs a GPU of its own, and this machine has {devices}; start as many")
        chosen = torch.device("cuda", place)
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Team(chosen, dist.get_rank(), size)
        dist.barrier()  # nobody leaves while another still writes
    finally:
        gc.collect()  # a wrapped network holds the group, whose threads must have ended when the process does
        dist.destroy_process_group()
