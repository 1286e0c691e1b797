"""A connector's harness for the suite: make connectors, and disturb their target."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from consumers.kit.connector import (
    AdoptedRef,
    Anything,
    ConnectorContext,
    Secret,
    SiteFacts,
    TargetObject,
    find_own,
)
from consumers.kit.deadline import Deadline
from pipeline.target import Handler, HandlerOutcome, Task
from schemas.account import (
    Account,
    Administrative,
    Enrolment,
    Hold,
    Membership,
    Pedagogical,
    Person,
    Requirement,
    Stage,
)
from sesame.settings import LiveSecret

READ_S_MAX = 60.0
OURS: Final = re.compile("zz[0-9a-f]{8}")
"""The student numbers of the suite's accounts."""
GROUP: Final = "zz-check"
"""The key of the cohort of these accounts."""

_Handle = Callable[[Sequence[Task]], Mapping[str, HandlerOutcome]]


class Skipped(Exception):
    """The check does not apply to this connector, for this reason.

    `missing`: the verb that the connector would need, or the bench's field; empty: by its service's nature.
    """

    def __init__(self, reason: str, missing: str = "") -> None:
        super().__init__(reason)
        self.missing = missing


@dataclass
class ConnectorBench:
    """A connector and its target.

    Attributes:
        connector: its class.
        settings: the values of its section when its target is at this address (`host:port`).
        address: of the target; empty: the suite injects no faults, for the reason in `no_faults`.
        protocol: faults of HTTP are for HTTP.
        stranger: puts an object into the target that holds this account's login and mail, and no student
            number.
        refuse: makes of an account one that the target refuses, e.g. with a name that is too long.
        domain: of the mail addresses of the suite's own accounts.
        site: what the connector may know of the site.
        leader: does for these accounts what the target that this one follows does, before each turn that does
            more than shut access.
        fixed: values of its section that no check changes.
        product: the real product and its version; empty: a stand-in.
        made: the accounts of this run.
        adopted: the objects that were adopted, by student number.
    """

    connector: type[Anything]
    settings: Callable[[str], Mapping[str, object]]
    address: str = ""
    protocol: Literal["http", "tcp"] = "http"
    stranger: Callable[[Account], object] | None = None
    refuse: Callable[[Account], Account] | None = None
    domain: str = "etu.univ-exemple.fr"
    name: str = "checked"
    no_faults: str = "the target has no address, so no fault of a network"
    site: SiteFacts = field(default_factory=SiteFacts)
    leader: Callable[[Sequence[Account]], object] | None = None
    fixed: Mapping[str, object] = field(default_factory=dict)
    product: str = ""
    made: list[Account] = field(default_factory=list)
    adopted: dict[str, AdoptedRef] = field(default_factory=dict)

    def account(self, **changes: Any) -> Account:
        """An account of the suite, with a unique number, login and address.

        Raises `Skipped`: the target would know no account, for it follows another one, which is absent.
        """
        leader = self.connector.follows
        if leader is not None and self.leader is None:
            why = f"the target knows whom the {leader} has, and the suite writes nothing there"
            raise Skipped(why, "leader")
        token = secrets.token_hex(4)
        account = Account(
            student_number=f"zz{token}",  # see OURS
            version=1,
            stage=Stage.ACTIVE,
            login=f"zz{token}",
            mail=f"zz{token}@{self.domain}",
            principal=f"zz{token}@{self.domain}",
            person=Person(birth_name="Éssai", given_name="Zoé"),
            affiliations=("student", "member"),
            entities=("SCI",),
            enrolments=(
                Enrolment(
                    year=2026,
                    step="L1INFO",
                    step_version="261",
                    step_label="Licence 1 informatique",
                    component="SCI",
                    primary=True,
                    administrative=Administrative.IN_FORCE,
                    pedagogical=Pedagogical.VALIDATED,
                ),
            ),
            cohorts=(Membership(key=GROUP, name="Essai", requires=Requirement.ADMINISTRATIVE, met=True),),
            activated_at=datetime(2026, 9, 1, tzinfo=UTC),
            opened_at=datetime(2026, 9, 1, tzinfo=UTC),
        )
        account = account.model_copy(update=changes)
        self.made.append(account)
        return account

    @contextmanager
    def connected(
        self, address: str | None = None, *, read_only: bool = False, **values: Any
    ) -> Iterator[Any]:
        """The connector at this address, by default the target's; disconnected at the end.

        `values`: of its section, over those of `settings`; unknown ones are left out.
        """
        known = self.connector.section.model_fields
        wished = {name: value for name, value in values.items() if name in known}
        given = {**self.settings(self.address if address is None else address), **wished, **self.fixed}
        section = self.connector.section.model_validate(given)
        secrets_of = {
            name: LiveSecret(section, name) for name in section.secrets() if section.has_secret(name)
        }

        def secret(name: str) -> Secret:
            return secrets_of[name] if name in secrets_of else LiveSecret(section, name)

        made = self.connector(
            ConnectorContext(
                name=self.name,
                settings=section,
                secret=secret,
                adopted=lambda numbers: {n: ref for n, ref in self.adopted.items() if n in numbers},
                read_only=read_only,
                site=self.site,
            )
        )
        try:
            yield made
        finally:
            made.disconnect()

    @contextmanager
    def handler(self, address: str | None = None, **values: Any) -> Iterator[tuple[Any, Handler]]:
        with self.connected(address, **values) as connector:
            made: Handler = connector.handler()
            if self.leader is not None:
                setattr(made, "handle", _led(made.handle, self.leader))  # noqa: B010  (mypy: a method)
            yield connector, made

    def seen(self, account: Account) -> list[TargetObject]:
        """The student's present objects, through a separate connector."""
        with self.connected() as connector:
            found = connector.read([account], Deadline.after(READ_S_MAX))[account.student_number]
        number = account.student_number
        return find_own(account, found, self.adopted.get(number)) if isinstance(found, Iterable) else []

    def needs(self, *verbs: str) -> None:
        """Raise `Skipped` unless the connector has these verbs."""
        for verb in verbs:
            if verb not in self.connector.verbs():
                raise Skipped(f"the connector has no {verb}", verb)


def _led(handle: _Handle, leader: Callable[[Sequence[Account]], object]) -> _Handle:
    def led(tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        leader([task.account for task in tasks if not task.close_only])
        return handle(tasks)

    return led


def shut(account: Account) -> Account:
    return account.model_copy(update={"holds": frozenset({Hold.SUSPENDED}), "version": account.version + 1})


def renamed(account: Account) -> Account:
    person = account.person.model_copy(update={"given_name": "Zélie"})
    return account.model_copy(update={"person": person, "version": account.version + 1})
