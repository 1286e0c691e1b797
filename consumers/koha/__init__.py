"""Koha, the library system, by its REST interface. Run against `sandbox/koha` only."""
