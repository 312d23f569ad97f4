"""The frame of the app: `streamlit run app.py`."""

import gc

import streamlit as st
from PIL import Image

# An icon of our own: Streamlit fetches named icons from the network.
icon = Image.new("RGB", (32, 32), "#b5361c").rotate(15, expand=True, fillcolor="#ffffff")
st.set_page_config(page_title="spatial_viz", page_icon=icon, layout="wide")

from spatial_viz.pages import attack, choosing, explore  # noqa: E402  (the page should have its title before torch)

page = st.navigation(
    [
        st.Page(explore.page, title="Explore", url_path="explore", default=True),
        st.Page(attack.page, title="Attack", url_path="attack"),
    ],
    position="top",
)
st.session_state["view"] = choosing.choose()
page.run()


@st.cache_resource(show_spinner=False)
def _settle() -> None:
    """Streamlit collects garbage after every run, a tenth of a second in which no answer leaves the server, because it
    goes through all of torch each time. What is there after the first run is there to stay.
    """
    gc.collect()
    gc.freeze()


_settle()
