"""The frame of the app: `streamlit run app.py`."""

import streamlit as st
from PIL import Image

# An icon of our own: Streamlit fetches named icons from the network.
icon = Image.new("RGB", (32, 32), "#b5361c").rotate(15, expand=True, fillcolor="#ffffff")
st.set_page_config(page_title="spatial_viz", page_icon=icon, layout="wide")

from spatial_viz.pages import explore  # noqa: E402  (torch takes a moment; the page should have its title by then)

st.navigation([st.Page(explore.page, title="Explore", url_path="explore", default=True)], position="top").run()
