"""SCIM on an empty registry that applies what is sent, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pipeline.eventlog.port import TopicPartition
from sesame.app.wiring import Application
from tests.integration.api.api_kit import ApiWorld
from tests.integration.targets.site_kit import in_thread

STUDENT: Final = "urn:sesame:params:scim:schemas:1.0:Student"
USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR: Final = "urn:ietf:params:scim:api:messages:2.0:Error"

User = dict[str, Any]


class _Unseen:
    """Nobody looks."""

    def state(self, consumer: str, state: str, reason: str) -> None:
        """As `FactObserver.state`."""

    def lag(self, consumer: str, lag: dict[TopicPartition, int]) -> None:
        """As `FactObserver.lag`."""

    def trouble(self, consumer: str, what: str) -> None:
        """As `FactObserver.trouble`."""


@contextmanager
def registry_running(site: Application) -> Iterator[None]:
    """The registry applies facts meanwhile."""
    with in_thread(site.fact_loop(site.registry, _Unseen()).run):
        yield


def scim(
    world: ApiWorld, method: str, path: str, *scopes: str, status: int | None = None, **options: Any
) -> Any:
    """What is answered, with this status."""
    answered = world.ask(method, f"/scim/v2{path}", *scopes, **options)
    assert status is None or answered.status_code == status, answered.text
    said: Any = answered.json() if answered.content else {}
    if answered.status_code >= 400:
        assert answered.headers["content-type"] == "application/scim+json"
        assert (said["schemas"], said["status"]) == ([ERROR], str(answered.status_code))
    return said


def enrolment(**changes: Any) -> dict[str, Any]:
    """An enrolment in force."""
    return {
        "year": 2026,
        "step": "L1INFO",
        "stepVersion": "261",
        "stepLabel": "Licence 1 Informatique",
        "component": "SCI",
        "main": True,
        "administrative": "in_force",
        "pedagogical": "pending",
        **changes,
    }


def user(number: str, *enrolments: dict[str, Any], family: str = "Lefèvre", **student: Any) -> User:
    """A user as a client sends one. Each number has a birth date of its own."""
    day = f"2007-{int(number[-3:]) % 12 + 1:02}-{int(number[-3:]) % 28 + 1:02}"
    return {
        "schemas": [USER, STUDENT],
        "externalId": f"hr-{number}",
        "userName": "what.the.client.would.like",
        "name": {"familyName": family, "givenName": "Zoé"},
        "active": True,
        STUDENT: {
            "studentNumber": number,
            "birthDate": day,
            "enrolments": list(enrolments) or [enrolment()],
            **student,
        },
    }


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    """A modification."""
    return {"schemas": [PATCH], "Operations": list(operations)}
