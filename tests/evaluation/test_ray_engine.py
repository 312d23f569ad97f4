"""The same answer from a Ray cluster of two nodes on this machine, and from one that loses a node in the middle."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from spatial_viz.data.images import load_image
from spatial_viz.data.samples import class_names, samples
from spatial_viz.errors import InvalidInput, MissingFile, SpatialVizError
from spatial_viz.evaluation.jobs import Job
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.ray_engine import ShardActor
from spatial_viz.evaluation.run import evaluate
from spatial_viz.evaluation.store import runs_in

PLAN = EvaluationPlan(("natural", "worst-of-10", "grid"), (5, 3, 3), shard=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled CIFAR-10 pictures, a folder per class."""
    root = tmp_path_factory.mktemp("pictures")
    names = class_names("cifar10")
    for name in names:
        (root / name).mkdir()
    for sample in samples("cifar10"):
        load_image(sample.path).save(root / names[sample.label] / f"{sample.index:02}.png")
    for number, name in enumerate(names):  # no class may be empty
        if not list((root / name).iterdir()):
            load_image(samples("cifar10")[number].path).save(root / name / "other.png")
    return root


@pytest.fixture(scope="module")
def local(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("local")
    evaluate("cifar10/standard", str(folder), PLAN, store=store)
    return runs_in(store)[0]


@pytest.fixture
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray", reason="needs Ray: pip install -r requirements-cluster.txt")
    from ray.cluster_utils import Cluster

    started = patiently(
        lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    )
    yield started
    started.shutdown()


def patiently(start: Callable[[], Any]) -> Any:
    """A machine that is busy may take longer than the half minute that Ray gives a node to start: again, then."""
    for attempt in range(3):
        try:
            return start()
        except Exception as error:
            if attempt == 2 or "timed out during startup" not in str(error):
                raise
    raise AssertionError


def assert_same(one: Path, other: Path) -> None:
    tables = sorted(path.name for path in one.glob("*.parquet"))
    assert tables == sorted(path.name for path in other.glob("*.parquet")) and len(tables) >= 20
    for name in tables:
        assert pq.read_table(one / name).equals(pq.read_table(other / name)), name


def test_two_nodes_answer_as_one_machine(cluster: Any, folder: Path, local: Path, tmp_path: Path) -> None:
    patiently(lambda: cluster.add_node(num_cpus=1))
    report = evaluate(
        "cifar10/standard", str(folder), PLAN, store=tmp_path, engine="ray",
        cluster={"address": cluster.address, "workers": 2},
    )  # fmt: skip
    assert report.run["complete"]
    assert_same(local, runs_in(tmp_path)[0])


def test_a_node_that_is_lost_costs_time_and_nothing_else(
    cluster: Any, folder: Path, local: Path, tmp_path: Path
) -> None:
    second = patiently(lambda: cluster.add_node(num_cpus=1))
    lost: list[int] = []

    def lose(at: Any) -> None:
        if at.done >= 4 and not lost:
            lost.append(at.done)
            cluster.remove_node(second, allow_graceful=False)

    report = evaluate(
        "cifar10/standard", str(folder), PLAN, store=tmp_path, engine="ray",
        cluster={"address": cluster.address, "workers": 2}, progress=lose,
    )  # fmt: skip
    assert lost and lost[0] < report.run["data"]["pictures"] and report.run["complete"]
    assert_same(local, runs_in(tmp_path)[0])


def test_an_address_that_does_not_answer_is_one_sentence(folder: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install -r requirements-cluster.txt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = free.getsockname()[1]
    with pytest.raises(SpatialVizError, match="no Ray cluster answers at"):
        evaluate("cifar10/standard", str(folder), PLAN, engine="ray", cluster={"address": f"127.0.0.1:{nobody}"})
    with pytest.raises(InvalidInput, match="host:port"):
        evaluate("cifar10/standard", str(folder), PLAN, engine="ray", cluster={"address": "somewhere"})


def test_without_ray_the_command_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingFile, match=r"pip install -r requirements-cluster\.txt"):
        evaluate("cifar10/standard", str(folder), PLAN, engine="ray")


class Slow:
    """A worker whose first answer waits until the second shard has been decoded."""

    decoded, answering, most = threading.Event(), [0], [0]

    def decode(self, job: Job) -> int:
        if job.shard == 1:
            self.decoded.set()
        return job.shard

    def answer(self, job: Job, shard: int) -> int:
        self.answering[0] += 1
        self.most[0] = max(self.most[0], self.answering[0])
        assert self.decoded.wait(60)
        self.answering[0] -= 1
        return shard


def test_the_next_shard_is_decoded_while_one_is_answered() -> None:
    actor = ShardActor(pickle.dumps(Slow()), torch.get_num_threads())
    rows = [{"job": pickle.dumps(Job(0, shard, range(1)))} for shard in range(2)]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(actor, rows[0])
        while not Slow.answering[0]:
            time.sleep(0.01)
        told = [first.result, pool.submit(actor, rows[1]).result]
        assert [pickle.loads(each(60)["answer"]) for each in told] == [0, 1] and Slow.most == [1]
