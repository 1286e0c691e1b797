"""doveadm over HTTP: the only file of this room that imports the HTTP client.

A request carries several commands, answered in order
(https://doc.dovecot.org/2.4.1/core/admin/doveadm.html#http-api).
Its connections are kept: with `Connection: close`, Dovecot's refusal of a wrong key never arrives. Every
command used here may be repeated without harm, so a request whose connection broke is sent once more.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from consumers.mailbox.transport import CallDeadline, context_of, untrusted
from pipeline.errors import CredentialsRefused, Misconfigured, TargetDown, WriteForbidden

_BYTES_MAX: Final = 16 * 1024 * 1024
_AGAIN_S: Final = 0.2


_LOOKING: Final = frozenset(
    {"user", "mailboxList", "quotaGet", "mailboxStatus", "sieveList", "sieveGet", "fetch"}
)
"""The commands that a server may be sent that is only observed."""


@dataclass(frozen=True, slots=True)
class Command:
    """One doveadm command with its parameters, as the API names them."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DoveadmAnswer:
    """One command's answer.

    Attributes:
        code: 0, or doveadm's exit code: see `Exit`.
        rows: what it said; empty after an error.
    """

    code: int
    rows: Any = ()


class Exit:
    """doveadm's exit codes (sysexits.h), as far as they are told apart."""

    OK: Final = 0
    USAGE: Final = 64  # a name that the server cannot use
    DATA: Final = 65  # it exists already; or a script does not compile; or an active script is to be deleted
    NO_USER: Final = 67
    NOT_FOUND: Final = 68
    FULL: Final = 73  # over quota
    TEMPORARY: Final = 75  # the directory behind it is away; or a lock, or the disk


def _server_may_just_have_hung_up(seconds: float) -> Retrying:
    """A kept connection may have been closed meanwhile (a restart, an idle time-out): try once more."""
    return Retrying(
        retry=retry_if_exception_type((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)),
        stop=stop_after_attempt(2),
        wait=wait_fixed(seconds),
        reraise=True,
    )


class _Unbounded(Exception):
    """The answer is too long, or takes too long."""


class Doveadm:
    """Dovecot's administration. Safe to share between threads; its connections are kept and bounded.

    Args:
        url: `https://host:port/doveadm/v1`.
        api_key: gives the key; asked at each request, so that it can be changed meanwhile.
        ca_file: certificate authorities that may vouch for the server; None: the system's.
        connect_s_max: the longest wait for a connection.
        connections_max: how many calls may be in flight.
        read_only: no command that changes anything is ever sent: the server is only observed.
        transport: for tests of the classification; None: the network.

    Raises:
        Misconfigured: the file of certificate authorities cannot be read.
    """

    def __init__(
        self,
        url: str,
        api_key: Callable[[], str],
        *,
        ca_file: Path | None,
        connect_s_max: float = 5.0,
        connections_max: int = 8,
        read_only: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = url
        self._api_key = api_key
        self._connect_s_max = connect_s_max
        self.read_only = read_only
        self._client = httpx.Client(
            verify=context_of(ca_file),
            limits=httpx.Limits(max_connections=connections_max, max_keepalive_connections=connections_max),
            trust_env=False,  # an administration key goes through no proxy
            follow_redirects=False,
            transport=transport,
        )

    def call(
        self, commands: Sequence[Command], deadline: CallDeadline, *, writes: bool = False
    ) -> list[DoveadmAnswer]:
        """Send the commands in one request, and return one answer for each.

        Raises:
            TargetDown: no answer, or not in time; `unknown` if it `writes` and a connection was made.
            Misconfigured: the key, the certificate, the address or a command is refused.
            WriteForbidden: the server is only observed, and a command may change something; none was sent.
        """
        if not commands:
            return []
        if self.read_only and (writes or not {command.name for command in commands} <= _LOOKING):
            raise WriteForbidden
        body = json.dumps([[c.name, c.arguments, str(tag)] for tag, c in enumerate(commands)])
        attempts = _server_may_just_have_hung_up(_AGAIN_S)
        try:
            status, content = attempts(self._post, body.encode(), deadline)
        except httpx.ConnectError as error:
            raise _not_connected(error, unknown=writes and _again(attempts)) from error
        except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            unknown = writes and _again(attempts)
            raise TargetDown("doveadm: no connection in time", unknown=unknown) from error
        except httpx.TransportError as error:
            raise TargetDown(f"doveadm: no answer ({type(error).__name__})", unknown=writes) from error
        except _Unbounded as error:
            raise TargetDown(f"doveadm: {error}", unknown=writes) from error
        if status != httpx.codes.OK:
            raise _refusal(status)
        return _answers(content, len(commands))

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _post(self, body: bytes, deadline: CallDeadline) -> tuple[int, bytes]:
        """One exchange. The answer comes in pieces, and their sum is bounded too."""
        left_s = deadline.left_s()
        key = b64encode(self._api_key().encode()).decode()
        content = bytearray()
        with self._client.stream(
            "POST",
            self._url,
            content=body,
            headers={"Authorization": f"X-Dovecot-API {key}", "Content-Type": "application/json"},
            timeout=httpx.Timeout(left_s, connect=min(self._connect_s_max, left_s)),
        ) as answer:
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > _BYTES_MAX:
                    raise _Unbounded("an answer without end")
                if deadline.over:
                    raise _Unbounded("the answer did not end in time")
            return answer.status_code, bytes(content)


def _again(attempts: Retrying) -> bool:
    """Whether a first connection was made, and broke."""
    return int(attempts.statistics["attempt_number"]) > 1


def _not_connected(error: httpx.ConnectError, *, unknown: bool) -> TargetDown | Misconfigured:
    if untrusted(error):
        return Misconfigured(
            "doveadm's certificate does not verify",
            remedy="mailbox.ca_file names the authority that signed it, doveadm_url a name that it holds.",
            unknown=unknown,
        )
    return TargetDown("doveadm: connection refused", unknown=unknown)


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


def _answers(content: bytes, count: int) -> list[DoveadmAnswer]:
    """Put the answers in the order of the commands, by their tags."""
    try:
        by_tag = {str(tag): (kind, body) for kind, body, tag in json.loads(content)}
        return [_answer(*by_tag[str(tag)]) for tag in range(count)]
    except (ValueError, KeyError, TypeError) as error:
        raise TargetDown("doveadm: an answer that is not doveadm's") from error


def _answer(kind: str, body: Any) -> DoveadmAnswer:
    if kind == "doveadmResponse":
        return DoveadmAnswer(Exit.OK, body)
    fault = body.get("type")
    if fault == "exitCode":
        return DoveadmAnswer(int(body["exitCode"]))
    raise Misconfigured(
        f"doveadm does not know a command, or a parameter of it ({fault})",
        remedy="Dovecot 2.3 or 2.4 with its sieve and quota modules is needed (see ops/dovecot).",
    )
