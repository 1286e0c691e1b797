"""Connectors as an operator and an author meet them: which there are, a new one, and what the suite says of
one."""
