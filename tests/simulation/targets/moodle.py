"""A Moodle site in memory behind the Moodle consumer's port. Unlike the directory it has no idea of an
account's version: a write that comes late is carried out, whatever was written since. What differs from what
is wanted is the shipped `Work`'s to say, as in the REST adapter; whether that was right is the `oracle`'s."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from pydantic import SecretStr

from consumers.moodle.causes import MoodleCause, MoodleFault
from consumers.moodle.errors import BatchDeadline
from consumers.moodle.port import AdoptedUser, Result, Seen, User, WantedUser
from consumers.moodle.settings import MoodleSettings
from consumers.moodle.work import Work
from pipeline.errors import Misconfigured, TargetDown, Throttled
from schemas.account import Account
from tests.simulation import oracle
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

    def apply(self, batch: Sequence[WantedUser], deadline: BatchDeadline) -> Mapping[str, Result]:
        """See `MoodlePort.apply`."""
        with self._doubting(deadline):
            self.meet()
            works = {wanted.idnumber: self._apply(wanted, deadline) for wanted in batch}
            self.meet()  # it is read back by another call
        return {number: self._result(work) for number, work in works.items()}

    def close(self, idnumbers: Sequence[str], deadline: BatchDeadline) -> frozenset[str]:
        """See `MoodlePort.close`. A write that was not answered is for `apply` to find out."""
        with self._doubting(deadline):
            self.meet()
            return frozenset(number for number in idnumbers if self._close(number, deadline))

    def read(
        self,
        idnumbers: Sequence[str],
        deadline: BatchDeadline,
        adopted: Mapping[str, AdoptedUser] | None = None,
    ) -> Mapping[str, Seen]:
        """See `MoodlePort.read`."""
        self.meet()
        return {number: self.seen(number) for number in idnumbers}

    def foresee(
        self, batch: Sequence[WantedUser], seen: Mapping[str, Seen], deadline: BatchDeadline
    ) -> Mapping[str, MoodleFault]:
        """See `MoodlePort.foresee`: nothing here is anybody else's."""
        return {}

    def dump(self, *, strangers: bool = False) -> Iterator[Seen]:
        """See `MoodlePort.dump`."""
        yield from (self.seen(number) for number in self.users)

    def probe(self, deadline: BatchDeadline | None = None) -> None:
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
        """See `Target.differs`. Nobody gets a user only for access to be shut."""
        number = account.student_number
        user, wanted = self.users.get(number), oracle.moodle_user(account)
        if user is None:
            return "user" if oracle.access(account) else ""
        wrong = [name for name, value in wanted.items() if getattr(user, name) != value]
        belongs = {key for key, met in oracle.cohorts(oracle.steps_of(account)).items() if met}
        if {key for key, members in self.cohorts.items() if number in members} != belongs:
            wrong.append("cohorts")
        return ", ".join(wrong)

    # --- inside -----------------------------------------------------------------------------------

    @contextmanager
    def _doubting(self, deadline: BatchDeadline) -> Iterator[None]:
        """As the shipped adapter: whatever ends the call, it is said whether a write may still land."""
        try:
            yield
        except (TargetDown, Throttled, Misconfigured) as error:
            error.unknown = error.unknown or deadline.lost
            raise

    def _apply(self, wanted: WantedUser, deadline: BatchDeadline) -> Work:
        work, number = self._observe(Work(wanted)), wanted.idnumber
        if work.to_create and any(u.username == wanted.fields["username"] for u in self.users.values()):
            work.user_fault = MoodleFault(MoodleCause.USERNAME_TAKEN)
        elif work.open():
            fate = self.write(number, self._writing(work), self._writing(work, lost=True))
            work.lately = MoodleFault(MoodleCause.BUSY) if fate is Fate.BUSY else None
            work.user_unknown = work.members_unknown = fate is Fate.UNKNOWN
            work.changed = fate is not Fate.BUSY
            deadline.lost = deadline.lost or fate is Fate.UNKNOWN
        return work

    def _observe(self, work: Work) -> Work:
        number = work.wanted.idnumber
        work.users = (self.users[number],) if number in self.users else ()
        numbers = {key: id_ for id_, key in enumerate(self.cohorts)}
        work.cohorts = {id_: key for key, id_ in numbers.items() if number in self.cohorts[key]}
        return work

    def _writing(self, work: Work, *, lost: bool = False) -> Callable[[], bool]:
        """What differs, as a write: it is worked out now, and carried out whenever it is."""
        wanted, number = work.wanted, work.wanted.idnumber
        new = {**wanted.fields, "suspended": wanted.suspended} if work.to_create else None
        values: dict[str, Any] = {name: value for name, value in work.differing().items() if not lost}
        join = tuple(wanted.cohorts) if work.to_create else tuple(work.to_join())
        leave = tuple(work.cohorts[id_] for id_ in work.to_leave())

        def effect() -> bool:
            if new is not None and number not in self.users:
                self.users[number] = User(id=len(self.users) + 1, idnumber=number, **new)  # type: ignore[arg-type]
            elif values:
                if "suspended" in values:
                    values["suspended"] = bool(values["suspended"])
                self.users[number] = replace(self.users[number], **values)
            for key in () if lost else join:
                self.cohorts.setdefault(key, set()).add(number)
            for key in leave:
                self.cohorts[key].discard(number)
            return True

        return effect

    def _close(self, number: str, deadline: BatchDeadline) -> bool:
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

    def _result(self, work: Work) -> Result:
        self._observe(work).observed()
        seen = self.seen(work.wanted.idnumber)
        return Result(seen=seen, changed=work.changed, faults=work.faults(finished=not work.open()))
