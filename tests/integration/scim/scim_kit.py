"""A SCIM service for a test: what it holds is read and written here by plain HTTP, without our code."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from consumers.scim.connector import Scim
from pipeline.errors import Throttled
from pipeline.target import HandlerOutcome
from sandbox.process import PATIENCE_S
from sandbox.scim import ScimServer
from schemas.account import Account, Membership, Person, Requirement
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.connector_harness import ConnectorHarness

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


class ScimHarness(ConnectorHarness):
    """The connector at work on a service, which may throttle it."""

    def __init__(
        self, server: ScimServer, *, adopted: Mapping[str, str] | None = None, **changes: Any
    ) -> None:
        section = {
            "url": server.url,
            "token_file": server.token_file,
            "groups": ("groups",),
            "timeout_s": 30.0,
        }
        self.server = server
        super().__init__(Scim, section | changes, adopted=lambda _numbers: adopted or {})

    def outcomes(self, *accounts: Account, **how: bool) -> dict[str, HandlerOutcome]:
        """What is said of these, however often the service asks to be called later."""
        for _ in range(_PATIENCE):
            try:
                return super().outcomes(*accounts, **how)
            except Throttled:
                continue
        raise AssertionError("the service never had enough of being asked to be called later")

    def writes(self) -> list[dict[str, Any]]:
        """What was asked that changes something and was not refused, since this was last asked."""
        asked = self.server.requests()
        self.server.forget()
        return [each for each in asked if each["method"] in WRITES]


def account(number: str, login: str, family: str, *groups: str, **changes: Any) -> Account:
    """A student, in groups that are named after their keys."""
    person = Person(birth_name=family, given_name="Léa")
    return account_of(number, login, person=person, groups=memberships(*groups), **changes)


def memberships(*keys: str, met: bool = True) -> Sequence[Membership]:
    return tuple(
        Membership(key=key, name=f"Groupe {key}", requires=Requirement.ADMINISTRATIVE, met=met)
        for key in keys
    )
