"""All results that are known: their table, their chart, the page, and the document made from them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest
from synthetic import write_run
from toy_training import toy_folder

from scripts.build_results import TARGET, document, ship
from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.errors import CorruptFile
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.report import report_on
from spatial_viz.evaluation.results import (
    COLUMNS,
    OTHER_WEIGHTS,
    SOURCES,
    all_results,
    best_known,
    columns_in,
    published,
    rows_of,
    series_names,
    shipped_folder,
)
from spatial_viz.evaluation.run import evaluate
from spatial_viz.evaluation.summary import read_summary
from spatial_viz.figures.accuracy import accuracy_figure
from spatial_viz.lecture.headline_accuracies import measured
from spatial_viz.models.registry import manifest

ADVERSARIES = ("natural", "grid")


def test_the_published_figures_are_those_of_the_reference(shared: Path) -> None:
    with open(shared / "reference" / "published.csv", newline="") as handle:
        expected = set()
        for row in csv.DictReader(handle):
            name = f"{row['classifier']}, {row['training']}"
            vote = 0 if row["vote"] == "no" else int(re.match("[0-9]+", row["vote"])[0])  # type: ignore[index]
            data = row["dataset"].lower().replace("-", "")
            expected.add((name, data, row["adversary"], vote, float(row["adversarial_accuracy"]), row["source"]))
            if row["natural_accuracy"]:
                expected.add((name, data, "natural", 0, float(row["natural_accuracy"]), row["source"]))
    ours = published()
    columns = ["classifier", "data", "adversary", "vote", "accuracy", "citation"]
    found = {(*row[:4], round(100 * row[4], 6), row[5]) for row in ours[columns].itertuples(index=False)}
    assert found == expected and len(ours) == len(expected)
    assert ours["n"].isna().all() and ours["low"].isna().all() and (ours["source"] == "published").all()


def test_measured_shipped_and_published_are_one_table(tmp_path: Path) -> None:
    store, shipped = tmp_path / "store", tmp_path / "shipped"
    shipped.mkdir()
    folder = write_run(store, 60)
    report = report_on(folder).to_json()
    (shipped / "reference.json").write_text(json.dumps(report))
    (shipped / "bad.json").write_text("{")
    (shipped / "other.json").write_text('{"schema": 1}')
    (store / "broken").mkdir()
    (store / "broken" / "card.json").write_text("[]")
    table, problems = all_results(store, shipped, [])
    assert list(table.columns) == list(COLUMNS)
    assert table["source"].value_counts().to_dict() == {
        "measured here": 2, "shipped": 2, "published": len(published())
    }  # fmt: skip
    assert len(problems) == 3 and any("bad.json" in problem for problem in problems)
    for row, entry in zip(table.to_dict("records"), report["results"], strict=False):
        for key in ("classifier", "adversary", "vote", "n", "accuracy", "low", "high", "passes", "passes_full"):
            assert row[key] == entry[key]
        assert row["grid"].startswith("31,5,5") and row["padding"] == "black" and row["complete"]
    assert not all_results(tmp_path / "none", tmp_path / "none")[1]
    with pytest.raises(CorruptFile):
        rows_of({"schema": 2}, "shipped", "x.json")


def test_what_other_weights_of_the_same_name_reached_is_told_apart(tmp_path: Path) -> None:
    """Whoever trains a classifier anew and publishes it has runs of the one before."""
    folder = write_run(tmp_path, 60)  # of a made-up network
    table, _ = all_results(tmp_path, tmp_path)
    assert set(table.loc[table["citation"] == folder.name, "classifier"]) == {"cifar10/standard, other weights"}
    assert not set(measured(table)["citation"]) & {folder.name}, "no milestone"
    data, store = toy_folder(tmp_path / "data", CLASS_NAMES["cifar10"], train=0, test=1), tmp_path / "store"
    for vote in (0, 2):  # the shipped one by itself, and by its vote
        evaluate("cifar10/standard", str(data), EvaluationPlan(("natural",), vote=vote), store=store)
    table, _ = all_results(store, tmp_path / "none", [card for card in manifest() if card.name == "cifar10/standard"])
    here = table[table["source"] == SOURCES[0]]
    assert list(here["classifier"]) == ["cifar10/standard"] * 2 and sorted(here["vote"]) == [0, 2]


def test_what_ships_is_about_the_classifiers_that_ship(tmp_path: Path) -> None:
    table, problems = all_results(tmp_path)
    assert not problems and not table["classifier"].str.endswith(OTHER_WEIGHTS).any()
    names = [card.name for card in manifest()]
    assert list(dict.fromkeys(best_known(table)["classifier"]))[: len(names)] == names


def test_the_page_is_of_today(tmp_path: Path) -> None:
    assert TARGET.read_text(encoding="utf-8") == document(tmp_path, shipped_folder())


def test_the_answer_with_most_pictures_is_drawn(tmp_path: Path) -> None:
    write_run(tmp_path, 20)
    write_run(tmp_path, 60)
    write_run(tmp_path, 40, padding="edge")
    table, _ = all_results(tmp_path, tmp_path, [])
    known = best_known(table)
    measured = known[known["source"] != "published"]
    assert sorted(measured["n"]) == [40, 40, 60, 60]
    names = set(series_names(measured, False))
    assert names == {"cifar10/standard, black", "cifar10/standard, edge"}
    assert columns_in(table)[0] == "natural" and columns_in(table)[-1] == "grid, vote of 10"
    largest = table["n"] == 60
    begun = best_known(table.assign(complete=~largest))
    assert sorted(begun.loc[begun["source"] != "published", "n"]) == [20, 20, 40, 40]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_chart_tells_published_bars_without_colour(theme: str, tmp_path: Path) -> None:
    write_run(tmp_path, 60)
    table, _ = all_results(tmp_path, tmp_path, [])
    cifar = table[table["data"] == "cifar10"]
    figure = accuracy_figure(cifar, theme)  # type: ignore[arg-type]
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [trace.name for trace in bars] == [
        "cifar10/standard (measured)",
        "paper's ResNet, standard (published)",
        "paper's ResNet, worst-of-10 (published)",
    ]
    assert [trace.marker.pattern.shape for trace in bars] == ["", "/", "/"]
    assert bars[0].error_x.array is not None and bars[1].error_x.array is None
    (row,) = cifar[(cifar["source"] == "measured here") & (cifar["adversary"] == "grid")].to_dict("records")
    assert bars[0].x[1] == row["accuracy"] and bars[0].error_x.array[1] == pytest.approx(row["high"] - row["accuracy"])
    heights = [y for trace in bars for y in trace.y]
    assert len(set(heights)) == len(heights) == len(cifar)
    assert "71.0%" in figure.layout.meta["alt"]


def open_results(monkeypatch: pytest.MonkeyPatch, store: Path, **parameters: str) -> AppTest:
    def script() -> None:
        from spatial_viz.app.pages import results

        results.page()

    monkeypatch.setenv("SPATIAL_VIZ_STORE", str(store))
    monkeypatch.setattr("spatial_viz.evaluation.results.shipped_folder", lambda: store / "none")
    monkeypatch.setattr("spatial_viz.app.pages.results.shipped_folder", lambda: store / "none")
    page = AppTest.from_function(script, default_timeout=300)
    for name, value in parameters.items():
        page.query_params[name] = value
    return page.run()


def test_without_a_run_what_is_known_and_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = open_results(monkeypatch, tmp_path)
    assert not page.exception and not page.error
    assert "evaluate" in page.code[0].value
    assert len(page.get("plotly_chart")) == 1
    sources = set(page.dataframe[0].value["source"])
    assert sources == {"published: the talk's slides (ICML 2019)", "shipped: its card"}


def test_filters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_run(tmp_path, 20)
    write_run(tmp_path, 20, padding="reflect")
    monkeypatch.setattr("spatial_viz.evaluation.results.manifest", lambda: [])
    page = open_results(monkeypatch, tmp_path, results_grid="<b>", results_pictures="none")
    assert not page.exception and not page.error and not page.code
    assert len(page.dataframe[0].value) == 4 + 3
    page.selectbox(key="results_padding").set_value("reflect").run()
    assert sorted(page.dataframe[0].value["padding"]) == ["", "", "", "reflect", "reflect"]
    page.toggle(key="results_published").set_value(False).run()
    assert len(page.dataframe[0].value) == 2
    page.selectbox(key="results_pictures").set_value("imagenet").run()
    assert not page.exception and "No result" in page.info[0].value
    page.toggle(key="results_published").set_value(True).run()
    page.multiselect(key="results_classifiers").set_value(["ResNet-18, no crop"]).run()
    assert len(page.dataframe[0].value) == 4 and not page.exception


def test_the_document_is_made_of_the_runs_and_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = document(tmp_path / "none", tmp_path / "none")
    (row,) = [line for line in empty.splitlines() if line.startswith("| cifar10/standard |")]
    (card,) = [card for card in manifest() if card.name == "cifar10/standard"]
    assert (
        f"| {100 * card.accuracies['grid'].accuracy:.2f} (" in row and row.endswith("| shipped |") and "| 93 |" in empty
    )
    store, shipped = tmp_path / "store", tmp_path / "shipped"
    shipped.mkdir()
    folder = write_run(store, 60)
    monkeypatch.setattr("spatial_viz.evaluation.results.manifest", lambda: [])
    text = document(store, shipped)
    (row,) = [line for line in text.splitlines() if line.startswith("| cifar10/standard |")]
    for entry in report_on(folder).results:
        assert f"{100 * entry.accuracy:.2f} ({100 * entry.low:.1f} to {100 * entry.high:.1f}; 60)" in row
    assert row.endswith("| measured here |")


def test_shipping_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from synthetic import all_of_cifar10

    monkeypatch.setattr("scripts.build_results.select_pictures", lambda *_: all_of_cifar10().pictures())
    folder = write_run(tmp_path / "store", 20)
    ship(folder, tmp_path)
    (summary,) = tmp_path.glob("*.npz")
    assert read_summary(summary).pixels is not None
    table, problems = all_results(tmp_path / "none", tmp_path, [])
    assert not problems and (table["source"] == "shipped").sum() == 2
    assert isinstance(table, pd.DataFrame)
