"""Figures, all of them Plotly's."""
