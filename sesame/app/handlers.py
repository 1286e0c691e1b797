"""Wrappers of a target's handler: refused secrets, open questions, dry runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from pipeline.db.database import Database
from pipeline.errors import CredentialsRefused, Misconfigured, SesameError
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
from schemas.account import Account, Stage
from sesame.operations.questions.adoption import adoptions
from sesame.settings import LiveSecret

ADOPTION_UNDECIDED: Final = "adoption_undecided"
"""Reason of waiting: an object in this target is contradictory, and undecided."""

REFUSED: Final = "refused: "
"""Begins the name of what would stand in the way of a write, among what would be written."""


class Around:
    """Does as another handler does, and closes it; see `pipeline.target.Handler`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.name = handler.name
        self.batch_size = handler.batch_size
        self.call_s_max = handler.call_s_max

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `Handler.handle`."""
        return self._handler.handle(tasks)

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """See `Handler.preview`."""
        return self._handler.preview(accounts)

    def probe(self) -> None:
        """See `Handler.probe`."""
        self._handler.probe()

    def describe(self) -> Description:
        """See `Handler.describe`."""
        return self._handler.describe()

    def close(self) -> None:
        """See `Handler.close`."""
        self._handler.close()


class Credentials(Around):
    """Says with which secret the target refused it, and when that was read.

    So `sesame doctor`, which reads the file itself, and a running process, which may have read another one,
    do not contradict each other.

    Args:
        handler: the target's.
        secrets: what it identifies itself with.
    """

    def __init__(self, handler: Handler, *secrets: LiveSecret) -> None:
        super().__init__(handler)
        self._secrets = secrets

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `Handler.handle`."""
        with self._saying_which():
            return super().handle(tasks)

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """See `Handler.preview`."""
        with self._saying_which():
            return super().preview(accounts)

    def probe(self) -> None:
        """See `Handler.probe`."""
        with self._saying_which():
            super().probe()

    @contextmanager
    def _saying_which(self) -> Iterator[None]:
        try:
            yield
        except CredentialsRefused as error:
            if not self._secrets:
                raise
            told = " and ".join(secret.told for secret in self._secrets)
            raise CredentialsRefused(
                f"{error}; it was given {told}", remedy=error.remedy, unknown=error.unknown
            ) from error


class Unusable:
    """Replaces an unusable connector: its consumer reports why, the others continue.

    Args:
        name: the target's.
        why: what is wrong with its package or its settings.
    """

    batch_size = 1
    call_s_max = 1.0

    def __init__(self, name: str, why: SesameError) -> None:
        self.name = name
        self._why = Misconfigured(str(why), remedy=why.remedy)

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:  # noqa: ARG002
        """See `Handler.handle`."""
        raise self._why

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:  # noqa: ARG002
        """See `Handler.preview`."""
        raise self._why

    def probe(self) -> None:
        """See `Handler.probe`."""
        raise self._why

    def describe(self) -> Description:
        """See `Handler.describe`."""
        return Description(self.name, "cannot be used", ())

    def close(self) -> None:
        """See `Handler.close`."""


class AdoptionGate(Around):
    """Keeps students with an open question to an operator from a handler.

    Two objects that carry one number, a login that is another person's elsewhere, an entry without a number:
    what Sésame would write could be wrong, and waits until it is decided. Shutting access is not a question:
    an account without access goes through.

    Args:
        handler: the target's.
        database: where the questions are.
    """

    def __init__(self, handler: Handler, database: Database) -> None:
        super().__init__(handler)
        self._database = database

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `Handler.handle`.

        Raises:
            StoreUnavailable: the questions cannot be read; nothing was written.
        """
        asked = self._asked([t.account for t in tasks if _is_written(t.account) and not t.close_only])
        settled = [task for task in tasks if task.account.student_number not in asked]
        outcomes: dict[str, HandlerOutcome] = {
            number: Waiting(ADOPTION_UNDECIDED, kinds) for number, kinds in asked.items()
        }
        return outcomes | dict(super().handle(settled)) if settled else outcomes

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """See `Handler.preview`; an open question is an obstacle."""
        asked = self._asked(accounts)
        return {
            number: replace(preview, obstacle=ADOPTION_UNDECIDED) if number in asked else preview
            for number, preview in super().preview(accounts).items()
        }

    def _asked(self, accounts: Sequence[Account]) -> Mapping[str, tuple[str, ...]]:
        with self._database.read() as connection:
            return adoptions.undecided(connection, self.name, [one.student_number for one in accounts])


def _is_written(account: Account) -> bool:
    """Whether more than shutting is to be done."""
    return account.access_open or account.stage is Stage.ERASED


class DryRun(Around):
    """Reports what a handler would write, and never writes: for observed targets.

    A student is never done there, not even if nothing differs: Sésame promises nothing of what it does not
    write. This class does not enforce that no write leaves: the port below, which is read-only, refuses it.
    """

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """Read, and end each turn as waiting: an event, such as a replay, looks again."""
        previews = self.preview([task.account for task in tasks])
        return {
            number: Waiting(OBSERVED_ONLY, _would_write(preview), WHEN_RUNG)
            for number, preview in previews.items()
        }


def _would_write(preview: Preview) -> tuple[str, ...]:
    """What would be written, in the target's terms, and what would prevent it."""
    return (*preview.differs, *((f"{REFUSED}{preview.obstacle}",) if preview.obstacle else ()))
