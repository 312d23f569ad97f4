"""All results there are: runs of the store, runs and cards that ship with the project, and the published figures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from spatial_viz.errors import CorruptFile, SpatialVizError
from spatial_viz.evaluation.intervals import wilson
from spatial_viz.evaluation.plan import ADVERSARIES, EvaluationPlan, card_key, plan_of, voted
from spatial_viz.evaluation.report import report_on
from spatial_viz.evaluation.store import runs_in
from spatial_viz.models.cards import ModelCard
from spatial_viz.models.registry import load_classifier, manifest

SOURCES = ("measured here", "shipped", "published")
COLUMNS = {
    "classifier": "str", "data": "str", "adversary": "str", "vote": "int64", "n": "Int64", "accuracy": "float64",
    "low": "float64", "high": "float64", "passes": "Int64", "passes_full": "Int64", "grid": "str", "padding": "str",
    "source": "str", "citation": "str", "complete": "bool",
}  # fmt: skip
"""Of the table of results. Published figures say neither pictures nor interval, passes, grid nor padding."""
OTHER_WEIGHTS = ", other weights"
"""Behind the name of a classifier that ships, where a run asked another one of that name."""


def store_folder() -> Path:
    """Where runs are kept: the folder that SPATIAL_VIZ_STORE names, or ``runs/evaluation``."""
    return Path(os.environ.get("SPATIAL_VIZ_STORE") or Path("runs", "evaluation"))


def shipped_folder() -> Path:
    """``pretrained/results/`` of the checkout, or of the installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "pretrained" / "results"
    return installed if installed.is_dir() else package.parent / "pretrained" / "results"


def published() -> pd.DataFrame:
    """The published figures as a table of results; ``citation`` says where each one stands."""
    with resources.files("spatial_viz.evaluation").joinpath("published.csv").open(encoding="utf-8") as handle:
        facts = pd.read_csv(handle)
    rows = facts.drop(columns="percent").assign(accuracy=facts["percent"] / 100, source=SOURCES[2], complete=True)
    return _typed(rows)


def rows_of(report: dict[str, Any], source: str, citation: str) -> list[dict[str, Any]]:
    """The results of a report (its JSON) as rows of the table, and in each ``queried``: what `asks_other_weights` wants
    to know.

    Raises
    ------
    CorruptFile: JSON that is no report.
    """
    try:
        if report["schema"] != 1:
            raise ValueError(f"its schema is {report['schema']!r}, not 1")
        run = report["run"]
        plan = plan_of(run["plan"])
        of_classifier = {
            entry["name"]: {"grid": entry["grid"], "queried": (entry["hash"], plan)} for entry in run["classifiers"]
        }
        data = run["data"]["name"] + ("" if run["data"]["split"] == "test" else f", {run['data']['split']}")
        shared = {"data": data, "padding": run["plan"]["padding"], "source": source, "citation": citation,
                  "complete": bool(run["complete"])}  # fmt: skip
        keys = ("classifier", "adversary", "vote", "n", "accuracy", "low", "high", "passes", "passes_full")
        return [{**{key: entry[key] for key in keys}, **of_classifier[entry["classifier"]], **shared}
                for entry in report["results"]]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{citation} is no report of evaluate --json ({error})") from error


def rows_of_card(card: ModelCard) -> list[dict[str, Any]]:
    """What a card of the manifest says about its classifier, as rows of the table; it does not count passes."""
    grid, _, padding = card.grid.rpartition(", ")
    shared = {"classifier": card.name, "data": card.data, "vote": 0, "grid": grid, "padding": padding,
              "source": SOURCES[1], "citation": "its card", "complete": True}  # fmt: skip
    rows = []
    for adversary in ADVERSARIES:
        measured = card.accuracies.get(card_key(adversary))
        if measured:
            share, count = float(measured.accuracy), measured.pictures
            low, high = wilson(round(share * count), count)
            rows.append(shared | {"adversary": adversary, "accuracy": share, "n": count, "low": low, "high": high})
    return rows


def all_results(
    store: Path | None = None, shipped: Path | None = None, cards: Iterable[ModelCard] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """The table of all results (see `COLUMNS`), and a sentence for every run or file that cannot be read.

    By default the folders of `store_folder` and `shipped_folder`, and the cards of the manifest. Measured ones come
    first, then the published. What was measured with other weights than those that ship under that name says so.
    """
    cards = manifest() if cards is None else tuple(cards)
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for folder in runs_in(store or store_folder()):
        try:
            rows += rows_of(report_on(folder).to_json(), SOURCES[0], folder.name)
        except SpatialVizError as error:
            problems.append(str(error))
    for path in sorted((shipped or shipped_folder()).glob("*.json")):
        try:
            rows += rows_of(_read(path), SOURCES[1], path.name)
        except SpatialVizError as error:
            problems.append(str(error))
    for row in rows:
        stored, plan = row["queried"]
        if asks_other_weights(row["classifier"], stored, plan, cards):
            row["classifier"] += OTHER_WEIGHTS
    for card in cards:
        rows += rows_of_card(card)
    return pd.concat([_typed(pd.DataFrame(rows)), published()], ignore_index=True), problems


def asks_other_weights(name: str, stored: str, plan: EvaluationPlan, cards: Iterable[ModelCard]) -> bool:
    """Whether a run asked another classifier than the one that ships under that name: an earlier training, perhaps, or
    the same weights in a network that another version of torch describes otherwise.

    ``name`` and ``stored``, its hash: of the classifier on the card of the run; ``plan``: of the run; ``cards``: of the
    manifest.
    """
    card = next((card for card in cards if card.name == name), None)
    if card is None or plan.restrict:  # to classes that a card does not name
        return False
    try:
        return not _is_shipped(stored, name, card.sha256, plan if plan.vote else EvaluationPlan())
    except SpatialVizError:  # a file that cannot be read is told of where somebody asks for that classifier
        return False


@cache
def _is_shipped(stored: str, name: str, sha256: str, plan: EvaluationPlan) -> bool:
    """Whether a stored hash is that of the classifier that ships, as the plan asks it; ``sha256`` of its file, so that
    another file is looked at again."""
    return voted(load_classifier(name), plan).has_hash(stored)


def column_of(adversary: str, vote: int) -> str:
    """What an adversary is called against a classifier, or against its vote.

    >>> column_of("grid", 0), column_of("grid", 10)
    ('grid', 'grid, vote of 10')
    """
    return f"{adversary}, vote of {vote}" if vote else adversary


def columns_in(results: pd.DataFrame) -> list[str]:
    """The adversaries that occur, each with its vote, in the order of the paper's tables, votes last."""
    pairs = set(zip(results["adversary"], results["vote"], strict=True))
    known = [*ADVERSARIES[:-1], *sorted({name for name, _ in pairs} - set(ADVERSARIES)), ADVERSARIES[-1]]
    return [column_of(name, vote) for name, vote in sorted(pairs, key=lambda pair: (pair[1], known.index(pair[0])))]


def best_known(results: pd.DataFrame) -> pd.DataFrame:
    """Of several results for the same question, the one with the most pictures; one measured here before a shipped.
    The classifiers that ship come first, in the order of the manifest.

    Those of a run that is not complete count only where there is no other: its pictures are the first of the data set,
    perhaps all of a few classes.
    """
    question = ["classifier", "data", "adversary", "vote", "grid", "padding"]
    measured = results["source"] != SOURCES[2]
    ranked = results.assign(
        kind=measured, column=[column_of(*pair) for pair in zip(results["adversary"], results["vote"], strict=True)],
        rank=results["source"].map(SOURCES.index), pictures=results["n"].fillna(0),
    ).sort_values(["complete", "pictures", "rank"], ascending=[False, False, True], kind="stable")  # fmt: skip
    best = ranked.drop_duplicates([*question, "kind"]).sort_index()
    order = {card.name: number for number, card in enumerate(manifest())}
    best = best.sort_values("classifier", key=lambda names: names.map(order).fillna(len(order)), kind="stable")
    return best.drop(columns=["kind", "rank", "pictures"])


def series_names(results: pd.DataFrame, several_data: bool) -> list[str]:
    """How each row's classifier is told from the others: by data set, padding or grid only where these differ."""
    apart = [name for name in ("padding", "grid") if _differs(results, name)]
    names = []
    for row in results.to_dict("records"):
        parts = [row["classifier"], *([row["data"]] if several_data and not _named_by(row) else [])]
        parts += [row[name] for name in apart if row[name]]
        names.append(", ".join(parts))
    return names


def _named_by(row: dict[str, Any]) -> bool:
    return str(row["classifier"]).startswith(f"{row['data']}/")


def _differs(results: pd.DataFrame, column: str) -> bool:
    """Whether one classifier was measured with several values of it on one data set."""
    measured = results[results["source"] != SOURCES[2]]
    return bool((measured.groupby(["classifier", "data"])[column].nunique() > 1).any())


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{path} cannot be read ({error})") from error


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    """With all columns, each in its type."""
    count = len(rows)
    columns: dict[str, Iterable[Any]] = {}
    for name, kind in COLUMNS.items():
        values: Sequence[Any] | pd.Series = rows[name] if name in rows else [pd.NA] * count
        if kind == "str":
            columns[name] = pd.Series(values, dtype="object").fillna("").astype(str)
        elif kind == "float64":
            columns[name] = pd.to_numeric(pd.Series(values, dtype="object"), errors="coerce").astype("float64")
        else:
            columns[name] = pd.Series(values, dtype="object").astype(kind)
    return pd.DataFrame(columns).reset_index(drop=True)
