"""`evaluate`: classifiers × a data set × adversaries → a report, shard by shard, on this machine or on a cluster."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spatial_viz.data.selection import select_pictures
from spatial_viz.errors import InvalidInput, PictureError, warn
from spatial_viz.evaluation.cards import Environment, RunCard, RunClassifier, RunData
from spatial_viz.evaluation.jobs import Job, QueriedClassifier, Worker
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.report import Report, report_on
from spatial_viz.evaluation.shards import ShardResult
from spatial_viz.evaluation.store import Run
from spatial_viz.evaluation.vote_runner import grid_runner
from spatial_viz.files import readable
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.devices import pick_device
from spatial_viz.models.registry import load_classifier
from spatial_viz.version import VERSION

Told = Callable[["Progress"], None]


@dataclass(frozen=True)
class Progress:
    """How far a run is, over all classifiers: pictures done, begun, of those broken by the grid, and in all."""

    done: int
    begun: int
    broken: int
    total: int


def evaluate(
    classifiers: str | Classifier | Sequence[str | Classifier],
    data: str = "cifar10",
    plan: EvaluationPlan | None = None,
    *,
    root: str | Path | None = None,
    split: str = "test",
    limit: int | None = None,
    indices: Sequence[int] | None = None,
    store: str | Path | None = None,
    resume: bool = False,
    strict: bool = False,
    download: bool = False,
    device: str = "auto",
    engine: str = "local",
    cluster: dict[str, Any] | None = None,
    progress: Told | None = None,
) -> Report:
    """Accuracy of classifiers on a data set, natural and under adversaries; exact, and in as few passes as that takes.

    Parameters
    ----------
    classifiers: names of the catalogue, or classifiers of yours.
    data: cifar10, mnist, imagenette, imagenet, or the path of a folder with a folder per class in it (named as the
        classifier's classes, or by ImageNet's identifiers).
    plan: adversaries, grid, seed and the like; by default natural and grid accuracy on the paper's grid.
    root, split: where the data set lies (by default ``data/`` and its name), and which part of it.
    limit: the first pictures, as many of every class; or ``indices``: places in the data set. By default all.
    store: the folder of runs; None keeps nothing after the report.
    resume: go on with a run that was stopped; the result is that of an undisturbed one.
    strict: refuse files that cannot be read, instead of leaving them out.
    engine: ``local`` or ``ray``; ``cluster`` are the options of `spatial_viz.evaluation.ray_engine.answers`.
    progress: called now and then.

    Raises
    ------
    InvalidInput, MissingFile, CorruptFile, PictureError, SpatialVizError: with a sentence that says what to do.

    Source: Engstrom et al., ICML 2019, tables 1 and 2.
    """
    plan = plan or EvaluationPlan()
    if engine not in ("local", "ray"):
        raise InvalidInput(f"unknown engine {engine!r}; available: local, ray")
    named = [classifiers] if isinstance(classifiers, str | Classifier) else list(classifiers)
    if not named:
        raise InvalidInput("name at least one classifier")
    models = [load_classifier(each) if isinstance(each, str) else each for each in named]
    if len({model.name for model in models}) < len(models):
        raise InvalidInput(f"every classifier needs a name of its own; got {', '.join(model.name for model in models)}")
    pictures = select_pictures(data, None if root is None else Path(root), split, limit, indices, download)
    for remark in pictures.remarks:
        warn(remark)
    for model in models:
        if resume and model.unhashable:
            raise InvalidInput(
                f"{model.name} holds {model.unhashable[0]}, which cannot be hashed: whether a stored run is about this "
                "classifier cannot be known. Leave --resume out, or hold nothing that cannot be pickled"
            )
    worker = Worker(
        pictures, [QueriedClassifier.about(model, pictures, plan) for model in models], plan, device, strict
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if store is None else Path(store)
        hashes = [queried.classifier.first_hash for queried in worker.queried]
        with Run(folder, _card(worker, split), resume, hashes) as run:
            _answer_all(run, worker, engine, cluster or {}, progress)
            report = report_on(run.folder)
    if not report.results:
        why = f"; the first: {report.run['unreadable'][0][1]}" if report.run["unreadable"] else ""
        raise PictureError(f"none of the {len(pictures):,} pictures of {readable(data)} can be read{why}")
    return report


def _card(worker: Worker, split: str) -> RunCard:
    pictures, plan = worker.pictures, worker.plan
    chosen = pick_device(worker.device)
    runners = [grid_runner(queried.classifier, plan, worker.device) for queried in worker.queried]
    return RunCard(
        classifiers=tuple(
            RunClassifier.of(
                queried.classifier, queried.name, plan, [queried.classes[label] for label in pictures.labels]
            )
            for queried in worker.queried
        ),
        data=RunData(readable(pictures.name), split, len(pictures), pictures.hash()),
        plan=plan,
        environment=Environment(
            device=runners[0].device_name,
            precision={queried.name: runner.precision for queried, runner in zip(worker.queried, runners, strict=True)},
            threads=torch.get_num_threads() if chosen.type == "cpu" else 1,
            versions={"spatial_viz": VERSION, "torch": torch.__version__},
        ),
    )


def _answer_all(run: Run, worker: Worker, engine: str, cluster: dict[str, Any], progress: Told | None) -> None:
    jobs = worker.jobs()
    todo = [job for job in jobs if not run.has(job.classifier, job.shard)]
    total = sum(len(job.places) for job in jobs)
    done, broken = total - sum(len(job.places) for job in todo), 0
    if done and progress:
        broken = sum(each.n - each.correct for each in report_on(run.folder).results if each.adversary == "grid")

    def tell(job: Job, standing: int) -> None:
        """``standing`` pictures of the job are not broken so far."""
        if progress:
            begun = len(job.places)
            progress(Progress(done, done + begun, broken + begun - standing, total))

    if engine == "ray":
        from spatial_viz.evaluation.ray_engine import answers

        answered = answers(worker, todo, run.card.environment.threads, **cluster)
    else:
        answered = _local(worker, todo, tell)
    for job, result, seconds in answered:
        run.write(job.classifier, job.shard, result, seconds)
        done += len(job.places)
        if "grid" in worker.plan.adversaries:
            broken += int((~result.table["grid_robust"]).sum())
        if progress:
            progress(Progress(done, done, broken, total))


def _local(
    worker: Worker, jobs: Iterable[Job], tell: Callable[[Job, int], None]
) -> Iterator[tuple[Job, ShardResult, float]]:
    """One shard after the other; the next one is decoded meanwhile."""
    waiting = iter(jobs)
    with ThreadPoolExecutor(1, thread_name_prefix="next-shard") as ahead:
        job = next(waiting, None)
        coming = None if job is None else ahead.submit(worker.decode, job)
        while job is not None and coming is not None:
            shard = coming.result()
            following = next(waiting, None)
            coming = None if following is None else ahead.submit(worker.decode, following)
            started = time.monotonic()
            result = worker.answer(job, shard, lambda alive, _, job=job: tell(job, alive))  # type: ignore[misc]
            yield job, result, time.monotonic() - started
            job = following
