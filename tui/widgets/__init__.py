"""Widgets, one a file. None of them calls the engine."""
