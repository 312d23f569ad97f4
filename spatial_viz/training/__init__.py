"""Robust optimisation: recipes, data pipeline, loop, checkpoints."""
