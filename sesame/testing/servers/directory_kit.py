"""Students, and a directory consumer over a real slapd, for the directory's tests."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from argon2 import PasswordHasher

from consumers.directory import answers
from consumers.directory.connector import DirectoryConnector
from consumers.directory.entry import Profile
from consumers.directory.objects import EntryObject
from consumers.directory.settings import DirectorySettings
from consumers.kit.connector import (
    AdoptedRef,
    Change,
    ConnectorContext,
    Refused,
    Secret,
    SiteFacts,
    differing,
    find_own,
)
from consumers.kit.deadline import Deadline
from consumers.kit.ldap import Endpoint
from consumers.kit.ldap_patience import PatientLdapClient
from consumers.kit.passwords import NoPasswords, Passwords
from pipeline.target import HandlerOutcome, Task
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
    """An active first-year student, with these `fields` changed."""
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


def client_of(
    slapd: Slapd, *, sleep: Callable[[float], None] = lambda _: None, **endpoint: Any
) -> PatientLdapClient:
    """Connections to this slapd that retry within a call without a pause. `endpoint` replaces facts."""
    facts: dict[str, Any] = {
        "uri": slapd.ldap_uri,
        "bind_dn": slapd.provisioner_dn,
        "password": lambda: slapd.provisioner_password_file.read_text(encoding="ascii"),
        "ca_file": slapd.ca_file,
        "receive_timeout_s": 5,
    }
    return PatientLdapClient(Endpoint(**(facts | endpoint)), answers, sleep=sleep)


def directory_of(
    slapd: Slapd,
    client: PatientLdapClient | None = None,
    passwords: Passwords | None = None,
    *,
    adopted: Mapping[str, str] | None = None,
    esis: Mapping[str, str] | None = None,
    **settings: Any,
) -> DirectoryConnector:
    """The connector over this slapd; `settings` replace those of `PROFILE`."""
    place = {"people_dn": slapd.people_dn, "groups_dn": slapd.groups_dn}
    client = client or client_of(slapd)
    return directory_over(client, passwords, adopted=adopted, esis=esis, **(place | settings))


def directory_over(
    client: PatientLdapClient,
    passwords: Passwords | None = None,
    *,
    profile: Profile = PROFILE,
    adopted: Mapping[str, str] | None = None,
    esis: Mapping[str, str] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> DirectoryConnector:
    """The directory's connector over these connections.

    `adopted`: the adopted entry's DN by student number; `esis`: the ESI, likewise. `settings` replace those
    of `profile`.
    """
    context = ConnectorContext(
        "directory",
        profile.settings.model_copy(update=settings),
        _no_secret,
        adopted=lambda numbers: {n: AdoptedRef(dn) for n, dn in (adopted or {}).items() if n in numbers},
        passwords=passwords or NoPasswords(),
        site=SiteFacts(
            principal_scope=profile.scope,
            esis=lambda numbers: {n: esi for n, esi in (esis or {}).items() if n in numbers},
        ),
        monotonic=monotonic,
    )
    return DirectoryConnector(context, client)


def _no_secret(name: str) -> Secret:
    raise AssertionError(f"connections that exist want no {name}")


def change_of(directory: DirectoryConnector, wanted: Account, password: str | None = None) -> Change:
    """The change that `apply` gets for this account, of the first entry."""
    number = wanted.student_number
    found = find_own(wanted, seen(directory, wanted), directory.adopted_refs([number]).get(number))
    return Change(wanted, next(iter(found), None), {}, password=password)


def put(directory: DirectoryConnector, wanted: Account, password: str | None = None) -> Refused | None:
    """Read, and write what differs; return the refusal, if any."""
    change = change_of(directory, wanted, password)
    return directory.apply([change], Deadline.after(30.0)).get(wanted.student_number)


def seen(directory: DirectoryConnector, wanted: Account) -> Sequence[EntryObject]:
    return directory.read([wanted], Deadline.after(30.0))[wanted.student_number]


def differences(directory: DirectoryConnector, wanted: Account) -> set[str]:
    """Names of what the only entry does not show as wanted, by the kit's comparison."""
    [found] = seen(directory, wanted)
    names = set(differing(directory.wanted(wanted), found))
    return names | ({"access"} if found.open is not wanted.access_open else set())


class Consumer:
    """The directory's connector, its vault and its handler."""

    def __init__(self, slapd: Slapd) -> None:
        self.vault = VaultOfTheTest()
        self.directory = directory_of(slapd, passwords=self.vault)
        self.handler = self.directory.handler()

    def bring(self, wanted: Account) -> HandlerOutcome:
        return self.handler.handle([Task(wanted)])[wanted.student_number]
