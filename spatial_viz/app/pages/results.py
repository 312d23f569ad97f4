"""Results: every accuracy that is known, measured here, shipped or published, as one chart and one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from spatial_viz.app import url_state
from spatial_viz.app.components import download_bar
from spatial_viz.app.widgets import BARE, heading, plain, theme_of_page
from spatial_viz.errors import SpatialVizError
from spatial_viz.evaluation.results import SOURCES, all_results, column_of, shipped_folder, store_folder
from spatial_viz.evaluation.store import runs_in
from spatial_viz.explorer.payload import GLOSSARY
from spatial_viz.figures.accuracy import accuracy_figure
from spatial_viz.models.registry import pretrained_folder

ANY = "all"
MEASURE = (
    "python -m spatial_viz evaluate --classifier cifar10/standard,cifar10/worst-of-10-30 --data cifar10 --limit 1000 "
    "--adversary natural,random,worst-of-10,grid"
)


def page() -> None:
    """The page, from top to bottom."""
    if "background" in st.session_state:
        st.session_state["background"].pause()
    st.html(heading("How often are classifiers right when pictures are turned and shifted?", 1))
    try:
        results, problems = _results(store_folder(), stamp())
    except SpatialVizError as error:
        st.error(plain(error), icon=":material/error:")
        return
    for problem in problems:
        st.warning(plain(problem), icon=":material/warning:")
    chosen = _filter(results)
    if chosen.empty:
        st.info("No result has all of these properties; choose fewer of them.", icon=":material/filter_alt_off:")
        _how_to_measure(results)
        return
    figure = accuracy_figure(chosen, theme_of_page())
    st.plotly_chart(figure, theme=None, config=BARE, key="accuracies", alt=figure.layout.meta["alt"])
    st.caption(_legend(chosen))
    download_bar("accuracies", {"accuracies": "the bars"}, "", key="take-results")
    _table(chosen)
    _how_to_measure(results)
    with st.expander("What do these words mean?"):
        for term, text in {**MEANINGS, "padding": GLOSSARY["padding"]}.items():
            st.markdown(f"**{term.capitalize()}.** {text}")


MEANINGS = {
    "natural": "The picture as it is.",
    "random": "One transform, drawn at random within the spatial limits.",
    "worst-of-10": "Ten random transforms; the picture counts only if it is classified correctly at all of them.",
    "first-order": "The gradient looks for the worst transform, from one random start.",
    "grid": "Every transform of the grid; the picture counts only if it is classified correctly at all of them.",
    "vote of 10": "The class that most of ten random transforms of the picture are taken for is the answer.",
    "other weights": "The run asked an earlier classifier of that name than the one that is offered now.",
    "interval": "The thin line on a bar is the 95 % Wilson interval: how far chance in the choice of pictures reaches.",
}


def _how_to_measure(results: pd.DataFrame) -> None:
    if not (results["source"] == SOURCES[0]).any():
        st.caption("Nothing is measured on this machine yet. This command measures:")
        st.code(MEASURE, language="bash", wrap_lines=True)


def stamp() -> tuple[tuple[str, float], ...]:
    """Changes whenever a run, a shipped file or a card does."""
    cards = pretrained_folder().glob("*.json")
    places: list[Path] = [*runs_in(store_folder()), *sorted(shipped_folder().glob("*.*")), *cards]
    return tuple((str(place), place.stat().st_mtime) for place in places)


@st.cache_data(show_spinner=False, max_entries=4)
def _results(store: Path, stamps: tuple[tuple[str, float], ...]) -> tuple[pd.DataFrame, list[str]]:
    return all_results(store)


def _filter(results: pd.DataFrame) -> pd.DataFrame:
    """What the visitor wants to see; published figures, which do not say, have every padding and grid."""
    measured = results["source"] != SOURCES[2]
    pictures = list(dict.fromkeys(results["data"]))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        data = url_state.selectbox("Pictures", [*pictures, ANY], key="results_pictures", width=180)
        padding = url_state.selectbox("Padding", [ANY, *sorted(set(results["padding"][measured]))],
                                        key="results_padding", width=140)  # fmt: skip
        grid = url_state.selectbox("Spatial limits and grid", [ANY, *sorted(set(results["grid"][measured]))],
                                     key="results_grid", width=320)  # fmt: skip
        beside = url_state.toggle("Published figures", True, key="results_published")
    chosen = results[beside | measured]
    if data != ANY:
        chosen = chosen[chosen["data"] == data]
    for column, value in (("padding", padding), ("grid", grid)):
        if value != ANY:
            chosen = chosen[(chosen[column] == value) | (chosen["source"] == SOURCES[2])]
    names = url_state.multiselect("Classifiers", dict.fromkeys(chosen["classifier"]), key="results_classifiers",
                                placeholder="All of them")  # fmt: skip
    return chosen[chosen["classifier"].isin(names)] if names else chosen


def _legend(results: pd.DataFrame) -> str:
    parts = []
    if (results["source"] != SOURCES[2]).any():
        parts.append("Solid bars are measured, with their 95 % intervals.")
    if (results["source"] == SOURCES[2]).any():
        citations = dict.fromkeys(results["citation"][results["source"] == SOURCES[2]])
        parts.append(f"Hatched bars are published figures, from {' and '.join(citations)}.")
    question = ["classifier", "data", "adversary", "vote", "grid", "padding"]
    if results[results["source"] != SOURCES[2]].duplicated(question).any():
        parts.append("Where a question was measured more than once, the bar is the answer with most pictures.")
    if not results["complete"].all():
        parts.append("Some runs are not complete; the same command with --resume goes on.")
    return plain(" ".join(parts))


def _table(results: pd.DataFrame) -> None:
    intervals = [
        "" if pd.isna(low) else f"{low:.1%} to {high:.1%}"
        for low, high in zip(results["low"], results["high"], strict=True)
    ]
    passes = [
        "" if pd.isna(made) else f"{made:,} of {full:,}"
        for made, full in zip(results["passes"], results["passes_full"], strict=True)
    ]
    shown = pd.DataFrame(
        {
            "classifier": results["classifier"],
            "data set": results["data"],
            "adversary": [column_of(*pair) for pair in zip(results["adversary"], results["vote"], strict=True)],
            "accuracy": 100 * results["accuracy"],
            "95 % interval": intervals,
            "pictures": results["n"],
            "source": [f"{kind}: {where}" for kind, where in zip(results["source"], results["citation"], strict=True)],
            "forward passes": passes,
            "grid": results["grid"],
            "padding": results["padding"],
        }
    )
    formats = {"accuracy": "%.1f%%", "pictures": "localized"}
    columns = {name: st.column_config.NumberColumn(format=format) for name, format in formats.items()}
    st.dataframe(shown, hide_index=True, key="results-table", column_config=columns,
                 alt="All results shown in the chart, one a row.")  # fmt: skip
    st.download_button("Results (CSV)", results.to_csv(index=False, lineterminator="\n"), "results.csv", "text/csv",
                       on_click="ignore", icon=":material/download:")  # fmt: skip
