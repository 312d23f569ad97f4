"""Summaries of runs and the page Browse; the numbers are held against brute force."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from synthetic import Drawn, all_of_cifar10, answers, write_run

from benchmarks.app import ROOT, running_app
from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.errors import CorruptFile, InvalidInput, MissingFile, SpatialVizError, SpatialVizWarning
from spatial_viz.evaluation.locate_images import browsable, find_pictures, with_checksums, worst_pictures
from spatial_viz.evaluation.plan import EvaluationPlan
from spatial_viz.evaluation.run import evaluate
from spatial_viz.evaluation.summary import read_summary, summarise, write_summary
from spatial_viz.figures.failures import BINS, confusion_figure, failing_heatmap, share_counts, share_histogram
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid

FULL = EvaluationPlan(("natural", "grid"), full=True, shard=40)


# --- Summaries ------------------------------------------------------------------------------------------------------


def test_a_summary_says_what_brute_force_says(tmp_path: Path) -> None:
    summary = summarise(write_run(tmp_path, 60))
    table, landscapes = answers(60, FULL)
    predicted, loss = landscapes["predicted"].values.reshape(60, -1), landscapes["loss"].values.reshape(60, -1)
    wrong = predicted != table["label"].to_numpy()[:, None]
    shares, confusion = [], np.zeros((10, 10), int)
    for picture in range(60):
        shares.append(sum(wrong[picture]) / 775)
        candidates = np.flatnonzero(wrong[picture]) if wrong[picture].any() else np.arange(775)
        worst = max(candidates, key=lambda cell: loss[picture, cell])
        assert (summary.cell[picture], summary.predicted[picture]) == (worst, predicted[picture, worst])
        assert summary.loss[picture] == loss[picture, worst]
        confusion[table["label"][picture], predicted[picture, worst]] += 1
    assert summary.failing().tolist() == shares
    assert np.allclose(summary.failing_map(), wrong.mean(0).reshape(31, 5, 5))
    counts = summary.confusion().reindex(index=range(10), columns=range(10), fill_value=0)
    assert (counts.to_numpy() == confusion).all()
    astray = [confusion[i, j] for i in range(10) for j in range(10) if i != j and confusion[i, j]]
    assert summary.mistakes().tolist() == sorted(astray, reverse=True)
    rows = summary.table()
    grid = summary.grid.transforms().numpy()
    assert (rows[["rotation", "dx", "dy"]].to_numpy() == grid[summary.cell]).all()
    assert (rows["verdict"] == "robust").tolist() == (~wrong.any(1)).tolist()
    assert summary.name_of(3) == "cat"


def test_a_summary_is_read_back_as_it_was_and_is_small(tmp_path: Path) -> None:
    summary = with_checksums(summarise(write_run(tmp_path, 500, 500)), all_of_cifar10().pictures())
    path = tmp_path / "summary.npz"
    write_summary(summary, path)
    assert path.stat().st_size < 150_000
    back = read_summary(path)
    assert back.card == summary.card
    for name in ("index", "label", "natural", "robust", "cell", "loss", "predicted", "wrong", "pixels"):
        assert np.array_equal(getattr(back, name), getattr(summary, name)), name
    assert back.table().equals(summary.table())


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "without", "longer", "beyond", "schema", "objects"])
def test_a_damaged_summary_is_one_sentence(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "summary.npz"
    write_summary(summarise(write_run(tmp_path, 20)), path)
    with np.load(path) as stored:
        arrays = dict(stored)
    if damage in ("cut", "text", "empty"):
        path.write_bytes({"cut": path.read_bytes()[:400], "text": b"hello", "empty": b""}[damage])
    else:
        if damage == "without":
            del arrays["wrong"]
        elif damage == "longer":
            arrays["label"] = np.append(arrays["label"], arrays["label"][:1])
        elif damage == "beyond":
            arrays["cell"][0] = 775
        elif damage == "schema":
            arrays["schema"] = np.int64(99)
        else:
            arrays["label"] = arrays["label"].astype(object)
        np.savez(path, **arrays, allow_pickle=True)
    with pytest.raises(CorruptFile, match=r"summary\.npz"):
        read_summary(path)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFile):
        read_summary(tmp_path / "none.npz")
    with pytest.raises(MissingFile):
        summarise(tmp_path)
    with pytest.raises(InvalidInput, match="did not try the grid"):
        summarise(write_run(tmp_path, 20, adversaries=("natural",), full=False))
    with pytest.raises(InvalidInput, match="1 classifiers"):
        summarise(write_run(tmp_path, 20), 1)


def test_a_run_without_landscapes_gives_verdicts_and_where_pictures_broke(tmp_path: Path) -> None:
    lean, full = summarise(write_run(tmp_path, 60, full=False)), summarise(write_run(tmp_path, 60))
    assert np.array_equal(lean.robust, full.robust) and np.array_equal(lean.label, full.label)
    rows = lean.table()
    assert rows["share"].isna().all()
    identity = int(np.flatnonzero((lean.grid.transforms() == 0).all(1))[0])
    wrong = np.unpackbits(full.wrong, axis=1, count=775).astype(bool)
    for picture, row in enumerate(rows.to_dict("records")):
        if row["verdict"] == "robust":
            assert row["cell"] == -1 and np.isnan(row["loss"]) and np.isnan(row["rotation"])
        else:
            assert wrong[picture, row["cell"]] and row["predicted"] != row["label"]
            assert row["verdict"] != "wrong as it is" or row["cell"] == identity
    for ask in (lean.failing, lean.failing_map, lean.confusion):
        with pytest.raises(InvalidInput, match="--full"):
            ask()
    with pytest.raises(InvalidInput, match="--full"):
        write_summary(lean, tmp_path / "lean.npz")


def test_a_run_that_was_stopped_counts_as_far_as_it_got(tmp_path: Path) -> None:
    folder = write_run(tmp_path, 60, 20, shards=2)
    (folder / "00-00002.zarr").mkdir()  # a shard whose table was never written
    (folder / "00-00002.zarr").rmdir()
    assert len(summarise(folder)) == 40
    nothing = summarise(write_run(tmp_path / "other", 60, 20, shards=0))
    assert len(nothing) == 0 and nothing.table().empty


def test_what_there_is_to_browse(tmp_path: Path) -> None:
    store, shipped = tmp_path / "store", tmp_path / "shipped"
    shipped.mkdir()
    lean, full = write_run(store, 20, full=False), write_run(store, 20)
    write_run(store, 20, full=False, adversaries=("natural",))
    write_summary(summarise(full), shipped / "some.npz")
    (shipped / "bad.npz").write_bytes(b"no")
    entries, problems = browsable(store, shipped)
    assert [entry.path for entry in entries if not entry.full] == [lean]
    assert {entry.path for entry in entries if entry.full} == {full, shipped / "some.npz"}
    assert len({entry.title for entry in entries}) == 3 and len(problems) == 1
    assert all(len(entry.read()) == 20 for entry in entries)


# --- Pictures -------------------------------------------------------------------------------------------------------


def test_pictures_are_found_in_either_layout(tmp_path: Path) -> None:
    folders = all_of_cifar10()
    summary = summarise(write_run(tmp_path, 60))
    assert np.array_equal(find_pictures(summary, folders.pictures()).places, summary.index)
    other = folders.shuffled()
    with pytest.raises(SpatialVizError, match="not those of this run"):
        find_pictures(summary, other.pictures())
    places = find_pictures(with_checksums(summary, folders.pictures()), other.pictures()).places
    assert (other.data[places] == folders.data[summary.index]).all()
    with pytest.raises(SpatialVizError, match="not those of this run"):  # the same labels, other pictures
        find_pictures(with_checksums(summary, folders.pictures()), Drawn(np.array(folders.targets), 5).pictures())


def test_the_wall_shows_pictures_at_their_worst(tmp_path: Path) -> None:
    summary = summarise(write_run(tmp_path, 60))
    data = all_of_cifar10()
    shown = worst_pictures(summary, find_pictures(summary, data.pictures()), [3, 17])
    for row, image in zip((3, 17), shown, strict=True):
        original = torch.from_numpy(data.data[summary.index[row]]).permute(2, 0, 1)[None] / 255
        at = summary.grid.transforms()[summary.cell[row]][None]
        assert torch.allclose(image, warp(original, at)[0], atol=1e-6)


# --- Figures --------------------------------------------------------------------------------------------------------


def test_shares_are_counted_once_each() -> None:
    shares = np.array([0.0, 1 / 775, 0.05, 0.0500001, 0.5, 0.95, 0.951, 1.0, 0.0])
    counts, none = share_counts(shares)
    assert none == 2 and counts.sum() == 7
    assert counts[[0, 1, BINS - 2, BINS - 1]].tolist() == [2, 1, 1, 2] and counts[9] == 1


def test_figures_show_the_numbers(tmp_path: Path) -> None:
    summary = summarise(write_run(tmp_path, 60))
    bars = share_histogram(summary).data
    assert int(bars[0].y[0]) + int(sum(bars[1].y)) == 60
    cube = summary.failing_map()
    for x, y, mean in (
        ("rotation", "dx", cube.mean(1).T),
        ("dx", "dy", cube.mean(0)),
        ("rotation", "dy", cube.mean(2).T),
    ):
        figure = failing_heatmap(summary, x, y)
        heat, layout = figure.data[0], figure.layout
        assert np.allclose(heat.z, mean) and (heat.zmin, heat.zmax) == (0, 1)
        assert (layout.xaxis.autorange == "reversed") == (x == "rotation"), "left is left"
        assert layout.yaxis.autorange == "reversed", "down is down"
    matrix = confusion_figure(summary)
    assert np.allclose(np.array(matrix.data[0].z).sum(1), 1)
    assert "survives" in matrix.layout.meta["alt"]


# --- The page -------------------------------------------------------------------------------------------------------


def open_browse(monkeypatch: pytest.MonkeyPatch, store: Path, **parameters: str) -> AppTest:
    def script() -> None:
        from spatial_viz.app.pages import browse

        browse.page()

    monkeypatch.setenv("SPATIAL_VIZ_STORE", str(store))
    monkeypatch.setattr("spatial_viz.evaluation.locate_images.shipped_folder", lambda: store / "none")
    monkeypatch.setattr("spatial_viz.app.pages.results.shipped_folder", lambda: store / "none")
    page = AppTest.from_function(script, default_timeout=300)
    for name, value in parameters.items():
        page.query_params[name] = value
    return page.run()


def no_pictures(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)  # the data set would be in data/


def test_an_empty_store_says_which_command_fills_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = open_browse(monkeypatch, tmp_path)
    assert not page.exception and not page.error
    assert "evaluate" in page.code[0].value and "--full" in page.code[0].value


def test_a_full_run_has_all_charts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_run(tmp_path, 60)
    no_pictures(monkeypatch, tmp_path / "elsewhere")
    page = open_browse(monkeypatch, tmp_path)
    assert not page.exception and not page.error
    assert len(page.get("plotly_chart")) == 3
    assert "are not on this machine" in page.info[0].value and "load_dataset" in page.code[0].value
    assert "other weights than those that ship as cifar10/standard" in page.warning[0].value, "a made-up network"
    assert sorted(len(table.value) for table in page.dataframe) == [10, 24]


def test_a_lean_run_hides_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_run(tmp_path, 60, full=False)
    no_pictures(monkeypatch, tmp_path / "elsewhere")
    page = open_browse(monkeypatch, tmp_path)
    assert not page.exception and not page.error
    assert not page.get("plotly_chart")
    assert "kept one transform per picture" in page.info[0].value and "--full" in page.code[0].value
    assert len(page.dataframe[0].value) == 24


@pytest.mark.parametrize("parameters", [{"run": "none", "wall_order": "<b>", "wall_class": "x", "broken_slice": "y"}])
def test_nonsense_in_the_url(parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_run(tmp_path, 20)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "card.json").write_text("{")
    no_pictures(monkeypatch, tmp_path / "elsewhere")
    page = open_browse(monkeypatch, tmp_path, **parameters)
    assert not page.exception and not page.error
    assert "card.json" in page.warning[0].value


def test_ten_thousand_rows_cost_one_page_of_thumbnails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import json

    from spatial_viz.app.pages import browse

    write_run(tmp_path, 10_000, 10_000, full=False)
    data, drawn = all_of_cifar10(), []

    def rendered(summary: object, found: object, rows: tuple[int, ...]) -> torch.Tensor:
        drawn.append(len(rows))
        return worst_pictures(summary, found, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(browse, "listed", lambda name, split: data.pictures())
    monkeypatch.setattr(browse, "worst_pictures", rendered)
    page = open_browse(monkeypatch, tmp_path)
    assert not page.exception and not page.error
    (tiles,) = page.get("bidi_component")
    payload = json.loads(tiles.proto.json)
    assert drawn == [24] and len(payload["items"]) == 24
    assert "10,000 of 10,000" in page.caption[0].value
    page.selectbox(key="wall_verdict").set_value("robust").run()
    assert not page.exception
    assert all(each["label"].endswith("✓") for each in json.loads(page.get("bidi_component")[0].proto.json)["items"])


def test_what_was_left_out_of_a_folder_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = Drawn(np.arange(10))
    for place, name in enumerate(CLASS_NAMES["cifar10"]):
        (tmp_path / "own" / "Testing" / name).mkdir(parents=True)
        data[place][0].save(tmp_path / "own" / "Testing" / name / "0.png")  # type: ignore[attr-defined]
    (tmp_path / "own" / "Training").mkdir()
    (tmp_path / "own" / "Testing" / "cat" / "1.jfif").touch()
    plan = EvaluationPlan(("natural", "grid"), (3, 1, 1))
    with pytest.warns(SpatialVizWarning):
        evaluate("cifar10/standard", str(tmp_path / "own"), plan, store=tmp_path / "store")
    page = open_browse(monkeypatch, tmp_path / "store")
    assert not page.exception and not page.error
    captions = [caption.value for caption in page.caption]
    for part in ("is Testing", r"1 file by ending \(1 .jfif\)"):
        assert sum(part in text for text in captions) == 1, part
    assert len(page.get("bidi_component")) == 1


def test_a_click_goes_to_explore_with_picture_and_classifier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from spatial_viz.app.pages import browse

    state: dict[str, object] = {"wall": {"clicked": "17"}}
    monkeypatch.setattr(browse.st, "session_state", state)
    summary = summarise(write_run(tmp_path, 60, padding="edge"))
    browse._open(summary, find_pictures(summary, all_of_cifar10().pictures()), "wall")
    place = summary.index[17]
    rotation, dx, dy = summary.grid.transforms()[summary.cell[17]].tolist()
    told = state["address"].parameters()  # type: ignore[attr-defined]
    assert (told["picture"], told["pose"]) == (f"cifar10/test/{place}", f"{rotation:g},{dx:g},{dy:g}")
    assert (state["opening"], state["classifier"], state["padding"]) == (True, "cifar10/standard", "edge")
    assert (state["rotation"], state["shift"], state["granularity"]) == (30, 100, "31,5,5")


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (TransformGrid(40, 3.6, 3.6, (11, 3, 3)), {"rotation": 40, "shift": 120, "granularity": "11,3,3"}),
        (TransformGrid(30.5, 3, 3, (31, 5, 5)), {}),
        (TransformGrid(30, 3.1, 3.1, (31, 5, 5)), {}),
        (TransformGrid(30, 3, 1.5, (31, 5, 5)), {}),
        (TransformGrid(30, 3, 3, (31, 5, 7)), {}),
    ],
)
def test_explore_opens_with_the_limits_of_the_run(grid: TransformGrid, said: dict[str, object]) -> None:
    from spatial_viz.app.sidebar import limit_settings

    assert limit_settings(grid, (32, 32)) == said


def test_a_link_opens_a_picture_of_the_data_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from spatial_viz.app import dataset_image

    data = all_of_cifar10()
    pictures = dataclasses.replace(data.pictures(), classes=CLASS_NAMES["cifar10"])
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(dataset_image, "listed", lambda name, split: asked.append((name, split)) or pictures)
    monkeypatch.setenv("SPATIAL_VIZ_STORE", str(tmp_path))

    def script() -> None:
        import streamlit as st

        from spatial_viz.app import dataset_image, sidebar

        st.session_state["shown"] = dataset_image.opened(sidebar.chosen_view())

    for name, title in (("cifar10/test/3000", "cat (cifar10/test/3000)"), ("cifar10/test/99999", None),
                        ("etc/test/1", None), ("../../etc/test/1", None)):  # fmt: skip
        page = AppTest.from_function(script, default_timeout=300)
        page.query_params["picture"] = name
        page.run()
        assert not page.exception and not page.error
        view = page.session_state["shown"]
        said = page.session_state["address"].faults.get("picture", "")
        assert (f"The picture {name} cannot be shown" in said or "none of the samples" in said) == (title is None)
        if title is None:
            assert view.title.endswith("(cifar10/6)")
        else:
            assert view.title == title and view.label == 3
            assert torch.allclose(view.image, torch.from_numpy(data.data[3000]).permute(2, 0, 1) / 255)
    assert set(asked) == {("cifar10", "test")}


@pytest.mark.browser
def test_a_click_in_the_browser(browser: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not (ROOT / "data" / "cifar10" / "test").is_dir():
        pytest.skip("needs the pictures of CIFAR-10 in data/cifar10")
    write_run(tmp_path / "store", 60)
    monkeypatch.setenv("SPATIAL_VIZ_STORE", str(tmp_path / "store"))
    with running_app(tmp_path) as url:
        page = browser.new_page()
        page.goto(f"{url}/browse")
        tile = page.locator(".sv-wall button").nth(3)
        tile.wait_for(timeout=60_000)
        assert page.locator(".sv-wall button").count() == 24
        true_class = str(tile.get_attribute("title")).split(" ")[0]
        tile.press("Enter")
        page.locator(".sv-explorer").wait_for(timeout=60_000)
        page.get_by_text(f"Shown: {true_class} (cifar10/test/").wait_for(timeout=60_000)
        page.wait_for_url("**/?picture=cifar10%2Ftest%2F*pose=*", timeout=60_000)
        assert "classifier=" not in page.url, "the usual one"
        page.go_back()
        tile.wait_for(timeout=60_000)
        assert page.evaluate("window.location.pathname") == "/browse", "one step back"
        page.close()
