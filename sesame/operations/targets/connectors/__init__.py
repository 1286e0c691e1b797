"""Connectors for operators and authors: list them, make a new one, run the suite."""
