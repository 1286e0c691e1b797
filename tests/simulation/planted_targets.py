"""Faults of targets' contents, comparisons and reports to plant, by name. See `planted`.

The checker sees them because it derives what is right without the shipped code (`oracle`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

from sqlalchemy import Connection

from consumers.directory import difference
from consumers.directory.entry import wanted_fields
from consumers.directory.objects import LOCK, compared
from consumers.kit import handler as kit
from consumers.kit.connector import Held, Refused, TargetObject, Wanted, differing
from consumers.kit.ldap_answers import Modification
from consumers.mailbox.connector import MailboxConnector
from consumers.mailbox.mailbox import WELCOME, WelcomeStanding
from consumers.mailbox.posting import Posting
from consumers.moodle.causes import Fault
from consumers.moodle.intent import WantedUser, object_of, wanted_of
from consumers.moodle.work import Work
from consumers.timetable import answers
from consumers.timetable import connector as timetable
from consumers.timetable.address import Subject
from pipeline import outbox
from pipeline.runner import Effects
from pipeline.runner.admission import Admission
from pipeline.runner.announcement import Admitted
from pipeline.runner.conclusion import _conclusion
from pipeline.target import Done, HandlerOutcome, Retry, Waiting, digest_of
from schemas.account import Account, Stage
from schemas.envelope import Message
from schemas.events import DeadLetterRecorded
from tests.simulation.faults import Faults, both

_changes = difference.changes
_differing = Work.differing
_judge = answers.judge
_after = kit._after  # noqa: SLF001
_publish = Effects.publish
_enqueue = outbox.enqueue

PLANTED: Final = Faults()
_ENTRY = "consumers.directory.connector.wanted_fields"
_COMPARED = "consumers.directory.connector.compared"


def _shown_as(name: str, *values: str) -> Callable[..., dict[str, tuple[str, ...]]]:
    """What the directory is to show, with one attribute made otherwise."""
    return lambda *args: {**wanted_fields(*args), name: values}


def _not_compared(name: str) -> AbstractContextManager[object]:
    """One attribute of an entry is not compared."""

    def fields(*args: Any) -> dict[str, tuple[str, ...]]:
        return {key: values for key, values in wanted_fields(*args).items() if key != name}

    return patch(_ENTRY, fields)


def _unwritten(name: str) -> AbstractContextManager[object]:
    """A difference in one attribute of an entry is not written."""

    def changes(*args: Any) -> list[Modification]:
        return [change for change in _changes(*args) if change[1] != name]

    return patch.object(difference, "changes", changes)


@PLANTED.by("read an entry back and compare nothing", kit, "_after")
def _whatever_is_there(_account: Account, wanted: Wanted, found: TargetObject | None) -> HandlerOutcome:
    return kit._reached(wanted, found, changed=True)  # noqa: SLF001


@PLANTED.by("read a mailbox back and compare nothing", kit, "_after")
def _after_any_mailbox(account: Account, wanted: Wanted, found: TargetObject | None) -> HandlerOutcome:
    said = _after(account, wanted, found)
    written = WELCOME in wanted.fields and isinstance(said, Retry) and said.cause == kit.DIFFERS
    return Done(digest_of({}), changed=True) if written else said


def _differing_otherwise(
    same: Callable[[str, tuple[str, ...], tuple[str, ...]], bool],
) -> AbstractContextManager[object]:
    """Objects are compared by another test of name, wanted and present values."""

    def differs(wanted: Wanted, found: TargetObject | None) -> dict[str, tuple[str, ...]]:
        shown = {} if found is None else found.fields
        return {
            name: values
            for name, values in differing(wanted, found).items()
            if found is None or not same(name, values, shown.get(name, ()))
        }

    return patch("consumers.kit.handler.differing", differs)


def _small(values: tuple[str, ...]) -> list[str]:
    return [value.lower() for value in values]


def _without_case(self: Work) -> dict[str, str | int]:
    """Moodle's fields are compared without their case."""
    user = self.user
    return {
        name: value
        for name, value in _differing(self).items()
        if not isinstance(value, str) or str(getattr(user, name)).lower() != value.lower()
    }


PLANTED.update(
    {
        "leave a held entry unlocked": lambda: both(
            _unwritten(LOCK), patch(_COMPARED, lambda *args: replace(compared(*args), open=None))
        ),
        "leave held mail enabled": lambda: patch(_ENTRY, _shown_as("sesameMailEnabled", "TRUE")),
        "forget the groups of an entry": lambda: patch(_ENTRY, _shown_as("sesameGroup")),
        "write no password": lambda: both(
            patch.object(difference, "_password", lambda *_args: []), _not_compared("sesameCredentialRef")
        ),
        "never correct a name in the directory": lambda: both(
            _unwritten("displayName"), _not_compared("displayName")
        ),
        "never leave a cohort": lambda: _differing_otherwise(
            lambda name, wanted, shown: name == "cohorts" and set(wanted) <= set(shown)
        ),
        "compare Moodle without case": lambda: both(
            _differing_otherwise(lambda _name, wanted, shown: _small(wanted) == _small(shown)),
            patch.object(Work, "differing", _without_case),
        ),
    }
)

PLANTED.change(
    "suspend nobody in Moodle",
    "consumers.moodle.connector.object_of",
    new=lambda *args: replace(object_of(*args), open=None),
)
PLANTED.change("install no redirection", "consumers.mailbox.connector.script_of", new=lambda _account: None)
PLANTED.change("send no welcome", Posting, "_standing", new=lambda *_args: WelcomeStanding())
PLANTED.change("say that a welcome was sent", Posting, "_judge", new=lambda *_args: WelcomeStanding())
PLANTED.change("end no session of a mailbox", MailboxConnector, "sessions", new=False)
PLANTED.change("act before the leader", Admission, "_behind", new=lambda *_args: False)
PLANTED.change(
    "end no session while the leader is behind", "pipeline.engine.bell._shuts", new=lambda _event: False
)
PLANTED.change("take each requirement for met", "consumers.registry.account._meets", new=lambda *_args: True)
PLANTED.change(
    "tell nobody of a pending cohort", "consumers.moodle.connector.pending_of", new=lambda _account: None
)
PLANTED.change(
    "record no names of what is pending",
    "pipeline.runner.conclusion._conclusion",
    new=lambda *args: replace(_conclusion(*args), pending=()),
)
PLANTED.change(
    "ask for a calendar by a wrong address",
    *(timetable, "Subject"),
    new=lambda number, login, mail: Subject(number, login, mail + "."),
)
PLANTED.change(
    "let a hold shut nothing",
    *(Account, "access_open"),
    new=property(lambda self: self.stage in (Stage.ACTIVE, Stage.GRACE)),
)


@PLANTED.by("give a cohort before its enrolment", "consumers.moodle.connector.wanted_of")
def _wanted_at_once(account: Account, *args: Any, **named: Any) -> WantedUser | Fault:
    right = wanted_of(account, *args, **named)
    every = {each.key: each.name for each in account.cohorts}
    return replace(right, cohorts=every) if isinstance(right, WantedUser) else right


@PLANTED.by("take no calendar for one", timetable, "judge")
def _scheduled_anyway(*args: Any) -> Refused | None:
    seen = _judge(*args)
    return None if isinstance(seen, Held) else seen


@PLANTED.by("publish no waiting", Effects, "publish")
def _publish_no_waiting(
    self: Effects, admitted: Mapping[str, Admitted], outcomes: Mapping[str, HandlerOutcome]
) -> None:
    _publish(self, admitted, {n: each for n, each in outcomes.items() if not isinstance(each, Waiting)})


@PLANTED.by("announce no dead letter", "pipeline.dead_letters.events.outbox.enqueue")
def _enqueue_no_letter(connection: Connection, message: Message, *args: Any) -> None:
    if not isinstance(message.event, DeadLetterRecorded):
        _enqueue(connection, message, *args)
