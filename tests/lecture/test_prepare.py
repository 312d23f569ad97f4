"""What is made ready for a lecture, and how the command says so."""

from __future__ import annotations

import contextlib
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run

from spatial_viz.app.memoize import Memory
from spatial_viz.data.images import load_image
from spatial_viz.data.samples import class_names, opening_sample
from spatial_viz.errors import CorruptFile
from spatial_viz.evaluation import results
from spatial_viz.landscape import cache
from spatial_viz.landscape.dataset import worst_case
from spatial_viz.lecture import prepare as demo
from spatial_viz.lecture.prepare import no_network, prepare
from spatial_viz.models import registry
from spatial_viz.models.cards import ModelCard
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.registry import catalogue, dataset_of, load_classifier
from spatial_viz.models.sources import efficientnet_lite0
from spatial_viz.transforms.grids import TransformGrid


def tiny(card: ModelCard) -> Classifier:
    """A classifier of that name which answers at once."""
    torch.manual_seed(len(card.name))
    made = card.architecture
    network = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten(), torch.nn.LazyLinear(len(made.class_names)))
    network(torch.zeros(1, len(made.mean), *made.input_size))
    return Classifier(
        network, class_names=made.class_names, input_size=made.input_size, mean=made.mean, std=made.std, name=card.name
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(registry, "_load_own", tiny)
    monkeypatch.setattr(efficientnet_lite0, "_weight_file", lambda: None)  # five landscapes of photos take a minute
    monkeypatch.setattr(results, "_is_shipped", results._is_shipped.__wrapped__)  # no later test may see these hashes


def shipped() -> list[str]:
    return [entry.name for entry in catalogue() if entry.available]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if only one classifier of each data set shipped; all of them take minutes."""
    monkeypatch.setattr(demo, "catalogue", lambda: [
        entry for entry in catalogue() if entry.dataset == "imagenet" or entry.name.endswith("/standard")])  # fmt: skip


FEW = ["cifar10/standard", "mnist/standard"]


def test_all_that_ships_is_made_ready_and_the_lecture_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []
    rows = list(prepare((), tell=lambda *at: told.append(at)))
    assert [row.what for row in rows] == [*shipped(), "without a network"]
    assert all(row.ready and row.needed for row in rows), rows
    for name in shipped():
        steps = [(done, total) for what, done, total in told if what == name]
        assert steps == sorted(steps) and steps[-1][0] >= 22 and steps[-1][1] == 24
    _the_lecture_finds_its_landscapes(monkeypatch)


def _the_lecture_finds_its_landscapes(monkeypatch: pytest.MonkeyPatch) -> None:
    from spatial_viz.app import sidebar
    from spatial_viz.app.lecture import step as talk_step
    from spatial_viz.app.lecture.page import STEPS
    from spatial_viz.app.lecture.step import Talk
    from spatial_viz.app.pose import display_plane
    from spatial_viz.app.view import View

    def computed(*_: Any, **__: Any) -> Any:
        raise AssertionError("a landscape that the lecture asks for is not on the disk")

    monkeypatch.setattr(cache, "sweep_axes", computed)
    monkeypatch.setattr(sidebar, "cached_classifier", load_classifier)
    for name in FEW:
        monkeypatch.setattr(talk_step, "_MEMORY", Memory(512))
        classifier, dataset = load_classifier(name), dataset_of(name)
        sample = opening_sample(dataset)
        image, grid = classifier.prepare(load_image(sample.path)), TransformGrid.paper(classifier.picture_size)
        title = f"{class_names(dataset)[sample.label]} ({sample.name})"
        view = View(classifier, image, sample.label, grid, "black", title)
        for step in STEPS:
            if step.warm:
                step.warm(Talk(view))
        worst = worst_case(talk_step.landscape_of(Talk(view)))
        for plane in (("rotation", 0.0), ("dy", 0.0), ("dy", worst.dy)):
            display_plane(view, plane, lambda done, total: None)


def test_weights_that_cannot_be_fetched_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any, **__: Any) -> Any:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", down)
    monkeypatch.setattr("torch.hub.urlopen", down)
    row = next(prepare(("imagenet/squeezenet1_1",)))
    assert not row.ready and not row.needed and "could not be fetched (no route to host)" in row.words
    row = next(prepare(("imagenet/squeezenet1_1",), offline=True))
    assert not row.ready and not row.needed and "without --offline they would be fetched" in row.words


def test_a_classifier_that_cannot_be_read_is(monkeypatch: pytest.MonkeyPatch, few: None) -> None:
    def broken(card: ModelCard) -> Classifier:
        if card.name == FEW[0]:
            raise CorruptFile(f"{card.file} is corrupted")
        return tiny(card)

    monkeypatch.setattr(registry, "_load_own", broken)
    rows = {row.what: row for row in prepare(())}
    assert not rows[FEW[0]].ready and rows[FEW[0]].needed and rows[FEW[1]].ready
    assert not rows["without a network"].ready and "corrupted" in rows["without a network"].words


def test_a_disk_that_keeps_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(demo, "SMALL", 1)  # the first picture alone
    *_, last = prepare(())
    assert not last.ready and f"landscapes of {shipped()[0]} did not stay on the disk" in last.words


def test_what_asks_for_the_network_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def asking(entry: Any) -> None:
        with contextlib.suppress(OSError):  # as a library would that goes on without
            urllib.request.urlopen("http://example.org/", timeout=1)

    monkeypatch.setattr(demo, "_make_downloads", asking)
    monkeypatch.setattr(demo, "SMALL", 1)
    *_, last = prepare(())
    assert not last.ready and last.words == "something asked for example.org"


def test_the_network_is_shut_and_opened_again() -> None:
    before = socket.socket.connect, socket.getaddrinfo
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with no_network() as tried:
            with socket.socket() as client:
                client.connect(server.getsockname())
            with socket.socket() as client, pytest.raises(OSError, match="the network is shut"):
                client.connect(("192.0.2.1", 9))
            with pytest.raises(OSError, match=r"asked for example\.org"):
                socket.getaddrinfo("example.org", 80)
            assert socket.getaddrinfo("localhost", 80)
        assert tried == ["192.0.2.1", "example.org"]
    assert (socket.socket.connect, socket.getaddrinfo) == before


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], few: None) -> None:
    code, out, _ = run(["demo", "--offline"], monkeypatch, capsys)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("– weights of imagenet/resnet50") and lines[-1].startswith("The lecture is ready")
    assert [line.split()[1] for line in lines[1:-2]] == FEW and all(line[0] == "✓" for line in lines[1:-1])
    code, out, _ = run(["demo", "--imagenet", "none", "--json"], monkeypatch, capsys)
    told = json.loads(out)
    assert code == 0 and told["schema"] == 1 and told["ready"] is True
    assert [item["what"] for item in told["items"]] == [*FEW, "without a network"]


def test_it_ends_with_1_where_something_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(card: ModelCard) -> Classifier:
        raise CorruptFile("it is corrupted")

    monkeypatch.setattr(registry, "_load_own", broken)
    code, out, _ = run(["demo", "--imagenet", "none"], monkeypatch, capsys)
    assert code == 1 and out.splitlines()[-1] == "The lecture is not ready." and "✕ cifar10/standard" in out


def test_unknown_networks_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(["demo", "--imagenet", "resnet5"], monkeypatch, capsys)
    assert code == 2 and out == "" and "unknown classifier 'imagenet/resnet5'" in err and err.count("\n") == 1
