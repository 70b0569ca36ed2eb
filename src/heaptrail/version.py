"""The version, in a place that imports nothing, so that every layer may state it."""

__version__ = "0.1.0"
