"""A guard around a target's calls: questions, refused secrets, dry runs, traces."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
from sesame.operations.questions.adoption.adoptions import QuestionRow
from sesame.settings import LiveSecret

ADOPTION_UNDECIDED: Final = "adoption_undecided"
"""Reason of waiting: an object in this target is contradictory, and undecided."""

REFUSED: Final = "refused: "
"""The prefix of what would prevent a write, among what would be written."""


Calling = Callable[[str, Sequence[Task]], AbstractContextManager[None]]
"""Records a call of a target, by its name, for these students."""


class GuardedHandler:
    """A target's handler, guarded around each call; see `pipeline.target.Handler`.

    Students with an open question to an operator are kept from it: two objects that carry one number, a login
    that is another person's elsewhere, an entry without a number. What Sésame would write could be wrong, and
    waits until it is decided. Shutting access is not a question: an account without access goes through.
    A turn that ends with one of `asking` raises a question; the first one that ends otherwise closes it.

    Where the target is observed, nothing is written, and no student is done, not even if nothing differs:
    Sésame promises nothing of what it does not write. This class does not enforce that no write leaves: the
    connector, which is read-only, refuses it.

    Args:
        database: where the questions are; None: none is looked for.
        secrets: what the target is identified to with. A refusal names them and when each was read, since
            another process, such as `sesame doctor`, may have read another one.
        asking: reasons of waiting that are a question.
        observed: whether it only reports what it would write.
        calling: around each call of `handle`.
    """

    def __init__(
        self,
        handler: Handler,
        database: Database | None = None,
        *,
        secrets: Collection[LiveSecret] = (),
        asking: Collection[str] = (),
        observed: bool = False,
        calling: Calling = lambda _target, _tasks: nullcontext(),
    ) -> None:
        self._handler = handler
        self._database = database
        self._secrets = secrets
        self._asking = frozenset(asking)
        self._observed = observed
        self._calling = calling
        self.name = handler.name
        self.batch_size = handler.batch_size
        self.call_s_max = handler.call_s_max

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `Handler.handle`.

        At an observed target each turn ends as waiting: an event, such as a replay, looks again.

        Raises:
            StoreUnavailable: the questions cannot be read, and nothing was written; or they cannot be
                written, and the turn is repeated.
        """
        with self._calling(self.name, tasks):
            if self._observed:
                previews = self.preview([task.account for task in tasks])
                return {
                    n: Waiting(OBSERVED_ONLY, _would_write(each), WHEN_RUNG) for n, each in previews.items()
                }
            questions = self._questions([task.account for task in tasks])
            writing = [task.account for task in tasks if not task.close_only]
            asked = _kept_out([a for a in writing if a.access_open or a.stage is Stage.ERASED], questions)
            settled = [task for task in tasks if task.account.student_number not in asked]
            waiting = {number: Waiting(ADOPTION_UNDECIDED, kinds) for number, kinds in asked.items()}
            with self._naming_secrets():
                outcomes = self._handler.handle(settled) if settled else {}
            self._ask([task.account for task in settled], outcomes, questions)
            return {**waiting, **outcomes}

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """See `Handler.preview`; an open question is an obstacle."""
        asked = _kept_out(accounts, self._questions(accounts))
        with self._naming_secrets():
            previews = self._handler.preview(accounts)
        return {
            number: replace(preview, obstacle=ADOPTION_UNDECIDED) if number in asked else preview
            for number, preview in previews.items()
        }

    def probe(self) -> None:
        """See `Handler.probe`."""
        with self._naming_secrets():
            self._handler.probe()

    def describe(self) -> Description:
        """See `Handler.describe`."""
        return self._handler.describe()

    def close(self) -> None:
        """See `Handler.close`."""
        self._handler.close()

    @contextmanager
    def _naming_secrets(self) -> Iterator[None]:
        try:
            yield
        except CredentialsRefused as error:
            if not self._secrets:
                raise
            told = " and ".join(secret.told for secret in self._secrets)
            raise CredentialsRefused(
                f"{error}; it was given {told}", remedy=error.remedy, unknown=error.unknown
            ) from error

    def _questions(self, accounts: Sequence[Account]) -> list[QuestionRow]:
        if self._database is None:
            return []
        with self._database.read() as connection:
            return adoptions.open_about(connection, self.name, [one.student_number for one in accounts])

    def _ask(
        self,
        accounts: Sequence[Account],
        outcomes: Mapping[str, HandlerOutcome],
        questions: Iterable[QuestionRow],
    ) -> None:
        """Raise the questions of these outcomes; close the open ones that they do not ask any more."""
        if self._database is None or not self._asking:
            return
        raised = [
            QuestionRow(self.name, account.mail, account.student_number, adoptions.CORRECTED)
            for account in accounts
            if isinstance(end := outcomes.get(account.student_number), Waiting) and end.reason in self._asking
        ]
        numbers = {account.student_number for account in accounts}
        asked = {
            each.id
            for each in questions
            if each.kind == adoptions.CORRECTED and each.student_number in numbers
        }
        still = {question.id for question in raised}
        if still != asked:
            with self._database.write() as connection:
                adoptions.ask(connection, self._database, raised, self._database.now(connection))
                adoptions.mended(connection, asked - still)


def _kept_out(accounts: Sequence[Account], questions: Iterable[QuestionRow]) -> Mapping[str, tuple[str, ...]]:
    """Kinds of the questions that keep these students from a target, by number."""
    numbers = {account.student_number for account in accounts}
    found: dict[str, tuple[str, ...]] = {}
    for each in sorted(questions, key=lambda question: question.kind):
        if each.kind != adoptions.CORRECTED and each.student_number in numbers:
            found[each.student_number] = (*found.get(each.student_number, ()), each.kind)
    return found


class Unusable:
    """Replaces an unusable connector: its consumer reports `why`, the others continue."""

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


def _would_write(preview: Preview) -> tuple[str, ...]:
    """List what would be written, in the target's terms, and what would prevent it."""
    return (*preview.differs, *((f"{REFUSED}{preview.obstacle}",) if preview.obstacle else ()))
