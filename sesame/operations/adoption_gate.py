"""Students about whom an operator is asked something are not written to that target until it is decided.

Two objects that carry one number, a login that is another person's elsewhere, an entry without a number: what
Sésame would write could be wrong. Shutting access is not a question: an account without access goes through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from pipeline.db.database import Database
from pipeline.target import Description, Handler, HandlerOutcome, Preview, Task, Waiting
from schemas.account import Account
from sesame.operations.adoption import adoptions

ADOPTION_UNDECIDED: Final = "adoption_undecided"
"""Reason of waiting: what exists in this target contradicts something, and nobody has decided."""


class Undecided:
    """Lets a handler have those whose objects are settled; see `pipeline.target.Handler`.

    Args:
        handler: the target's; closed with this.
        database: where the questions are.
    """

    def __init__(self, handler: Handler, database: Database) -> None:
        self._handler = handler
        self._database = database
        self.name = handler.name
        self.batch_size = handler.batch_size
        self.call_s_max = handler.call_s_max

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `Handler.handle`.

        Raises:
            StoreUnavailable: the questions cannot be read; nothing was written.
        """
        asked = self._asked([t.account for t in tasks if t.account.access_open and not t.close_only])
        settled = [task for task in tasks if task.account.student_number not in asked]
        outcomes: dict[str, HandlerOutcome] = {
            number: Waiting(ADOPTION_UNDECIDED, kinds) for number, kinds in asked.items()
        }
        return outcomes | dict(self._handler.handle(settled)) if settled else outcomes

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """See `Handler.preview`; an open question is an obstacle."""
        asked = self._asked(accounts)
        return {
            number: replace(preview, obstacle=ADOPTION_UNDECIDED) if number in asked else preview
            for number, preview in self._handler.preview(accounts).items()
        }

    def probe(self) -> None:
        """See `Handler.probe`."""
        self._handler.probe()

    def describe(self) -> Description:
        """See `Handler.describe`."""
        return self._handler.describe()

    def close(self) -> None:
        """See `Handler.close`."""
        self._handler.close()

    def _asked(self, accounts: Sequence[Account]) -> Mapping[str, tuple[str, ...]]:
        with self._database.read() as connection:
            return adoptions.undecided(connection, self.name, [one.student_number for one in accounts])
