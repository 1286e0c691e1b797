"""The Moodle stand-in in this very process, below the HTTP client: a test can bend its answers."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
from pydantic import SecretStr

from consumers.kit.connector import AdoptedRef, Change, ConnectorContext, Held, Refused, SiteFacts, differing
from consumers.kit.deadline import Deadline
from consumers.moodle.connector import MoodleConnector
from consumers.moodle.functions import MoodleFunctions
from consumers.moodle.rest import RestClient
from consumers.moodle.settings import MoodleSettings
from consumers.moodle.site import MoodleSite
from pipeline.target import HandlerOutcome, Task
from sandbox.moodle.conditions import Conditions, SiteState
from sandbox.moodle.control import ControlEndpoint
from sandbox.moodle.gateway import Gateway
from sandbox.moodle.service import RestServer
from sandbox.moodle.storage import Storage
from sandbox.moodle.web import Request
from schemas.account import Account, Membership, Person, Requirement
from sesame.settings import LiveSecret
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.http_kit import transport_to
from sesame.testing.servers.moodle_kit import Unlocked

TOKEN = "jeton-d-essai"
NUMBER = "22600001"
LOGIN = "elodie.lefevre"
MAIL = "elodie.lefevre@etu.univ-exemple.fr"
WRITES = frozenset(
    {
        "core_user_create_users",
        "core_user_update_users",
        "core_cohort_create_cohorts",
        "core_cohort_add_cohort_members",
        "core_cohort_delete_cohort_members",
    }
)


def is_managed(idnumber: str) -> bool:
    return idnumber.startswith(("L1", "L2"))


def pseudonym(number: str) -> str:
    return "erased-" + hashlib.sha256(number.encode()).hexdigest()[:25]


def rest_client(
    context: ConnectorContext[MoodleSettings],
    server: Callable[[httpx.Request], httpx.Response],
    pause: Callable[[float], None] = lambda _seconds: None,
) -> RestClient:
    """A client whose requests this answers."""
    return RestClient(context, transport=transport_to(server), pause=pause)


class Site:
    """A site and the consumer on it.

    Attributes:
        asked: each call's function and its form.
        bends: told function, form and the decoded answer; returns what arrives instead, or raises.
        before: told function and form; what it returns is answered, and the site does nothing; None: go on.
    """

    def __init__(
        self,
        folder: Path,
        *,
        adopted: dict[str, AdoptedRef] | None = None,
        clock: Callable[[], float] = time.monotonic,
        **settings: Any,
    ) -> None:
        storage = Storage(folder / "moodle.sqlite", connections=2)
        storage.open(service_username="sesame", token=TOKEN)
        self.state = SiteState(Conditions())
        control = ControlEndpoint(storage, self.state, control_key="key", token=TOKEN)
        self._gateway = Gateway(RestServer(storage, self.state), control, self.state)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.bends: Callable[[str, dict[str, str], Any], Any] = lambda _function, _form, answer: answer
        self.before: Callable[[str, dict[str, str]], Any] = lambda _function, _form: None
        wished = {"base_url": "https://moodle.example", "token": SecretStr(TOKEN), **settings}
        self.settings = MoodleSettings(**wished)
        self.adopted = dict(adopted or {})
        context = ConnectorContext(
            "moodle",
            self.settings,
            lambda name: LiveSecret(self.settings, name),
            read_only=self.settings.mode == "observe",
            adopted=lambda numbers: {n: self.adopted[n] for n in numbers if n in self.adopted},
            begin_erasing=self._begin_erasing,
            site=SiteFacts(pseudonym=pseudonym, is_managed=is_managed),
            monotonic=clock,
        )
        functions = MoodleFunctions(rest_client(context, self._answer), self.settings)
        self.connector = MoodleConnector(context, MoodleSite(context, functions, Unlocked()))
        self.handler = self.connector.handler()
        self.database = folder / "moodle.sqlite"
        self._clock = clock

    def _begin_erasing(self, shown: Mapping[str, str]) -> Mapping[str, str]:
        """As the store does it: what is written down is there after a kill."""
        for ref, number in shown.items():
            self.adopted[number] = AdoptedRef(ref, pseudonym(number))
        return {ref: pseudonym(number) for ref, number in shown.items()}

    def deadline(self) -> Deadline:
        """The time of a batch that begins now."""
        return Deadline.after(self.settings.call_s_max, self._clock)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl(request.content.decode(), keep_blank_values=True))
        function = form["wsfunction"]
        self.asked.append((function, form))
        instead = self.before(function, form)
        answer = self.bends(function, form, self._carried_out(request) if instead is None else instead)
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, content=json.dumps(answer), headers={"content-type": "application/json"})

    def _carried_out(self, request: httpx.Request) -> Any:
        headers = {name.lower(): value for name, value in request.headers.items()}
        reply = self._gateway.answer(
            Request("POST", request.url.path, "", headers, request.content, "127.0.0.1")
        )
        if reply.status == 200 and reply.content_type.startswith("application/json"):
            return json.loads(reply.body)
        return httpx.Response(
            reply.status, content=reply.body, headers={"content-type": reply.content_type, **reply.headers}
        )

    def call(self, function: str, **form: Any) -> Any:
        """Somebody else calls a function."""
        body = {"wstoken": TOKEN, "wsfunction": function, "moodlewsrestformat": "json", **form}
        answer = self._carried_out(httpx.Request("POST", self.settings.endpoint, data=body))
        assert not (isinstance(answer, dict) and "exception" in answer), answer
        return answer

    def writes(self) -> list[str]:
        """The writing functions that were called, in order."""
        return [function for function, _ in self.asked if function in WRITES]

    def seen(self, account: Account) -> Any:
        """What the connector shows of one student."""
        return self.connector.read([account], self.deadline())[account.student_number]

    def changes(self, *accounts: Account) -> list[Change]:
        """What differs of these students now, as the kit asks for it."""
        seen = self.connector.read(accounts, self.deadline())
        changes = []
        for account in accounts:
            shown: Any = seen[account.student_number]
            found = shown[0] if shown else None
            wanted = self.connector.wanted(account)
            changes.append(Change(account, found, differing(wanted, found), account.access_open))
        return changes

    def apply(self, *accounts: Account) -> dict[str, Held | Refused]:
        """What stands in the way of these, as they are seen now."""
        return dict(self.connector.apply(self.changes(*accounts), self.deadline()))

    def handle(self, *accounts: Account, compare: bool = False) -> list[HandlerOutcome]:
        outcomes = self.handler.handle([Task(each, compare=compare) for each in accounts])
        return [outcomes[each.student_number] for each in accounts]

    def user(self, number: str = NUMBER) -> dict[str, Any]:
        (user,) = self.call("core_user_get_users_by_field", **{"field": "idnumber", "values[0]": number})
        found: dict[str, Any] = user
        return found

    def make_user(self, username: str, **fields: str) -> int:
        values = {"username": username, "firstname": "C", "lastname": "D", "auth": "cas", **fields}
        values.setdefault("email", f"{username}@ailleurs.example")
        created = self.call("core_user_create_users", **{f"users[0][{k}]": v for k, v in values.items()})
        return int(created[0]["id"])

    def make_cohort(self, idnumber: str) -> int:
        form = {"type": "system", "value": ""}
        created = self.call(
            "core_cohort_create_cohorts",
            **{f"cohorts[0][categorytype][{k}]": v for k, v in form.items()},
            **{"cohorts[0][name]": idnumber, "cohorts[0][idnumber]": idnumber},
        )
        return int(created[0]["id"])

    def join(self, cohort: int, user: int) -> None:
        pairs = {"cohorttype": cohort, "usertype": user}
        form = {f"members[0][{k}][type]": "id" for k in pairs} | {
            f"members[0][{k}][value]": v for k, v in pairs.items()
        }
        assert self.call("core_cohort_add_cohort_members", **form) == {"warnings": []}

    def members(self, idnumber: str) -> list[int]:
        """Ids of the users in a cohort."""
        ids = [each["id"] for each in self.call("core_cohort_get_cohorts") if each["idnumber"] == idnumber]
        (found,) = self.call("core_cohort_get_cohort_members", **{"cohortids[0]": ids[0]})
        return sorted(found["userids"])


def cohort(key: str, *, met: bool = True, requires: Requirement = Requirement.PEDAGOGICAL) -> Membership:
    return Membership(key=key, name=f"Étape {key}", requires=requires, met=met)


def student(*cohorts: Membership, number: str = NUMBER, **changes: Any) -> Account:
    suffix = "" if number == NUMBER else number
    values: dict[str, Any] = {
        "login": LOGIN + suffix,
        "mail": MAIL.replace("@", f"{suffix}@"),
        "principal": "elodie.lefevre@univ-exemple.fr",
        "person": Person(birth_name="Lefèvre", given_name="Élodie"),
        "affiliations": ("student", "member"),
        "cohorts": cohorts,
    }
    return account_of(number, **{**values, **changes})
