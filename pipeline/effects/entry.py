"""The first effect: who of a batch has something to do, and the leases for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from pipeline import accounts, dead_letters, parking, replays, target_states
from pipeline.announce import Entered, lane_of, replays_of
from pipeline.db.database import Database
from pipeline.effects.lots import LEASE_RETRY_MARGIN_S, Why, lot_of
from pipeline.engine import WorkItem
from pipeline.parking import Kind, Parked
from pipeline.target import Dead, HandlerOutcome, Retry, Task, Waiting
from pipeline.target_states import TargetState
from schemas.account import Account, Stage
from schemas.envelope import event_id

ADMINISTRATIVE_PENDING = "administrative_enrolment_pending"
AFTER_LEADER = "after_leader"
_WAITED_S_MAX = 0.5  # of a lease's time: by less its margin is not spent


@dataclass
class Entry:
    """What `enter` found: items for the handler, and outcomes that need no target."""

    work: dict[str, Entered] = field(default_factory=dict)
    decided: dict[str, HandlerOutcome] = field(default_factory=dict)

    @property
    def tasks(self) -> list[Task]:
        """What the handler is called with."""
        return [entered.task for number, entered in self.work.items() if number not in self.decided]

    @property
    def calls(self) -> bool:
        """Whether the handler has anything to do."""
        return len(self.work) > len(self.decided)

    def uncalled(self, items: Iterable[WorkItem]) -> frozenset[str]:
        """Those of these items' students for whom the handler is not called."""
        numbers = {item.student_number for item in items}
        return frozenset(numbers - (self.work.keys() - self.decided.keys()))

    def part(self, items: Iterable[WorkItem]) -> Entry:
        """What concerns these items only: what entered together may go on apart."""
        numbers = [item.student_number for item in items]
        return Entry(
            {number: self.work[number] for number in numbers if number in self.work},
            {number: self.decided[number] for number in numbers if number in self.decided},
        )

    @classmethod
    def together(cls, parts: Iterable[Entry]) -> Entry:
        """What entered apart and ends together. No student is in two of them: each has one place."""
        whole = cls()
        for part in parts:
            whole.work |= part.work
            whole.decided |= part.decided
        return whole


@dataclass(frozen=True)
class _Known:
    """What the store says of the students of a batch, at one moment."""

    now: float
    accounts: Mapping[str, Account]
    states: Mapping[str, TargetState]
    parked: Mapping[str, Parked]
    leader: Mapping[str, TargetState]


class Door:
    """Lets items in, one batch in one transaction. Arguments as in `Effects`."""

    def __init__(
        self, *, target: str, owner: str, database: Database, lease_s: float, follows: str | None
    ) -> None:
        self._target = target
        self._owner = owner
        self._database = database
        self._lease_s = lease_s
        self._follows = follows
        self._ended: dict[str, int] = {}  # own leases, by epoch, whose calls are over: see `ended`

    def ended(self, entry: Entry, outcomes: Mapping[str, HandlerOutcome]) -> None:
        """These outcomes could not be recorded, so the leases are still held, and the items will repeat.

        Whose call is known to be over may enter again at once. Whose outcome is unknown may not, and only
        this process knows it.
        """
        for number, outcome in outcomes.items():
            if not (isinstance(outcome, Retry) and outcome.unknown):
                self._ended[number] = entry.work[number].epoch

    def enter(self, items: Sequence[WorkItem], *, calling: bool) -> Entry:
        """Take the leases of those who have something to do; park those whom somebody else works on.

        Args:
            items: at most one per student.
            calling: the target will be called: nobody is let in while an earlier call may have an effect.
        """
        items = sorted(items, key=lambda item: item.student_number)  # all lock rows in one order

        def admit(connection: Connection) -> Entry:
            entry = Entry()
            known = self._load(connection, [item.student_number for item in items])
            for item in items:
                entered = self._admit(connection, item, known, calling=calling)
                if entered is not None:
                    entry.work[item.student_number] = entered
            self._lease(connection, entry, known.now)
            return entry

        entry = self._database.transact(admit)
        for item in items:
            self._ended.pop(item.student_number, None)
        for number, entered in entry.work.items():
            if entered.account.stage is Stage.PRECREATED:
                entry.decided[number] = Waiting(ADMINISTRATIVE_PENDING)
        return entry

    def _load(self, connection: Connection, numbers: Sequence[str]) -> _Known:
        """Each statement sees what was committed before it. The states come before the accounts: a lease
        follows the epoch that was seen, so that no newer account was applied than the one that is seen."""
        now = self._database.now(connection)
        states = target_states.states_of(connection, self._target, numbers)
        leader = target_states.states_of(connection, self._follows, numbers) if self._follows else {}
        return _Known(
            now=now,
            accounts=accounts.newest(connection, numbers),
            states=states,
            parked=parking.parked_of(connection, self._target, numbers),
            leader=leader,
        )

    def _admit(
        self, connection: Connection, item: WorkItem, known: _Known, *, calling: bool
    ) -> Entered | None:
        number = item.student_number
        account, state = known.accounts.get(number), known.states.get(number)
        lot = self._rang(connection, item, known.parked.get(number))
        if account is None:
            self._bury_unknown(connection, item, known.now)
        elif state is not None and self._blocked(state, known.now, calling=calling):
            until = self._believable(connection, state, known.now)
            self._park_leased(connection, item, lot, known.now, until)
        elif _not_asked_for(account):
            self._rest(connection, lot)
        elif self._behind(item, lot, account, known.leader.get(number)):
            if account.access_open or lot is None:
                self._wait_for_leader(connection, item, state, lot, known.now)
            if not account.access_open:  # what is parked rests once access is shut
                return self._entered(item, account, state, lot, known.now, close_only=True)
        elif _caught_up(item, account, state, lot):
            if lot is not None:
                parking.unpark(connection, self._target, number, version=lot.version, bells=lot.bells)
        else:
            return self._entered(item, account, state, lot, known.now)
        return None

    def _entered(
        self,
        item: WorkItem,
        account: Account,
        state: TargetState | None,
        lot: Parked | None,
        now: float,
        *,
        close_only: bool = False,
    ) -> Entered:
        epoch = 1 + (state.lease_epoch if state is not None else 0)
        return Entered(item, account, epoch, state, lot, now, now + self._lease_s, close_only)

    def _rang(self, connection: Connection, item: WorkItem, lot: Parked | None) -> Parked | None:
        if lot is None or not item.rang:
            return lot
        return parking.ring(
            connection,
            self._target,
            lot,
            version=item.version,
            bells=item.rang,
            lane=lane_of(item, lot),
            replay=item.replays[-1] if item.replays else None,
        )

    def _blocked(self, state: TargetState, now: float, *, calling: bool) -> bool:
        """Whether an earlier call may still have an effect. What this process itself saw end has none."""
        over = self._ended.get(state.student_number) == state.lease_epoch
        if state.lease_owner == self._owner and (over or not calling):
            return False
        return state.held(now)

    def _believable(self, connection: Connection, state: TargetState, now: float) -> float:
        """The lease's end. One so far away that nobody can have taken it means that the database's clock went
        back since: whoever took it, took it before now, so that a lease's time from now on is enough."""
        latest = now + 2 * self._lease_s  # another process may have longer ones
        if state.lease_until <= latest:
            return state.lease_until
        target_states.shorten(connection, self._target, state.student_number, state.lease_epoch, latest)
        return latest

    def _behind(
        self, item: WorkItem, lot: Parked | None, account: Account, leader: TargetState | None
    ) -> bool:
        """Whether the target that this one follows has not the newest version yet. It says what it has before
        it records it: what rang earlier, and is parked, counts as what rings now."""
        if self._follows is None or account.stage is Stage.PRECREATED:
            return False
        rung = max(item.version, lot.version if lot is not None else 0)
        return max(rung, leader.applied_version if leader is not None else 0) < account.version

    def _lease(self, connection: Connection, entry: Entry, now: float) -> None:
        epochs = {number: entered.epoch for number, entered in entry.work.items()}
        taken = target_states.lease(
            connection,
            self._database,
            self._target,
            epochs,
            owner=self._owner,
            until=now + self._lease_s,
        )
        for number in epochs.keys() - taken:  # another process took it since this one looked
            entered = entry.work.pop(number)
            self._park_leased(connection, entered.item, entered.parked, now, now)
        had_at = self._database.now(connection)
        if entry.work and had_at > now + _WAITED_S_MAX:  # somebody else's transaction had the rows
            until = had_at + self._lease_s
            target_states.prolong(connection, self._target, sorted(entry.work), until)
            for number, entered in entry.work.items():
                entry.work[number] = replace(entered, lease_until=until)

    # --- those who do not enter -------------------------------------------------------------------

    def _rest(self, connection: Connection, lot: Parked | None) -> None:
        """Only an event wakes this student: a row that stayed due would be looked at without end."""
        if lot is not None:
            parking.rest(connection, self._target, lot)

    def _wait_for_leader(
        self,
        connection: Connection,
        item: WorkItem,
        state: TargetState | None,
        lot: Parked | None,
        now: float,
    ) -> None:
        """The leader's next outcome rings again; a replay that was asked for is kept until then."""
        done = state.replayed_event_id if state is not None else None
        if lot is not None or all(replay == done for replay in item.replays):
            self._rest(connection, lot)
            return
        why = Why(Kind.WAITING, None, AFTER_LEADER, f"a replay, after {self._follows}")
        parking.park(connection, self._database, self._target, lot_of(item, None, now, why), seen=None)

    def _park_leased(
        self, connection: Connection, item: WorkItem, lot: Parked | None, now: float, until: float
    ) -> None:
        due_at = until + LEASE_RETRY_MARGIN_S
        if lot is not None:
            parking.postpone(connection, self._target, lot, due_at, now=now)
            return
        why = Why(Kind.LEASED, due_at, "leased", "another call may still be working on this student")
        parking.park(connection, self._database, self._target, lot_of(item, None, now, why), seen=None)

    def _bury_unknown(self, connection: Connection, item: WorkItem, now: float) -> None:
        message = (
            "the event names a student whom the registry does not know: find the producer that published it,"
            " or import the registrar's file again"
        )
        dead = Dead("unknown_student", message)
        letter_id = event_id("dead-letter", self._target, item.student_number, item.bell.event_id)
        letter = letter_of(self._target, item, dead, letter_id=letter_id, now=now)
        dead_letters.record_work(connection, self._database, letter, item.student_number)
        ended = {item.student_number: item.replays}
        replays.end(connection, self._target, ended, failed=[item.student_number])


def letter_of(
    target: str,
    item: WorkItem,
    dead: Dead,
    *,
    letter_id: str,
    now: float,
    attempts: int = 1,
    version: int | None = None,
) -> dead_letters.DeadLetter:
    """The dead letter that an item leaves."""
    place = item.places[-1] if item.places else None
    return dead_letters.DeadLetter(
        id=letter_id,
        consumer=target,
        student_number=item.student_number,
        version=version,
        cause=dead.cause,
        message=dead.message,
        attempts=attempts,
        recorded_at=now,
        topic=place.topic if place else None,
        partition=place.partition if place else None,
        offset=place.offset if place else None,
        timestamp_ms=place.timestamp_ms if place else None,
        event_id=item.bell.event_id,
    )


def _not_asked_for(account: Account) -> bool:
    """Whether no target is touched for this account."""
    never = account.stage is Stage.PRECREATED and account.activated_at is None
    return never or account.stage is Stage.ERASED


def _caught_up(item: WorkItem, account: Account, state: TargetState | None, lot: Parked | None) -> bool:
    """Whether the target is known to have this version, and nobody asked for a comparison.

    One who was parked only because a call was under way has nothing else to do either.
    """
    if state is None or state.suspect or state.abandoned:
        return False
    if any(replay != state.replayed_event_id for replay in replays_of(item, lot)):
        return False
    return state.applied_version >= account.version and (lot is None or lot.kind.only_looks)
