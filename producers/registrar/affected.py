"""A file's change of a person, before and after, by its columns.

A feed keeps no names, dates or addresses of published persons, only digests. The earlier value comes from the
port that records persons, and is shown if it has that very digest; otherwise it is no longer known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple, Protocol

from producers.registrar.guard import Outline, OutlineChange, folded
from producers.registrar.profile import FeedProfile
from producers.registrar.rows import Fact
from schemas.account import Administrative, Pedagogical
from schemas.language import gettext, gettext_noop


class RecordedPerson(NamedTuple):
    """A student as last recorded. `birth_date`: ISO 8601; empty or None: there is none."""

    birth_name: str
    given_name: str
    birth_date: str
    ine: str | None
    personal_mail: str | None
    mobile: str | None


class RecordedPersons(Protocol):
    """Port to the reader that records what feeds publish."""

    def recorded(self, students: Collection[str]) -> Mapping[str, RecordedPerson]:
        """The known ones of these students (at most some hundreds). Raises `StoreUnavailable`."""

    def erased(self, students: Collection[str]) -> Collection[str]:
        """Those of these students who were erased and are not back. Raises `StoreUnavailable`."""


class BeforeAfter(NamedTuple):
    """A change to show: the columns of the file, and their values."""

    columns: str
    before: str
    after: str


OF_PERSON: Final = frozenset(
    {OutlineChange.IDENTITY, OutlineChange.INE, OutlineChange.PERSONAL_MAIL, OutlineChange.MOBILE}
)
"""Changes of which a feed has a digest only."""

_IDENTITY: Final = ("given_name", "birth_name", "birth_date")
_STATES: Final = {
    Administrative.PENDING.value: gettext_noop("pending"),
    Administrative.AWAITING_PAYMENT.value: gettext_noop("awaiting payment"),
    Administrative.IN_FORCE.value: gettext_noop("in force"),
    Administrative.CANCELLED.value: gettext_noop("cancelled"),
    "terminated": gettext_noop("terminated"),
    Pedagogical.VALIDATED.value: gettext_noop("validated"),
}
_NOT_KEPT: Final = gettext_noop("another value, which is not kept")
_NOTHING: Final = gettext_noop("(nothing)")


def shown(
    change: OutlineChange,
    fact: Fact,
    was: Outline | None,
    person: RecordedPerson | None,
    profile: FeedProfile,
) -> BeforeAfter:
    """A fact's change, before and after.

    Args:
        was: the fact published before; None: it is not kept.
        person: the one last recorded under this number, if known.
        profile: names the columns.
    """
    if change in OF_PERSON:
        return _of_person(change, fact, was, person, profile)
    if change is OutlineChange.COMPONENT:
        before = was.component if was is not None else ""
        return BeforeAfter(profile.column_of("component"), before, str(fact["component"]))
    if change is OutlineChange.PEDAGOGICAL:
        column, before = profile.column_of("pedagogical"), was.pedagogical if was is not None else ""
        return BeforeAfter(column, state_words(before), state_words(fact["pedagogical"]))
    before = state_words(was.state if was is not None else "")
    if change is OutlineChange.GONE:
        return BeforeAfter("", before, gettext("not in the file"))
    after = fact.get("reason") or fact.get("administrative")
    return BeforeAfter(profile.column_of("state"), before, state_words(after))


def _of_person(
    change: OutlineChange,
    fact: Fact,
    was: Outline | None,
    person: RecordedPerson | None,
    profile: FeedProfile,
) -> BeforeAfter:
    names = _IDENTITY if change is OutlineChange.IDENTITY else (change.value,)
    if person is None or was is None or not _published(change, fact, was, person):
        columns, after = _columns(names, profile), ", ".join(_value(fact.get(name)) for name in names)
        return BeforeAfter(columns, gettext(_NOT_KEPT), after)
    recorded = person._asdict()
    differ = [name for name in names if _compared(name, recorded[name]) != _compared(name, fact.get(name))]
    return BeforeAfter(
        _columns(differ, profile),
        ", ".join(_value(recorded[name]) for name in differ),
        ", ".join(_value(fact.get(name)) for name in differ),
    )


def _published(change: OutlineChange, fact: Fact, was: Outline, person: RecordedPerson) -> bool:
    """True if the recorded person is the one that the feed published before."""
    then = Outline.of(fact | person._asdict())
    return bool(getattr(then, change.value) == getattr(was, change.value))


def _compared(name: str, value: object) -> str:
    text = str(value or "")
    if name in ("birth_name", "given_name"):
        return folded(text)
    return text.casefold() if name == "personal_mail" else text


def _columns(names: Collection[str], profile: FeedProfile) -> str:
    return ", ".join(filter(None, dict.fromkeys(map(profile.column_of, names))))


def _value(value: object) -> str:
    return str(value) if value else gettext(_NOTHING)


def state_words(token: object) -> str:
    """An enrolment's state in words; an unknown token is returned as it is."""
    words = _STATES.get(str(token))
    return str(token) if words is None else gettext(words)
