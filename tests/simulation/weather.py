"""How often what goes wrong, by a seeded chance. Calm: nothing does."""

from __future__ import annotations

import random
from collections import Counter

KINDS = (
    "kill", "join", "clock", "store", "log", "duplicate", "outage", "flap", "throttle", "refuse", "slow",
    "lie", "hang", "fault", "poison", "busy", "drift", "replay", "relay",
)  # fmt: skip
"""Kinds of trouble, each of which a recipe may leave out."""


class Weather:
    """Decides whether something happens now.

    Args:
        without: kinds of trouble that never happen.
    """

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
