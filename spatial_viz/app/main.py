"""The frame of the app: its pages, and what all of them share."""

from __future__ import annotations

import gc

import streamlit as st
from PIL import Image


def run() -> None:
    # An icon of our own: Streamlit fetches named icons from the network.
    icon = Image.new("RGB", (32, 32), "#b5361c").rotate(15, expand=True, fillcolor="#ffffff")
    st.set_page_config(page_title="spatial_viz", page_icon=icon, layout="wide")

    # The page should have its title before torch is imported.
    from spatial_viz.app import dataset_image, sidebar, url_state
    from spatial_viz.app.lecture import page as lecture
    from spatial_viz.app.pages import attack, browse, compare, explore, results
    from spatial_viz.app.widgets import plain

    st.session_state["explore"] = st.Page(explore.page, title="Explore", url_path="explore", default=True)
    lecture_page = st.Page(lecture.page, title="Lecture", url_path="lecture")
    pages = [
        st.session_state["explore"],
        lecture_page,
        st.Page(attack.page, title="Attack", url_path="attack"),
        st.Page(compare.page, title="Compare", url_path="compare"),
        st.Page(results.page, title="Results", url_path="results"),
        st.Page(browse.page, title="Browse", url_path="browse"),
    ]
    page = st.navigation(pages, position="top")
    returned = url_state.arrive(page.url_path)
    if returned:
        explore.forget()
        compare.forget()
    elif not page.url_path and "step" in st.query_params:  # a link to a step needs to name no page
        url_state.switch_to(lecture_page)
    if page.url_path != "lecture":
        st.session_state.pop("warming", None)  # nobody needs the next step now
    place = st.empty()
    if page.url_path in ("results", "browse"):  # these are about no one picture
        sidebar.hide_sidebar()
    else:
        st.session_state["view"] = dataset_image.opened(sidebar.chosen_view())
    page.run()
    if faults := url_state.finish([each.url_path for each in pages]):
        place.warning("  \n".join(map(plain, faults)), icon=":material/link_off:")
    _settle()


@st.cache_resource(show_spinner=False)
def _settle() -> None:
    """Streamlit collects garbage after every run, a tenth of a second in which no answer leaves the server, because it
    goes through all of torch each time. What is there after the first run is there to stay.
    """
    gc.collect()
    gc.freeze()
