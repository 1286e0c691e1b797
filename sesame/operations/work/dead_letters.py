"""Dead letters: list them with their causes; dismiss those that no account needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime

from pydantic import BaseModel, Field, FiniteFloat
from sqlalchemy import Connection

from pipeline.audit import operator_notes
from pipeline.dead_letters import events as letter_events
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter, Which
from pipeline.errors import SesameError
from schemas.language import gettext
from schemas.scalars import Text
from sesame.acts.acts import (
    DESK,
    OPERATORS,
    Actor,
    ActPath,
    ActRequest,
    Report,
    act,
    note_look,
    shown,
    utc,
    utc_or_none,
)
from sesame.acts.ports import Configured, Stored
from sesame.operations.people.diagnosis.reasons import explain

PAGE = 50
"""Page size by default."""

ID_SHOWN = 12
"""Characters that tell one id from another."""


class NoSuchDeadLetter(SesameError):
    """No dead letter has an id that starts so. `sesame dead-letters list` shows them."""


class SeveralDeadLetters(SesameError):
    """Several dead letters have ids that start so: give more characters."""


class UnclearDismissal(SesameError):
    """Give the ids of dead letters, or a cause, and not both."""

    exit_code = 2


class StillOwed(SesameError):
    """What a target could not do for a student stays listed until it is done: dismissing it would hide a
    student without a service. Mend its cause, then replay."""


class DeadLetterReport(Report):
    """One dead letter: its cause's meaning, the next step, and the retry's command."""

    id: str
    consumer: str
    student_number: str | None
    version: int | None
    cause: str
    message: str
    attempts: int
    recorded_at: datetime
    topic: str | None
    partition: int | None
    offset: int | None
    timestamp_ms: int | None
    event_id: str | None
    resolved_at: datetime | None
    resolution: str | None
    meaning: str
    next: str
    replay: str | None = Field(None, exclude_if=lambda command: command is None)


class DeadLetterCount(Report):
    """The unresolved dead letters of one consumer and cause."""

    consumer: str
    cause: str
    count: int


class DeadLettersRequest(BaseModel):
    """A page of unresolved dead letters: all, or of this consumer, student and cause.

    It begins after the one whose id begins with `after`, and has at most `limit`.
    """

    consumer: str | None = None
    student_number: str | None = None
    cause: str | None = None
    after: str | None = None
    limit: int | None = None

    @property
    def which(self) -> Which:
        """As the store takes it."""
        return Which(self.consumer, self.student_number, self.cause)


class DeadLetterList(Report):
    """A page of dead letters, whether there are more, and totals by cause."""

    letters: list[DeadLetterReport]
    more: bool
    counts: list[DeadLetterCount]

    @property
    def text(self) -> str:
        """The counts in words."""
        return summary({(one.consumer, one.cause): one.count for one in self.counts})


class DismissRequest(ActRequest):
    """Dead letters to dismiss, and the reason.

    Attributes:
        letters: their ids, or the beginnings; or else:
        consumer, cause: all of this cause; None: of any consumer.
        until: only those recorded up to this time (Unix time, in seconds).
        dry_run: look, and dismiss none.
    """

    letters: tuple[str, ...] = ()
    consumer: str | None = None
    cause: str | None = None
    until: FiniteFloat | None = None
    reason: Text
    dry_run: bool = False


class DismissReport(Report):
    """How many were dismissed, of how many.

    Attributes:
        text: by consumer and cause, in words.
        newest: when the newest of them was recorded (Unix time, in seconds).
    """

    dismissed: int
    found: int
    dry_run: bool
    text: str = Field(exclude=True)
    newest: float = Field(exclude=True)


@act("dead_letters.list", DESK)
def listed(site: Stored, actor: Actor, request: DeadLettersRequest) -> Iterator[DeadLetterReport]:
    """Unresolved dead letters, the oldest first; at most a page is in memory.

    Raises:
        NoSuchDeadLetter, SeveralDeadLetters: `after` matches none, or several.
    """
    with site.database.read() as connection:
        count = sum(dead_letters.counts(connection, request.which).values())
    wanted = request.model_dump(include={"student_number", "consumer", "cause"})
    note_look(site.database, actor, "dead_letters.list", count=min(count, request.limit or count), **wanted)
    with site.database.read() as connection:
        yield from _each(connection, request, request.limit)


def _seen(letters: Iterable[DeadLetterReport], request: DeadLettersRequest) -> Mapping[str, object] | None:
    wanted = request.model_dump(include={"consumer", "cause"})
    return shown((each.student_number for each in letters), **wanted)


@act("dead_letters.page", DESK, shows=lambda report, request: _seen(report.letters, request))
def page(site: Stored, _actor: Actor, request: DeadLettersRequest) -> DeadLetterList:
    """A page of unresolved dead letters, oldest first, and their total, consistently.

    Raises:
        NoSuchDeadLetter, SeveralDeadLetters: as `listed`.
    """
    limit = request.limit or PAGE
    with site.database.read() as connection:
        letters = list(_each(connection, request, limit + 1))
        counts = dead_letters.counts(connection, request.which)
    return DeadLetterList(
        letters=letters[:limit],
        more=len(letters) > limit,
        counts=[
            DeadLetterCount(consumer=consumer, cause=cause, count=count)
            for (consumer, cause), count in sorted(counts.items())
        ],
    )


def _each(
    connection: Connection, request: DeadLettersRequest, limit: int | None
) -> Iterator[DeadLetterReport]:
    last = only(connection, request.after) if request.after is not None else None
    return map(_shown, dead_letters.each(connection, request.which, last, limit))


@act(
    "dead_letters.show",
    DESK,
    path=ActPath("show_dead_letter", "GET", "/dead-letters/{letter}"),
    shows=lambda report, _prefix: _seen([report], DeadLettersRequest()),
)
def show(site: Stored, _actor: Actor, prefix: str) -> DeadLetterReport:
    """The dead letter, resolved or not, whose id has this beginning.

    Raises:
        NoSuchDeadLetter, SeveralDeadLetters: it matches none, or several.
    """
    with site.database.read() as connection:
        return _shown(only(connection, prefix))


@act("dead_letters.dismiss", OPERATORS, path=ActPath("dismiss_dead_letters", "POST", "/dead-letters/dismiss"))
def dismiss(site: Configured, actor: Actor, request: DismissRequest) -> DismissReport:
    """Dismiss these dead letters: they need no action and are listed no more.

    For records that cannot be read and facts that were refused. Nothing is dismissed if one of them is
    work that a target could not do for a student; nothing is found if none is unresolved.

    Raises:
        UnclearDismissal, StillOwed, NoSuchDeadLetter, SeveralDeadLetters: nothing was dismissed.
    """
    with site.database.read() as connection:
        chosen = _chosen(connection, request)
    _refuse_targets(chosen, site.settings.targets)
    text, count = summary(Counter((letter.consumer, letter.cause) for letter in chosen)), 0
    if chosen and not request.dry_run:
        with site.database.write() as connection:
            operator_notes.keep_and_audit(
                connection,
                site.database,
                action="dead_letters.dismiss",
                about=chosen[0].cause,
                student_number=None,
                actor=actor.name,
                words=request.reason,
                detail={"count": len(chosen), "by_cause": text, "first": chosen[0].id},
            )
            count = letter_events.dismiss(connection, chosen, now=site.database.now(connection))
    newest = max((letter.recorded_at for letter in chosen), default=0.0)
    return DismissReport(
        dismissed=count, found=len(chosen), dry_run=request.dry_run, text=text, newest=newest
    )


def only(connection: Connection, prefix: str) -> DeadLetter:
    """The dead letter whose id has this beginning.

    Raises:
        NoSuchDeadLetter, SeveralDeadLetters: it matches none, or several.
    """
    found = dead_letters.by_id(connection, prefix) if prefix else []
    if not found:
        raise NoSuchDeadLetter(gettext("no dead letter {prefix!r}", prefix=prefix))
    if len(found) > 1:
        ids = ", ".join(one.id[:ID_SHOWN] for one in found)
        raise SeveralDeadLetters(gettext("{prefix!r} begins {ids}", prefix=prefix, ids=ids))
    return found[0]


def summary(counts: Mapping[tuple[str, str], int]) -> str:
    """Counts by consumer and cause, in words."""
    return ", ".join(f"{consumer} {cause}: {count}" for (consumer, cause), count in sorted(counts.items()))


def _shown(letter: DeadLetter) -> DeadLetterReport:
    words, replay, resolved_at = explain(letter.cause), None, letter.resolved_at
    if letter.student_number is not None and resolved_at is None:
        replay = f"sesame replay --consumer {letter.consumer} --student {letter.student_number}"
    times = {"recorded_at": utc(letter.recorded_at), "resolved_at": utc_or_none(resolved_at)}
    return DeadLetterReport(**asdict(letter) | times, meaning=words.what, next=words.next, replay=replay)


def _chosen(connection: Connection, request: DismissRequest) -> list[DeadLetter]:
    found: Iterable[DeadLetter]
    if bool(request.letters) == (request.cause is not None):
        raise UnclearDismissal
    if request.cause is None:
        found = [only(connection, letter) for letter in request.letters]
    else:
        found = dead_letters.unresolved(connection, consumer=request.consumer, cause=request.cause)
    chosen = {letter.id: letter for letter in found if letter.resolved_at is None}
    return [one for one in chosen.values() if request.until is None or one.recorded_at <= request.until]


def _refuse_targets(letters: Iterable[DeadLetter], targets: Collection[str]) -> None:
    for letter in letters:
        if letter.consumer in targets and letter.student_number is not None:
            replay = f"sesame replay --consumer {letter.consumer} --student {letter.student_number}"
            raise StillOwed(
                gettext(
                    "{id} is what {consumer} could not do for {number}",
                    id=letter.id[:ID_SHOWN],
                    consumer=letter.consumer,
                    number=letter.student_number,
                ),
                remedy=gettext("Mend its cause, then: {command}", command=replay),
            )
