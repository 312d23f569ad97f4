"""The shards of an evaluation on a Ray cluster: the same shards, the same answers, from as many workers as there are.

Needs ``requirements-cluster.txt``. The data set must lie at the same path on every machine.
"""

from __future__ import annotations

import logging
import pickle
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from spatial_viz.errors import InvalidInput, MissingFile, SpatialVizError
from spatial_viz.evaluation.jobs import Job, Worker
from spatial_viz.evaluation.shards import ShardResult
from spatial_viz.models.devices import keep_freed_memory

PATIENCE = 10.0  # seconds for an address to answer


class ShardActor:
    """Lives on a machine of the cluster, holds the classifiers, and answers one job after the other; the pictures of
    the next one are decoded meanwhile."""

    def __init__(self, worker: bytes, threads: int) -> None:
        keep_freed_memory()
        torch.set_num_threads(threads)  # as on the card: sums of floats depend on it
        self.worker: Worker = pickle.loads(worker)
        self.turn = threading.Lock()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        job: Job = pickle.loads(row["job"])
        try:
            shard = self.worker.decode(job)
            with self.turn:
                started = time.monotonic()
                answer: Any = self.worker.answer(job, shard)
                seconds = time.monotonic() - started
        except SpatialVizError as error:
            answer, seconds = error, 0.0  # the driver's to say; anything else is for Ray to try again elsewhere
        return {"job": row["job"], "answer": pickle.dumps(answer), "seconds": seconds}


def answers(
    worker: Worker,
    jobs: Sequence[Job],
    threads: int,
    address: str | None = None,
    workers: int = 1,
    cpus: float = 1,
    gpus: float = 0,
) -> Iterator[tuple[Job, ShardResult, float]]:
    """(job, result, seconds) as they come, in any order; a shard whose machine is lost is done again elsewhere.

    Parameters
    ----------
    threads: of torch in every worker.
    address: of a running cluster (``host:port``, or ``ray://host:port`` for its client); None starts one here.
    workers, cpus, gpus: how many actors, and what each of them reserves.

    Raises
    ------
    MissingFile: Ray is not installed.
    SpatialVizError: an address that does not answer, or what a worker says.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingFile(
            "the engine ray needs Ray: pip install -r requirements-cluster.txt, or use the engine local"
        ) from error
    if not jobs:
        return
    ours = not ray.is_initialized()
    if ours:
        if address is not None:
            _reachable(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises almost anything
            raise SpatialVizError(f"no Ray cluster could be reached or started at {address}: {error}") from error
    actor: Any = ShardActor  # a class that is called: Ray makes actors of it
    try:
        data = ray.data.from_items([{"job": pickle.dumps(job)} for job in jobs], override_num_blocks=len(jobs))
        pool = ray.data.ActorPoolStrategy(
            size=min(workers, len(jobs)), max_concurrent_calls_per_actor=2, enable_true_multi_threading=True
        )
        answered = data.map(
            actor, fn_constructor_args=(pickle.dumps(worker), threads), compute=pool,
            num_cpus=cpus, num_gpus=gpus,
        )  # fmt: skip
        for row in answered.iter_rows():
            answer = pickle.loads(row["answer"])
            if isinstance(answer, SpatialVizError):
                raise answer
            yield pickle.loads(row["job"]), answer, float(row["seconds"])
    finally:
        if ours:
            ray.shutdown()


def _reachable(address: str) -> None:
    """Ray itself waits for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise InvalidInput(f"a Ray address is host:port or ray://host:port; got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except OSError as error:
        raise SpatialVizError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); start one (ray start --head), or leave "
            "the address out"
        ) from error
