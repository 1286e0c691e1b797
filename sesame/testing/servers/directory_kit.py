"""Students, and a directory consumer over a real slapd, for the directory's tests."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from argon2 import PasswordHasher

from consumers.directory.client import DirectoryClient
from consumers.directory.connector import DirectoryConnector
from consumers.directory.entry import Profile, desired_entry
from consumers.directory.objects import object_of, wanted_fields
from consumers.directory.port import (
    Branches,
    Credential,
    DesiredEntry,
    Directory,
    GroupNames,
    ObservedEntry,
)
from consumers.directory.settings import DirectorySettings
from consumers.directory.upsert import LdapDirectory
from consumers.kit.connector import AdoptedRef, ConnectorContext, Secret, SiteFacts, Wanted, differing
from consumers.kit.ldap import Endpoint
from consumers.kit.passwords import NoPasswords, Passwords
from pipeline.target import Handler, HandlerOutcome, Task
from pipeline.vault import HandedOver
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


def differences(wanted: DesiredEntry, shown: ObservedEntry) -> set[str]:
    """Names of what an entry does not show as wanted, as the kit compares the two."""
    there = GroupNames(frozenset(name.lower() for name in wanted.groups))
    found, ref = object_of(shown, wanted, there), wanted.credential.ref if wanted.credential else None
    names = set(differing(Wanted(wanted_fields(wanted, ref)), found))
    return names | ({"access"} if found.open is wanted.locked else set())


class VaultOfTheTest(NoPasswords):
    """References and hashes in a dict, like the vault's; consumed ones become None."""

    def __init__(self) -> None:
        self.hashes: dict[str, str | None] = {}
        self.given: dict[str, HandedOver] = {}

    def put(self, ref: str, password: str) -> str:
        self.hashes[ref] = HASHER.hash(password)
        return ref

    def open(self, ref: str) -> str | None:
        return self.hashes.get(ref)

    def consume(self, shown: Mapping[str, float | None]) -> None:
        now = time.time()
        self.given |= {r: HandedOver(at, now) for r, at in shown.items() if self.hashes.get(r) is not None}
        self.hashes.update(dict.fromkeys(shown))

    def handed_over(self, refs: Sequence[str]) -> Mapping[str, HandedOver]:
        return {ref: self.given[ref] for ref in refs if ref in self.given}


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
    """The directory port over this slapd; it retries within a call without a pause."""
    branches: dict[str, Any] = {"people": slapd.people_dn, "groups": slapd.groups_dn, "probe": slapd.probe_dn}
    return LdapDirectory(client or client_of(slapd), Branches(**(branches | place)), sleep=sleep)


def handler_over(
    directory: Directory,
    passwords: Passwords | None = None,
    *,
    profile: Profile = PROFILE,
    adopted: Mapping[str, str] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> Handler:
    """The kit's handler around the directory's connector over this port.

    Args:
        adopted: by student number, the entry (by DN) that was adopted.
        settings: replace those of `profile`.
    """
    context = ConnectorContext(
        "directory",
        profile.settings.model_copy(update=settings),
        _no_secret,
        adopted=lambda numbers: {n: AdoptedRef(dn) for n, dn in (adopted or {}).items() if n in numbers},
        passwords=passwords or NoPasswords(),
        site=SiteFacts(principal_scope=profile.scope),
        monotonic=monotonic,
    )
    return DirectoryConnector(context, directory).handler()


def _no_secret(name: str) -> Secret:
    raise AssertionError(f"a port that is connected wants no {name}")


class Consumer:
    """A handler, its vault and its directory."""

    def __init__(self, slapd: Slapd) -> None:
        self.directory = directory_of(slapd)
        self.vault = VaultOfTheTest()
        self.handler = handler_over(self.directory, self.vault)

    def bring(self, wanted: Account) -> HandlerOutcome:
        """One student's turn."""
        return self.handler.handle([Task(wanted)])[wanted.student_number]
