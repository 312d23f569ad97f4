"""Whole data sets: exact robust accuracy, its store and its report."""
