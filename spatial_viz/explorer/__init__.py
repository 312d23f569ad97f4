"""The live explorer: payload, browser code, Streamlit adapter."""
