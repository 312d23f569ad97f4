"""What a training tells while it runs: ``metrics.jsonl`` in its folder, one JSON object a line.

There are three kinds of line, told apart by a key that only they have: ``hardware`` (a start or a resumption: on what,
with which versions), ``step`` (now and then within an epoch), ``epoch`` (the end of one).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatial_viz.errors import MissingFile
from spatial_viz.training.checkpoints import write, writing

FILE = "metrics.jsonl"


@dataclass(frozen=True)
class Metrics:
    """The lines of a training by their kind, in the order in which they were written.

    ``starts``: ``hardware`` in words, ``versions``, and where it began, ``began_from``: the SHA-256 of those weights.
    ``steps``: ``step`` (steps done), ``epochs_done`` (with a fraction), ``loss`` (running mean), ``learning_rate``,
    ``pictures_per_second``.
    ``epochs``: ``epoch`` (from 1), ``loss``, ``learning_rate``, ``candidates``, ``validation_accuracy`` of the pictures
    as they are, ``validation_worst_of_10`` (of up to 500 of them, at ten random transforms within the paper's limits;
    both are None without pictures held out), ``seconds`` of training so far.
    """

    starts: tuple[dict[str, Any], ...]
    steps: tuple[dict[str, Any], ...]
    epochs: tuple[dict[str, Any], ...]


def read_metrics(folder: Path) -> Metrics:
    """What the training in ``folder`` has told so far."""
    if not (folder / FILE).is_file():
        raise MissingFile(f"there is no {folder / FILE}; expected the --out folder of a training")
    lines = [line for _, line in _lines(folder)]
    starts, steps, epochs = (tuple(line for line in lines if key in line) for key in ("hardware", "step", "epoch"))
    return Metrics(starts, steps, epochs)


def log(folder: Path, line: dict[str, Any]) -> None:
    """Add a line."""
    with writing(folder / FILE), open(folder / FILE, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(line, ensure_ascii=False) + "\n")


def forget_after(folder: Path, step: int, steps_per_epoch: int) -> None:
    """Remove what a training told after the checkpoint of ``step``, from which it goes on; a torn line, too."""
    if not (folder / FILE).is_file():
        return
    lines = [
        text
        for text, line in _lines(folder)
        if line.get("step", 0) <= step and line.get("epoch", 0) * steps_per_epoch <= step
    ]
    write(folder / FILE, "".join(lines).encode())


def _lines(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """(text, content) of every whole line: a kill may have cut off the last one."""
    texts = (folder / FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    return [(text, json.loads(text)) for text in texts if text.endswith("\n")]
