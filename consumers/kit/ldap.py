"""The LDAP client of connectors (RFC 4511); only this file imports ldap3 (2.9.1).

ldap3 leaves everything dangerous open by default. Decided here: TLS verified by the standard library before
any bind, time-outs on connecting and on every answer, no referrals, no schema read from the server, one
connection per thread (ldap3's SYNC never reconnects: a broken one is dropped and replaced).
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from ldap3 import (
    AUTO_BIND_NONE,
    BASE,
    DEREF_NEVER,
    MODIFY_ADD,
    MODIFY_DELETE,
    MODIFY_REPLACE,
    NONE,
    SUBTREE,
    SYNC,
    Connection,
    Server,
    Tls,
    set_config_parameter,
)
from ldap3.core.exceptions import LDAPException
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from consumers.kit import ldap_sync
from consumers.kit.deadline import OutOfTime
from consumers.kit.ldap_answers import Code, LdapAnswer, Lost, Operation, Raw
from pipeline.errors import Misconfigured, SesameError, TargetDown, WriteForbidden
from pipeline.tls import verified

Row = tuple[str, Raw]
"""An entry: its DN and its attributes."""

_Scope = Literal["BASE", "LEVEL", "SUBTREE"]

_OPERATIONS = {"add": MODIFY_ADD, "delete": MODIFY_DELETE, "replace": MODIFY_REPLACE}
_ASSERTION = "1.3.6.1.1.12"  # RFC 4528
_PAGED_RESULTS = "1.2.840.113556.1.4.319"  # RFC 2696
_PERMISSIVE_MODIFY = "1.2.840.113556.1.4.1413"
_SHOW_DELETED = "1.2.840.113556.1.4.417"  # [MS-ADTS] 3.1.1.3.4.1.14
_NOBODY = "(!(objectClass=*))"
_CSN = re.compile(r"(\d{14})\.\d{6}Z#")
_ON_ITS_WAY = timedelta(minutes=1)
_SYNC_ENTRIES_MAX = 5_000

# ldap3 goes through this list for each value that is sent, also where no name is checked, as here.
set_config_parameter("ATTRIBUTES_EXCLUDED_FROM_CHECK", [])


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The directory's address, and our account there.

    Attributes:
        uri: `ldap://host:port` (StartTLS before the bind) or `ldaps://host:port`.
        password: called at each connection, so that a changed file is picked up.
        ca_file: PEM of the authority that signs the server's certificate; None: the system's authorities.
        connect_timeout_s: for the TCP connection.
        receive_timeout_s: for each answer; whole seconds, as ldap3 requires.
        read_only: no write is ever sent: the directory is only observed.
    """

    uri: str
    bind_dn: str
    password: Callable[[], str] = field(repr=False)
    ca_file: Path | None = None
    connect_timeout_s: int = 5
    receive_timeout_s: int = 10
    read_only: bool = False


class Judge(Protocol):
    """A connector's module of answers: what those mean that concern us, and no entry."""

    BUSY: str
    """Cause of a retry: the server is busy."""

    def bind_refused(self, answer: LdapAnswer, /) -> SesameError:
        """The error for a failed bind."""

    def reading_refused(self, answer: LdapAnswer, /) -> SesameError:
        """The error for a failed search: it concerns our settings and rights, or passes."""


class LdapClient:
    """Connectors' LDAP operations. Thread-safe: one connection per thread.

    Every method raises Lost when the connection breaks or no answer comes in time, TargetDown when no
    connection can be made, Misconfigured when the server's certificate or our credentials are refused. A
    write raises WriteForbidden at a directory that is only observed.
    """

    def __init__(
        self, endpoint: Endpoint, judge: Judge, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.endpoint = endpoint
        self._judge = judge
        self._monotonic = monotonic
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[Connection] = set()

    def add(
        self, dn: str, classes: Sequence[str], attributes: Mapping[str, Sequence[str | bytes]]
    ) -> LdapAnswer:
        """Create an entry. Skip attributes without values (the protocol has no empty list)."""
        present = {name: list(values) for name, values in attributes.items() if values}
        return self._run("add", dn, list(classes), present, writes=True)[0]

    def modify(
        self,
        dn: str,
        changes: Sequence[tuple[Operation, str, Sequence[str | bytes]]],
        *,
        revision: str | None = None,
        permissive: bool = False,
    ) -> LdapAnswer:
        """Change an entry, all or nothing.

        Args:
            revision: only if its entryCSN is still this.
            permissive: adding a present value, or deleting an absent one, is no error, where the server knows
                this control ([MS-ADTS] 3.1.1.3.4.1.8).
        """
        by_name: dict[str, list[tuple[str, list[str | bytes]]]] = {}
        for operation, name, values in changes:
            by_name.setdefault(name, []).append((_OPERATIONS[operation], list(values)))
        controls: list[tuple[str, bool, bytes | None]] = []
        if revision:
            controls.append((_ASSERTION, True, _equality("entryCSN", revision)))
        if permissive:
            controls.append((_PERMISSIVE_MODIFY, False, None))
        return self._run("modify", dn, by_name, controls=controls or None, writes=True)[0]

    def delete(self, dn: str, *, revision: str | None = None) -> LdapAnswer:
        """Delete an entry that has no children; `revision`: only at this entryCSN."""
        controls = [(_ASSERTION, True, _equality("entryCSN", revision))] if revision else None
        return self._run("delete", dn, controls=controls, writes=True)[0]

    def rename(self, dn: str, rdn: str) -> LdapAnswer:
        """Rename an entry in its place."""
        return self._run("modify_dn", dn, rdn, writes=True)[0]

    def entry(self, dn: str, attributes: Sequence[str]) -> Raw | None:
        """One entry by its DN; None: there is none that we may see."""
        answer, found, _ = self._search(dn, "(objectClass=*)", BASE, attributes)
        if answer.code in (Code.NO_SUCH_OBJECT, Code.INVALID_NAME):
            return None
        return next((raw for _, raw in self._expected(answer, found)), None)

    def search(
        self, base: str, criterion: str, attributes: Sequence[str], *, deleted: bool = False
    ) -> tuple[LdapAnswer, list[Row]]:
        """The entries below `base` that match. `deleted`: in Active Directory, also deleted ones."""
        answer, found, _ = self._search(base, criterion, SUBTREE, attributes, deleted=deleted)
        return answer, found

    def rows(self, base: str, criterion: str, attributes: Sequence[str]) -> list[Row]:
        """As `search`; raises `Judge.reading_refused` unless it succeeds."""
        return self._expected(*self.search(base, criterion, attributes))

    def pages(
        self, base: str, criterion: str, attributes: Sequence[str], *, page_size: int
    ) -> Iterator[list[Row]]:
        """As `rows`, a page at a time (RFC 2696), over one connection."""
        cookie: bytes | None = None
        while cookie != b"":
            answer, found, cookie = self._search(
                base, criterion, SUBTREE, attributes, page_size=page_size, cookie=cookie
            )
            yield self._expected(answer, found)

    def _expected(self, answer: LdapAnswer, found: list[Row]) -> list[Row]:
        if answer.code != Code.SUCCESS:
            raise self._judge.reading_refused(answer)
        return found

    def removed_since(self, base: str, cookie: str) -> tuple[LdapAnswer, str, bool, bool]:
        """Ask whether an entry below `base` was or may have been removed since a cookie.

        Uses RFC 4533, refreshOnly. Returns the answer, the present cookie, whether something was removed, and
        whether the server is behind the cookie. With an empty cookie nothing was removed.

        A server that remembers removals (OpenLDAP: `syncprov-sessionlog`) reports them; another one lists
        what is left, and then something may have been removed. One whose database is older than the cookie
        refuses it (OpenLDAP: 53, *consumer state is newer than provider*).
        """
        if not cookie:
            return *self._sync(base, _NOBODY, ""), False
        answer, fresh, gone = self._sync(base, "(objectClass=*)", cookie)
        if answer.code in (Code.SIZE_LIMIT, Code.REFRESH_REQUIRED, Code.UNWILLING):
            answer, fresh, _ = self._sync(base, _NOBODY, "")
            gone = True
        behind = ldap_sync.is_behind(fresh, cookie)
        return answer, fresh or cookie, gone or behind, behind

    def _sync(self, base: str, criterion: str, cookie: str) -> tuple[LdapAnswer, str, bool]:
        answer, response, controls = self._run(
            "search",
            base,
            criterion,
            SUBTREE,
            dereference_aliases=DEREF_NEVER,  # OpenLDAP takes nothing else here
            attributes=["1.1"],
            size_limit=_SYNC_ENTRIES_MAX,
            controls=[(ldap_sync.REQUEST, True, ldap_sync.request(cookie))],
        )
        done = controls.get(ldap_sync.DONE)
        fresh, told = ldap_sync.ended(done["value"]) if done else ("", False)
        gone = not told or any(item["type"] == "intermediateResponse" for item in response or ())
        return answer, fresh, gone

    def bind(self, dn: str, password: str) -> LdapAnswer:
        """Try a bind as another user, on a new connection."""
        connection, answer = _bound(replace(self.endpoint, bind_dn=dn, password=lambda: password))
        _unbind(connection)
        return answer

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Begin no operation of this thread later than `seconds` from now (OutOfTime).

        May be nested: the nearest end counts. On a TargetDown, `unknown` says whether a write of this thread,
        in the outermost block, had no answer.
        """
        outer: float | None = getattr(self._local, "deadline", None)
        deadline = self._monotonic() + seconds
        self._local.deadline = deadline if outer is None else min(deadline, outer)
        self._local.unanswered = outer is not None and self._local.unanswered
        try:
            yield
        except TargetDown as down:
            down.unknown = self._local.unanswered
            raise
        finally:
            self._local.deadline = outer

    def disconnect(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            _unbind(connection)

    # --- one thread's connection ----------------------------------------------------------------------

    def _search(
        self,
        base: str,
        criterion: str,
        scope: _Scope,
        attributes: Sequence[str],
        *,
        page_size: int | None = None,
        cookie: bytes | None = None,
        deleted: bool = False,
    ) -> tuple[LdapAnswer, list[Row], bytes]:
        answer, response, controls = self._run(
            "search",
            base,
            criterion,
            scope,
            attributes=list(attributes),
            paged_size=page_size,
            paged_cookie=cookie,
            controls=[(_SHOW_DELETED, True, None)] if deleted else None,
        )
        found = [
            (str(item["dn"]), item["raw_attributes"])
            for item in response or ()
            if item["type"] == "searchResEntry"
        ]
        page = controls.get(_PAGED_RESULTS, {}).get("value", {})
        return answer, found, page.get("cookie") or b""

    def _run(
        self, operation: str, *values: Any, writes: bool = False, **named: Any
    ) -> tuple[LdapAnswer, Any, Mapping[str, Any]]:
        if writes and self.endpoint.read_only:
            raise WriteForbidden
        deadline: float | None = getattr(self._local, "deadline", None)
        if deadline is not None and self._monotonic() >= deadline:
            raise OutOfTime(f"{self.endpoint.uri} is too slow: the time for this work is used up")
        connection = self._connection()
        try:
            getattr(connection, operation)(*values, **named)
            result, response = connection.result, connection.response
        except (LDAPException, OSError) as error:
            self._drop(connection)
            self._local.unanswered = writes or getattr(self._local, "unanswered", False)
            raise Lost(f"no answer from {self.endpoint.uri}: {type(error).__name__}") from error
        if result["result"] == Code.UNAVAILABLE:
            self._drop(connection)  # the server is on its way down: start afresh
        return _answer(result), response, result.get("controls") or {}

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            if connection is not None:
                self._drop(connection)
            connection = self._connect()
            self._local.connection = connection
            with self._lock:
                self._open.add(connection)
        return connection

    def _connect(self) -> Connection:
        connection, answer = _bound(self.endpoint)
        if answer.code != Code.SUCCESS:
            _unbind(connection)
            raise self._judge.bind_refused(answer)
        return connection

    def _drop(self, connection: Connection) -> None:
        self._local.connection = None
        with self._lock:
            self._open.discard(connection)
        _unbind(connection)


class _VerifiedTls(Tls):
    """TLS by the standard library's rules: chain and host name, IP addresses included.

    ldap3 by default does not check the name, and its check refuses IP addresses from Python 3.12 on.
    """

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = verified(ca_file)

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Replace the connection's socket by a verified one (ldap3 calls this)."""
        connection.socket = self._context.wrap_socket(
            connection.socket, server_hostname=connection.server.host, do_handshake_on_connect=True
        )


def name_dn(attribute: str, value: str, parent: str) -> str:
    """A distinguished name with the value escaped (RFC 4514)."""
    # ldap3 leaves a NUL as it is, behind a backslash, and escapes a single blank twice, as first and as last.
    escaped = "\\ " if value == " " else escape_rdn(value).replace("\\\0", "\\00")
    return f"{attribute}={escaped},{parent}"


def any_of(attribute: str, values: Sequence[str]) -> str:
    """A filter for entries with any of the values, escaped (RFC 4515)."""
    return "(|" + "".join(f"({attribute}={escape_filter_chars(value)})" for value in values) + ")"


def all_of(criteria: Sequence[tuple[str, str]]) -> str:
    """A filter for entries that match all these attribute values, escaped (RFC 4515)."""
    return "(&" + "".join(f"({name}={escape_filter_chars(value)})" for name, value in criteria) + ")"


def written_since(cookie: str, *, but_by: str) -> str:
    """A filter for entries that others wrote last since an OpenLDAP server's cookie.

    It reaches a minute further back, since changes from another server arrive later than their time. The
    cookie's change sequence numbers begin with their time (draft-ietf-ldup-urp, as in OpenLDAP). The cookie
    of a server that was never written has none: then every entry counts as written since.

    Args:
        but_by: DN of the writer whose changes are left out.
    """
    others = f"(!(modifiersName={escape_filter_chars(but_by)}))"
    numbers = _CSN.findall(cookie)
    if not numbers:
        return others
    latest = datetime.strptime(max(numbers), "%Y%m%d%H%M%S").replace(tzinfo=UTC) - _ON_ITS_WAY
    since = f"{latest:%Y%m%d%H%M%S}.000000Z#000000#000#000000"
    return f"(&(entryCSN>={since}){others})"


def _new_connection(endpoint: Endpoint) -> Connection:
    try:
        tls = _VerifiedTls(endpoint.ca_file)
    except OSError as error:
        raise Misconfigured(
            f"the authority's file {endpoint.ca_file} cannot be used: {error}",
            remedy="give the PEM file of the authority that signed the directory's certificate",
        ) from error
    server = Server(
        endpoint.uri,
        tls=tls,
        get_info=NONE,
        connect_timeout=endpoint.connect_timeout_s,
        allowed_referral_hosts=[],
    )
    return Connection(
        server,
        user=endpoint.bind_dn,
        password=endpoint.password(),
        auto_bind=AUTO_BIND_NONE,
        client_strategy=SYNC,  # SAFE_SYNC copies each answer for other threads; there are none
        receive_timeout=endpoint.receive_timeout_s,
        auto_referrals=False,
        check_names=False,  # no schema is read; the server checks
        raise_exceptions=False,
    )


def _bound(endpoint: Endpoint) -> tuple[Connection, LdapAnswer]:
    """A new connection, and the server's answer to the bind."""
    connection = _new_connection(endpoint)
    try:
        connection.open(read_server_info=False)
        if urlsplit(endpoint.uri).scheme == "ldap":
            connection.start_tls(read_server_info=False)
        connection.bind(read_server_info=False)
    except (LDAPException, OSError) as error:
        _unbind(connection)
        if "certificate" in str(error).lower() or "startTLS failed" in str(error):
            raise Misconfigured(
                f"TLS with {endpoint.uri} failed: {_without_certificate(error)}",
                remedy="name the server as its certificate does, and give the file of its authority",
            ) from error
        raise TargetDown(
            f"{endpoint.uri} cannot be reached: {type(error).__name__}", unknown=False
        ) from error
    return connection, _answer(connection.result)


def _equality(attribute: str, value: str) -> bytes:
    """BER of the filter `(attribute=value)` (RFC 4511, 4.5.1), short ASCII only."""
    parts = [
        b"\x04" + bytes([len(text)]) + text for text in (attribute.encode("ascii"), value.encode("ascii"))
    ]
    content = b"".join(parts)
    if len(content) > 127:  # noqa: PLR2004 - the longest length that one byte can say
        raise ValueError("too long for BER's short form")
    return b"\xa3" + bytes([len(content)]) + content


def _answer(result: Mapping[str, Any]) -> LdapAnswer:
    return LdapAnswer(int(result["result"]), str(result.get("message") or ""))


def _unbind(connection: Connection) -> None:
    with suppress(LDAPException, OSError):  # it may be closed already
        connection.unbind()
    if connection.socket is not None:  # ldap3 leaves it open when opening or binding failed
        with suppress(OSError):
            connection.socket.close()


def _without_certificate(error: Exception) -> str:
    """The bare reason of a TLS error. Libraries add places and certificates."""
    reason = re.sub(r" ?\(_ssl\.c:\d+\)", "", str(error).split("{", 1)[0])
    return reason[:200].strip("(),'\" ")
