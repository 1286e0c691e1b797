"""The first effect: select students with work to do, and take their leases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, FromClause, Select, String, and_, bindparam, select, true

from pipeline import accounts, parking, replays, target_states
from pipeline.db.bulk_sql import each, is_among, values_given
from pipeline.db.database import Database
from pipeline.db.persons import Forgotten
from pipeline.dead_letters import events as dead_letters
from pipeline.engine.bell import WorkItem
from pipeline.parking import Kind, Parked
from pipeline.parking.rows import (
    LEASE_RETRY_MARGIN_S,
    Why,
    lane_for,
    parked_in,
    parked_item,
    replays_of,
)
from pipeline.parking.rows import parked as lot
from pipeline.runner.announcement import Admitted
from pipeline.target import Dead, HandlerOutcome, Retry
from pipeline.target_states import TargetState, state_in
from schemas.account import Account, Stage
from schemas.envelope import event_id

AFTER_LEADER = "after_leader"
_WAITED_S_MAX = 0.5  # of a lease's time: by less its margin is not spent


@dataclass
class _Known:
    """The store's view of some students, at one moment.

    Attributes:
        began, now: that moment, by this process's clock and by the database (epoch seconds).
        led: the versions that the target which this one follows has.
    """

    began: float
    now: float = 0.0
    accounts: dict[str, Account] = field(default_factory=dict)
    states: dict[str, TargetState] = field(default_factory=dict)
    parked: dict[str, Parked] = field(default_factory=dict)
    led: dict[str, int] = field(default_factory=dict)


_STATE: Final = tuple(column.name for column in target_states.target_states.c)
_PARKED: Final = tuple(column.name for column in lot.c)


@cache
def _knowing(is_sqlite: bool) -> Select[Any]:  # noqa: FBT001  # by its position, for the cache
    number = each(String(), is_sqlite=is_sqlite)
    account, state = accounts.accounts, target_states.target_states
    leader = state.alias()
    source: FromClause = number.table
    for table, condition in (
        (account, true()),
        (state, state.c.target == bindparam("of_target")),
        (lot, lot.c.consumer == bindparam("of_target")),
        (leader, leader.c.target == bindparam("of_leader")),
    ):
        own = table.c.student_number
        source = source.outerjoin(table, and_(condition, own == number, is_among(own, is_sqlite=is_sqlite)))
    query = select(number, account.c.document, leader.c.applied_version, *state.c, *lot.c)
    return query.select_from(source)


class Admission:
    """Admits work items, any number in one transaction. Arguments as in `Effects`."""

    def __init__(
        self,
        *,
        target: str,
        owner: str,
        database: Database,
        lease_s: float,
        follows: str | None,
        clock: Callable[[], float],
        forgotten: Forgotten,
    ) -> None:
        self._target = target
        self._owner = owner
        self._database = database
        self._lease_s = lease_s
        self._follows = follows
        self._clock = clock
        self._forgotten = forgotten
        self._over: dict[str, int] = {}  # own leases, by epoch, whose calls are over: see `over`

    def over(self, admitted: Mapping[str, Admitted], outcomes: Mapping[str, HandlerOutcome]) -> None:
        """Keep the leases of items whose outcomes could not be recorded; they repeat.

        A student whose call is known to be over may be admitted again at once. One whose outcome is unknown
        may not, and only this process knows it.
        """
        for number, outcome in outcomes.items():
            if not (isinstance(outcome, Retry) and outcome.unknown):
                self._over[number] = admitted[number].epoch

    def admit(self, items: Sequence[WorkItem], *, calling: bool) -> dict[str, Admitted]:
        """Take leases for students with work; park those that another process works on.

        `items`: at most one per student. `calling`: the target will be called: no student is admitted while
        an earlier call may have an effect. Returns the items that hold a lease now, by student number.
        """
        items = sorted(items, key=lambda item: item.student_number)  # all lock rows in one order

        def admit(connection: Connection) -> dict[str, Admitted]:
            known = self._load(connection, [item.student_number for item in items])
            found = (self._one(connection, item, known, calling=calling) for item in items)
            admitted = {one.account.student_number: one for one in found if one is not None}
            self._lease(connection, admitted, known)
            return admitted

        admitted = self._database.transact(admit)
        for item in items:
            self._over.pop(item.student_number, None)
        return admitted

    def _load(self, connection: Connection, numbers: Sequence[str]) -> _Known:
        """Load all that is known by one statement, as of one moment.

        So no newer account than the loaded one was applied: a lease requires the epoch that was read with it.
        """
        known = _Known(began=self._clock())
        is_sqlite, names = self._database.is_sqlite, {"of_target": self._target, "of_leader": self._follows}
        parameters = values_given(numbers, is_sqlite=is_sqlite) | names
        known.now, rows = self._database.rows_at(connection, _knowing(is_sqlite), parameters)
        for number, document, led, *others in rows:
            state, parked = others[: len(_STATE)], others[len(_STATE) :]  # and perhaps the time
            if document is not None:
                known.accounts[number] = Account.model_validate_json(document).at(self._target)
            if led is not None:
                known.led[number] = led
            if state[0] is not None:
                known.states[number] = state_in(dict(zip(_STATE, state, strict=True)))
            if parked[0] is not None:
                known.parked[number] = parked_in(dict(zip(_PARKED, parked, strict=False)))
        return known

    def _one(
        self, connection: Connection, item: WorkItem, known: _Known, *, calling: bool
    ) -> Admitted | None:
        number = item.student_number
        account, state = known.accounts.get(number), known.states.get(number)
        parked = self._rang(connection, item, known.parked.get(number))
        if account is None:
            if not self._forgotten(connection, number):
                self._record_unknown(connection, item, known.now)
            replays.end(connection, self._target, {number: item.replays}, failed=[number])
        elif state is not None and self._blocked(state, known.now, calling=calling):
            until = self._believable(connection, state, known.now)
            self._park_leased(connection, item, parked, known.now, until)
        elif _not_asked_for(account):
            self._rest(connection, parked)
        elif self._behind(item, parked, account, known.led.get(number, 0)):
            if account.access_open or parked is None:
                self._wait_for_leader(connection, item, state, parked, known.now)
            if not account.access_open:  # what is parked rests once access is shut
                return self._with_lease(item, account, state, parked, known, close_only=True)
        elif _caught_up(item, account, state, parked):
            if parked is not None:
                parking.unpark(connection, self._target, number, version=parked.version, bells=parked.bells)
        else:
            return self._with_lease(item, account, state, parked, known)
        return None

    def _with_lease(
        self,
        item: WorkItem,
        account: Account,
        state: TargetState | None,
        parked: Parked | None,
        known: _Known,
        *,
        close_only: bool = False,
    ) -> Admitted:
        epoch = 1 + (state.lease_epoch if state is not None else 0)
        until = known.now + self._lease_s
        return Admitted(item, account, epoch, state, parked, known.now, until, known.began, close_only)

    def _rang(self, connection: Connection, item: WorkItem, parked: Parked | None) -> Parked | None:
        if parked is None or not item.rang:
            return parked
        return parking.ring(
            connection,
            self._target,
            parked,
            version=item.version,
            bells=item.rang,
            lane=lane_for(item, parked),
            replay=item.replays[-1] if item.replays else None,
        )

    def _blocked(self, state: TargetState, now: float, *, calling: bool) -> bool:
        """Return whether an earlier call may still have an effect. Not if this process saw its end."""
        over = self._over.get(state.student_number) == state.lease_epoch
        if state.lease_owner == self._owner and (over or not calling):
            return False
        return state.held(now)

    def _believable(self, connection: Connection, state: TargetState, now: float) -> float:
        """Return the lease's end, shortened if the database's clock went back.

        An end too far away to have been set by the present clock shows that. The lease was taken before now,
        so a lease's time from now on is enough.
        """
        latest = now + 2 * self._lease_s  # another process may have longer ones
        if state.lease_until <= latest:
            return state.lease_until
        target_states.shorten(connection, self._target, state.student_number, state.lease_epoch, latest)
        return latest

    def _behind(self, item: WorkItem, parked: Parked | None, account: Account, led: int) -> bool:
        """Return whether the target that this one follows lacks the newest version.

        The leader announces a version before it records it: a version that rang, now or in what is parked,
        counts.
        """
        if self._follows is None or account.stage is Stage.PRECREATED:
            return False
        rung = max(item.version, parked.version if parked is not None else 0)
        return max(rung, led) < account.version

    def _lease(self, connection: Connection, admitted: dict[str, Admitted], known: _Known) -> None:
        now = known.now
        epochs = {number: one.epoch for number, one in admitted.items()}
        taken = target_states.lease(
            connection, self._database, self._target, epochs, owner=self._owner, until=now + self._lease_s
        )
        for number in epochs.keys() - taken:  # another process took it since this one looked
            late = admitted.pop(number)
            self._park_leased(connection, late.item, late.parked, now, now)
        waited = self._clock() - known.began > _WAITED_S_MAX  # another transaction had the rows
        if admitted and waited:
            until = self._database.now(connection) + self._lease_s
            target_states.prolong(connection, self._target, sorted(admitted), until)
            for number, one in admitted.items():
                admitted[number] = replace(one, lease_until=until)

    # --- not admitted ---------------------------------------------------------------------------------

    def _rest(self, connection: Connection, parked: Parked | None) -> None:
        """Leave this student to the next event: a due row would be polled without end."""
        if parked is not None:
            parking.rest(connection, self._target, parked)

    def _wait_for_leader(
        self,
        connection: Connection,
        item: WorkItem,
        state: TargetState | None,
        parked: Parked | None,
        now: float,
    ) -> None:
        """Wait for the leader's next outcome; keep a requested replay until then."""
        done = state.replayed_event_id if state is not None else None
        if parked is not None or all(replay == done for replay in item.replays):
            self._rest(connection, parked)
            return
        why = Why(Kind.WAITING, None, AFTER_LEADER, f"a replay, after {self._follows}")
        parking.park(connection, self._database, self._target, parked_item(item, None, now, why), seen=None)

    def _park_leased(
        self, connection: Connection, item: WorkItem, parked: Parked | None, now: float, until: float
    ) -> None:
        due_at = until + LEASE_RETRY_MARGIN_S
        if parked is not None:
            parking.postpone(connection, self._target, parked, due_at, now=now)
            return
        why = Why(Kind.LEASED, due_at, "leased", "another call may still be working on this student")
        parking.park(connection, self._database, self._target, parked_item(item, None, now, why), seen=None)

    def _record_unknown(self, connection: Connection, item: WorkItem, now: float) -> None:
        message = (
            "the event names a student whom the registry does not know: find the producer that published it,"
            " or import the registrar's file again"
        )
        dead = Dead("unknown_student", message)
        letter_id = event_id("dead-letter", self._target, item.student_number, item.bell.event_id)
        letter = dead_letters.letter_of(self._target, item, dead, letter_id=letter_id, now=now)
        dead_letters.record_work(connection, self._database, letter, item.student_number)


def _not_asked_for(account: Account) -> bool:
    """Whether no target is touched for this account."""
    return account.stage is Stage.PRECREATED and account.activated_at is None


def _caught_up(item: WorkItem, account: Account, state: TargetState | None, parked: Parked | None) -> bool:
    """Return whether the target has this version and no comparison is requested.

    A student who was parked only because a call was under way has nothing else to do either.
    """
    if state is None or state.suspect or state.abandoned:
        return False
    if any(replay != state.replayed_event_id for replay in replays_of(item, parked)):
        return False
    return state.applied_version >= account.version and (parked is None or parked.kind.only_looks)
