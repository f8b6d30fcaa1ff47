"""Tests of Rollpoint."""
