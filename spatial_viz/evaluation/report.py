"""From the verdicts of a run to its accuracies: as JSON, CSV, Markdown and a table for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from spatial_viz.classifiers import Classifier
from spatial_viz.evaluation.plan import EvaluationPlan, draws_of, full_passes, plan_of
from spatial_viz.evaluation.store import read_card, read_table
from spatial_viz.intervals import wilson


@dataclass(frozen=True)
class Accuracy:
    """Of one classifier under one adversary: ``correct`` of ``n`` pictures, the 95 % Wilson interval, the forward
    passes made and those that leaving nothing out would have taken (``vote`` voters each count)."""

    classifier: str
    adversary: str
    vote: int
    n: int
    correct: int
    accuracy: float
    low: float
    high: float
    passes: int
    passes_full: int


@dataclass(frozen=True)
class Report:
    """The answer of a run.

    ``run``: its card, with ``seconds``, ``unreadable`` and whether it is ``complete``. ``per_class``: classifier →
    adversary → class name → {``n``, ``correct``}. ``average_random``: classifier → the share of all random transforms
    that are classified correctly, with the largest number of draws that was asked for.
    """

    run: dict[str, Any]
    results: tuple[Accuracy, ...]
    per_class: dict[str, dict[str, dict[str, dict[str, int]]]]
    average_random: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "run": self.run,
            "results": [asdict(entry) for entry in self.results],
            "per_class": self.per_class,
            "average_random": self.average_random,
        }

    def to_csv(self) -> str:
        """One row per classifier and adversary, with the columns of `Accuracy`."""
        target = io.StringIO()
        writer = csv.DictWriter(target, list(Accuracy.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(entry) for entry in self.results)
        return target.getvalue()

    def to_markdown(self) -> str:
        """A table with a row per classifier and adversary."""
        lines = ["| " + " | ".join(HEADINGS) + " |", "|---|---|---:|---:|---:|"]
        lines += ["| " + " | ".join(row) + " |" for row in self._rows()]
        return "\n".join(lines)

    def to_text(self) -> str:
        """The table for a terminal, and what it is about."""
        rows = [HEADINGS, *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join((*lines, "", *self.about()))

    def about(self) -> list[str]:
        """What the numbers are about, a sentence a line."""
        data, plan, seen = self.run["data"], self.run["plan"], self.run["environment"]
        lines = [f"{data['name']}, {data['split']}: {data['pictures']:,} pictures; in brackets 95 % Wilson intervals"]
        for entry in self.run["classifiers"]:
            lines.append(f"{entry['name']}: grid {entry['grid']}, padding {plan['padding']}")
        for name, average in self.average_random.items():
            lines.append(f"{name}: {average['accuracy']:.1%} on average over {average['draws']} random transforms each")
        lines.append(
            "all outputs of the classifier count"
            if not plan["restrict"]
            else "only the outputs for the classes of the data set count"
        )
        machine = f"{seen['device']}, {seen['threads']} threads, torch {seen['versions']['torch']}"
        lines.append(f"seed {plan['seed']}; {machine}")
        if self.run["unreadable"]:
            first = self.run["unreadable"][0]
            lines.append(f"left out: {len(self.run['unreadable'])} files that cannot be read, such as {first[0]}")
        if not self.run["complete"]:
            lines.append("not complete: go on with --resume")
        return lines

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                entry.classifier if not entry.vote else f"{entry.classifier}, vote of {entry.vote}",
                entry.adversary,
                f"{entry.accuracy:.2%} ({entry.low:.1%} to {entry.high:.1%})",
                f"{entry.n:,}",
                f"{entry.passes:,} of {entry.passes_full:,}",
            )
            for entry in self.results
        ]


HEADINGS = ("classifier", "adversary", "accuracy", "pictures", "forward passes")


def report_on(folder: Path) -> Report:
    """What a run has answered so far."""
    card = read_card(folder)
    table, facts = read_table(folder)
    plan = plan_of(card["plan"])
    results: list[Accuracy] = []
    per_class: dict[str, Any] = {}
    average: dict[str, Any] = {}
    for classifier in card["classifiers"]:
        rows = table[table["classifier"] == classifier["name"]] if len(table) else table
        if not len(rows):
            continue
        name = classifier["name"]
        for adversary in plan.adversaries:
            results.append(_accuracy(rows, classifier, adversary, plan))
            counts = rows.groupby("label")[f"{adversary}_robust"].agg(["size", "sum"])
            per_class.setdefault(name, {})[adversary] = {
                classifier["class_names"][str(label)]: {"n": int(row["size"]), "correct": int(row["sum"])}
                for label, row in counts.iterrows()
            }
        drawing = [(draws_of(adversary) or 0, adversary) for adversary in plan.adversaries]
        draws, adversary = max(drawing)
        if draws:
            correct = int(rows[f"{adversary}_correct"].sum())
            average[name] = {"draws": draws, "accuracy": correct / (draws * len(rows))}
    run = {**card, "seconds": round(facts["seconds"], 1), "unreadable": facts["unreadable"],
           "complete": facts["shards"] == facts["shards_in_all"]}  # fmt: skip
    return Report(run, tuple(results), per_class, average)


def _accuracy(rows: pd.DataFrame, classifier: dict[str, Any], adversary: str, plan: EvaluationPlan) -> Accuracy:
    grid = plan.grid(tuple(classifier["picture_size"]))
    correct, count = int(rows[f"{adversary}_robust"].sum()), len(rows)
    low, high = wilson(correct, count)
    full = full_passes(adversary, plan, grid) * count * max(1, plan.vote)
    return Accuracy(
        classifier["name"], adversary, plan.vote, count, correct, correct / count, low, high,
        int(rows[f"{adversary}_passes"].sum()), full,
    )  # fmt: skip


def card_of_classifier(
    classifier: Classifier, name: str, plan: EvaluationPlan, labels: Sequence[int]
) -> dict[str, Any]:
    """A classifier on the card of a run; ``labels`` are the classes that occur."""
    grid = plan.grid(classifier.picture_size)
    words = ",".join(map(str, grid.granularity))
    return {
        "name": name,
        "hash": classifier.hash,
        "picture_size": list(classifier.picture_size),
        "grid": f"{words} within ±{grid.rotation:g}°, dx ±{grid.dx:g} px, dy ±{grid.dy:g} px",
        "class_names": {str(label): classifier.class_names[label] for label in sorted(set(labels))},
    }
