"""doveadm over HTTP: several commands in one request, with tagged answers.

Source: https://doc.dovecot.org/2.4.1/core/admin/doveadm.html#http-api.

Connections are not kept: Dovecot ends a process after some connections, and a kept one takes longer for each
user that it has opened (18 ms of processor time a student at first, 141 after 6,400 through four). No header
says so: with `Connection: close`, the refusal of a wrong key never arrives. Commands may be repeated without
harm, so a request whose connection broke is sent once more.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from consumers.kit.connector import ConnectorContext, secret_of
from consumers.kit.deadline import Deadline
from consumers.kit.http import HttpClient, HttpLimits
from consumers.kit.http_answers import ANY_STATUS, HttpAnswer
from consumers.mailbox.commands import Command, CommandUnknown, DoveadmAnswer, Exit
from consumers.mailbox.settings import MailboxSettings
from pipeline.errors import CredentialsRefused, Misconfigured, TargetDown, WriteForbidden

_BYTES_MAX: Final = 16 * 1024 * 1024
_SERVED_MAX: Final = 50
"""Connections that a doveadm process may serve; by then a student takes it a third longer."""

_UNKNOWN: Final = b'"type":"unknownMethod"'

_LOOKING: Final = frozenset(
    {
        *("user", "mailboxList", "quotaGet", "mailboxStatus", "sieveList", "sieveGet", "fetch", "aclGet"),
        "processStatus",
    }
)
"""Commands that may be sent to a server that is only observed."""


class Doveadm:
    """Dovecot's administration. Thread-safe; `more`: of `HttpClient`. Raises Misconfigured: a bad ca_file."""

    def __init__(self, context: ConnectorContext[MailboxSettings], **more: Any) -> None:
        answer_s = context.settings.timeout_s
        limits = HttpLimits(context.settings.connect_timeout_s, answer_s, answer_s, _BYTES_MAX, kept=False)
        self._http = HttpClient(context, service="doveadm", setting="doveadm_url", limits=limits, **more)
        self._url = context.settings.doveadm_url
        self._api_key = context.secret("api_key")
        self.read_only = context.read_only

    def call(
        self, commands: Sequence[Command], deadline: Deadline, *, writes: bool = False
    ) -> list[DoveadmAnswer]:
        """Send the commands in one request, and return one answer for each.

        Raises:
            TargetDown: no answer, or not in time; `unknown` if it `writes` and a connection was made.
            Misconfigured: the key, the certificate, the address or a command is refused.
            OutOfTime: the time was used up before it was begun.
            WriteForbidden: the server is only observed, and a command may change something; none was sent.
        """
        if not commands:
            return []
        if self.read_only and (writes or not {command.name for command in commands} <= _LOOKING):
            raise WriteForbidden
        key = b64encode(secret_of(self._api_key).encode()).decode()
        answer = self._http.call(
            "POST",
            self._url,
            deadline,
            body=[[command.name, command.arguments, str(tag)] for tag, command in enumerate(commands)],
            headers={"Authorization": f"X-Dovecot-API {key}"},
            reads=not writes,
            again=True,
            expect=ANY_STATUS,
        )
        if answer.status != HTTPStatus.OK:
            raise _refusal(answer.status)
        return _answers(answer, len(commands))

    def close(self) -> None:
        """Close the connections."""
        self._http.disconnect()


def keeps_processes(doveadm: Doveadm, deadline: Deadline) -> bool:
    """True if a doveadm process serves ever more connections, as far as it shows. Raises as `call`."""
    seen: set[str] = set()
    try:
        for _ in range(_SERVED_MAX + 1):
            rows = doveadm.call([Command("processStatus", {"service": ["doveadm"]})], deadline)[0].rows
            if any(int(row["total_count"]) > _SERVED_MAX for row in rows):
                return True
            present = {row["pid"] for row in rows}
            if seen - present:
                return False  # one has ended
            seen |= present
    except CommandUnknown:
        pass
    return False


def _refusal(status: int) -> TargetDown | Misconfigured:
    match status:
        case 401 | 403:
            return CredentialsRefused(
                "doveadm refuses the API key",
                remedy="mailbox.api_key (or its file) must be Dovecot's doveadm_api_key.",
            )
        case 429 | 500 | 502 | 503 | 504:
            return TargetDown(f"doveadm answers HTTP {status}")
    return Misconfigured(
        f"doveadm answers HTTP {status}", remedy="mailbox.doveadm_url must be Dovecot's /doveadm/v1."
    )


def _answers(answer: HttpAnswer, count: int) -> list[DoveadmAnswer]:
    """Put the answers in the order of the commands, by their tags."""
    if answer.body is None:
        raise TargetDown("doveadm: an answer without end", unknown=answer.wrote)
    try:
        by_tag = {str(tag): (kind, body) for kind, body, tag in json.loads(answer.body)}
        return [_answer(*by_tag[str(tag)]) for tag in range(count)]
    except (ValueError, KeyError, TypeError) as error:
        if _UNKNOWN in answer.body:  # of several, Dovecot 2.3 forgets the comma between two
            raise _unknown("unknownMethod") from error
        raise TargetDown("doveadm: an answer that is not doveadm's") from error


def _answer(kind: str, body: Any) -> DoveadmAnswer:
    if kind == "doveadmResponse":
        return DoveadmAnswer(Exit.OK, body)
    fault = body.get("type")
    if fault == "exitCode":
        return DoveadmAnswer(int(body["exitCode"]))
    raise _unknown(fault)


def _unknown(fault: str) -> CommandUnknown:
    return CommandUnknown(
        f"doveadm does not know a command, or a parameter of it ({fault})",
        remedy="Dovecot 2.3 or 2.4 with its sieve and quota modules is needed (see ops/dovecot).",
    )
