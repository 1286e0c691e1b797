"""Adopting a population that exists: the targets are read, matched with the registry, and not touched.

`readers` (what the ports dump) fill a temporary `sheet`; `matching` says whose each object is; `writer` takes
all names into the ledger, links what is certain, and asks an operator the rest (`questions`); `decisions`
takes the answers; `run` is all of it once, with a report for a spreadsheet.
"""
