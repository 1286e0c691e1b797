"""Imports of the registrar's files, and of what programs send."""
