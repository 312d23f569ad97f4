"""Where classifiers come from: one module a source."""
