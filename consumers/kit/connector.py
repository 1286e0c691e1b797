"""The connector interface: declarations, and verbs over one object model.

An author subclasses `Connector`. The kit's handler drives the verbs: it shuts access first, reads, compares
with what is wanted, writes the differences, reads back, and reports `done` only from that last read. The
pipeline provides retries, leases, parking, dead letters, metrics and pages; an author writes none.
"""

from __future__ import annotations

import threading
import time
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, NamedTuple, Protocol, Self, TypeVar

from consumers.kit.deadline import Deadline, OutOfTime
from consumers.kit.passwords import NoPasswords, Passwords
from consumers.kit.reasons import Reason
from consumers.kit.settings import ConnectorSettings
from pipeline.errors import Misconfigured, SesameError, TargetDown, Throttled
from pipeline.target import Description, Handler
from schemas.account import Account
from schemas.language import Language

if TYPE_CHECKING:  # it loads SQLAlchemy, which few connectors need
    from pipeline.db.database import Database
    from pipeline.letters import Letterhead

SettingsT = TypeVar("SettingsT", bound=ConnectorSettings)

Fields = Mapping[str, tuple[str, ...]]
"""A connector's fields of an object: name to values, in a stable order."""


class Lockout(NamedTuple):
    """A lock that the target has set after wrong passwords, and lifts itself.

    Attributes:
        since: when (epoch seconds).
        value: as the target keeps it; it guards the unlocking.
    """

    since: float
    value: str


@dataclass(frozen=True, slots=True)
class TargetObject:
    """One object as the target shows it: a user, an entry, a mailbox.

    Attributes:
        ref: the target's own identifier of it; one that survives renames, if the target has such.
        student_number: the number that it carries; empty: none, so it is not one of ours.
        fields: those that the connector owns, as the target has them.
        open: whether its owner may use it; None: the target has no such notion.
        names: (kind, value) of each login, mail address and principal name that it holds; kinds are `login`,
            `mail` and `principal`. Adoption and the ledger read them.
        revision: guards a write against a concurrent one (an ETag, `uSNChanged`); empty: there is no guard.
        evidence: further evidence of its owner (`family`, `given`, `birth` as YYYY-MM-DD, `ine`), for
            adoption.
        held: the part that cannot be given, because of other objects at the target.
        note: for operators, shown with `done`.
        out_of_reach: it is at a place of the target where we may not write it.
        out_of_place: it is elsewhere than where we make such objects, and was not adopted there.
        password_at: when its password was last set, by the target's clock (epoch seconds); `NO_PASSWORD`: it
            has none; None: the target does not show it.
        lockout: the lock after wrong passwords, where `read` shows it; None: there is none.
    """

    ref: str
    student_number: str = ""
    fields: Fields = field(default_factory=dict)
    open: bool | None = None
    names: tuple[tuple[str, str], ...] = ()
    revision: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)
    held: Held | None = None
    note: str = ""
    out_of_reach: bool = False
    out_of_place: bool = False
    password_at: float | None = None
    lockout: Lockout | None = None


class AdoptedRef(str):
    """The `ref` of an adopted object, with the number that it carried when adopted."""

    __slots__ = ("number",)
    number: str

    def __new__(cls, ref: str, number: str = "") -> Self:
        """Make it from a reference and the number found with it."""
        made = super().__new__(cls, ref)
        made.number = number
        return made


class AdoptedRefs:
    """The `ref` of adopted objects by student number. One query of the store per turn."""

    def __init__(self, ask: Callable[[Sequence[str]], Mapping[str, str]]) -> None:
        self._ask = ask
        self._turn = threading.local()

    def __call__(self, numbers: Sequence[str]) -> Mapping[str, str]:
        """The references of these students' adopted objects."""
        known: dict[str, str | None] = getattr(self._turn, "known", {})
        if not known.keys() >= set(numbers):
            return self._ask(numbers)
        return {number: ref for number in numbers if (ref := known[number]) is not None}

    @contextmanager
    def once(self, numbers: Sequence[str]) -> Iterator[Mapping[str, str]]:
        """Read these students' references once, for a turn in this thread."""
        found = self._ask(numbers)
        self._turn.known = {number: found.get(number) for number in numbers}
        try:
            yield found
        finally:
            del self._turn.known


@dataclass(frozen=True, slots=True)
class Held:
    """A business precondition is missing at the target: no failure. The student waits, and sees the reason.

    Attributes:
        reason: a token that the connector explains in its `reasons`.
        pending: names of what is not given yet.
        recheck_after_s: look again after so many seconds; None: after the engine's usual time.
        fields: fields that cannot be given to an object that has all the rest: they are not written.
    """

    reason: str
    pending: tuple[str, ...] = ()
    recheck_after_s: float | None = None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The target refuses this student's work only.

    Attributes:
        cause: a token that the connector explains in its `reasons`.
        message: for operators; without personal data and without secrets.
        lasting: no retry helps until a person changes something: a dead letter at once.
        after_s: the pause that the target wants.
        unknown: it is unknown whether the call was carried out: compare before writing again.
    """

    cause: str
    message: str
    lasting: bool = False
    after_s: float | None = None
    unknown: bool = False


LOCK_IS_ANOTHER: Final = Refused("lock_changed", "its lock is not the one that was read, or is gone")

SLOW: Final = "target_slow"
TOO_SLOW: Final = "the call's time was used up before this student's turn"
"""Cause and message of a retry because the batch's time is used up."""


_Shown = TypeVar("_Shown")


@dataclass(frozen=True, slots=True)
class Changes(Generic[_Shown]):
    """The changes that a target reports since a mark, by any writer.

    Attributes:
        mark: the present state, in the target's terms; pass it to the next call to get later changes.
        objects: those made or changed, as they are now, each once, without those that we wrote last.
        gone: something was or may have been removed, unknown what: only a full comparison finds who is
            missing.
        went_back: the target shows an older state than at the mark, as after a restored backup: compare all.
    """

    mark: str
    objects: Iterable[_Shown] = ()
    gone: bool = False
    went_back: bool = False


Level = Literal["bronze", "silver", "gold", "platinum"]

Seen = Sequence[TargetObject] | Held | Refused
"""The answer of `read` for one student: their candidate objects, or why unknown.

Candidates carry the number, or hold one of the account's wanted names."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The meaning of an account at this target.

    Attributes:
        fields: those that the connector owns, in the same normal form as `TargetObject.fields`.
        held: what cannot be given yet, or never; the rest is given, and then this is reported.
        undigested: fields that are no part of the state, as an account's version: left out of the digest.
    """

    fields: Fields
    held: Held | Refused | None = None
    undigested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One student's work for `apply`.

    Attributes:
        found: the object as it was read; None: make one.
        fields: the wanted values of the fields that differ; all fields of a new object.
        open: the wanted access; None: no change.
        password: present if `Connector.credential` is among the fields: write both at once.
    """

    account: Account
    found: TargetObject | None
    fields: Fields
    open: bool | None = None
    password: str | None = field(default=None, repr=False)


class Advice(NamedTuple):
    """Advice for `sesame doctor`: the target works, but could be set up better.

    Attributes:
        text: the finding, without personal data and without secrets.
        remedy: what to do about it.
    """

    text: str
    remedy: str


class BatchRefused(Exception):
    """The target refused a call for several students and did not say whose fault it is. The kit halves the
    batch until it knows. Nothing of the call was carried out.

    Args:
        refused: what becomes of a student who is refused alone.
    """

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.cause)
        self.refused = refused


class Secret(Protocol):
    """A secret of the settings, reread when its file has changed."""

    def __call__(self) -> str:
        """Read the secret. Never log it."""

    @property
    def told(self) -> str:
        """Its name and when it was read, for operators."""


def secret_of(secret: Secret) -> str:
    """Read a secret, again if its file has changed. Raises Misconfigured: it cannot be read."""
    try:
        return secret()
    except SesameError as error:
        raise Misconfigured(str(error), remedy=error.remedy) from error


class RegistrarApi(Protocol):
    """The registrar's software, as the site's own account signs in there. Thread-safe."""

    @property
    def establishments(self) -> Sequence[str]:
        """Codes of its establishments that are the site's."""

    def address(self, module: str) -> str:
        """Where this module is."""

    def token(self, *, refused: str = "") -> str:
        """A token for `Authorization: Bearer`; a new one in place of a refused one.

        Raises:
            TargetDown: it gives no answer.
            Misconfigured: it refuses the account.
        """


@dataclass(frozen=True)
class SiteFacts:
    """A connector's knowledge of the site, apart from its own section.

    Attributes:
        database: the store, for a connector's own memory; None: there is none.
        principal_scope: the part after the `@` of principal names.
        mail_quota_bytes: of each mailbox; None: the mail server's own.
        mail_target: the target that is the students' mailbox; empty: there is none.
        is_managed: True if Sésame decides who belongs to the cohort of this key.
        pseudonym: replaces a student number once the person is erased; empty: the site has no key.
        letterhead: of messages to students; None: the site sends none.
        registrar: the registrar's software, if it is asked by an API.
        esis: the European Student Identifiers of those of these students who have one. They contain the INE:
            a connector declares the field that holds them as `private`.
    """

    database: Database | None = None
    principal_scope: str = ""
    mail_quota_bytes: int | None = None
    mail_target: str = ""
    is_managed: Callable[[str], bool] = lambda _key: False
    pseudonym: Callable[[str], str] = lambda _number: ""
    letterhead: Letterhead | None = None
    registrar: RegistrarApi | None = None
    esis: Callable[[Sequence[str]], Mapping[str, str]] = lambda _numbers: {}


@dataclass(frozen=True)
class ConnectorContext(Generic[SettingsT]):
    """A connector's settings, and what it may use of the site.

    Attributes:
        name: its name at this site: that of its section, of its consumer and in `targets`.
        settings: its section.
        secret: gives a secret of the section by its name.
        read_only: no write may leave; the kit's clients refuse them.
        connections_max: how many calls may be under way at once.
        adopted: maps student numbers to the `ref` of their object from before Sésame.
        begin_erasing: records, before it is written, that these objects (student number shown, by `ref`)
            carry the person's pseudonym from now on, and are theirs still; returns it by `ref`, nothing where
            the site has no key.
        passwords: students' passwords or hashes, for a connector with a `credential`; the kit opens them.
        site: the rest of the site.
        monotonic: seconds.
    """

    name: str
    settings: SettingsT
    secret: Callable[[str], Secret]
    read_only: bool = False
    connections_max: int = 9
    adopted: Callable[[Sequence[str]], Mapping[str, str]] = lambda _numbers: {}
    begin_erasing: Callable[[Mapping[str, str]], Mapping[str, str]] = lambda _shown: {}
    passwords: Passwords = field(default_factory=NoPasswords)
    site: SiteFacts = field(default_factory=SiteFacts)
    monotonic: Callable[[], float] = time.monotonic


Role = Literal["mailbox"]
MAIL_ROLE: Final[Role] = "mailbox"
"""The role of a target of which students have at most one, whatever its system."""


class Connector(ABC, Generic[SettingsT]):
    """Bring one target to accounts' desired state.

    Called from several threads at once, but never twice at once for one student. Every verb may raise, for
    the target as a whole: `TargetDown` (away; `unknown`: a write may have been carried out all the same),
    `Throttled` (it wants fewer calls) and `Misconfigured` (it refuses us, whatever the student). Any other
    exception is a fault of the connector and costs the student an attempt.
    """

    section: ClassVar[type[ConnectorSettings]]
    """The model of its settings."""

    title: ClassVar[Mapping[Language, str]]
    """Students' name of the service, e.g. `{"fr": "La bibliothèque", "en": "The library"}`."""

    role: ClassVar[Role | None] = None
    """Its role on students' pages: `mailbox`, where their mail is; None: none."""

    short_login: ClassVar[bool] = False
    """True if students with an `Account.short_login` log in with it; pages say so."""

    sessions: ClassVar[bool] = False
    """True if `close` ends open sessions instead of access.

    Whether new sessions may begin is up to the target that this one follows. `close` is then called for
    closed accounts, without an object, before anything is read."""

    follows: ClassVar[str | None] = None
    """The target whose objects this one's server looks up: work waits for it. Usually none."""

    reasons: ClassVar[Mapping[str, Reason]] = {}
    """Texts of the tokens of its `Held` and `Refused`."""

    owns: ClassVar[tuple[str, ...]] = ()
    """What it writes, in the target's own terms: the keys of `Wanted.fields`."""

    keeps: ClassVar[tuple[str, ...]] = ("its own logs and backups",)
    """Remains of an erased person that no verb reaches, in English, for the receipt.

    The target's own retention removes them."""

    level: ClassVar[Level | None] = None
    """The quality level that it declares. The suite refuses one that is not reached."""

    lacks: ClassVar[Mapping[str, str]] = {}
    """Verbs that its service cannot have, and why, in English; of the bench also `stranger`, `refuse`,
    `leader` and `address` (no network lies between)."""

    private: ClassVar[tuple[str, ...]] = ()
    """Fields of personal values that no account has: see `privately`. In no digest, and on no page."""

    lists: ClassVar[tuple[str, ...] | None] = None
    """The fields that `objects` shows; None: all; `()`: existence only, where more is too expensive."""

    known_by: ClassVar[Literal["number", "mail"]] = "number"
    """What identifies the owner of one of `objects`: its student number, or one of its mail addresses."""

    credential: ClassVar[str | None] = None
    """The field that shows which password an object has; None: the target gets none.

    It holds the account's `credential_ref`, since a password cannot be read back. `Change.password` has its
    hash, or the typed text where the section is made of `PlainPasswordSettings`."""

    def __init__(self, context: ConnectorContext[SettingsT]) -> None:
        self.context = context
        self.settings = context.settings
        self.name = context.name
        self.adopted_refs = AdoptedRefs(context.adopted)

    # --- what an author writes ----------------------------------------------------------------------

    @abstractmethod
    def wanted(self, account: Account) -> Wanted:
        """What this account means here. Pure: it depends on the account alone."""

    def privately(self, students: Sequence[str]) -> Mapping[str, Fields]:  # noqa: ARG002
        """The wanted values of `private` fields, by student number.

        They come from the site's ports, in one query for all, and are compared and written as others are.
        """
        return {}

    @abstractmethod
    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """Observe these students' objects on the server that users reach, by number."""

    def read_before(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """Observe what a write has to know; the default is `read`.

        What the write would be refused for, or its read-back would show, may be left out.
        """
        return self.read(accounts, deadline)

    @abstractmethod
    def probe(self) -> None:
        """Exercise the whole path without a student's object; return only if it works."""

    def advice(self) -> Iterable[Advice]:
        """Give advice on the target's set-up. Called after `probe`; writes nothing."""
        return ()

    def edition(self) -> str:
        """The edition of the target's software or schema, for doctor; empty: not known."""
        return ""

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """Write these differences and nothing else; may be repeated.

        Returns, by student number, refusals, and waits that only writing shows.

        Raises:
            BatchRefused: the target refused the lot, and did not say for whom.
        """
        raise NotImplementedError

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """Shut access to these objects, and change nothing else; runs before other verbs."""
        raise NotImplementedError

    def unlock(self, found: TargetObject, deadline: Deadline) -> Refused | None:
        """Remove the very `lockout` that was read, and change nothing else; `LOCK_IS_ANOTHER` if it is."""
        raise NotImplementedError

    def foresee(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:  # noqa: ARG002
        """Predict the answer of `apply` for a preview, as far as reading shows it. Writes nothing."""
        return {}

    def forget(self) -> None:
        """Drop all memory of the target. An outcome is unknown, or others may have written."""

    def objects(self) -> Iterator[TargetObject]:
        """Every object, ours or not, in any order and bounded memory. For adoption, restore and reconcile."""
        raise NotImplementedError

    def renamed(self, cohorts: Mapping[str, Collection[str]]) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002
        """The cohorts whose name or key was changed by hand, by key; reconcile reads it.

        `name`: the name differs from the one that accounts give. `key`: the key was taken away; what had it
        there follows.

        Args:
            cohorts: the names that accounts give them, by key.
        """
        return {}

    def changes_since(self, mark: str) -> Changes[TargetObject] | None:
        """The changes since this mark; for an empty mark, no change and the present mark.

        None: this server cannot report changes. Otherwise a change by hand is noticed within a minute.
        """
        raise NotImplementedError

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """Delete these objects with all that they hold, permanently. Return refusals and waits, by `ref`."""
        raise NotImplementedError

    def remove_groups(self, keys: Collection[str]) -> Collection[str]:  # noqa: ARG002
        """Remove our empty groups or cohorts of these keys; return the keys that are left."""
        return ()

    def probe_erasing(self) -> None:
        """Check that `erase` would be allowed, without erasing; raise if it would not."""

    def disconnect(self) -> None:
        """Close the connections. No verb may be called afterwards."""

    # --- what the kit makes of it -------------------------------------------------------------------

    @classmethod
    def verbs(cls) -> tuple[str, ...]:
        """Its verbs, in the order of VERBS."""
        return tuple(verb for verb in VERBS if getattr(cls, verb) is not getattr(Connector, verb))

    def handler(self) -> Handler:
        """Its consumer's logic; a connector whose bulk calls need more brings its own."""
        from consumers.kit.handler import ConnectorHandler

        return ConnectorHandler(self)

    def describe(self) -> Description:
        """Describe this target, and our part of it."""
        return Description(self.name, self.settings.system, self.owns)


VERBS: Final = ("apply", "close", "read", "objects", "changes_since", "probe", "erase")


class ConnectorUnusable(SesameError):
    """A connector cannot be used: its package or its settings. The other targets go on."""

    exit_code = 2


def find_own(account: Account, seen: Iterable[TargetObject], adopted: str | None) -> list[TargetObject]:
    """This student's objects, by number or adoption. An adopted one carries no other number since."""
    numbers = {"", account.student_number, adopted.number if isinstance(adopted, AdoptedRef) else ""}
    return [
        each
        for each in seen
        if each.student_number == account.student_number
        or (adopted is not None and each.ref == adopted and each.student_number in numbers)
    ]


def differing(wanted: Wanted, found: TargetObject | None) -> dict[str, tuple[str, ...]]:
    """The wanted values of the fields that differ; all of them if there is no object."""
    if found is None:
        return dict(wanted.fields)
    return {name: values for name, values in wanted.fields.items() if found.fields.get(name, ()) != values}


def tidy(text: str) -> str:
    """Normalize for comparison: Unicode NFC, single blanks, stripped (RFC 4518)."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


_Item = TypeVar("_Item", bound=Account | Change | TargetObject)
_Said = TypeVar("_Said")


def one_by_one(
    items: Sequence[_Item],
    deadline: Deadline,
    verb: Callable[[_Item], _Said | None],
    earlier: Mapping[str, _Said | Refused] | None = None,
) -> dict[str, _Said | Refused]:
    """Apply a verb to each item, for a target without bulk calls.

    Returns what the verb returned, unless None, by student number (of objects by `ref`); items that the time
    does not reach are retried. If the target goes away, an earlier item's unknown outcome stays unknown.

    Args:
        earlier: what an earlier verb returned for the batch: kept where this one returns None.
    """
    said = dict(earlier or {})
    one: _Said | Refused | None
    for item in items:
        try:
            deadline.left_s()
            one = verb(item)
        except OutOfTime as late:
            one = Refused(SLOW, TOO_SLOW, unknown=late.unknown)
        except (TargetDown, Throttled, Misconfigured) as error:
            error.unknown = error.unknown or any(getattr(each, "unknown", False) for each in said.values())
            raise
        if one is not None:
            said[_key(item)] = one
    return said


def _key(item: Account | Change | TargetObject) -> str:
    match item:
        case TargetObject():
            return item.ref
        case Change():
            return item.account.student_number
    return item.student_number


Anything = Connector[Any]
"""A connector of whatever settings."""
