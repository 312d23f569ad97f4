"""`make results` writes docs/results.md from the runs there are, beside the published figures.

`python -m scripts.build_results --ship FOLDER …` first puts stored runs into pretrained/results/, where they ship with
the project; `--rehash` writes the hashes of this version into those that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.app import ROOT
from spatial_viz.data.selection import select_pictures
from spatial_viz.errors import SpatialVizError
from spatial_viz.evaluation.cards import RunCard
from spatial_viz.evaluation.locate_images import with_checksums
from spatial_viz.evaluation.plan import plan_of, voted
from spatial_viz.evaluation.report import report_on
from spatial_viz.evaluation.results import (
    SOURCES,
    all_results,
    best_known,
    columns_in,
    series_names,
    shipped_folder,
    store_folder,
)
from spatial_viz.evaluation.store import runs_in
from spatial_viz.evaluation.summary import read_summary, summarise, write_summary
from spatial_viz.files import write_file
from spatial_viz.models.registry import load_classifier, manifest
from spatial_viz.training.publish import improve_cards

TARGET = ROOT / "docs" / "results.md"
HEAD = """# Results

Written by `make results` from `pretrained/results/*.json`, from the cards in `pretrained/manifest.json`
and from the runs in the store; no number here is typed by hand.
Accuracy in per cent, in brackets the 95 % Wilson interval and the number of pictures; a dash where nothing is known. A
picture counts as robust against an adversary if it is classified correctly as it is and at every transform that the
adversary tries; "grid" is exact, over every transform of the grid. Behind a classifier, "other weights" says that a run
asked an earlier one of that name.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--ship", type=Path, nargs="+", default=[], metavar="FOLDER", help="runs for pretrained/results/"
    )
    parser.add_argument("--rehash", action="store_true", help="bring the hashes in pretrained/results/ up to date")
    parser.add_argument("--store", type=Path, default=store_folder(), help="the folder of runs")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    try:
        for folder in options.ship:
            ship(folder, shipped_folder())
        if options.rehash:
            rehash(shipped_folder())
    except SpatialVizError as error:
        sys.exit(f"error: {error}")
    text = document(options.store, shipped_folder())
    write_file(options.out, lambda partial: partial.write_text(text, encoding="utf-8"))
    print(f"{options.out}: from {len(runs_in(options.store))} stored runs")


def ship(folder: Path, target: Path) -> None:
    """Its report as JSON and, of a run with landscapes, a summary per classifier; cards that knew fewer pictures are
    brought up to date."""
    measured = report_on(folder)
    for name in improve_cards(measured):
        print(f"the card of {name} says what was found on {measured.run['data']['pictures']:,} pictures")
    report = measured.to_json()
    _write_report(target / f"{folder.name}.json", report)
    if not report["run"]["plan"]["full"]:
        return
    data = report["run"]["data"]
    pictures = select_pictures(data["name"], None, data["split"], None, None)
    for number, classifier in enumerate(report["run"]["classifiers"]):
        summary = with_checksums(summarise(folder, number), pictures)
        write_summary(summary, target / f"{folder.name}-{classifier['name'].replace('/', '-')}.npz")


def _write_report(path: Path, report: dict[str, Any]) -> None:
    text = json.dumps(report, indent=1, ensure_ascii=False)
    write_file(path, lambda partial: partial.write_text(text + "\n", encoding="utf-8"))


def rehash(target: Path) -> None:
    """Write the hash of today's version in the place of an earlier version's, where that one is of the classifier that
    ships under the name: what was measured with other weights stays theirs."""
    for path in sorted(target.glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        if _rehashed(report["run"]):
            _write_report(path, report)
    for path in sorted(target.glob("*.npz")):
        summary = read_summary(path)
        card = summary.card.to_json()
        if _rehashed(card):
            write_summary(replace(summary, card=RunCard.from_json(card)), path)


def _rehashed(card: dict[str, Any]) -> bool:
    """Bring the hashes on the card of a run, as JSON, up to date; whether there was anything to do."""
    plan, shipped, changed = plan_of(card["plan"]), {each.name for each in manifest()}, False
    for entry in card["classifiers"]:
        if entry["name"] in shipped and not plan.restrict:
            classifier = voted(load_classifier(entry["name"]), plan)
            if entry["hash"] == classifier.first_hash:
                entry["hash"], changed = classifier.hash, True
    return changed


def document(store: Path, shipped: Path) -> str:
    """The whole page."""
    results, problems = all_results(store, shipped)
    measured = results[results["source"] != SOURCES[2]]
    grids = "; ".join(f"grid {grid}" for grid in sorted(set(measured["grid"])))
    parts = [f"{HEAD}Measured with {grids}.\n"]
    for data, rows in results.groupby("data", sort=False):
        parts += [f"## {data}\n", table(rows), ""]
    parts += [f"Left out: {problem}\n" for problem in problems]
    return "\n".join(parts)


def table(results: pd.DataFrame) -> str:
    """A row per classifier, a column per adversary."""
    known = best_known(results)
    columns = columns_in(results)
    lines = ["| " + " | ".join(["classifier", *columns, "source"]) + " |", "|---|" + "---:|" * len(columns) + "---|"]
    known = known.assign(series=series_names(known, False), kind=known["source"] == SOURCES[2])
    for (series, kind), rows in known.groupby(["series", "kind"], sort=False):
        cells = {row["column"]: _cell(row) for row in rows.to_dict("records")}
        sources = " and ".join(dict.fromkeys(f"{row['source']}: {row['citation']}" if kind else row["source"]
                                             for row in rows.to_dict("records")))  # fmt: skip
        lines.append("| " + " | ".join([series, *(cells.get(column, "–") for column in columns), sources]) + " |")
    return "\n".join(lines)


def _cell(row: dict[Any, Any]) -> str:
    """Per cent; measured ones with interval and pictures."""
    if row["source"] == SOURCES[2]:
        return f"{100 * row['accuracy']:g}"
    unfinished = "" if row["complete"] else ", not complete"
    interval = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
    return f"{100 * row['accuracy']:.2f} ({interval}; {row['n']:,}{unfinished})"


if __name__ == "__main__":
    main()
