"""What the talk needs, without Streamlit."""
