"""Whose batch is next: a person's, unless a batch's turn has come. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.account import Lane


@dataclass
class Precedence:
    """Persons come first; bulk work keeps a minimum share, and never takes the last places.

    Attributes:
        bulk_max: of the batches that are under way, how many may be bulk ones.
        bulk_every: while both lanes have work, at least every n-th batch is a bulk one.
    """

    bulk_max: int
    bulk_every: int
    _since_bulk: int = 0

    def order(self, bulk_running: int) -> tuple[Lane, ...]:
        """The lanes that may start a batch now, the one to look at first in front."""
        if bulk_running >= self.bulk_max:
            return (Lane.PERSONAL,)
        if self._since_bulk + 1 >= self.bulk_every:
            return (Lane.BULK, Lane.PERSONAL)
        return (Lane.PERSONAL, Lane.BULK)

    def started(self, lane: Lane) -> None:
        """A batch of this lane has started."""
        self._since_bulk = 0 if lane is Lane.BULK else self._since_bulk + 1
