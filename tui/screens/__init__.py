"""Screens, one a file. A screen asks the engine in workers and shows what it answers."""
