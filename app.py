"""The app: `streamlit run app.py`."""

from spatial_viz.app.main import run

run()
