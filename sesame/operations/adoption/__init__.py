"""Adopting a population that exists: the targets are read, matched with the registry, and not touched.

`readers` (what the ports dump) fill a temporary `sheet`; `matching` says whose each object is; `writer` takes
all names into the ledger, links what is certain, and asks an operator the rest (`questions`); `decisions`
takes the answers; `run` is all of it once, with a report for a spreadsheet.
"""

from sesame.operations.adoption.questions import BY_HAND, WORDS, QuestionKind
from sesame.operations.adoption.readers import readers
from sesame.operations.adoption.run import AdoptionReport, Reader, adopt

__all__ = ["BY_HAND", "WORDS", "AdoptionReport", "QuestionKind", "Reader", "adopt", "readers"]
