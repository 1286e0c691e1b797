"""The directory, as this consumer needs it: verbs over entries of students.

An adapter owns the technology and nothing else: what an entry should look like is decided in `entry.py`,
what an answer means for the pipeline in `connector.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from consumers.kit.connector import Changes

Attributes = Mapping[str, tuple[str, ...]]
"""Attribute values by name, as in the schema; an empty tuple means that the attribute must be absent."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The password that an entry must have.

    Attributes:
        ref: names it; written next to the hash, because a hash cannot be read back.
        user_password: gives the value for userPassword (RFC 4519 and the server's scheme, `{ARGON2}…`), or
            None when the vault no longer has it. Called only if the entry does not show `ref` yet.
    """

    ref: str
    user_password: Callable[[], str | None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class DesiredEntry:
    """What one student's entry must look like, in the attributes that we own.

    Attributes:
        student_number: the key: only an entry that carries it may be changed.
        login: value of uid, which names the entry; never given to another person.
        version: the account's; an entry that shows a higher one is left alone.
        classes: object classes that must be among the entry's; others are left there.
        attributes: every owned attribute.
        locked: whether login as this entry is impossible.
        credential: None leaves the password as it is.
        groups: descriptions by cn of the groups that the person belongs to.
        adopted: DN of the entry that was found to be this student's although it does not carry the student
            number; None: there is none.
        shown_number: see `Account.shown_number`; None: the entry carries the key as its student number.
    """

    student_number: str
    login: str
    version: int
    classes: tuple[str, ...]
    attributes: Attributes
    locked: bool
    credential: Credential | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    adopted: str | None = None
    shown_number: str | None = None

    @property
    def numbers(self) -> tuple[str, ...]:
        """The values of supannEtuId."""
        if self.shown_number is None:
            return (self.student_number,)
        return (self.shown_number,) if self.shown_number else ()


@dataclass(frozen=True, slots=True)
class PasswordState:
    """The server's own state of an entry's password (slapo-ppolicy(5)), for diagnosis.

    Times are UTC.

    Attributes:
        changed_at: when it was last written; None: the server does not say.
        absent: there is none. False: there is one, or the server does not say.
        locked_at: since when wrong passwords have shut the entry; the server lifts that automatically.
        failures: when wrong passwords were tried since the last good one, oldest first; some are kept.
        must_change: an administrator wants another one.
        policy_dn: the policy that applies instead of the usual one.
    """

    changed_at: datetime | None = None
    absent: bool = False
    locked_at: datetime | None = None
    failures: tuple[datetime, ...] = ()
    must_change: bool = False
    policy_dn: str | None = None


@dataclass(frozen=True, slots=True)
class PasswordsTold:
    """What the server shows of passwords: absence (`absent`) and dates (`times`)."""

    absent: bool
    times: bool


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """The age limit of passwords and the effect of wrong ones, in seconds.

    0: no limit, or until it is lifted.
    """

    age_s_max: int
    lockout_s: int


@dataclass(frozen=True, slots=True)
class ObservedEntry:
    """An entry as the server shows it, reduced to what concerns the pipeline.

    Attributes:
        dn: distinguished name (RFC 4514).
        logins: values of uid.
        student_numbers: whose it is: the values of supannEtuId, or the number that the pipeline keeps it
            under where it shows another one; empty for people who are not students.
        version: the account version that it shows; 0 if none.
        revision: entryCSN: changes with every write, by any writer.
        classes: object classes.
        attributes: owned attributes that are present, values sorted.
        locked: whether it is closed permanently (a lock that the server lifts does not count).
        credential_ref: which credential its password was made from.
        groups: names of the static groups of ours that it is a member of, sorted; None: groups are searches.
        password: what the server keeps of it; no part of what is compared.
        evidence: attributes by which an entry's person is recognised; see `entry.EVIDENCE`.
        shown_numbers: of an entry that shows another number than it is kept under, the values of supannEtuId;
            None: it does not.
    """

    dn: str
    logins: tuple[str, ...]
    student_numbers: tuple[str, ...]
    version: int
    revision: str
    classes: tuple[str, ...]
    attributes: Attributes
    locked: bool
    credential_ref: str | None
    groups: tuple[str, ...] | None = None
    password: PasswordState = PasswordState()
    evidence: Attributes = field(default_factory=dict)
    shown_numbers: tuple[str, ...] | None = None

    @property
    def numbers(self) -> tuple[str, ...]:
        """The values of supannEtuId."""
        return self.student_numbers if self.shown_numbers is None else self.shown_numbers


@dataclass(frozen=True, slots=True)
class Applied:
    """The server took what differed (`changed`), or nothing differed.

    Read it back before announcing it.

    Attributes:
        foreign: names of groups that the person belongs to and that are not ours: left alone.
    """

    changed: bool
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EntryRefused:
    """The server, or the rules of identity, refuse this entry for good.

    Attributes:
        cause: a token, e.g. `identity_collision`.
        message: names the attribute and the remedy; no values, since those are personal.
    """

    cause: str
    message: str


@dataclass(frozen=True, slots=True)
class EntryUnsettled:
    """It could not be settled now.

    Attributes:
        cause: a token, e.g. `directory_busy`.
        message: for operators; no values.
        unknown: a write may still land.
    """

    cause: str
    message: str
    unknown: bool = False


ApplyResult = Applied | EntryRefused | EntryUnsettled

Observed = Mapping[str, tuple[ObservedEntry, ...]]
"""By student number, the entries that carry it, or were adopted for it."""


@dataclass(frozen=True, slots=True)
class GroupNames:
    """Which of some groups exist; names in one case.

    Attributes:
        present: those that exist, ours or not.
        foreign: those that are not ours.
    """

    present: frozenset[str]
    foreign: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Branches:
    """Where in the tree things are.

    Attributes:
        people: the branch whose entries are written.
        groups: the branch of groups; None: there are none.
        probe: the entry that probes write.
        static_groups: whether groups list their members (see `groups`); otherwise they are searches.
        policy: the password policy that applies where an entry names no other; None: it is not looked at.
    """

    people: str
    groups: str | None
    probe: str
    static_groups: bool = False
    policy: str | None = None


class Directory(Protocol):
    """A directory of people. Thread-safe: each thread has its own connection.

    Every verb raises TargetDown when the server cannot be reached or does not answer (`unknown`: a write of
    this verb had no answer), and Misconfigured (with the remedy) when it refuses the consumer's account, its
    rights, its base or its schema. Repeating a verb is safe: each writes only what differs.
    """

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """Begin no operation of this thread later than `seconds` from now (TargetDown).

        A verb outside has a limit too; `dump` has none.
        """

    def apply(
        self, batch: Sequence[DesiredEntry], observed: Observed | None = None
    ) -> Mapping[str, ApplyResult]:
        """Bring each entry to its desired state; one result per student number.

        Nothing else is touched. An entry is created when its name is free. One that exists is changed only if
        it carries the student number or was explicitly adopted for it and carries none, which it then gets;
        and only if it did not change since it was read (else it is read again).

        Args:
            batch: the desired entries.
            observed: what `read` has just shown of them; None: they are read first.
        """

    def close(self, observed: Observed) -> Mapping[str, ApplyResult]:
        """Shut access to these entries at once, in one small write each.

        Nothing else changes. A student without an entry has no access to shut: `Applied(changed=False)`.
        """

    def read(
        self,
        student_numbers: Sequence[str],
        adopted: Mapping[str, str] | None = None,
        renumbered: Mapping[str, str] | None = None,
    ) -> Observed:
        """The entries of each of these numbers: none, one, or after tampering several.

        `adopted` has DNs by number: such an entry is shown, if it carries no number, where none carries this
        one. `renumbered` has the logins of those whose entries show another number: they are found by login.
        """

    def holders(self, logins: Sequence[str]) -> Mapping[str, ObservedEntry]:
        """Who has these logins, by login in lower case: one search, whatever their number."""

    def groups(self, names: Sequence[str]) -> GroupNames:
        """Which of these groups there are: one search, whatever their number."""

    def foresee(self, batch: Sequence[DesiredEntry], observed: Observed) -> Mapping[str, ApplyResult]:
        """What would hinder `apply`, as far as reading shows it.

        Another entry has a unique value (`EntryRefused`), or groups are not ours (`Applied.foreign`).

        Args:
            batch: the desired entries.
            observed: what `read` has just shown of them.
        """

    def erase(self, numbers: Mapping[str, str]) -> Mapping[str, ApplyResult]:
        """Remove these entries and their memberships; by name (DN).

        `numbers`: the student number that each of them must still carry, by name. One that is gone is
        `Applied(changed=False)`.
        """

    def dump(self) -> Iterator[ObservedEntry]:
        """Everybody in the branch, students or not, in pages: memory stays bounded."""

    def changes_since(self, mark: str) -> Changes[ObservedEntry] | None:
        """The changes of others in the branch; see `Connector.changes_since`."""

    def tells_of_passwords(self) -> PasswordsTold:
        """What can be known of passwords at this server, as its answers show."""

    def probe(self) -> None:
        """Write and read back a test entry; raise if that does not work.

        A directory that is only observed is only read.
        """

    def disconnect(self) -> None:
        """Give all connections back. Nothing may be called afterwards."""
