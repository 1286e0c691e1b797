"""The frequency of trouble, by a seeded chance. Calm: none."""

from __future__ import annotations

import random
from collections import Counter

KINDS = {
    "kill": "a process is killed: from outside, around a transaction, an append, a commit, or in a call",
    "join": "a process is told to stop, or one more joins its group",
    "clock": "the machine's clock goes back or forth, by up to an hour",
    "store": "the database is away before, at or after a commit",
    "log": "the log is away, takes a part of a batch, or does not acknowledge what it took",
    "duplicate": "a record comes again, much later",
    "outage": "a target is away",
    "flap": "a target answers every other call",
    "throttle": "a target throttles",
    "refuse": "a target refuses the consumer's account",
    "slow": "a call takes seconds",
    "lie": "a write is not answered: carried out, carried out later, or never",
    "swallow": "a target says that a write is done, and has lost a part of it",
    "hang": "a call hangs, perhaps beyond its lease",
    "fault": "a handler raises",
    "poison": "one student's work ends every call that it is in",
    "busy": "a target is busy with one student's object",
    "drift": "somebody changes a target by hand",
    "replay": "an operator asks for a comparison",
    "relay": "the outbox's relay is slow",
}
"""Kinds of trouble, each of which a recipe may leave out."""


class Weather:
    """Decides whether something happens now. `without`: kinds of trouble that never happen."""

    def __init__(self, chance: random.Random, without: frozenset[str] = frozenset()) -> None:
        self.chance = chance
        self.rough = True
        self.struck: Counter[str] = Counter()
        self._without = without

    def strikes(self, kind: str, probability: float) -> bool:
        """Whether something of this kind and probability happens now."""
        if not self.rough or self.chance.random() >= probability or kind in self._without:
            return False
        self.struck[kind] += 1
        return True
