"""Adopting a population that exists: the targets are read, matched with the registry, and not touched.

`reading` (what the ports dump) fills a temporary `sheet`; `matching` says whose each object is; `writing`
takes all names into the ledger, links what is certain, and asks an operator the rest; `deciding` takes the
answers; `report` is for a spreadsheet.
"""

from sesame.operations.adoption.adopting import Adopted, Reader, adopt
from sesame.operations.adoption.reading import readers
from sesame.operations.adoption.words import BY_HAND, WORDS, QuestionKind

__all__ = ["BY_HAND", "WORDS", "Adopted", "QuestionKind", "Reader", "adopt", "readers"]
