"""Who works on what: an evaluation cut into jobs, and the worker who answers them, here or on another machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spatial_viz.data.selection import Pictures
from spatial_viz.errors import PictureError
from spatial_viz.evaluation.decode import Shard, class_map, decode
from spatial_viz.evaluation.plan import EvaluationPlan, restricted, voted
from spatial_viz.evaluation.shards import ShardResult, evaluate_shard
from spatial_viz.models.classifier import Classifier


@dataclass(frozen=True)
class Job:
    """One shard of one classifier; ``places`` among the chosen pictures."""

    classifier: int
    shard: int
    places: range


@dataclass
class QueriedClassifier:
    """One classifier as it is asked, and the classifier's class for every class of the data set."""

    name: str
    classifier: Classifier
    classes: list[int]

    @classmethod
    def about(cls, model: Classifier, pictures: Pictures, plan: EvaluationPlan) -> QueriedClassifier:
        classes = class_map(pictures, model)
        if not plan.restrict:
            return cls(model.name, voted(model, plan), classes)
        occurring = sorted(set(classes))
        return cls(model.name, voted(restricted(model, occurring), plan), [occurring.index(label) for label in classes])


@dataclass
class Worker:
    """Whoever evaluates shards: everything that a `Job` leaves out."""

    pictures: Pictures
    queried: list[QueriedClassifier]
    plan: EvaluationPlan
    device: str
    strict: bool

    def decode(self, job: Job) -> Shard:
        """The job's pictures; a file that cannot be read is left out and named, or with ``strict`` an error."""
        queried = self.queried[job.classifier]
        shard = decode(self.pictures, job.places, queried.classifier, queried.classes)
        if self.strict and shard.unreadable:
            raise PictureError(f"{shard.unreadable[0][1]} (strict; without it, such files are left out and counted)")
        return shard

    def answer(self, job: Job, shard: Shard, report: Callable[[int, int], None] | None = None) -> ShardResult:
        """The verdicts on the job's pictures."""
        return evaluate_shard(self.queried[job.classifier].classifier, shard, self.plan, self.device, report)

    def jobs(self) -> list[Job]:
        """Shards depend on the plan and on the pictures alone, not on who works on them."""
        size, count = self.plan.shard, len(self.pictures)
        return [
            Job(number, shard, range(start, min(start + size, count)))
            for number in range(len(self.queried))
            for shard, start in enumerate(range(0, count, size))
        ]
