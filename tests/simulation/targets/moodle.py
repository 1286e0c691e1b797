"""A Moodle site in memory behind the Moodle consumer's port. Unlike the directory it has no idea of an
account's version: a write that comes late is carried out, whatever was written since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from pydantic import SecretStr

from consumers.moodle.causes import Cause, Fault
from consumers.moodle.deadline import Deadline
from consumers.moodle.intent import wanted_of
from consumers.moodle.port import Adopted, Result, Seen, User, Wanted
from consumers.moodle.settings import MoodleSettings
from pipeline.errors import Misconfigured, TargetDown, Throttled
from schemas.account import Account
from tests.simulation.targets.target import Fate, Target

MOODLE: Final = MoodleSettings(
    base_url="http://127.0.0.1",
    token=SecretStr("none"),
    call_s_max=8.0,
    connect_timeout_s=0.5,
    write_timeout_s=1.0,
    user_batch=4,
    operator_recheck_s=120.0,
)


class SimulatedMoodle(Target):
    """See `consumers.moodle.port.MoodlePort`."""

    throttles = True

    def __init__(self, *args: object) -> None:
        super().__init__("moodle", *args)  # type: ignore[arg-type]  # as `Target` takes them
        self.users: dict[str, User] = {}
        self.cohorts: dict[str, set[str]] = {}

    def apply(self, batch: Sequence[Wanted], deadline: Deadline) -> Mapping[str, Result]:
        """See `MoodlePort.apply`."""
        with self._doubting(deadline):
            self.meet()
            results = {wanted.idnumber: self._apply(wanted, deadline) for wanted in batch}
            self.meet()  # it is read back by another call
        return {number: replace(result, seen=self.seen(number)) for number, result in results.items()}

    def close(self, idnumbers: Sequence[str], deadline: Deadline) -> frozenset[str]:
        """See `MoodlePort.close`. A write that was not answered is for `apply` to find out."""
        with self._doubting(deadline):
            self.meet()
            return frozenset(number for number in idnumbers if self._close(number, deadline))

    def read(
        self, idnumbers: Sequence[str], deadline: Deadline, adopted: Mapping[str, Adopted] | None = None
    ) -> Mapping[str, Seen]:
        """See `MoodlePort.read`."""
        self.meet()
        return {number: self.seen(number) for number in idnumbers}

    def foresee(
        self, batch: Sequence[Wanted], seen: Mapping[str, Seen], deadline: Deadline
    ) -> Mapping[str, Fault]:
        """See `MoodlePort.foresee`: nothing here is anybody else's."""
        return {}

    def dump(self, *, strangers: bool = False) -> Iterator[Seen]:
        """See `MoodlePort.dump`."""
        yield from (self.seen(number) for number in self.users)

    def probe(self, deadline: Deadline | None = None) -> None:
        """See `MoodlePort.probe`."""
        super().probe()

    def shut(self) -> None:
        """See `MoodlePort.shut`."""

    def seen(self, number: str) -> Seen:
        """A student as the site shows it."""
        user = self.users.get(number)
        inside = tuple(sorted(key for key, members in self.cohorts.items() if number in members))
        return Seen(number, (user,) if user is not None else (), inside)

    def drift(self, number: str) -> bool:
        """See `Target.drift`."""
        user = self.users.get(number)
        if user is not None:
            self.users[number] = replace(user, lastname="By Hand", suspended=not user.suspended)
            for members in self.cohorts.values():
                members.discard(number)
        return user is not None

    def differs(self, account: Account) -> str:
        """See `Target.differs`."""
        wanted, user = wanted_of(account, MOODLE), self.users.get(account.student_number)
        if isinstance(wanted, Fault) or (user is None and not wanted.create):
            return ""
        return "" if self._as_wanted(wanted, user) else "user or cohorts"

    # --- inside -----------------------------------------------------------------------------------

    @contextmanager
    def _doubting(self, deadline: Deadline) -> Iterator[None]:
        """As the shipped adapter: whatever ends the call, it is said whether a write may still land."""
        try:
            yield
        except (TargetDown, Throttled, Misconfigured) as error:
            error.unknown = error.unknown or deadline.lost
            raise

    def _apply(self, wanted: Wanted, deadline: Deadline) -> Result:
        number, user = wanted.idnumber, self.users.get(wanted.idnumber)
        if user is None and not wanted.create:
            return Result(self.seen(number), changed=False)
        if user is None and any(u.username == wanted.fields["username"] for u in self.users.values()):
            return Result(self.seen(number), changed=False, faults=(Fault(Cause.USERNAME_TAKEN),))
        if self._as_wanted(wanted, user):
            return Result(self.seen(number), changed=False)
        fate = self.write(number, lambda: self._carry(wanted))
        deadline.lost = deadline.lost or fate is Fate.UNKNOWN
        return self._result(number, fate)

    def _as_wanted(self, wanted: Wanted, user: User | None) -> bool:
        if user is None or user.suspended != wanted.suspended:
            return False
        fields = all(getattr(user, name) == value for name, value in wanted.fields.items())
        return fields and set(self.seen(wanted.idnumber).cohorts) == set(wanted.cohorts)

    def _carry(self, wanted: Wanted) -> bool:
        number = wanted.idnumber
        values: dict[str, Any] = {**wanted.fields, "suspended": wanted.suspended}
        user = self.users.get(number)
        if user is None:
            self.users[number] = User(id=len(self.users) + 1, idnumber=number, **values)
        else:
            self.users[number] = replace(user, **values)
        for key in wanted.cohorts:
            self.cohorts.setdefault(key, set()).add(number)
        for key, members in self.cohorts.items():
            if key not in wanted.cohorts:
                members.discard(number)
        return True

    def _close(self, number: str, deadline: Deadline) -> bool:
        user = self.users.get(number)
        if user is None or user.suspended:
            return False
        fate = self.write(number, self._suspending(number))
        deadline.lost = deadline.lost or fate is Fate.UNKNOWN
        return fate is Fate.DONE

    def _suspending(self, number: str) -> Callable[[], bool]:
        def effect() -> bool:
            self.users[number] = replace(self.users[number], suspended=True)
            return True

        return effect

    def _result(self, number: str, fate: Fate) -> Result:
        faults = {Fate.BUSY: (Fault(Cause.BUSY),), Fate.UNKNOWN: (Fault(Cause.OUTCOME_UNKNOWN),)}
        return Result(self.seen(number), changed=fate is not Fate.BUSY, faults=faults.get(fate, ()))
