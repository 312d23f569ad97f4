"""Two processes that train together, against a reference that is one process and shares only network and data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toy_training import add_small_networks, plan, toy_folder, toy_pictures
from two_processes import PLANS

from benchmarks.app import ROOT
from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.errors import InvalidInput
from spatial_viz.models.networks import WhitenedConvNet, build_network
from spatial_viz.training import adversaries, trainer
from spatial_viz.training.data import augment, split_validation, to_images
from spatial_viz.training.distributed import Team, join
from spatial_viz.training.loop import train
from spatial_viz.training.plan import TrainingPlan
from spatial_viz.training.recipes import RECIPES
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid, draw_transforms


def two_processes(*command: str) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "--local-addr", "127.0.0.1"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}", "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *launcher, *command], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("two")
    done = two_processes(str(ROOT / "tests" / "support" / "two_processes.py"), str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    add_small_networks(monkeypatch)


def network_in(folder: Path) -> dict[str, Tensor]:
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)["network"]
    return {name: value for name, value in saved.items() if value.is_floating_point()}


@pytest.mark.parametrize("name", list(PLANS))
def test_two_processes_end_with_the_weights_of_one_that_averages_over_halves(name: str, trained: Path) -> None:
    found, expected = network_in(trained / name), reference(PLANS[name])
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-5, rtol=0, msg=lambda m, key=key: f"{key}: {m}")


def test_the_halves_matter(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process with statistics of whole batches ends elsewhere: the comparison above can fail."""
    for module in (adversaries, trainer):
        monkeypatch.setattr(module, "fast_at_bf16", lambda _: False)
    train(replace(PLANS["uneven"], processes=1), toy_pictures(), tmp_path)
    one, two = network_in(tmp_path), network_in(trained / "uneven")
    assert max(float((one[key] - two[key]).abs().max()) for key in one) > 1e-3


def test_all_processes_hold_the_same_network_and_the_first_writes(trained: Path) -> None:
    first, second = (torch.load(trained / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name in PLANS:
        assert all(torch.equal(value, second[name][key]) for key, value in first[name].items())
    assert not [path for path in trained.rglob("*") if "partial" in path.name]
    lines = [json.loads(line) for line in (trained / "uneven" / "metrics.jsonl").read_text().splitlines()]
    assert [line["hardware"][:4] for line in lines if "hardware" in line] == ["2 × "]
    assert [line["epoch"] for line in lines if "epoch" in line] == [1, 2]
    assert json.loads((trained / "uneven" / "plan.json").read_text())["processes"] == 2


def test_two_processes_go_on_where_they_were_cut_off(trained: Path) -> None:
    first = torch.load(trained / "0.pt", weights_only=True)
    assert all(torch.equal(value, first["resumed"][key]) for key, value in first["uneven"].items())
    starts = [line for line in (trained / "resumed" / "metrics.jsonl").read_text().splitlines() if "hardware" in line]
    assert len(starts) == 2


def test_both_stop_for_the_same_reason(trained: Path) -> None:
    first, second = (torch.load(trained / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["held"] == second["held"] and "holds a checkpoint already" in first["held"]
    assert first["exploded"] == second["exploded"] and "the loss became" in first["exploded"]


def test_the_command_under_torchrun(tmp_path: Path) -> None:
    root = toy_folder(tmp_path / "data", CLASS_NAMES["cifar10"], train=8, test=1)
    options = ["--recipe", "standard", "--network", "tiny-convnet", "--epochs", "1", "--batch", "16", "--validation"]
    done = two_processes("-m", "spatial_viz", "train", "--root", str(root), *options, "20", "--device", "cpu",
                         "--out", str(tmp_path / "run"))  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "run" / "plan.json").read_text())["processes"] == 2
    assert (tmp_path / "run" / "weights.safetensors").is_file()


def test_bad_data_are_told_by_all_processes(tmp_path: Path) -> None:
    toy_folder(tmp_path / "data", CLASS_NAMES["cifar10"][:1], train=8, test=1)
    done = two_processes("-m", "spatial_viz", "train", "--data", str(tmp_path / "data"), "--recipe", "standard",
                         "--device", "cpu", "--out", str(tmp_path / "run"))  # fmt: skip
    assert done.returncode and done.stderr.count("a classifier needs at least two classes") == 2


def test_what_cannot_work_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="the plan is for 2 processes, and there is 1; start it with torchrun"):
        train(plan(processes=2), toy_pictures(), tmp_path)
    with pytest.raises(InvalidInput, match="on GPUs only; leave --sync-batch-norm out"):
        train(plan(sync_batch_norm=True), toy_pictures(), tmp_path)
    with pytest.raises(InvalidInput, match="9 processes need a batch of 18 or more; got 16"):
        trainer.steps_per_epoch(100, plan(processes=9))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("spatial_viz.training.distributed.pick_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InvalidInput, match="a GPU of its own, and this machine has 1"), join("cuda"):
        pass


@pytest.mark.parametrize(
    ("count", "partial", "expected"), [(96, False, 6), (97, True, 6), (100, True, 7), (4, True, 1)]
)
def test_a_rest_is_a_batch_where_it_is_large_enough(count: int, partial: bool, expected: int) -> None:
    assert trainer.steps_per_epoch(count, plan(partial_batch=partial, processes=2)) == expected


def test_a_share_is_part_of_the_batch() -> None:
    shares = [Team(rank=rank, size=4).share(torch.arange(10)).tolist() for rank in range(4)]
    assert shares == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]


def reference(told: TrainingPlan) -> dict[str, Tensor]:
    """The training of ``told`` in one process: each half of a batch goes through the network by itself, the gradients
    are averaged, and so are the running statistics that the halves leave."""
    pictures, _ = split_validation(toy_pictures(), told.validation)
    values = pictures.pictures.double().div(255).flatten(0, 2)
    mean, std = (round_to_four(each)[:, None, None] for each in (values.mean(0), values.std(0)))
    torch.manual_seed(told.seed)
    network = build_network(told.network, classes=4, channels=3)
    if isinstance(network, WhitenedConvNet):
        network.whiten((to_images(pictures.pictures) - mean) / std)
    ask = lambda images: network((images - mean) / std)  # noqa: E731
    recipe = RECIPES[told.recipe]
    moving = {name: p for name, p in network.named_parameters() if p.requires_grad}
    speed: dict[str, Tensor] = {}
    average = {name: value.clone() for name, value in network.state_dict().items() if value.is_floating_point()}
    starts = [at for at in range(0, len(pictures), told.batch)
              if at + told.batch <= len(pictures) or (told.partial_batch and len(pictures) - at >= 4)]  # fmt: skip
    step, total = 0, told.epochs * len(starts)
    for epoch in range(told.epochs):
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(told.seed * 1000 + epoch))
        k = candidates(recipe.candidates, epoch / told.epochs)
        for at in starts:
            batch = order[at : at + told.batch]
            middle = (len(batch) + 1) // 2
            before = {name: value.clone() for name, value in network.named_buffers()}
            gradients: dict[str, Tensor] = {name: torch.zeros_like(p) for name, p in moving.items()}
            after: list[dict[str, Tensor]] = []
            for half in (batch[:middle], batch[middle:]):
                network.load_state_dict(before, strict=False)
                natural = augment(pictures, half, epoch, told.seed, recipe.crop)
                labels = pictures.labels[half]
                keys = half.numpy() + epoch * len(pictures)
                draws = draw_transforms(TransformGrid(30.0, 3.0, 3.0), keys, k, told.seed)
                images = hardest(network, ask, natural, labels, draws)
                network.train()
                if recipe.invariance:
                    worst, plain = ask(torch.cat((images, natural))).chunk(2)
                    distance = (plain.softmax(1) * (plain.log_softmax(1) - worst.log_softmax(1))).sum(1).mean()
                    loss = smooth_loss(worst, labels, told.label_smoothing) + recipe.invariance * distance
                else:
                    loss = smooth_loss(ask(images), labels, told.label_smoothing)
                parts = torch.autograd.grad(loss, list(moving.values()))
                for name, part in zip(moving, parts, strict=True):
                    gradients[name] += part * (len(half) / len(batch))
                after.append({name: value.clone() for name, value in network.named_buffers()})
            for name, value in network.named_buffers():
                value.copy_((after[0][name] + after[1][name]) / 2)
            with torch.no_grad():
                for name, p in moving.items():
                    faster = told.bias_rate if p.ndim <= 1 else 1.0
                    gradient = gradients[name] + told.weight_decay / faster * p
                    speed[name] = told.momentum * speed[name] + gradient if name in speed else gradient
                    p -= rate(told, step / total) * faster * (gradient + told.momentum * speed[name])
            step += 1
            if told.averaging and (step % told.averaging == 0 or step == total):
                decay = 0.95**5 * (step / total) ** 3
                for name, value in network.state_dict().items():
                    if name in average:
                        average[name] = decay * average[name] + (1 - decay) * value
                        value.copy_(average[name])
    return {f"1.{name}": value for name, value in network.state_dict().items() if value.is_floating_point()}


def hardest(network: nn.Module, ask: Any, images: Tensor, labels: Tensor, draws: Tensor) -> Tensor:
    """Of each picture's transforms the one with the highest loss in evaluation mode."""
    network.eval()
    with torch.no_grad():
        turned = torch.stack([warp(images, draws[:, number]) for number in range(draws.shape[1])], 1)
        losses = torch.stack([F.cross_entropy(ask(part), labels, reduction="none") for part in turned.unbind(1)], 1)
    return turned[torch.arange(len(images)), losses.argmax(1)]


def smooth_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    target = F.one_hot(labels, logits.shape[1]) * (1 - smoothing) + smoothing / logits.shape[1]
    return -(target * logits.log_softmax(1)).sum(1).mean()


def rate(told: TrainingPlan, progress: float) -> float:
    if progress < told.warm_up:
        return told.learning_rate * (0.1 + 0.9 * progress / told.warm_up)
    return told.learning_rate * (1 - progress) / (1 - told.warm_up)


def candidates(most: int, progress: float) -> int:
    return 1 if most == 1 or progress < 0.2 else most // 2 if progress < 0.6 else most


def round_to_four(values: Tensor) -> Tensor:
    return torch.from_numpy(np.round(values.numpy(), 4)).float()
