"""A Moodle site in memory behind the Moodle consumer's port. Unlike the directory it has no idea of an
account's version: a write that comes late is carried out, whatever was written since. What differs from what
is wanted is the shipped `Work`'s to say, as in the REST adapter; whether that was right is the `oracle`'s."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from pydantic import SecretStr

from consumers.kit.deadline import Deadline
from consumers.moodle.causes import MoodleCause, MoodleFault
from consumers.moodle.port import Seen, User, WantedUser
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
    timeout_s=1.0,
    batch_size=4,
)


class SimulatedMoodle(Target):
    """See `consumers.moodle.port.MoodlePort`."""

    throttles = True

    def __init__(self, *args: object) -> None:
        super().__init__("moodle", *args)  # type: ignore[arg-type]  # as `Target` takes them
        self.users: dict[str, User] = {}
        self.cohorts: dict[str, set[str]] = {}

    def read(self, batch: Sequence[WantedUser], deadline: Deadline) -> Mapping[str, Seen]:
        """See `MoodlePort.read`."""
        self.meet()
        return {wanted.idnumber: self._seen(wanted) for wanted in batch}

    def apply(
        self, batch: Sequence[WantedUser], seen: Mapping[str, Seen], deadline: Deadline
    ) -> Mapping[str, MoodleFault]:
        """See `MoodlePort.apply`."""
        with self._doubting(deadline):
            self.meet()
            faults = {
                wanted.idnumber: self._apply(wanted, seen[wanted.idnumber], deadline) for wanted in batch
            }
        return {number: fault for number, fault in faults.items() if fault is not None}

    def close(self, users: Sequence[User], deadline: Deadline) -> Mapping[int, MoodleFault]:
        """See `MoodlePort.close`."""
        with self._doubting(deadline):
            self.meet()
            faults = {user.id: self._close(user.idnumber, deadline) for user in users}
        return {id_: fault for id_, fault in faults.items() if fault is not None}

    def foresee(
        self, batch: Sequence[WantedUser], seen: Mapping[str, Seen], deadline: Deadline
    ) -> Mapping[str, MoodleFault]:
        """See `MoodlePort.foresee`: nothing here is anybody else's."""
        return {}

    def forget(self) -> None:
        """See `MoodlePort.forget`: nothing is remembered."""

    def dump(self) -> Iterator[Seen]:
        """See `MoodlePort.dump`."""
        yield from (self.seen(number) for number in self.users)

    def renamed(
        self, cohorts: Mapping[str, Collection[str]], deadline: Deadline
    ) -> Mapping[str, tuple[str, ...]]:
        """See `MoodlePort.renamed`: no hand touches a cohort here."""
        return {}

    def erase(
        self, users: Sequence[User], pseudonyms: Mapping[int, str], deadline: Deadline
    ) -> Mapping[int, MoodleFault]:
        """See `MoodlePort.erase`: nobody is erased in a history."""
        raise NotImplementedError

    def remove_cohorts(self, keys: Collection[str], deadline: Deadline) -> Collection[str]:
        """See `MoodlePort.remove_cohorts`: likewise."""
        raise NotImplementedError

    def probe_erasing(self, deadline: Deadline) -> None:
        """See `MoodlePort.probe_erasing`: likewise."""
        raise NotImplementedError

    def lacking_packs(self, deadline: Deadline) -> Sequence[str]:
        return ()

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
    def _doubting(self, deadline: Deadline) -> Iterator[None]:
        """As the shipped adapter: whatever ends the call, it is said whether a write may still land."""
        try:
            yield
        except (TargetDown, Throttled, Misconfigured) as error:
            error.unknown = error.unknown or deadline.unanswered
            raise

    def _seen(self, wanted: WantedUser) -> Seen:
        seen, login = self.seen(wanted.idnumber), wanted.fields.get("username")
        others = {user.username for user in self.users.values() if user.idnumber != wanted.idnumber}
        return replace(seen, login_taken=not seen.users and wanted.create and login in others)

    def _apply(self, wanted: WantedUser, seen: Seen, deadline: Deadline) -> MoodleFault | None:
        work = self._work(wanted, seen)
        if not work.open():
            return None
        fate = self.write(wanted.idnumber, self._writing(work), self._writing(work, lost=True))
        deadline.unanswered = deadline.unanswered or fate is Fate.UNKNOWN
        if fate is not Fate.UNKNOWN or not self._work(wanted, self.seen(wanted.idnumber)).open():
            return MoodleFault(MoodleCause.BUSY) if fate is Fate.BUSY else None
        return MoodleFault(MoodleCause.OUTCOME_UNKNOWN)

    def _work(self, wanted: WantedUser, seen: Seen) -> Work:
        numbers = {key: id_ for id_, key in enumerate(self.cohorts)}
        return Work(wanted, seen.users, {numbers[key]: key for key in seen.cohorts})

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

    def _close(self, number: str, deadline: Deadline) -> MoodleFault | None:
        fate = self.write(number, self._suspending(number))
        deadline.unanswered = deadline.unanswered or fate is Fate.UNKNOWN
        causes = {Fate.BUSY: MoodleCause.BUSY, Fate.UNKNOWN: MoodleCause.OUTCOME_UNKNOWN}
        return MoodleFault(causes[fate]) if fate in causes else None

    def _suspending(self, number: str) -> Callable[[], bool]:
        def effect() -> bool:
            self.users[number] = replace(self.users[number], suspended=True)
            return True

        return effect
