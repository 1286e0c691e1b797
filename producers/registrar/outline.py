"""What a feed recalls of a fact, so that a later file can be compared with it: states, codes and digests.

A digest tells whether a value is still the same without keeping the value a second time. It hides nothing
from somebody who can guess the value; the database that it lies in holds personal data anyway.
"""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple, Self

from producers.registrar.rows import Fact
from schemas.account import Administrative, Pedagogical


class OutlineChange(StrEnum):
    """What a student would lose, or what would change about them that seldom does."""

    CANCELLED = "cancelled"
    GONE = "gone"
    NOT_IN_FORCE = "not_in_force"
    PEDAGOGICAL = "pedagogical"
    IDENTITY = "identity"
    INE = "ine"
    PERSONAL_MAIL = "personal_mail"
    COMPONENT = "component"
    TEACHING = "teaching"
    GROUP = "group"


LOSSES = frozenset(
    {OutlineChange.CANCELLED, OutlineChange.GONE, OutlineChange.NOT_IN_FORCE, OutlineChange.TEACHING}
)
"""Those that end an enrolment, its force, or a teaching unit."""

GONE = "gone_from_export"
"""The reason of a cancellation that no line states: a complete file does not have the enrolment."""

_CANCELLED = Administrative.CANCELLED.value


class Outline(NamedTuple):
    """One enrolment as last published. Digests are empty where there was no value, or none is known."""

    state: str
    identity: str = ""
    ine: str = ""
    personal_mail: str = ""
    pedagogical: str = ""
    component: str = ""

    @classmethod
    def of(cls, fact: Fact, before: Outline | None = None) -> Self:
        """The outline of a fact. A cancellation says nothing of the person: what was known `before` stays."""
        if "reason" in fact:
            return cls(_CANCELLED, *(before or cls(_CANCELLED))[1:])
        student = str(fact["student_number"])
        written = (fact.get("birth_name") or "", fact.get("given_name") or "")
        names = (*map(folded, written), str(fact["birth_date"]))
        return cls(
            str(fact["administrative"]),
            _digest(student, *names),
            _digest(student, fact.get("ine") or ""),
            _digest(student, (fact.get("personal_mail") or "").casefold()),
            str(fact["pedagogical"]),
            str(fact["component"]),
        )

    @classmethod
    def read(cls, text: str | None) -> Outline | None:
        """An outline from the feed's memory; None: it was not kept."""
        return None if text is None else cls(*text.split("|"))

    def text(self) -> str:
        """The form that the feed's memory keeps."""
        return "|".join(self)  # which stands in no code


def changes_between(before: Outline | None, after: Outline, *, gone: bool) -> list[OutlineChange]:
    """What the later fact of an enrolment takes or changes that seldom changes.

    Args:
        before: None: it was held, and nothing else is known.
        after: as the file has it.
        gone: no line states the cancellation.
    """
    if after.state == _CANCELLED:
        if before is not None and before.state == _CANCELLED:
            return []
        return [OutlineChange.GONE if gone else OutlineChange.CANCELLED]
    if before is None:
        return []
    found = changes_of_person(before, after)
    if before.state == Administrative.IN_FORCE.value != after.state:
        found.append(OutlineChange.NOT_IN_FORCE)
    validated = Pedagogical.VALIDATED.value
    if before.pedagogical == validated != after.pedagogical:
        found.append(OutlineChange.PEDAGOGICAL)
    if before.component and before.component != after.component:
        found.append(OutlineChange.COMPONENT)
    return found


def changes_of_person(before: Outline, after: Outline) -> list[OutlineChange]:
    """Who the student number seems to belong to now: told between enrolments of different steps too.

    Spelling (accents, capitals, hyphens, blanks) is no change, nor is a value that was missing before.
    """
    if after.state == _CANCELLED:
        return []
    told = (
        (OutlineChange.IDENTITY, before.identity, after.identity),
        (OutlineChange.INE, before.ine, after.ine),
        (OutlineChange.PERSONAL_MAIL, before.personal_mail, after.personal_mail),
    )
    return [change for change, was, is_now in told if was not in ("", is_now)]


def folded(name: str) -> str:
    """Letters and digits of a name in one case, without accents."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(character for character in plain if character.isalnum())


def _digest(student: str, *values: str) -> str:
    if not any(values):
        return ""
    text = "\x1f".join((student, *values))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
