"""From the verdicts of a run to its accuracies: as JSON, CSV, Markdown and a table for the terminal."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from spatial_viz.evaluation.cards import RunClassifier
from spatial_viz.evaluation.intervals import wilson
from spatial_viz.evaluation.plan import EvaluationPlan, draws_of, full_passes
from spatial_viz.evaluation.store import read_card, read_table


@dataclass(frozen=True)
class Accuracy:
    """Of one classifier under one adversary: ``correct`` of ``n`` pictures, the 95 % Wilson interval, the forward
    passes made and those that leaving nothing out would have taken (each voter counts, and each mirror image)."""

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

    ``run``: its card as JSON, with ``seconds``, ``unreadable`` and whether it is ``complete``. ``per_class``:
    classifier → adversary → class name → {``n``, ``correct``}. ``average_random``: classifier → the share of all random
    transforms that are classified correctly, with the largest number of draws that was asked for.
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
        """A row per classifier and adversary, with the columns of `Accuracy`, then one per class, named in the last
        column; at the end the averages over random transforms."""
        target = io.StringIO()
        writer = csv.DictWriter(target, [*Accuracy.__dataclass_fields__, "class"], lineterminator="\n")
        writer.writeheader()
        for entry in self.results:
            writer.writerow(asdict(entry))
            about = {"classifier": entry.classifier, "adversary": entry.adversary, "vote": entry.vote}
            for name, counts in self.per_class[entry.classifier][entry.adversary].items():
                low, high = wilson(counts["correct"], counts["n"])
                share = {"accuracy": counts["correct"] / counts["n"], "low": low, "high": high}
                writer.writerow(about | counts | share | {"class": name})
        for name, average in self.average_random.items():
            about = {"classifier": name, "adversary": f"average of {average['draws']} random", "vote": self.vote}
            writer.writerow(about | {"accuracy": average["accuracy"]})
        return target.getvalue()

    @property
    def vote(self) -> int:
        """How many voters the classifiers were asked by; 0: each by itself."""
        return int(self.run["plan"]["vote"])

    def to_markdown(self) -> str:
        """A table with a row per classifier and adversary, one per classifier with a row per class, and what
        `about` says."""
        parts = []
        for head, *rows in self._tables():
            aligned = ["---" if name in (head[0], "adversary") else "---:" for name in head]
            lines = [head, aligned, *rows]
            parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        return "\n\n".join((*parts, "\n".join(f"* {line}" for line in self.about())))

    def to_text(self) -> str:
        """The table for a terminal, and what it is about."""
        lines: list[str] = []
        for rows in self._tables(MOST_CLASSES):
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                      for row in rows] + [""]  # fmt: skip
        return "\n".join((*lines, *self.about()))

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
            (_, why), *more = self.run["unreadable"]
            count = f"{len(more) + 1:,} file{'s' * bool(more)}"
            lines.append(f"left out: {count} that cannot be read{', the first' * bool(more)}: {why}")
        if not self.run["complete"]:
            lines.append("not complete: go on with --resume")
        return lines

    def _tables(self, most: int | None = None) -> list[list[tuple[str, ...]]]:
        """The rows of the table of all results, and of one per classifier with ``most`` classes or fewer; each begins
        with its heads."""
        of = f", vote of {self.vote}" if self.vote else ""
        rows: list[tuple[str, ...]] = [
            (
                f"{entry.classifier}{of}",
                entry.adversary,
                f"{entry.accuracy:.2%} ({entry.low:.1%} to {entry.high:.1%})",
                f"{entry.n:,}",
                f"{entry.passes:,} of {entry.passes_full:,}",
            )
            for entry in self.results
        ]
        tables = [[HEADINGS, *rows]]
        for name, by_class in self.per_class.items():
            classes = next(iter(by_class.values()))
            if most is None or len(classes) <= most:
                shares = [
                    (each, *(f"{counts[each]['correct'] / counts[each]['n']:.1%}" for counts in by_class.values()),
                     f"{classes[each]['n']:,}") for each in classes
                ]  # fmt: skip
                tables.append([(f"class ({name}{of})", *by_class, "pictures"), *shares])
        return tables


HEADINGS = ("classifier", "adversary", "accuracy", "pictures", "forward passes")
MOST_CLASSES = 20  # that a terminal lists


def report_on(folder: Path) -> Report:
    """What a run has answered so far."""
    card = read_card(folder)
    table, facts = read_table(folder)
    plan = card.plan
    results: list[Accuracy] = []
    per_class: dict[str, Any] = {}
    average: dict[str, Any] = {}
    for classifier in card.classifiers:
        rows = table[table["classifier"] == classifier.name] if len(table) else table
        if not len(rows):
            continue
        name = classifier.name
        for adversary in plan.adversaries:
            results.append(_accuracy(rows, classifier, adversary, plan))
            counts = rows.groupby("label")[f"{adversary}_robust"].agg(["size", "sum"])
            per_class.setdefault(name, {})[adversary] = {
                classifier.class_names[str(label)]: {"n": int(row["size"]), "correct": int(row["sum"])}
                for label, row in counts.iterrows()
            }
        drawing = [(draws_of(adversary) or 0, adversary) for adversary in plan.adversaries]
        draws, adversary = max(drawing)
        if draws:
            correct = int(rows[f"{adversary}_correct"].sum())
            average[name] = {"draws": draws, "accuracy": correct / (draws * len(rows))}
    run = {**card.to_json(), "seconds": round(facts["seconds"], 1), "unreadable": facts["unreadable"],
           "complete": facts["shards"] == facts["shards_in_all"]}  # fmt: skip
    return Report(run, tuple(results), per_class, average)


def _accuracy(rows: pd.DataFrame, classifier: RunClassifier, adversary: str, plan: EvaluationPlan) -> Accuracy:
    grid = plan.grid(classifier.picture_size)
    correct, count = int(rows[f"{adversary}_robust"].sum()), len(rows)
    low, high = wilson(correct, count)
    per_query = classifier.passes_per_query or max(1, plan.vote)
    full = full_passes(adversary, plan, grid) * count * per_query
    return Accuracy(
        classifier.name, adversary, plan.vote, count, correct, correct / count, low, high,
        int(rows[f"{adversary}_passes"].sum()), full,
    )  # fmt: skip
