"""Students, and a directory consumer over a real slapd, for the tests of this room."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

from argon2 import PasswordHasher

from consumers.directory.client import DirectoryClient
from consumers.directory.entry import Profile, desired_entry
from consumers.directory.handler import DirectoryHandler
from consumers.directory.port import Branches, Credential, DesiredEntry
from consumers.directory.settings import DirectorySettings
from consumers.directory.upsert import LdapDirectory
from consumers.kit.ldap import Endpoint
from pipeline.target import HandlerOutcome, Task
from sandbox.slapd import Slapd
from schemas.account import (
    Account,
    Administrative,
    Enrolment,
    Membership,
    Pedagogical,
    Person,
    Requirement,
    Stage,
)

PROFILE = Profile(
    DirectorySettings(uai="0751717J", organisation_dn="dc=univ-exemple,dc=fr", mail_quota=""),
    scope="univ-exemple.fr",
)
HASHER = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)  # quick: the tests log in for real
_NUMBERS = itertools.count(1 + 1000 * (os.getpid() % 8999))


def fresh_number() -> str:
    """A student number that no other test of this worker uses."""
    return f"226{next(_NUMBERS):08d}"


def account(number: str | None = None, **fields: Any) -> Account:
    """An active first-year student; `fields` replace what a test is about."""
    number = number or fresh_number()
    login = f"zoe.lefevre{number[-5:]}"
    enrolment = Enrolment(
        year=2026,
        step="L1INFO",
        step_version="261",
        step_label="Licence 1 Informatique",
        component="SCI",
        primary=True,
        administrative=Administrative.IN_FORCE,
        pedagogical=Pedagogical.VALIDATED,
    )
    group = Membership(
        key="L1INFO-2026", name="Licence 1 Informatique", requires=Requirement.ADMINISTRATIVE, met=True
    )
    state: dict[str, Any] = {
        "student_number": number,
        "version": 1,
        "stage": Stage.ACTIVE,
        "login": login,
        "mail": f"{login}@univ-exemple.fr",
        "principal": f"{login}@univ-exemple.fr",
        "person": Person(birth_name="Lefèvre-Noël", given_name="Zoé"),
        "affiliations": ("student",),
        "entities": ("SCI",),
        "enrolments": (enrolment,),
        "groups": (group,),
    }
    return Account(**(state | fields))


def desired(number: str | None = None, credential: Credential | None = None, **fields: Any) -> DesiredEntry:
    """What the directory must show for such a student."""
    return desired_entry(account(number, **fields), PROFILE, credential)


class VaultOfTheTest:
    """References and hashes in a dict, as the vault keeps them; consumed ones become None."""

    def __init__(self) -> None:
        self.hashes: dict[str, str | None] = {}

    def put(self, ref: str, password: str) -> str:
        self.hashes[ref] = HASHER.hash(password)
        return ref

    def open(self, ref: str) -> str | None:
        return self.hashes.get(ref)

    def consume(self, refs: Any) -> None:
        self.hashes.update(dict.fromkeys(refs))


def client_of(slapd: Slapd, **settings: Any) -> DirectoryClient:
    """The consumer's connections to this slapd; `settings` replace the endpoint's."""
    endpoint: dict[str, Any] = {
        "uri": slapd.ldap_uri,
        "bind_dn": slapd.provisioner_dn,
        "password": lambda: slapd.provisioner_password_file.read_text(encoding="ascii"),
        "ca_file": slapd.ca_file,
        "receive_timeout_s": 5,
    }
    return DirectoryClient(Endpoint(**(endpoint | settings)))


def directory_of(
    slapd: Slapd,
    client: DirectoryClient | None = None,
    *,
    sleep: Callable[[float], None] = lambda _: None,
    **place: Any,
) -> LdapDirectory:
    """The directory port over this slapd; attempts within a call follow one another without a pause."""
    branches: dict[str, Any] = {"people": slapd.people_dn, "groups": slapd.groups_dn, "probe": slapd.probe_dn}
    return LdapDirectory(client or client_of(slapd), Branches(**(branches | place)), sleep=sleep)


class Consumer:
    """A handler, its vault and its directory."""

    def __init__(self, slapd: Slapd) -> None:
        self.directory = directory_of(slapd)
        self.vault = VaultOfTheTest()
        self.handler = DirectoryHandler(self.directory, self.vault, PROFILE, system=f"LDAP {slapd.ldap_uri}")

    def bring(self, wanted: Account) -> HandlerOutcome:
        """One student's turn."""
        return self.handler.handle([Task(wanted)])[wanted.student_number]
