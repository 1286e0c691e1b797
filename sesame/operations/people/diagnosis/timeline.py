"""One student's history: requests, observations, failures, and acts of staff."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select

from consumers.propagation.rows import propagation
from consumers.registry.people import enrolments as e
from pipeline import accounts, attempts, audit, replays
from pipeline.attempts import Attempt, AttemptEnd
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.replays import AskedReplay
from producers.activation import request_rows
from producers.activation.mail_proofs import LETTER, mail_proofs
from producers.registrar.feed import SEQUENCES_PER_IMPORT
from producers.registrar.import_runs import imports
from schemas.account import dated_step
from schemas.language import decimal, gettext, ngettext
from sesame.acts.acts import LOOKS, Report, utc
from sesame.login import cas_logins
from sesame.operations.people.diagnosis.act_sentences import as_text, brief
from sesame.operations.people.diagnosis.words import word

MOMENTS_MAX: Final = 200
_OF_STAFF_MAX: Final = 60
_SEVERAL: Final = ("students", "student_numbers", "joined", "left")


class Moment(Report):
    """One event of a student's history.

    Attributes:
        consumer: where; None: not at a consumer.
        state: its outcome, as a token: done, waiting, retry, dead, or nothing.
        what: in words.
        said: the message of the target, or of the actor, word for word; may be personal.
        event_id: of an attempt: the event that it came from; its first 32 digits are its trace.
    """

    at: datetime
    consumer: str | None
    state: str
    what: str
    said: str = ""
    event_id: str | None = None


def moments(connection: Connection, number: str, targets: Sequence[str]) -> list[Moment]:
    """A student's history as far as it is kept: newest first, at most `MOMENTS_MAX`."""
    letters = dead_letters.of_student(connection, number, targets)
    asked = replays.of_student(connection, number)
    found = [
        *_enrolments(connection, number),
        *_account(connection, number),
        *_messages(connection, number),
        *_attempts(connection, number, letters, asked),
        *_window(connection, number),
        *_letters(letters),
        *_replays(asked),
        *_staff(connection, number),
    ]
    found.sort(key=lambda moment: moment.at, reverse=True)
    return found[:MOMENTS_MAX]


def _moment(
    at: float | None, what: str, *, consumer: str | None = None, state: str = "", said: str = ""
) -> Iterator[Moment]:
    if at is not None:
        yield Moment(at=utc(at), consumer=consumer, state=state, what=what, said=said)


def _enrolments(connection: Connection, number: str) -> Iterator[Moment]:
    """The newest fact of each enrolment, at its import's time where that is kept."""
    query = select(e.c.year, e.c.step, e.c.cancelled, e.c.source_sequence).where(e.c.student_number == number)
    rows = connection.execute(query).all()
    ids = {row.source_sequence // SEQUENCES_PER_IMPORT for row in rows}
    kept = select(imports.c.id, imports.c.started_at).where(imports.c.id.in_(sorted(ids)))
    begun = {row.id: row.started_at for row in connection.execute(kept)}
    for row in rows:
        import_id = row.source_sequence // SEQUENCES_PER_IMPORT
        told = {"step": dated_step(row.year, row.step), "id": import_id}
        what = (
            gettext("enrolment in {step} cancelled, by import {id}", **told)
            if row.cancelled
            else gettext("enrolled in {step}, by import {id}", **told)
        )
        yield from _moment(begun.get(import_id), what, consumer="registry")


def _account(connection: Connection, number: str) -> Iterator[Moment]:
    request = request_rows.find(connection, [number]).get(number)
    if request is not None:
        yield from _moment(request.intended_at, gettext("activation asked for"))
    account = accounts.find(connection, number)
    if account is not None and account.activated_at is not None:
        yield from _moment(account.activated_at.timestamp(), gettext("account activated"), state="done")
    query = select(accounts.accounts.c.changed_at).where(accounts.accounts.c.student_number == number)
    if account is not None:
        what = gettext("account changed: version {version}", version=account.version)
        yield from _moment(connection.execute(query).scalar_one(), what)
    login = cas_logins.of(connection, number)
    if login is not None:
        yield from _moment(login.seen_at, gettext("first login by CAS seen"), state="done")
        if login.last_at != login.seen_at:
            yield from _moment(login.last_at, gettext("last login by CAS seen"), state="done")
        what = gettext("came back from CAS in vain: {why}", why=login.failure)
        yield from _moment(login.failed_at, what, state="retry")


def _messages(connection: Connection, number: str) -> Iterator[Moment]:
    m = mail_proofs.c
    query = select(m.purpose, m.pair, m.created_at, m.sent_at, m.refusal).where(m.student_number == number)
    for row in connection.execute(query):
        if row.pair == LETTER:
            yield from _moment(row.created_at, gettext("letter with a code printed"), state="done")
            continue
        sent, refused = row.sent_at is not None, row.refusal is not None
        said, state = (row.refusal, "dead") if refused else ("", "done" if sent else "waiting")
        words = (
            gettext("message refused: {purpose}", purpose=row.purpose)
            if refused
            else gettext("message sent: {purpose}", purpose=row.purpose)
            if sent
            else gettext("message to be sent: {purpose}", purpose=row.purpose)
        )
        yield from _moment(row.sent_at or row.created_at, words, state=state, said=said)


def _attempts(
    connection: Connection, number: str, letters: Sequence[DeadLetter], asked: Sequence[AskedReplay]
) -> Iterator[Moment]:
    """Every attempt at a target, except those that a dead letter tells in more detail."""
    told = {(letter.consumer, letter.recorded_at) for letter in letters}
    by_event = {replays.identity(number, each.consumer, each.id): each.id for each, _, _ in asked}
    for one in attempts.of_student(connection, number, limit=MOMENTS_MAX):
        if one.ended is AttemptEnd.FAILED and (one.target, one.at) in told:
            continue
        what = _ended(one)
        if one.attempt > 1:
            what = gettext("{what}, attempt {n}", what=what, n=one.attempt)
        if one.event_id in by_event:
            what = gettext("{what}, replay {id}", what=what, id=by_event[one.event_id])
        at, state = utc(one.at), _STATES[one.ended]
        yield Moment(at=at, consumer=one.target, state=state, what=what, event_id=one.event_id)


_STATES: Final = {
    AttemptEnd.WRITTEN: "done",
    AttemptEnd.UNCHANGED: "done",
    AttemptEnd.CLOSED: "done",
    AttemptEnd.WAITING: "waiting",
    AttemptEnd.RETRY: "retry",
    AttemptEnd.FAILED: "dead",
}


def _ended(one: Attempt) -> str:
    match one.ended:
        case AttemptEnd.WRITTEN:
            return gettext("written and read back: version {version}", version=one.version)
        case AttemptEnd.UNCHANGED:
            return gettext("read back, nothing to write: version {version}", version=one.version)
        case AttemptEnd.CLOSED:
            return gettext("access shut")
        case AttemptEnd.RETRY:
            return gettext("tried in vain: {cause}", cause=brief(one.reason))
        case AttemptEnd.WAITING | AttemptEnd.FAILED:
            return gettext("{state}: {reason}", state=word("states", one.ended), reason=brief(one.reason))


def _window(connection: Connection, number: str) -> Iterator[Moment]:
    row = connection.execute(select(propagation).where(propagation.c.student_number == number)).one_or_none()
    if row is None:
        return
    yield from _moment(row.opened_at, gettext("the window opened"))
    yield from _moment(row.late_at, gettext("late: more than 15 minutes"), state="waiting")
    yield from _moment(row.breached_at, gettext("breached: more than 60 minutes"), state="dead")
    if row.completed_at is not None:
        seconds = decimal(row.elapsed_s or 0.0)
        what = gettext("complete everywhere, {seconds} s after the window opened", seconds=seconds)
        yield from _moment(row.completed_at, what, state="done")


def _letters(letters: Sequence[DeadLetter]) -> Iterator[Moment]:
    for letter in letters:
        what = ngettext(
            "given up after {n} attempt: {cause}",
            "given up after {n} attempts: {cause}",
            letter.attempts,
            cause=brief(letter.cause),
        )
        where = letter.consumer
        yield from _moment(letter.recorded_at, what, consumer=where, state="dead", said=letter.message)
        how = word("resolutions", letter.resolution or "")
        resolved = gettext("dead letter resolved: {how}", how=how)
        yield from _moment(letter.resolved_at, resolved, consumer=where, state="done")


def _replays(asked: Sequence[AskedReplay]) -> Iterator[Moment]:
    for replay, asked_at, outcome in asked:
        ended = {replays.DONE: "done", replays.FAILED: "dead"}.get(outcome or "", "")
        what = gettext("replay {id} by {actor}", id=replay.id, actor=replay.actor)
        yield from _moment(asked_at, what, consumer=replay.consumer, state=ended)


def _alone(detail: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry tells on one student's page: of others it has the number."""
    return {
        name: len(value) if name in _SEVERAL and isinstance(value, list) else value
        for name, value in detail.items()
    }


def _staff(connection: Connection, number: str) -> Iterator[Moment]:
    for entry in audit.entries(connection, student=number, limit=_OF_STAFF_MAX, without=LOOKS):
        what = gettext("{actor} {act}", actor=entry.actor, act=as_text(entry.action, _alone(entry.detail)))
        yield from _moment(entry.at, what, said=entry.reason or "")
