"""An LDAP server in memory, in the place of ldap3's connection: what it is asked is written down, somebody
else can be faster, and it can lie, be busy or hang up. Real servers are in tests/integration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ldap3.core.exceptions import LDAPSocketReceiveError

from consumers.directory.client import DirectoryClient
from consumers.directory.entry import CLASSES, OWNED
from consumers.directory.port import Branches, DesiredEntry
from consumers.directory.upsert import LdapDirectory
from consumers.kit import ldap
from consumers.kit.ldap import Endpoint

BASE = "dc=univ-exemple,dc=fr"
PEOPLE, GROUPS, PROBE = f"ou=people,{BASE}", f"ou=groups,{BASE}", f"cn=probe,{BASE}"
PROVISIONER = f"cn=sesame,{BASE}"
ENDPOINT = Endpoint("ldap://ldap.univ-exemple.fr", PROVISIONER, lambda: "mot de passe")

Attributes = dict[str, list[str]]


@dataclass
class Asked:
    """One operation."""

    verb: str
    dn: str
    what: Any = None
    asserted: str | None = None


@dataclass
class Tree:
    """The server.

    Attributes:
        entries: attributes by DN.
        asked: every operation, in order.
        before: told each operation before it is carried out; returns a result (a code, or with
            a remark) to be answered instead, or raises what ldap3 raises; None: go on.
        shown: bends what a search is about to show.
        hangs_up_after: this many more writes are carried out without an answer.
    """

    entries: dict[str, Attributes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    before: Callable[[Asked], int | tuple[int, str] | None] = lambda _asked: None
    shown: Callable[[str, Attributes], Attributes] = lambda _dn, attributes: attributes
    hangs_up_after: int = 0
    connections: list[Connection] = field(default_factory=list)
    writes: int = 0

    def put(self, dn: str, **attributes: str | Sequence[str]) -> None:
        """Somebody writes an entry."""
        values = {name: [v] if isinstance(v, str) else [*v] for name, v in attributes.items()}
        self.entries[dn] = values
        self._stamp(dn)

    def write(self, dn: str, **attributes: str | Sequence[str]) -> None:
        """Somebody changes some attributes of an entry."""
        self.put(dn, **{**self.entries[dn], **attributes})

    def wrote(self, *verbs: str) -> list[Asked]:
        """The writes that were asked for."""
        return [each for each in self.asked if each.verb in (verbs or ("add", "modify"))]

    def _stamp(self, dn: str) -> None:
        self.writes += 1
        self.entries[dn]["entryCSN"] = [f"2026112520{self.writes:06d}.000000Z#000000#000#000000"]

    # --- operations; each answers a result code --------------------------------------------------------

    def add(self, dn: str, classes: Sequence[str], attributes: Mapping[str, Sequence[str]]) -> int:
        """RFC 4511, 4.7."""
        if self._name(dn) is not None:
            return 68
        if self._name(dn.partition(",")[2]) is None:
            return 32
        assert all(attributes.values()), "the protocol has no empty list"
        rdn, _, value = dn.partition(",")[0].partition("=")
        self.entries[dn] = {
            rdn: [value],
            **{k: [*v] for k, v in attributes.items()},
            "objectClass": [*classes],
        }
        self._stamp(dn)
        return 0

    def modify(
        self, asked: str, changes: Mapping[str, Sequence[tuple[str, Sequence[str]]]], csn: str | None
    ) -> int:
        """RFC 4511, 4.6: all or nothing."""
        dn = self._name(asked)
        if dn is None:
            return 32
        if csn is not None and self.entries[dn]["entryCSN"] != [csn]:
            return 122
        values = deepcopy(self.entries[dn])
        for name, several in changes.items():
            for operation, some in several:
                code = _changed(values, name, operation, some)
                if code:
                    return code
        self.entries[dn] = {name: some for name, some in values.items() if some}
        self._stamp(dn)
        return 0

    def search(
        self, base: str, criterion: str, scope: str, attributes: Sequence[str]
    ) -> tuple[int, list[Any]]:
        """RFC 4511, 4.5; of the filters those that are made."""
        if self._name(base) is None:
            return 32, []
        meets = _filter(criterion)
        found = []
        for dn, stored in self.entries.items():
            inside = dn.lower() == base.lower() or (
                scope == "SUBTREE" and dn.lower().endswith(f",{base.lower()}")
            )
            if inside and meets(stored):
                shown = self.shown(dn, deepcopy(stored))
                raw = {n: [v.encode() for v in some] for n, some in shown.items() if n in attributes}
                found.append({"type": "searchResEntry", "dn": dn, "raw_attributes": raw})
        return 0, [*found, {"type": "searchResRef", "uri": ["ldap://elsewhere"]}]

    def _name(self, dn: str) -> str | None:
        return next((each for each in self.entries if each.lower() == dn.lower()), None)


def _changed(values: Attributes, name: str, operation: str, some: Sequence[str]) -> int:
    there = values.setdefault(name, [])
    if operation == "MODIFY_REPLACE":
        values[name] = [*some]
        return 0
    lower = {value.lower() for value in there}
    if operation == "MODIFY_ADD":
        if any(value.lower() in lower for value in some):
            return 20
        there += some
        return 0
    if not there or not {value.lower() for value in some} <= lower:
        return 16
    gone = {value.lower() for value in some}
    values[name] = [value for value in there if value.lower() not in gone] if some else []
    return 0


def _filter(text: str) -> Callable[[Attributes], bool]:
    """RFC 4515: and, or, equality and presence."""
    inner = text[1:-1]
    if inner[0] in "&|":
        parts, depth, start = [], 0, 0
        for at, char in enumerate(inner[1:]):
            depth += {"(": 1, ")": -1}.get(char, 0)
            if not depth:
                parts.append(_filter(inner[1:][start : at + 1]))
                start = at + 1
        quantifier = all if inner[0] == "&" else any
        return lambda stored: quantifier(part(stored) for part in parts)
    name, _, raw = inner.partition("=")
    value = re.sub(r"\\([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), raw).lower()
    return lambda stored: any(raw == "*" or each.lower() == value for each in stored.get(name, ()))


class Connection:
    """ldap3's, as `DirectoryClient` uses it (SAFE_SYNC)."""

    def __init__(self, tree: Tree, server: Any, **settings: Any) -> None:
        self.tree = tree
        self.server = server
        self.settings = settings
        self.closed = True
        self.socket: Any = None
        tree.connections.append(self)

    def open(self, *, read_server_info: bool) -> None:
        self._begin(Asked("open", ""))
        self.closed = False

    def start_tls(self, *, read_server_info: bool) -> None:
        self._begin(Asked("start_tls", ""))

    def bind(self, *, read_server_info: bool) -> Any:
        who = self.settings["user"]
        return self._answer(Asked("bind", who, self.settings["password"]), lambda: 0)

    def unbind(self) -> None:
        self.tree.asked.append(Asked("unbind", ""))
        self.closed = True

    def add(self, dn: str, classes: Sequence[str], attributes: Mapping[str, Sequence[str]]) -> Any:
        return self._answer(
            Asked("add", dn, dict(attributes)), lambda: self.tree.add(dn, classes, attributes), writes=True
        )

    def modify(self, dn: str, changes: Mapping[str, Any], controls: Sequence[Any] | None = None) -> Any:
        csn = None
        if controls:
            ((oid, critical, value),) = controls
            assert (oid, critical) == ("1.3.6.1.1.12", True)
            csn = _asserted(value)
        return self._answer(
            Asked("modify", dn, dict(changes), csn), lambda: self.tree.modify(dn, changes, csn), writes=True
        )

    def search(
        self,
        base: str,
        criterion: str,
        scope: str,
        *,
        attributes: Sequence[str],
        paged_size: int | None,
        paged_cookie: bytes | None,
        controls: Any,
    ) -> Any:
        found: list[Any] = []

        def carry_out() -> int:
            code, found[:] = self.tree.search(base, criterion, scope, attributes)
            return code

        answer = self._answer(Asked("search", base, criterion), carry_out)
        controls = {}
        if paged_size is not None:
            start = int(paged_cookie or b"0")
            end = start + paged_size
            cookie = str(end).encode() if end < len(found) else b""
            controls = {"1.2.840.113556.1.4.319": {"value": {"size": 0, "cookie": cookie}}}
            found = found[start:end]
        return answer[0], {**answer[1], "controls": controls}, found, None

    def _begin(self, asked: Asked) -> int | tuple[int, str] | None:
        self.tree.asked.append(asked)
        return self.tree.before(asked)

    def _answer(self, asked: Asked, carry_out: Callable[[], int], *, writes: bool = False) -> Any:
        instead = self._begin(asked)
        result = carry_out() if instead is None else instead
        code, remark = result if isinstance(result, tuple) else (result, "")
        if writes and self.tree.hangs_up_after:
            self.tree.hangs_up_after -= 1
            raise LDAPSocketReceiveError("socket closed")
        return code == 0, {"result": code, "message": remark}, None, None


def _asserted(ber: bytes) -> str:
    """The value of the filter `(entryCSN=value)`."""
    assert ber[0] == 0xA3
    assert ber[1] == len(ber) - 2
    name_length = ber[3]
    assert ber[4 : 4 + name_length] == b"entryCSN"
    value = ber[4 + name_length :]
    assert value[1] == len(value) - 2
    return value[2:].decode()


def tree_of(monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A server with its branches, which every new connection reaches."""
    tree = Tree()
    for dn in (BASE, PEOPLE, GROUPS, PROBE):
        tree.put(dn, objectClass="top")
    monkeypatch.setattr(ldap, "Connection", lambda server, **settings: Connection(tree, server, **settings))
    return tree


def directory_on(*, static_groups: bool = False, groups: str | None = None, **endpoint: Any) -> LdapDirectory:
    """The adapter, which waits for nobody."""
    client = DirectoryClient(Endpoint(ENDPOINT.uri, PROVISIONER, lambda: "mot de passe", **endpoint))
    branches = Branches(PEOPLE, groups, PROBE, static_groups=static_groups)
    return LdapDirectory(client, branches, sleep=lambda _seconds: None, clock_ns=lambda: 1_000)


NUMBER, LOGIN = "22601234", "hugo.roux"


DN = f"uid={LOGIN},{PEOPLE}"


HELD = {"uid": LOGIN, "objectClass": [*CLASSES], "cn": "Roux Hugo", "sn": "Roux"}


def desired(**fields: Any) -> DesiredEntry:
    attributes = dict.fromkeys(OWNED, ()) | {
        "cn": ("Roux Hugo",),
        "sn": ("Roux",),
        "mail": ("hugo.roux@univ-exemple.fr",),
        "sesameMailEnabled": ("TRUE",),
    }
    one = DesiredEntry(NUMBER, LOGIN, 3, CLASSES, attributes, locked=False)
    return replace(one, **fields)


def changed(one: DesiredEntry, **attributes: tuple[str, ...]) -> DesiredEntry:
    return replace(one, attributes={**one.attributes, **attributes})
