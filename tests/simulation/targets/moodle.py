"""A Moodle site in memory: the consumer's web-service functions, a row at a time.

Unlike the directory it does not know an account's version: a late write is carried out, after any other. The
`oracle` judges the contents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

from pydantic import SecretStr

from consumers.kit.deadline import Deadline
from consumers.moodle.errors import OutcomeUnknown, WriteRefused
from consumers.moodle.functions import NEEDED, Cohort, SiteInfo, User
from consumers.moodle.settings import MoodleSettings
from pipeline.errors import TargetDown
from schemas.account import Account
from tests.simulation import oracle
from tests.simulation.targets.target import Fate, Target

SERVICE: Final = User(1, "sesame", "manual", "", "Sésame", "Service", "sesame@x.fr", suspended=False)
GUEST: Final = User(2, "guest", "manual", "", "Guest", "User", "root@x.fr", suspended=False)
MOODLE: Final = MoodleSettings(
    base_url="http://127.0.0.1",
    token=SecretStr("none"),
    call_s_max=8.0,
    connect_timeout_s=0.5,
    timeout_s=1.0,
    batch_size=4,
)


class Unserialised:
    """See `consumers.moodle.cohorts.SiteLock`: the site makes no cohort twice."""

    @contextmanager
    def hold(self, name: str, *, ttl_s: float, wait_s: float) -> Iterator[None]:
        yield


class SimulatedMoodle(Target):
    """See `consumers.moodle.functions.MoodleFunctions`.

    Attributes:
        users: by student.
        cohorts: their members, by key; a cohort's id is its place.
        pending: of a student, the unanswered writes that have not landed; one that has, and is then read, is
            in doubt no more.
    """

    throttles = True

    def __init__(self, *args: object) -> None:
        super().__init__("moodle", *args)  # type: ignore[arg-type]  # as `Target` takes them
        self.users: dict[str, User] = {}
        self.cohorts: dict[str, set[str]] = {}
        self.pending: Counter[str] = Counter()

    # --- reading ----------------------------------------------------------------------------------

    def rows(self, _fields: int, _at_most: int) -> int:
        """See `MoodleFunctions.rows`: a call's fate is one student's."""
        return 1

    def site_info(self, deadline: Deadline) -> SiteInfo:
        self._begin(deadline)
        return SiteInfo(SERVICE.id, SERVICE.username, NEEDED)

    def permits(self, _function: str, _impossible: Mapping[str, Any], deadline: Deadline) -> bool:
        self._begin(deadline)
        return True

    def users_by(self, field: str, values: Sequence[str], deadline: Deadline) -> list[User]:
        self._begin(deadline)
        wanted = set(values)
        self.unanswered -= {each for each in wanted if self.pending[each] == 0}
        return [u for u in (SERVICE, GUEST, *self.users.values()) if str(getattr(u, field)) in wanted]

    def users_like_email(self, _address: str, _deadline: Deadline) -> list[User]:
        """See `MoodleFunctions.users_like_email`: none in other capitals."""
        return []

    def all_cohorts(self, deadline: Deadline) -> list[Cohort]:
        self._begin(deadline)
        return [Cohort(id_, key, key) for id_, key in enumerate(self.cohorts)]

    def search_cohorts(self, query: str, deadline: Deadline) -> list[Cohort]:
        return [each for each in self.all_cohorts(deadline) if query in each.idnumber]

    def members_of(self, cohorts: Sequence[int], deadline: Deadline) -> dict[int, frozenset[int]]:
        self._begin(deadline)
        keys = list(self.cohorts)
        return {
            id_: frozenset(self.users[number].id for number in self.cohorts[keys[id_]]) for id_ in cohorts
        }

    def close(self) -> None:
        """See `MoodleFunctions.close`."""

    # --- writing ----------------------------------------------------------------------------------

    def create_users(self, rows: Sequence[Mapping[str, str]], deadline: Deadline) -> list[int]:
        [row] = rows
        number = row["idnumber"]

        def effect() -> bool:
            if number not in self.users:
                self.users[number] = User(id=len(self.users) + 3, **row, suspended=False)
            return True

        self._write(number, effect, None, deadline)
        return [self.users[number].id]

    def update_users(self, rows: Sequence[Mapping[str, Any]], deadline: Deadline) -> dict[int, str]:
        [row] = rows
        number = self._number_of(row["id"])
        values: dict[str, Any] = {**row}
        if "suspended" in row:
            values["suspended"] = bool(row["suspended"])

        def effect() -> bool:
            self.users[number] = replace(self.users[number], **values)
            return True

        self._write(number, effect, lambda: True, deadline)
        return {}

    def create_cohorts(self, rows: Sequence[tuple[str, str]], deadline: Deadline) -> list[Cohort]:
        self._begin(deadline)
        for key, _ in rows:
            self.cohorts.setdefault(key, set())
        return [Cohort(list(self.cohorts).index(key), key, key) for key, _ in rows]

    def add_members(self, rows: Sequence[tuple[str, int]], deadline: Deadline) -> None:
        [(key, id_)] = rows
        number = self._number_of(id_)
        self._write(number, self._moving(key, number, joins=True), lambda: True, deadline)

    def remove_members(self, rows: Sequence[tuple[int, int]], deadline: Deadline) -> None:
        [(cohort, id_)] = rows
        number, key = self._number_of(id_), list(self.cohorts)[cohort]
        self._write(number, self._moving(key, number, joins=False), None, deadline)

    # --- by hand, and what is there ---------------------------------------------------------------

    def drift(self, number: str) -> bool:
        user = self.users.get(number)
        if user is not None:
            self.users[number] = replace(user, lastname="By Hand", suspended=not user.suspended)
            for members in self.cohorts.values():
                members.discard(number)
        return user is not None

    def differs(self, account: Account) -> str:
        """See `Target.differs`. A shut account gets no user."""
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

    def _begin(self, deadline: Deadline) -> None:
        deadline.left_s()
        with self._noting(deadline):
            self.meet()

    def _moving(self, key: str, number: str, *, joins: bool) -> Callable[[], bool]:
        def effect() -> bool:
            (self.cohorts[key].add if joins else self.cohorts[key].discard)(number)
            return True

        return effect

    def _write(
        self,
        number: str,
        effect: Callable[[], object],
        partly: Callable[[], object] | None,
        deadline: Deadline,
    ) -> None:
        """A call that writes one student, as `RestClient.write` ends it."""
        self._begin(deadline)
        before = self.pending[number]
        self.pending[number] += 1
        with self._noting(deadline):
            fate = self.write(number, partial(self._land, number, effect), partly)
        if fate is not Fate.UNKNOWN:
            self.pending[number] = min(self.pending[number], before)
        if fate is Fate.BUSY:
            raise WriteRefused("dmlwriteexception")
        if fate is Fate.UNKNOWN:
            deadline.unanswered = True
            raise OutcomeUnknown("no answer")

    def _land(self, number: str, effect: Callable[[], object]) -> object:
        self.pending[number] -= 1
        return effect()

    @contextmanager
    def _noting(self, deadline: Deadline) -> Iterator[None]:
        try:
            yield
        except TargetDown as error:
            deadline.unanswered = deadline.unanswered or error.unknown
            raise

    def _number_of(self, id_: int) -> str:
        return next(number for number, user in self.users.items() if user.id == id_)
