"""An LDAP server in memory, in place of ldap3's connection.

It notes its operations; another writer can be faster, and it can lie, be busy or hang up. Real servers are in
tests/integration.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
from ldap3.core.exceptions import LDAPSocketReceiveError

from consumers.directory import answers
from consumers.directory.connector import DirectoryConnector
from consumers.directory.entries import Entries
from consumers.directory.entry import CLASSES, OWNED, VERSION
from consumers.directory.objects import EntryObject
from consumers.directory.settings import DirectorySettings
from consumers.kit import ldap
from consumers.kit.connector import Change, Refused
from consumers.kit.ldap import Endpoint
from consumers.kit.ldap_patience import PatientLdapClient
from consumers.kit.passwords import NoPasswords, Passwords
from schemas.account import Account, Hold, Membership, Person, Requirement
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.directory_kit import directory_over

BASE = "dc=univ-exemple,dc=fr"
PEOPLE, GROUPS, PROBE = f"ou=people,{BASE}", f"ou=groups,{BASE}", f"uid=sesame-probe,ou=people,{BASE}"
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
        before: called before each operation is carried out; returns a result (a code, or with a remark) to
            answer instead, or raises ldap3's error; None: carry it out.
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
        """Write an entry, as another writer."""
        values = {name: [v] if isinstance(v, str) else [*v] for name, v in attributes.items()}
        self.entries[dn] = values
        self._stamp(dn)

    def write(self, dn: str, **attributes: str | Sequence[str]) -> None:
        """Change some attributes of an entry, as another writer."""
        self.put(dn, **{**self.entries[dn], **attributes})

    def wrote(self, *verbs: str) -> list[Asked]:
        """The requested writes."""
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
        """RFC 4511, 4.5; only the filters in use."""
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
    """RFC 4515: and, or, not, equality and presence."""
    inner = text[1:-1]
    if inner[0] == "!":
        denied = _filter(inner[1:])
        return lambda stored: not denied(stored)
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
    """ldap3's, as the client uses it (SYNC)."""

    def __init__(self, tree: Tree, server: Any, **settings: Any) -> None:
        self.tree = tree
        self.server = server
        self.settings = settings
        self.closed = True
        self.socket: Any = None
        self.result: dict[str, Any] = {}
        self.response: list[Any] = []
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
        csn = self.asserted(controls)
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

        done = self._answer(Asked("search", base, criterion), carry_out)
        controls = {}
        if paged_size is not None:
            start = int(paged_cookie or b"0")
            end = start + paged_size
            cookie = str(end).encode() if end < len(found) else b""
            controls = {"1.2.840.113556.1.4.319": {"value": {"size": 0, "cookie": cookie}}}
            found = found[start:end]
        self.result["controls"], self.response = controls, found
        return done

    @staticmethod
    def asserted(controls: Sequence[Any] | None) -> str | None:
        """The entryCSN that a write asserts."""
        if not controls:
            return None
        ((oid, critical, value),) = controls
        assert (oid, critical) == ("1.3.6.1.1.12", True)
        return _asserted(value)

    def answered(self, code: int, remark: str = "") -> bool:
        """Keep the answer, as ldap3 does."""
        self.result, self.response = {"result": code, "message": remark}, []
        return code == 0

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
        return self.answered(code, remark)


def _asserted(ber: bytes) -> str:
    """The value of the filter `(entryCSN=value)`."""
    assert ber[0] == 0xA3
    assert ber[1] == len(ber) - 2
    name_length = ber[3]
    assert ber[4 : 4 + name_length] == b"entryCSN"
    value = ber[4 + name_length :]
    assert value[1] == len(value) - 2
    return value[2:].decode()


def branches() -> Tree:
    tree = Tree()
    for dn in (BASE, PEOPLE, GROUPS, PROBE):
        tree.put(dn, objectClass="top")
    return tree


def tree_of(monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A server with its branches, which every new connection reaches."""
    tree = branches()
    monkeypatch.setattr(ldap, "Connection", lambda server, **settings: Connection(tree, server, **settings))
    return tree


def client_on(**endpoint: Any) -> PatientLdapClient:
    """Connections to the tree, without pauses."""
    facts = Endpoint(ENDPOINT.uri, PROVISIONER, lambda: "mot de passe", **endpoint)
    return PatientLdapClient(facts, answers, sleep=lambda _seconds: None)


def place_of(**settings: Any) -> dict[str, Any]:
    return {"people_dn": PEOPLE, "groups_dn": GROUPS, **settings}


def directory_on(
    passwords: Passwords | None = None,
    *,
    adopted: Mapping[str, str] | None = None,
    client: PatientLdapClient | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> DirectoryConnector:
    """The connector over the tree; `settings` replace those of `PROFILE`."""
    place = place_of(**settings)
    return directory_over(client or client_on(), passwords, adopted=adopted, monotonic=monotonic, **place)


def entries_on(**settings: Any) -> Entries:
    """The people's branch of the tree."""
    return Entries(client_on(), DirectorySettings(**place_of(**settings)))


NUMBER, LOGIN = "22601234", "hugo.roux"


DN = f"uid={LOGIN},{PEOPLE}"


HELD = {"uid": LOGIN, "objectClass": [*CLASSES], "cn": "Roux Hugo", "sn": "Roux"}


def student(number: str = NUMBER, login: str = LOGIN, **fields: Any) -> Account:
    """Hugo Roux, at version 3."""
    values: dict[str, Any] = {
        "version": 3,
        "mail": f"{login}@univ-exemple.fr",
        "person": Person(birth_name="Roux", given_name="Hugo"),
        "affiliations": ("student",),
    }
    return account_of(number, login, **(values | fields))


class Secrets(NoPasswords):
    """Hashes by their references."""

    def __init__(self, **hashes: str) -> None:
        self.hashes: dict[str, str] = hashes
        self.consumed: list[str] = []

    def open(self, ref: str) -> str | None:
        return self.hashes.get(ref)

    def consume(self, shown: Mapping[str, float | None]) -> None:
        self.consumed += shown


def group_of(key: str, name: str = "") -> Membership:
    return Membership(key=key, name=name, requires=Requirement.ADMINISTRATIVE, met=True)


def desired(
    version: int = 3,
    *,
    locked: bool = False,
    password: tuple[str, str | None] = ("", None),
    groups: Mapping[str, str] | None = None,
    number: str = NUMBER,
    login: str = LOGIN,
    **attributes: tuple[str, ...],
) -> Change:
    """A change with few attributes, unless given. `password`: its reference and its hash."""
    account = student(
        number,
        login,
        version=version,
        holds=frozenset({Hold.SUSPENDED} if locked else ()),
        credential_ref=password[0] or None,
        groups=tuple(group_of(key, name) for key, name in (groups or {}).items()),
    )
    fields = dict.fromkeys(OWNED, ()) | {
        "cn": ("Roux Hugo",),
        "sn": ("Roux",),
        "mail": ("hugo.roux@univ-exemple.fr",),
        "sesameMailEnabled": ("TRUE",),
        VERSION: (str(version),),
    }
    return Change(account, None, {**fields, **attributes}, password=password[1])


def apply(
    tree: Tree, change: Change, adopted: str | None = None, *, entries: Entries | None = None
) -> Refused | bool:
    """Read, and write what differs; return whether anything was sent, or the refusal."""
    entries = entries or entries_on()
    account, before = change.account, len(tree.wrote())
    mine = {} if adopted is None else {account.student_number: adopted}
    found = entries.of([account], mine)
    own = [each for each in found[account.student_number] if _is_own(each, account, adopted)]
    change = Change(account, next(iter(own), None), change.fields, password=change.password)
    return entries.write(mine, change) or len(tree.wrote()) > before


def _is_own(entry: EntryObject, account: Account, adopted: str | None) -> bool:
    is_adopted = adopted is not None and entry.ref == adopted.lower() and not entry.student_numbers
    return account.student_number in entry.student_numbers or is_adopted
