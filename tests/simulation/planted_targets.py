"""Faults of targets' contents, comparisons and reports to plant, by name. See `planted`.

The checker sees them because it derives what is right without the shipped code (`oracle`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection

from consumers.directory import difference
from consumers.directory.entry import wanted_fields
from consumers.directory.objects import LOCK, EntryObject, compared
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
from tests.simulation.planted_registry import both

_changes = difference.changes
_differing = Work.differing
_judge = answers.judge
_after = kit._after  # noqa: SLF001
_publish = Effects.publish
_enqueue = outbox.enqueue

_ENTRY = "consumers.directory.connector.wanted_fields"
_COMPARED = "consumers.directory.connector.compared"
_WANTED = "consumers.moodle.connector.wanted_of"


def _attribute(name: str, *values: str) -> AbstractContextManager[object]:
    """The directory's entry gets one wrong attribute."""
    return patch(_ENTRY, lambda *args: {**wanted_fields(*args), name: values})


def _moodle(make: Callable[[Account, WantedUser], WantedUser]) -> AbstractContextManager[object]:
    """Moodle's user is wanted otherwise."""

    def wanted(account: Account, *args: Any, **named: Any) -> WantedUser | Fault:
        right = wanted_of(account, *args, **named)
        return make(account, right) if isinstance(right, WantedUser) else right

    return patch(_WANTED, wanted)


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


def _no_change_of(name: str) -> AbstractContextManager[object]:
    """A difference in one attribute is neither written nor missed on read-back."""
    return both(_unwritten(name), _not_compared(name))


def _without_access(*args: Any) -> EntryObject:
    """An entry's lock is not looked at."""
    return replace(compared(*args), open=None)


def _whatever_is_there(_account: Account, wanted: Wanted, found: TargetObject | None) -> HandlerOutcome:
    """A write is taken for done, with any read-back."""
    return kit._reached(wanted, found, changed=True)  # noqa: SLF001


def _after_any_mailbox(account: Account, wanted: Wanted, found: TargetObject | None) -> HandlerOutcome:
    """A written mailbox is taken for right, with any read-back."""
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


def _in_one_case(_name: str, wanted: tuple[str, ...], shown: tuple[str, ...]) -> bool:
    return [value.lower() for value in wanted] == [value.lower() for value in shown]


def _without_case(self: Work) -> dict[str, str | int]:
    """Moodle's fields are compared without their case."""
    user = self.user
    return {
        name: value
        for name, value in _differing(self).items()
        if not isinstance(value, str) or str(getattr(user, name)).lower() != value.lower()
    }


def _more_than_enough(name: str, wanted: tuple[str, ...], shown: tuple[str, ...]) -> bool:
    return name == "cohorts" and set(wanted) <= set(shown)


def _never_shut(*args: Any) -> TargetObject:
    """Moodle's users never show shut access."""
    return replace(object_of(*args), open=None)


def _scheduled_anyway(*args: Any) -> Refused | None:
    """A student without a calendar is done all the same."""
    seen = _judge(*args)
    return None if isinstance(seen, Held) else seen


def _publish_no_waiting(
    self: Effects, admitted: Mapping[str, Admitted], outcomes: Mapping[str, HandlerOutcome]
) -> None:
    """The log does not show what a student waits for."""
    _publish(self, admitted, {n: each for n, each in outcomes.items() if not isinstance(each, Waiting)})


def _without_names(*args: Any) -> Any:
    """A wait is recorded without its names."""
    return replace(_conclusion(*args), pending=())


def _enqueue_no_letter(connection: Connection, message: Message, *args: Any) -> None:
    """A dead letter is a row without an event."""
    if not isinstance(message.event, DeadLetterRecorded):
        _enqueue(connection, message, *args)


def _open_whatever_is_held(self: Account) -> bool:
    """A hold shuts nothing."""
    return self.stage in (Stage.ACTIVE, Stage.GRACE)


PLANTED: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "leave a held entry unlocked": lambda: both(_unwritten(LOCK), patch(_COMPARED, _without_access)),
    "leave held mail enabled": lambda: _attribute("sesameMailEnabled", "TRUE"),
    "forget the groups of an entry": lambda: _attribute("sesameGroup"),
    "write no password": lambda: both(
        patch.object(difference, "_password", lambda *_args: []), _not_compared("sesameCredentialRef")
    ),
    "read an entry back and compare nothing": lambda: patch.object(kit, "_after", _whatever_is_there),
    "never correct a name in the directory": lambda: _no_change_of("displayName"),
    "suspend nobody in Moodle": lambda: patch("consumers.moodle.connector.object_of", _never_shut),
    "give a cohort before its enrolment": lambda: _moodle(
        lambda account, right: replace(right, cohorts={each.key: each.name for each in account.cohorts})
    ),
    "never leave a cohort": lambda: _differing_otherwise(_more_than_enough),
    "compare Moodle without case": lambda: both(
        _differing_otherwise(_in_one_case), patch.object(Work, "differing", _without_case)
    ),
    "read a mailbox back and compare nothing": lambda: patch.object(kit, "_after", _after_any_mailbox),
    "install no redirection": lambda: patch("consumers.mailbox.connector.script_of", lambda _account: None),
    "send no welcome": lambda: patch.object(Posting, "_standing", lambda *_args: WelcomeStanding()),
    "say that a welcome was sent": lambda: patch.object(Posting, "_judge", lambda *_args: WelcomeStanding()),
    "end no session of a mailbox": lambda: patch.object(MailboxConnector, "sessions", new=False),
    "act before the leader": lambda: patch.object(Admission, "_behind", lambda *_args: False),
    "end no session while the leader is behind": lambda: patch(
        "pipeline.engine.bell._shuts", lambda _event: False
    ),
    "take no calendar for one": lambda: patch.object(timetable, "judge", _scheduled_anyway),
    "ask for a calendar by a wrong address": lambda: patch.object(
        timetable, "Subject", lambda number, login, mail: Subject(number, login, mail + ".")
    ),
    "let a hold shut nothing": lambda: patch.object(Account, "access_open", property(_open_whatever_is_held)),
    "take each requirement for met": lambda: patch("consumers.registry.account._meets", lambda *_args: True),
    "tell nobody of a pending cohort": lambda: patch(
        "consumers.moodle.connector.pending_of", lambda _account: None
    ),
    "record no names of what is pending": lambda: patch(
        "pipeline.runner.conclusion._conclusion", _without_names
    ),
    "publish no waiting": lambda: patch.object(Effects, "publish", _publish_no_waiting),
    "announce no dead letter": lambda: patch(
        "pipeline.dead_letters.events.outbox.enqueue", _enqueue_no_letter
    ),
}
