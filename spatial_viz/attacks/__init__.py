"""The search for the worst transform."""
