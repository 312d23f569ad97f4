"""The labelled array of a sweep, the sweep, and its cache."""
