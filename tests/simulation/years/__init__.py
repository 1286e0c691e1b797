"""Five years of a university, on a simulated clock.

Entries, changes, leaves, returns, broken files, hands in the targets, outages, killed processes; through the
shipped registry, propagation, engine and handlers.
"""
