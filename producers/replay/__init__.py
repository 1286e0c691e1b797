"""Asks one consumer to compare students with its target again, and to write the difference."""
