"""Browse: what lies behind one accuracy: how much fails, where, and on which pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from spatial_viz.app import url_state
from spatial_viz.app.components import download_bar, wall
from spatial_viz.app.dataset_image import link_name, listed
from spatial_viz.app.pages.results import stamp
from spatial_viz.app.sidebar import limit_settings
from spatial_viz.app.widgets import BARE, guarded, heading, plain, theme_of_page
from spatial_viz.data.images import data_uri, tensor_to_picture
from spatial_viz.errors import MissingFile, SpatialVizError
from spatial_viz.evaluation.intervals import wilson
from spatial_viz.evaluation.locate_images import (
    BrowsableRun,
    LocatedPictures,
    browsable,
    fetch_command,
    find_pictures,
    worst_pictures,
)
from spatial_viz.evaluation.results import asks_other_weights, store_folder
from spatial_viz.evaluation.summary import VERDICTS, Summary
from spatial_viz.figures.failures import confusion_figure, failing_heatmap, share_histogram
from spatial_viz.figures.text import decimal, percent
from spatial_viz.models.registry import catalogue, manifest
from spatial_viz.transforms.transform import Transform

PER_PAGE = 24
MISTAKES = 10  # listed in words
ANY = "all"
ORDERS = ("most fragile first", "sturdiest first")
FIGURES = {"shares": "the shares", "broken": "the map", "confusion": "what they are taken for"}
SORTS = {"share of the grid that fails": ["share", "loss"], "highest loss": ["loss", "share"]}
SLICES = {"rotation × dx": ("rotation", "dx"), "rotation × dy": ("rotation", "dy"), "dx × dy": ("dx", "dy")}
FULL = "python -m spatial_viz evaluate --classifier {} --data {} --limit 500 --adversary natural,grid --full"
Key = tuple[str, int, float]  # path, number of the classifier, when it changed last


def page() -> None:
    """The page, from top to bottom; it stops early where there is nothing to show."""
    if "background" in st.session_state:
        st.session_state["background"].pause()
    st.html(heading("Which pictures fail, and where?", 1))
    entries, problems = _entries(store_folder(), stamp())
    for problem in problems:
        st.warning(plain(problem), icon=":material/warning:")
    if not entries:
        st.info("No run has tried the grid on this machine yet. This command makes one:", icon=":material/straighten:")
        st.code(FULL.format("cifar10/standard,cifar10/worst-of-10-30", "cifar10"), language="bash", wrap_lines=True)
        return
    try:
        entry = _choose(entries)
        key = (str(entry.path), entry.number, entry.path.stat().st_mtime)
        summary = _summary(key, entry)
        if not len(summary):
            st.info("This run has not finished a shard yet; look again later.", icon=":material/hourglass_top:")
            return
        if asks_other_weights(summary.classifier, summary.card.classifiers[0].hash, summary.plan, manifest()):
            st.warning(
                f"This run asked other weights than those that ship as {summary.classifier} now. Explore opens with "
                "the ones that ship, which may answer otherwise.",
                icon=":material/history:",
            )
        _numbers(summary)
        if summary.wrong is None:
            st.info(
                "This run kept one transform per picture, so shares of the grid, the map of what breaks pictures and "
                "the confusion at the worst case are not known. This command keeps every verdict:",
                icon=":material/grid_off:",
            )
            st.code(FULL.format(summary.classifier, entry.data), language="bash", wrap_lines=True)
        else:
            _where(summary)
        st.html(heading("The pictures at their worst" if entry.full else "The pictures where they broke"))
        pictures(summary, key)
        if summary.wrong is not None:
            _confusion(summary)
            download_bar(f"{summary.classifier} on {entry.data}", FIGURES, "", key="take-browse")
    except SpatialVizError as error:
        st.error(plain(error), icon=":material/error:")


@st.cache_data(show_spinner=False, max_entries=4)
def _entries(store: Path, stamps: tuple[tuple[str, float], ...]) -> tuple[list[BrowsableRun], list[str]]:
    return browsable(store)


@st.cache_resource(show_spinner="Reading the run…", max_entries=4)
def _summary(key: Key, _entry: BrowsableRun) -> Summary:
    return _entry.read()


def _choose(entries: list[BrowsableRun]) -> BrowsableRun:
    """The run to look at, at first one of the classifier that the other pages show."""
    by_title = {entry.title: entry for entry in entries}
    classifier = url_state.parameters().get("classifier", catalogue()[0].name)
    usual = next((entry for entry in entries if entry.classifier == classifier), entries[0])
    return by_title[url_state.selectbox("Run", by_title, usual=usual.title, key="run")]


def _numbers(summary: Summary) -> None:
    robust, count = int(summary.robust.sum()), len(summary)
    low, high = wilson(robust, count)
    natural = float((summary.natural == summary.label).mean())
    st.markdown(
        f"Of {count:,} pictures, **{natural:.1%}** are right as they are and **{robust / count:.1%}** "
        f"({low:.1%} to {high:.1%}) at every one of {len(summary.grid):,} transforms."
    )


def _where(summary: Summary) -> None:
    """How much of the grid fails, and which transforms break most pictures."""
    theme = theme_of_page()
    left, right = st.columns(2)
    figure = share_histogram(summary, theme)
    left.plotly_chart(figure, theme=None, config=BARE, key="shares", alt=figure.layout.meta["alt"])
    with right:
        place = st.container()
        name = url_state.segments("Slice", SLICES, key="broken_slice", label_visibility="collapsed")
        figure = failing_heatmap(summary, *SLICES[name], theme)
        place.plotly_chart(figure, theme=None, config=BARE, key="broken", alt=figure.layout.meta["alt"])


def _confusion(summary: Summary) -> None:
    """From true class to worst-case class, and the most frequent mistakes in words."""
    st.html(heading("What are they taken for?"))
    left, right = st.columns([3, 2])
    figure = confusion_figure(summary, theme_of_page())
    left.plotly_chart(figure, theme=None, config=BARE, key="confusion", alt=figure.layout.meta["alt"])
    most = summary.mistakes().head(MISTAKES)
    words = [f"{summary.name_of(true)} → {summary.name_of(seen)}" for true, seen in most.index]
    right.caption("The most frequent mistakes: true class → class at the worst transform.")
    right.dataframe(pd.DataFrame({"mistake": words, "pictures": most.to_numpy()}), hide_index=True, key="mistakes",
                    alt="The most frequent mistakes and how many pictures each is made on.")  # fmt: skip


# --- The wall -------------------------------------------------------------------------------------------------------


@st.fragment
@guarded
def pictures(summary: Summary, key: Key) -> None:
    """The pictures of a run, filtered and sorted, a page at a time."""
    if st.session_state.pop("opening", False):
        url_state.switch_to(st.session_state["explore"])
    table = _table(key, summary)
    chosen, words = _sorted(table, summary)
    if chosen.empty:
        st.info("No picture has all of these properties; choose fewer of them.", icon=":material/filter_alt_off:")
        return
    pages = -(-len(chosen) // PER_PAGE)
    number = st.pagination(pages, key=f"wall-page-{words}") if pages > 1 else 1
    rows = chosen.index[(number - 1) * PER_PAGE : number * PER_PAGE].tolist()
    st.caption(f"{len(chosen):,} of {len(table):,} pictures. A click opens one in Explore, with the same classifier.")
    try:
        located = _found(key, summary)
    except SpatialVizError as error:
        data = summary.card.data
        command = fetch_command(data.name, data.split) if isinstance(error, MissingFile) else None
        where = f"The pictures of {data.name} are not on this machine. This command fetches them:"
        st.info(plain(where if command else error), icon=":material/image_not_supported:")
        if command:
            st.code(command, language="bash", wrap_lines=True)
        st.dataframe(_words_of(summary, chosen.loc[rows]), hide_index=True, key="wall-table")
        return
    if located.pictures.remarks:
        st.caption(plain(f"The folder: {'; '.join(located.pictures.remarks)}."))
    wall_key = f"wall-{words}-{number}"
    wall(_tiles(key, tuple(rows), summary, located), wall_key, lambda: _open(summary, located, wall_key))


@st.cache_resource(show_spinner=False, max_entries=4)
def _table(key: Key, _summary: Summary) -> pd.DataFrame:
    return _summary.table()


@st.cache_resource(show_spinner="Looking for the pictures…", max_entries=4)
def _found(key: Key, _summary: Summary) -> LocatedPictures:
    data = _summary.card.data
    return find_pictures(_summary, listed(data.name, data.split))


def _sorted(table: pd.DataFrame, summary: Summary) -> tuple[pd.DataFrame, str]:
    """The rows to show, in their order, and words for the choice."""
    names = {summary.name_of(label): label for label in sorted(set(table["label"]))}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = url_state.segments("Order", ORDERS, key="wall_order")
        by = next(iter(SORTS))
        if summary.wrong is not None:
            by = url_state.segments("Sorted by", SORTS, key="wall_by")
        class_name = url_state.selectbox("True class", [ANY, *names], key="wall_class", width=160)
        verdict = url_state.selectbox("Verdict", [ANY, *VERDICTS], key="wall_verdict", width=160)
    chosen = table
    if class_name != ANY:
        chosen = chosen[chosen["label"] == names[class_name]]
    if verdict != ANY:
        chosen = chosen[chosen["verdict"] == verdict]
    fragile = order != ORDERS[1]
    columns = SORTS[by]
    if summary.wrong is None:  # broken before robust, then by the loss where it broke
        chosen = chosen.assign(share=(chosen["verdict"] != VERDICTS[0]).astype(float))
        columns = ["share", "loss"]
    chosen = chosen.sort_values(
        columns, ascending=not fragile, kind="stable", na_position="last" if fragile else "first"
    )
    return chosen, f"{order}-{by}-{class_name}-{verdict}"


@st.cache_data(show_spinner=False, max_entries=64)
def _tiles(key: Key, rows: tuple[int, ...], _summary: Summary, _found: LocatedPictures) -> list[dict[str, str]]:
    """The pictures of one page of the wall, with their words."""
    images = worst_pictures(_summary, _found, rows)
    table = _table(key, _summary).loc[list(rows)]
    return [
        {"id": str(row), "src": data_uri(tensor_to_picture(image)), **_said(_summary, facts)}
        for row, image, facts in zip(rows, images, table.to_dict("records"), strict=True)
    ]


def _said(summary: Summary, facts: dict[Any, Any]) -> dict[str, str]:
    """Label and caption of a picture."""
    true, seen = summary.name_of(facts["label"]), summary.name_of(facts["predicted"])
    verdict = f"{true} → {seen}" if facts["predicted"] != facts["label"] else f"{true} ✓"
    moved = "" if pd.isna(facts["rotation"]) else Transform(*(facts[axis] for axis in Transform._fields)).describe()
    more = [] if pd.isna(facts["share"]) else [f"fails on {percent(facts['share'])}"]
    more += [] if pd.isna(facts["loss"]) else [f"loss {decimal(facts['loss'])}"]
    return {"caption": "\n".join([verdict, *more]), "label": "; ".join(filter(None, [verdict, moved, *more]))}


def _words_of(summary: Summary, table: pd.DataFrame) -> pd.DataFrame:
    """The rows as a visitor reads them, for where there are no pictures."""
    return pd.DataFrame(
        {
            "number": table["index"],
            "true class": table["label"].map(summary.name_of),
            "taken for": table["predicted"].map(summary.name_of),
            "verdict": table["verdict"],
            "share of the grid": [percent(share) if pd.notna(share) else "" for share in table["share"]],
            "loss": table["loss"].round(2),
            "transform": [
                "" if pd.isna(rotation) else Transform(rotation, dx, dy).describe()
                for rotation, dx, dy in zip(table["rotation"], table["dx"], table["dy"], strict=True)
            ],
        }
    )


def _open(summary: Summary, located: LocatedPictures, wall_key: str) -> None:
    """Hand the clicked picture over to Explore; the switch itself follows in the run of the page."""
    state = st.session_state
    row = int(state[wall_key]["clicked"])
    data = summary.card.data
    name = link_name(data.name, data.split, int(located.places[row]))
    url_state.put("picture", name)
    settings = {"source": "Samples", "padding": summary.plan.padding}
    if summary.classifier in {entry.name for entry in catalogue()}:
        settings["classifier"] = summary.classifier
    facts = summary.table().loc[row]
    if pd.notna(facts["rotation"]):
        url_state.put("pose", Transform(*(facts[axis] for axis in Transform._fields)).to_query())
    settings |= limit_settings(summary.grid, summary.card.classifiers[0].picture_size)
    for control, value in settings.items():
        url_state.assign(control, value)
    state["opening"] = True
