"""The frame of the app: `streamlit run app.py`."""

import streamlit as st

st.set_page_config(page_title="spatial_viz", page_icon=":material/rotate_left:", layout="wide")

from spatial_viz.pages import explore  # noqa: E402  (torch takes a moment; the page should have its title by then)

st.navigation([st.Page(explore.page, title="Explore", url_path="explore", default=True)], position="top").run()
