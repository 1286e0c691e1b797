"""Targets: list, pause, quarantine, connectors."""
