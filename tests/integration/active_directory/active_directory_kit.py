"""A domain for a test: what it holds is read and written here as its administrator, without our code."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from ldap3 import BASE, MODIFY_REPLACE, SUBTREE
from ldap3.core.exceptions import LDAPException

from consumers.active_directory.connector import ActiveDirectoryConnector
from consumers.kit.passwords import NoPasswords
from pipeline.vault import HandedOver, SealBroken, new_key
from sandbox.samba import Samba
from schemas.account import Account, Membership, Requirement
from sesame.app.wiring import Application
from sesame.settings import load
from sesame.testing.servers import registry_kit
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.connector_harness import ConnectorHarness
from sesame.testing.servers.registry_kit import LEA, PAUL, activation, enrolled
from sesame.testing.servers.sections import samba_section, toml_of

SHOW_DELETED = ("1.2.840.113556.1.4.417", True, None)


class Domain:
    """Another pair of eyes on a domain."""

    def __init__(self, samba: Samba) -> None:
        self.samba = samba

    @contextmanager
    def admin(self) -> Iterator[Any]:
        """A connection of the administrator."""
        password = self.samba.administrator_password_file.read_text(encoding="ascii")
        with self.samba.connect(self.samba.administrator_dn, password) as connection:
            yield connection

    def lets_in(self, who: str, password: str) -> bool:
        """Whether somebody may log in with this password."""
        try:
            with self.samba.connect(who, password):
                return True
        except LDAPException:
            return False

    def found(self, criterion: str, *, deleted: bool = False) -> list[dict[str, Any]]:
        """The objects of the domain that meet a filter, with all that they show."""
        with self.admin() as admin:
            admin.search(
                self.samba.base_dn,
                criterion,
                SUBTREE,
                attributes=["*"],
                controls=[SHOW_DELETED] if deleted else None,
            )
            return [
                {"dn": each["dn"], **each["raw_attributes"]}
                for each in admin.response
                if each["type"] == "searchResEntry"
            ]

    def user(self, number: str) -> dict[str, list[str]]:
        """The one user with a student number, in the words that concern us."""
        (one,) = self.found(f"(employeeID={number})")
        binary = ("objectGUID", "objectSid")
        return {k: [v.decode() for v in vs] for k, vs in one.items() if k != "dn" and k not in binary}

    def dn(self, number: str) -> str:
        """Its name."""
        (one,) = self.found(f"(employeeID={number})")
        return str(one["dn"])

    def guid(self, number: str) -> bytes:
        """Its objectGUID."""
        (one,) = self.found(f"(employeeID={number})")
        return bytes(one["objectGUID"][0])

    def members(self, group: str) -> list[str]:
        """The logins of a group's members."""
        with self.admin() as admin:
            admin.search(f"CN={group},{self.samba.groups_dn}", "(objectClass=*)", BASE, attributes=["member"])
            names = admin.response[0]["raw_attributes"]["member"]
        return sorted(name.decode().split(",")[0].removeprefix("CN=") for name in names)

    def writes(self) -> int:
        """How many writes the domain has taken."""
        with self.admin() as admin:
            admin.search("", "(objectClass=*)", BASE, attributes=["highestCommittedUSN"])
            return int(admin.response[0]["raw_attributes"]["highestCommittedUSN"][0])

    def make(self, dn: str, kind: str = "user", **attributes: Any) -> None:
        """Somebody makes an object."""
        with self.admin() as admin:
            admin.add(dn, kind, attributes)

    def write(self, dn: str, **attributes: Sequence[str]) -> None:
        """Somebody changes an object."""
        with self.admin() as admin:
            admin.modify(dn, {name: [(MODIFY_REPLACE, list(values))] for name, values in attributes.items()})

    def empty(self) -> None:
        """Remove whatever is in the two units."""
        with self.admin() as admin:
            for unit in (self.samba.users_dn, self.samba.groups_dn):
                admin.search(unit, "(objectClass=*)", SUBTREE, attributes=["cn"])
                names = [each["dn"] for each in admin.response if each["dn"].lower() != unit.lower()]
                for dn in sorted(names, key=len, reverse=True):
                    admin.delete(dn)


@dataclass
class Drawer(NoPasswords):
    """Passwords that wait, as the vault keeps them for one target."""

    kept: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    given: dict[str, HandedOver] = field(default_factory=dict)

    def open(self, ref: str) -> str | None:
        """See `Passwords.open`."""
        if ref in self.broken:
            raise SealBroken
        return self.kept.get(ref)

    def consume(self, shown: Mapping[str, float | None]) -> None:
        """See `Passwords.consume`."""
        for ref in shown.keys() & self.kept.keys():
            del self.kept[ref]
            self.given[ref] = HandedOver(shown[ref], time.time())

    def handed_over(self, refs: Sequence[str]) -> Mapping[str, HandedOver]:
        """See `Passwords.handed_over`."""
        return {ref: self.given[ref] for ref in refs if ref in self.given}


class ActiveDirectoryHarness(ConnectorHarness):
    """The connector at work on a domain."""

    def __init__(self, samba: Samba, *, adopted: Mapping[str, str] | None = None, **changes: Any) -> None:
        self.drawer = Drawer()
        super().__init__(
            ActiveDirectoryConnector,
            samba_section(samba) | changes,
            adopted=lambda _numbers: adopted or {},
            passwords=self.drawer,
        )


@contextmanager
def site_on(samba: Samba, folder: Path) -> Iterator[Application]:
    """A site whose only target is this domain."""
    (folder / "vault.key").write_text(new_key(), encoding="ascii")
    (folder / "vault.key").chmod(0o600)
    path = folder / "sesame.toml"
    settings = f'data_dir = "{folder}"\ntargets = ["active_directory"]\n'
    path.write_text(settings + toml_of(active_directory=samba_section(samba)), encoding="utf-8")
    with closing(Application(load(path))) as site:
        yield site


def lea_and_paul(site: Application) -> registry_kit.RegistryHarness:
    """The registry of a site, in which Léa and Paul have active accounts."""
    with site.database.read() as connection:
        desk = registry_kit.RegistryHarness(str(connection.engine.url))
    desk.apply(enrolled())
    desk.apply(enrolled(PAUL, birth_name="Durand", given_name="Paul", birth_date=date(2005, 1, 2)))
    for number in (LEA, PAUL):
        desk.apply(activation(number))
    return desk


def account(number: str = "22600001", login: str = "lea.martin", **changes: Any) -> Account:
    """A student whose principal is the domain's."""
    return account_of(number, login, **{"principal": f"{login}@ad.univ-exemple.fr", **changes})


def groups(*keys: str) -> tuple[Membership, ...]:
    """Memberships that are given."""
    return tuple(Membership(key=k, name=k, requires=Requirement.ADMINISTRATIVE, met=True) for k in keys)
