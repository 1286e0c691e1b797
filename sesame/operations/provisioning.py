"""One person now, at each target, with every step told: by the same effects as a consumer's, and no others.

The lease decides who may write, so that this may run beside `sesame run`, or without it. No offset is read or
committed: whatever the log holds for this student is recognised as done when it is read.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline import accounts, parking, quarantine, target_states
from pipeline.db.database import Database
from pipeline.engine import Bell, WorkItem
from pipeline.errors import Misconfigured, TargetDown, Throttled
from pipeline.runner import Effects
from pipeline.target import Closed, Dead, Done, Handler, HandlerOutcome, Retry, Waiting
from schemas.account import Account, Lane
from sesame.operations.diagnosis import explain

Say = Callable[[str, str], None]
"""Told (target, what was done or found), step by step, as it happens."""


@dataclass(frozen=True)
class Ended:
    """How it ended at one target: done, waiting, retry, dead, elsewhere, quarantined; and why, in words."""

    target: str
    state: str
    text: str

    @property
    def well(self) -> bool:
        """Whether nobody has to do anything about it."""
        return self.state in ("done", "waiting")


class Provisioning:
    """Brings one student to the newest version, target by target.

    Args:
        database: the store.
        say: told each step.
    """

    def __init__(self, database: Database, say: Say) -> None:
        self._database = database
        self._say = say

    def account(self, student_number: str) -> Account | None:
        """The newest account, if there is one."""
        with self._database.read() as connection:
            return accounts.newest(connection, [student_number]).get(student_number)

    def at(self, student_number: str, handler: Handler, effects: Effects) -> Ended:
        """Compare the student with one target and write what differs.

        Raises:
            TargetDown, Throttled, Misconfigured: nothing is known of the outcome; nobody is charged.
            StoreUnavailable, LogError: the same; run it again.
        """
        target = handler.name
        with self._database.read() as connection:
            standing = quarantine.of(connection, target)
        if standing is not None:
            return Ended(
                target,
                "quarantined",
                f"the consumer is in quarantine: {standing.reason}. sesame quarantine lift {target}",
            )
        bell = Bell(student_number, 0, Lane.PERSONAL, f"provision-{secrets.token_hex(12)}", replay=True)
        admitted = effects.admit([WorkItem((bell,))])
        one = admitted.get(student_number)
        if one is None:
            return self._not_admitted(student_number, target)
        until = _time(one.lease_until)
        self._say(target, f"lease taken: epoch {one.epoch}, until {until} at the latest")
        outcome = one.decided
        if outcome is None:
            try:
                self._tell_difference(handler, one.account)
                outcome = handler.handle([one.task])[student_number]
            except (TargetDown, Throttled, Misconfigured) as error:
                effects.give_back(admitted, unknown=error.unknown)
                self._say(target, "lease given back: nobody is charged")
                raise
        outcome = effects.finish(admitted, {student_number: outcome})[student_number]
        self._say(target, "announced on the log, recorded in the store, lease given back")
        return _ended(target, outcome)

    def _tell_difference(self, handler: Handler, account: Account) -> None:
        found = handler.preview([account])[account.student_number]
        differs = ", ".join(found.differs)
        self._say(handler.name, f"read: {'differs: ' + differs if differs else 'nothing differs'}")
        if found.obstacle:
            self._say(handler.name, f"in the way: {found.obstacle}: {explain(found.obstacle).what}")

    def _not_admitted(self, student_number: str, target: str) -> Ended:
        """The effects found nothing to do, or somebody else at work: the store says which."""
        with self._database.read() as connection:
            row = parking.parked_of(connection, target, [student_number]).get(student_number)
            state = target_states.states_of(connection, target, [student_number]).get(student_number)
        if row is None:
            version = state.applied_version if state is not None else 0
            return Ended(target, "done", f"nothing to do: it has version {version}")
        when = f"; it is looked at again at {_time(row.due_at)}" if row.due_at is not None else ""
        words = row.message or explain(row.cause).what
        return Ended(target, "elsewhere", f"{words}{when}, and goes on by itself")


def _ended(target: str, outcome: HandlerOutcome) -> Ended:
    match outcome:
        case Done(digest, changed):
            what = "written and read back" if changed else "nothing had to be written; read back"
            return Ended(target, "done", f"{what}, digest {digest[:19]}…")
        case Waiting(reason, pending):
            names = f" ({', '.join(pending)})" if pending else ""
            words = explain(reason)
            return Ended(target, "waiting", f"{reason}{names}: {words.what} {words.next}")
        case Retry(cause, message):
            return Ended(target, "retry", f"{cause}: {message}; it is tried again by itself")
        case Dead(cause, message):
            return Ended(target, "dead", f"{cause}: {message}")
        case Closed():
            return Ended(target, "elsewhere", "access is shut; the rest follows the directory")


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).astimezone().strftime("%H:%M:%S")
