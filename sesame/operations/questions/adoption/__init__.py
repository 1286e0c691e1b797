"""Adopt an existing population: read the targets and match them with the registry.

The targets are only read. `readers` (what the ports dump) fill a temporary `sheet`; `matching` says whose
each object is; `writer` takes all names into the ledger, links what is certain, and puts the rest to an
operator (`questions`); `acts` takes the answers; `run` is all of it once, with a report for a
spreadsheet.
"""
