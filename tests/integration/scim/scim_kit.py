"""A SCIM service for a test: what it holds is read and written here by plain HTTP, without our code."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from consumers.kit.connector import ConnectorContext
from consumers.kit.handler import ConnectorHandler
from consumers.scim.connector import Scim
from consumers.scim.settings import ScimSettings
from pipeline.errors import Throttled
from pipeline.target import HandlerOutcome, Task
from sandbox.process import PATIENCE_S
from sandbox.scim import ScimServer
from schemas.account import Account, Membership, Person, Requirement, Stage

WRITES = ("POST", "PUT", "PATCH", "DELETE")
_PATIENCE = 200  # calls that a service may throttle


class Eyes:
    """Another pair of eyes on a service."""

    def __init__(self, server: ScimServer) -> None:
        self._server = server

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One call, past the quirks."""
        quirks = self._server.quirks()
        self._server.behave()
        request = urllib.request.Request(  # noqa: S310  (the address is ours)
            self._server.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._server.token}",
                "Content-Type": "application/scim+json",
            },
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
            text = answer.read()
        self._server.behave(*quirks)
        return json.loads(text) if text else {}

    def users(self) -> dict[str, dict[str, Any]]:
        """Every user, by name, without id and meta."""
        return {
            each["userName"]: {
                name: value for name, value in each.items() if name not in {"id", "meta", "schemas"}
            }
            for each in self.ask("GET", "/Users?count=1000")["Resources"]
        }

    def groups(self) -> dict[str, list[str]]:
        """The names of the users in each group, by the group's name."""
        names = {each["id"]: each["userName"] for each in self.ask("GET", "/Users?count=1000")["Resources"]}
        return {
            group["displayName"]: sorted(
                names.get(member["value"], "nobody") for member in group.get("members", [])
            )
            for group in self.ask("GET", "/Groups?count=1000")["Resources"]
        }

    def make(self, path: str, **body: Any) -> str:
        """Something of somebody else's; its id."""
        kind = path.strip("/").removesuffix("s")
        schema = f"urn:ietf:params:scim:schemas:core:2.0:{kind}"
        return str(self.ask("POST", path, {"schemas": [schema], **body})["id"])

    def empty(self) -> None:
        """Remove everybody and every group."""
        for path in ("/Users", "/Groups"):
            for each in self.ask("GET", f"{path}?count=1000").get("Resources", []):
                self.ask("DELETE", f"{path}/{each['id']}")


class Desk:
    """A connector and its handler, as the application makes them."""

    def __init__(
        self,
        server: ScimServer,
        *,
        read_only: bool = False,
        adopted: Mapping[str, str] | None = None,
        token: str = "",
        **changes: Any,
    ) -> None:
        wanted: dict[str, Any] = {
            "url": server.url,
            "token_file": server.token_file,
            "groups": ("groups",),
            "timeout_s": 30.0,
        }
        self.server = server
        settings = ScimSettings(**{**wanted, **changes})
        self.connector = Scim(
            ConnectorContext(
                name="scim",
                settings=settings,
                secret=lambda _name: _Token(token or server.token),
                read_only=read_only,
                adopted=lambda _numbers: adopted or {},
            )
        )
        self.handler = ConnectorHandler(self.connector)

    def outcomes(self, *accounts: Account, **how: bool) -> Mapping[str, HandlerOutcome]:
        """What is said of these, however often the service asks to be called later."""
        for _ in range(_PATIENCE):
            try:
                return self.handler.handle([Task(account, **how) for account in accounts])
            except Throttled:
                continue
        raise AssertionError("the service never had enough of being asked to be called later")

    def outcome(self, account: Account, **how: bool) -> HandlerOutcome:
        """What is said of one."""
        return self.outcomes(account, **how)[account.student_number]

    def writes(self) -> list[dict[str, Any]]:
        """What was asked that changes something and was not refused, since this was last asked."""
        asked = self.server.requests()
        self.server.forget()
        return [each for each in asked if each["method"] in WRITES]


class _Token:
    told = "the test's"

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self) -> str:
        return self._text


def account(number: str, login: str, family: str, *groups: str, **changes: Any) -> Account:
    """A student, in groups that are named after their keys."""
    values: dict[str, Any] = {
        "student_number": number,
        "version": 1,
        "stage": Stage.ACTIVE,
        "login": login,
        "mail": f"{login}@etu.univ-exemple.fr",
        "principal": f"{login}@univ-exemple.fr",
        "person": Person(birth_name=family, given_name="Léa"),
        "groups": memberships(*groups),
    }
    return Account(**{**values, **changes})


def memberships(*keys: str, met: bool = True) -> Sequence[Membership]:
    return tuple(
        Membership(key=key, name=f"Groupe {key}", requires=Requirement.ADMINISTRATIVE, met=met)
        for key in keys
    )
