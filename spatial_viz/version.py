"""The version of the package, for results and cards."""

VERSION = "0.3.0"
