"""End the CAS sessions of closed accounts; open ones outlive passwords by hours.

A second request reads back: its answer names no session any more. The directory refuses new logins, so
sessions are ended before it shuts access, and once more after it.
Source: apereo.github.io/cas, actuator endpoint `ssoSessions`; tried on 6.6, where a path `/users/NAME` is not
known yet, and names are compared with their case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, Final

from consumers.apereo.settings import ApereoSettings
from consumers.kit.connector import (
    Change,
    Connector,
    ConnectorContext,
    Refused,
    Seen,
    TargetObject,
    Wanted,
)
from consumers.kit.deadline import Deadline
from consumers.kit.reasons import Reason, read_reasons
from pipeline.errors import Misconfigured
from schemas.account import Account
from schemas.language import Language

PROBE: Final = "sesame-nobody"
"""A login that does not exist, for the probe's call."""

_LEFT: Final = "apereo_sessions_left"
_ROUNDS_MAX: Final = 3  # the next round ends sessions begun meanwhile


class ApereoConnector(Connector[ApereoSettings]):
    """Sessions of one Apereo CAS."""

    section = ApereoSettings
    title: ClassVar[Mapping[Language, str]] = {"fr": "Les sessions de CAS", "en": "CAS sessions"}
    level = "platinum"
    lacks: ClassVar[Mapping[str, str]] = {
        "apply": "sessions are ended only",
        "objects": "the endpoint lists sessions, not owners",
        "erase": "nothing is kept",
        "changes_since": "nothing is kept",
    }
    sessions = True
    follows = "directory"
    reasons: ClassVar[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))

    def __init__(self, context: ConnectorContext[ApereoSettings]) -> None:
        super().__init__(context)
        from consumers.kit.http import HttpClient

        self._http = HttpClient(context, self.settings.url)

    def wanted(self, account: Account) -> Wanted:  # noqa: ARG002
        """See `Connector.wanted`: nothing. Sessions of open accounts are the students' affair."""
        return Wanted({})

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`: check that the server would end sessions.

        It holds nothing of an account; a student whose sessions were ended has none.
        """
        self._ended(PROBE, deadline, reads=True)
        return {
            each.student_number: [TargetObject(each.login, each.student_number)] if each.access_open else ()
            for each in accounts
        }

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`."""
        refused = {}
        for each in changes:
            if (said := self._end(each.account.login, deadline)) is not None:
                refused[each.account.student_number] = said
        return refused

    def probe(self) -> None:
        """See `Connector.probe`."""
        self._ended(PROBE, Deadline.after(self.settings.verb_s_max, self.context.monotonic), reads=True)

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._http.disconnect()

    def _end(self, login: str, deadline: Deadline) -> Refused | None:
        """End all sessions of a login; None: the server has none left."""
        for _ in range(_ROUNDS_MAX):
            ended = self._ended(login, deadline, reads=False)
            if not ended:
                return None
            if failed := sum(each != HTTPStatus.OK for each in ended):
                return Refused(_LEFT, f"{failed} of {len(ended)} sessions could not be ended")
        return Refused(_LEFT, "sessions are begun as fast as they are ended")

    def _ended(self, login: str, deadline: Deadline, *, reads: bool) -> list[int]:
        """The status of each session's end; the HTTP status is 200 whatever they are."""
        answer = self._http.call(
            "DELETE",
            "",
            deadline,
            params={"username": login},
            headers={"Accept": "application/json"},
            reads=reads,
            again=True,
        )
        said: Any = answer.json()
        if not isinstance(said, dict) or not all(isinstance(each, dict) for each in said.values()):
            raise Misconfigured(
                "the answer is not that of the endpoint ssoSessions",
                remedy=f"check {self.name}.url: it ends with /actuator/ssoSessions",
            )
        return [each.get("status", 0) for each in said.values()]
