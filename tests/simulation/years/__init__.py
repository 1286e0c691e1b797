"""Five years of a university: entries, changes, leaves, returns, broken files, hands in the targets, outages,
killed processes; through the shipped registry, propagation, engine and handlers, on a simulated clock."""
