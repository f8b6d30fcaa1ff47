"""Rollpoint's engine: restore points of a Linux server, without any user interface."""

__version__ = "0.1.0"
