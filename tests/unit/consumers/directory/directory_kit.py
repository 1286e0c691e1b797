"""A student, a directory and a vault in memory, for tests of the directory's connector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from consumers.directory.port import (
    Applied,
    ApplyResult,
    DesiredEntry,
    GroupNames,
    Observed,
    ObservedEntry,
    PasswordsTold,
)
from consumers.kit.passwords import NoPasswords
from pipeline.vault import HandedOver, SealBroken
from schemas.account import Account, Person, Stage


def account(number: str = "22601234", **fields: Any) -> Account:
    state: dict[str, Any] = {
        "student_number": number,
        "version": 1,
        "stage": Stage.ACTIVE,
        "login": f"hugo.roux{number}",
        "mail": f"hugo.roux{number}@univ-exemple.fr",
        "principal": f"hugo.roux{number}@univ-exemple.fr",
        "person": Person(birth_name="Roux", given_name="Hugo"),
        "affiliations": ("student",),
    }
    return Account(**(state | fields))


class InMemory:
    """The port's fake: keeps what it is given, unless told to answer otherwise.

    Attributes:
        answers: what `apply` says of these instead of writing.
        forgets: whom it does not show.
        foreign: names of groups that are somebody else's.
        missing: names of groups that there are not.
        strangers: entries of others, by login.
    """

    def __init__(self) -> None:
        self.entries: dict[str, ObservedEntry] = {}
        self.answers: dict[str, ApplyResult] = {}
        self.calls: list[tuple[str, int]] = []
        self.forgets: set[str] = set()
        self.foreign: set[str] = set()
        self.missing: set[str] = set()
        self.strangers: dict[str, ObservedEntry] = {}
        self.loses_passwords = False

    def within(self, seconds: float) -> AbstractContextManager[None]:
        self.calls.append(("within", int(seconds)))
        return nullcontext()

    def apply(
        self, batch: Sequence[DesiredEntry], observed: Observed | None = None
    ) -> Mapping[str, ApplyResult]:
        self.calls.append(("apply", len(batch)))
        return {one.student_number: self._apply(one) for one in batch}

    def _apply(self, one: DesiredEntry) -> ApplyResult:
        if one.student_number in self.answers:
            return self.answers[one.student_number]
        before = self.entries.get(one.student_number)
        secret = one.credential.user_password() if one.credential else None
        self.entries[one.student_number] = ObservedEntry(
            dn=f"uid={one.login},ou=people",
            logins=(one.login,),
            student_numbers=(one.student_number,),
            version=one.version,
            revision="1",
            classes=one.classes,
            attributes=one.attributes,
            locked=one.locked,
            credential_ref=one.credential.ref
            if one.credential and secret and not self.loses_passwords
            else (before.credential_ref if before is not None else None),
        )
        self.missing -= set(one.groups)
        return Applied(changed=True)

    def close(self, observed: Observed) -> Mapping[str, ApplyResult]:
        self.calls.append(("close", len(observed)))
        for number in observed.keys() & self.entries.keys():
            self.entries[number] = replace(self.entries[number], locked=True)
        return {number: Applied(changed=True) for number in observed}

    def read(
        self,
        student_numbers: Sequence[str],
        adopted: Mapping[str, str] | None = None,
        renumbered: Mapping[str, str] | None = None,
    ) -> Observed:
        self.calls.append(("read", len(student_numbers)))
        return {
            n: (self.entries[n],) if n in self.entries and n not in self.forgets else ()
            for n in student_numbers
        }

    def holders(self, logins: Sequence[str]) -> Mapping[str, ObservedEntry]:
        return {login: self.strangers[login] for login in logins if login in self.strangers}

    def groups(self, names: Sequence[str]) -> GroupNames:
        return GroupNames(frozenset(set(names) - self.missing), frozenset(self.foreign))

    def tells_of_passwords(self) -> PasswordsTold:
        return PasswordsTold(absent=True, times=True)

    def foresee(self, batch: Sequence[DesiredEntry], observed: Observed) -> Mapping[str, ApplyResult]:
        return {}

    def erase(self, numbers: Mapping[str, str]) -> Mapping[str, ApplyResult]:
        self.calls.append(("erase", len(numbers)))
        return {
            dn: Applied(changed=self.entries.pop(number, None) is not None) for dn, number in numbers.items()
        }

    def changes_since(self, mark: str) -> None:
        return None

    def dump(self) -> Iterator[ObservedEntry]:
        yield from self.entries.values()

    def probe(self) -> None:
        self.calls.append(("probe", 0))

    def disconnect(self) -> None:
        self.calls.append(("disconnect", 0))


class Secrets(NoPasswords):
    def __init__(self, **hashes: str) -> None:
        self.hashes: dict[str, str] = hashes
        self.consumed: list[str] = []
        self.broken = False

    def open(self, ref: str) -> str | None:
        if self.broken:
            raise SealBroken
        return self.hashes.get(ref)

    def consume(self, shown: Mapping[str, float | None]) -> None:
        self.consumed += shown

    def handed_over(self, refs: Sequence[str]) -> Mapping[str, HandedOver]:
        return {}
