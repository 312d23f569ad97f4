"""Networks, classifiers and inference."""
