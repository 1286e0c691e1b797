"""A target that is only observed: its handler previews, and never writes.

A student is never done at such a target, not even if nothing differs: Sésame promises nothing of what it
does not write. That no write leaves all the same is not this class's word: the port below refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.target import (
    OBSERVED_ONLY,
    WHEN_RUNG,
    Description,
    Handler,
    HandlerOutcome,
    Preview,
    Task,
    Waiting,
)
from schemas.account import Account

REFUSED = "refused: "
"""Begins the name of what would stand in the way of a write, among what would be written."""


class Observing:
    """Says what another handler would write; see `pipeline.target.Handler`.

    Args:
        handler: the one that writes, over a port that is read only; closed with this.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.name = handler.name
        self.batch_size = handler.batch_size
        self.call_s_max = handler.call_s_max

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """Read, and end each turn as waiting: an event, for instance a replay, looks again."""
        previews = self._handler.preview([task.account for task in tasks])
        return {
            number: Waiting(OBSERVED_ONLY, would_write(preview), WHEN_RUNG)
            for number, preview in previews.items()
        }

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """See `Handler.preview`."""
        return self._handler.preview(accounts)

    def probe(self) -> None:
        """See `Handler.probe`; over this port it only reads."""
        self._handler.probe()

    def describe(self) -> Description:
        """What the pipeline would own."""
        return self._handler.describe()

    def close(self) -> None:
        """See `Handler.close`."""
        self._handler.close()


def would_write(preview: Preview) -> tuple[str, ...]:
    """What would be written, in the target's own words, and what would stand in the way."""
    return (*preview.differs, *((f"{REFUSED}{preview.obstacle}",) if preview.obstacle else ()))
