"""Operators' sight: structured logs, metrics, the port for metrics and health."""
