"""Shared by the Moodle consumer's tests: accounts, a handler, and an observer.

The handler works on the stand-in. Arranging and checking go through a separate HTTP client (`Operator`),
never through the adapter.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from consumers.kit.connector import ConnectorContext, SiteFacts
from consumers.moodle.connector import MoodleConnector
from consumers.moodle.settings import MoodleSettings
from consumers.moodle.site import MoodleSite
from pipeline.db.database import Database
from pipeline.target import Handler, HandlerOutcome, Task
from sandbox.moodle import MoodleStandIn
from sandbox.process import PATIENCE_S
from schemas.account import Account, Membership, Person, Requirement
from sesame.settings import LiveSecret
from sesame.testing.servers.accounts import account_of

CREATE = "core_user_create_users"
UPDATE = "core_user_update_users"
JOIN = "core_cohort_add_cohort_members"
LEAVE = "core_cohort_delete_cohort_members"
BY_FIELD = "core_user_get_users_by_field"

YEAR = "2026"


class SlowClock:
    """A monotonic clock that barely moves: whatever was cached is still fresh."""

    def __init__(self) -> None:
        self._ticks = itertools.count(1)

    def __call__(self) -> float:
        return next(self._ticks) * 1e-6


def is_managed(idnumber: str) -> bool:
    """True for cohorts of the template `{step}-{year}` from our steps."""
    return idnumber.startswith(("L1", "L2", "L3", "M1", "M2")) and idnumber.endswith(f"-{YEAR}")


def settings_for(moodle: MoodleStandIn, **changes: Any) -> MoodleSettings:
    values: dict[str, Any] = {
        "base_url": moodle.url,
        "token": SecretStr(moodle.token),
        "call_s_max": 30.0,
        "timeout_s": 10.0,
    }
    return MoodleSettings(**{**values, **changes})


class Unlocked:
    """`SiteLock` that excludes its connector's threads only, and no other connector."""

    def __init__(self) -> None:
        self._threads = threading.Lock()

    @contextmanager
    def hold(self, name: str, *, ttl_s: float, wait_s: float) -> Iterator[None]:
        with self._threads:
            yield


def connector_on(
    settings: MoodleSettings,
    *,
    clock: Callable[[], float] = time.monotonic,
    adopted: Callable[[Sequence[str]], Mapping[str, str]] = lambda _numbers: {},
    database: Database | None = None,
) -> MoodleConnector:
    """A connector with a separate connection and caches, like another process's."""
    site = SiteFacts(database=database, is_managed=is_managed)
    context = ConnectorContext(
        "moodle",
        settings,
        lambda name: LiveSecret(settings, name),
        read_only=settings.mode == "observe",
        adopted=adopted,
        site=site,
        monotonic=clock,
    )
    return MoodleConnector(context, MoodleSite(context, lock=Unlocked() if database is None else None))


class Handlers:
    """Makes handlers on one site and closes them all.

    `database`: where they lock each other out of creating a cohort twice; None: they do not.
    """

    def __init__(self, moodle: MoodleStandIn, database: Database | None = None) -> None:
        self._moodle = moodle
        self._database = database
        self._made: list[Handler] = []

    def connector(self, clock: Callable[[], float] = time.monotonic, **changes: Any) -> MoodleConnector:
        """See `connector_on`; the caller disconnects it."""
        return connector_on(settings_for(self._moodle, **changes), clock=clock, database=self._database)

    def __call__(self, clock: Callable[[], float] = time.monotonic, **changes: Any) -> Handler:
        self._made.append(self.connector(clock, **changes).handler())
        return self._made[-1]

    def close(self) -> None:
        for handler in self._made:
            handler.close()


def cohort(step: str, *, met: bool = True, requires: Requirement = Requirement.PEDAGOGICAL) -> Membership:
    return Membership(key=f"{step}-{YEAR}", name=f"Étape {step}", requires=requires, met=met)


def account(number: str = "22600001", *cohorts: Membership, **changes: Any) -> Account:
    """Élodie, with `changes`; login and mail follow the number unless given."""
    values: dict[str, Any] = {
        "login": f"elodie.lefevre{number}",
        "mail": f"elodie.lefevre{number}@etu.univ-exemple.fr",
        "principal": f"elodie.lefevre{number}@univ-exemple.fr",
        "person": Person(birth_name="Lefèvre", given_name="Élodie"),
        "affiliations": ("student", "member"),
        "cohorts": cohorts,
    }
    return account_of(number, **{**values, **changes})


def numbers(count: int, first: int = 22600001) -> list[str]:
    return [str(first + index) for index in range(count)]


def handle(handler: Handler, *accounts: Account, compare: bool = False) -> Mapping[str, HandlerOutcome]:
    return handler.handle([Task(each, compare=compare) for each in accounts])


def handle_one(handler: Handler, one: Account, *, compare: bool = False) -> HandlerOutcome:
    return handle(handler, one, compare=compare)[one.student_number]


def of_kind(outcomes: Mapping[str, HandlerOutcome], kind: type[HandlerOutcome]) -> list[str]:
    return [number for number, outcome in outcomes.items() if isinstance(outcome, kind)]


class Operator:
    """An operator with the token and a browser's view of the site."""

    def __init__(self, moodle: MoodleStandIn) -> None:
        self._moodle = moodle
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, function: str, **form: Any) -> Any:
        pairs = {"wstoken": self._moodle.token, "wsfunction": function, "moodlewsrestformat": "json", **form}
        body = urllib.parse.urlencode(pairs).encode()
        with self._opener.open(self._moodle.endpoint, body, timeout=PATIENCE_S) as reply:
            answer = json.loads(reply.read())
        if isinstance(answer, dict) and "exception" in answer:
            raise AssertionError(answer)
        return answer

    def create_user(self, username: str, **fields: str) -> int:
        values = {
            "username": username,
            "firstname": "Camille",
            "lastname": "Durand",
            "email": f"{username}@ailleurs.example",
            "auth": "cas",
            **fields,
        }
        created = self.call(
            "core_user_create_users", **{f"users[0][{name}]": value for name, value in values.items()}
        )
        return int(created[0]["id"])

    def update_user(self, userid: int, **fields: Any) -> None:
        values = {f"users[0][{name}]": value for name, value in fields.items()}
        self.call("core_user_update_users", **{"users[0][id]": userid, **values})

    def users(self, field: str, value: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call(
            "core_user_get_users_by_field", **{"field": field, "values[0]": value}
        )
        return found

    def user(self, number: str) -> dict[str, Any]:
        (user,) = self.users("idnumber", number)
        return user

    def cohorts(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for each in self.call("core_cohort_get_cohorts"):
            found.setdefault(each["idnumber"], []).append(each["id"])
        return found

    def create_cohort(self, idnumber: str, name: str = "Cohorte") -> int:
        form = {
            "cohorts[0][categorytype][type]": "system",
            "cohorts[0][categorytype][value]": "",
            "cohorts[0][name]": name,
            "cohorts[0][idnumber]": idnumber,
        }
        return int(self.call("core_cohort_create_cohorts", **form)[0]["id"])

    def delete_cohort(self, cohort_id: int) -> None:
        self.call("core_cohort_delete_cohorts", **{"cohortids[0]": cohort_id})

    def join(self, cohort_id: int, userid: int) -> None:
        form = {
            "members[0][cohorttype][type]": "id",
            "members[0][cohorttype][value]": cohort_id,
            "members[0][usertype][type]": "id",
            "members[0][usertype][value]": userid,
        }
        assert self.call("core_cohort_add_cohort_members", **form) == {"warnings": []}

    def cohorts_of(self, number: str) -> list[str]:
        userid = self.user(number)["id"]
        inside = []
        for idnumber, ids in self.cohorts().items():
            for id_ in ids:
                (members,) = self.call("core_cohort_get_cohort_members", **{"cohortids[0]": id_})
                if userid in members["userids"]:
                    inside.append(idnumber)
        return sorted(inside)


WRITES = (
    "core_user_create_users",
    "core_user_update_users",
    "core_cohort_create_cohorts",
    "core_cohort_add_cohort_members",
    "core_cohort_delete_cohort_members",
)


def calls(moodle: MoodleStandIn) -> dict[str, int]:
    received: dict[str, int] = moodle.control()["calls"]
    return received


def writes(moodle: MoodleStandIn) -> dict[str, int]:
    return {name: count for name, count in calls(moodle).items() if name in WRITES}
