"""Rules that settle many doubts at once: what must agree, and the verdict.

A rule is data, and settles only doubts that it fits. An operator chooses it, sees whom it settles and
confirms: nothing is settled automatically. A merge may hand an account to another person, so the one rule
that merges wants everything to agree: twins whose dossier has the other one's INE have different given names.
An operator can still merge numbers that a rule separated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from consumers.registry.doubts import fingerprints, recognisable
from consumers.registry.people import KnownPerson
from schemas.events import IdentityDecision
from schemas.language import gettext_noop


class Match(StrEnum):
    """How two persons compare in one respect."""

    SAME = "same"
    ALIKE = "alike"  # names: a word is shared, or spelt almost alike
    DIFFERENT = "different"
    UNKNOWN = "unknown"  # one of them has none


@dataclass(frozen=True)
class DoubtRule:
    """A decision about two numbers, and the comparison that it requires.

    Attributes:
        name: for commands, the audit and the event.
        ine, birth_date, names: how the two must compare.
        meaning: its effect, in a sentence.
        caution: what the operator must know before saying yes; empty: nothing more.
    """

    name: str
    decision: IdentityDecision
    ine: Match
    birth_date: Match
    names: Match
    meaning: str
    caution: str = ""

    def fits(self, mine: KnownPerson, theirs: KnownPerson) -> bool:
        """True if the rule applies to these two."""
        return (self.ine, self.birth_date, self.names) == compared(mine, theirs)


_RULES: Final = (
    DoubtRule(
        "same-ine-and-birth",
        IdentityDecision.MERGE,
        ine=Match.SAME,
        birth_date=Match.SAME,
        names=Match.SAME,
        meaning=gettext_noop("Same INE, same birth name and given name, same birth date: one person."),
    ),
    DoubtRule(
        "same-ine-only",
        IdentityDecision.SEPARATE,
        ine=Match.SAME,
        birth_date=Match.DIFFERENT,
        names=Match.DIFFERENT,
        meaning=gettext_noop("Same INE, but another birth date and no name in common: two people."),
        caution=gettext_noop("One of the two has the other's INE: have the registrar put it right."),
    ),
    DoubtRule(
        "different-ine",
        IdentityDecision.SEPARATE,
        ine=Match.DIFFERENT,
        birth_date=Match.SAME,
        names=Match.SAME,
        meaning=gettext_noop("Same names and same birth date, but another INE: two people."),
        caution=gettext_noop(
            "A provisional INE is replaced later: use this rule only if both numbers' INEs are verified."
        ),
    ),
)
RULES: Final[Mapping[str, DoubtRule]] = {rule.name: rule for rule in _RULES}


def compared(mine: KnownPerson, theirs: KnownPerson) -> tuple[Match, Match, Match]:
    """Compare two persons: INE, birth date, names."""
    if mine.ine and theirs.ine:
        ine = Match.SAME if mine.ine.upper() == theirs.ine.upper() else Match.DIFFERENT
    else:
        ine = Match.UNKNOWN
    same_day = mine.identity.birth_date == theirs.identity.birth_date
    return ine, Match.SAME if same_day else Match.DIFFERENT, _names(mine, theirs)


def _names(mine: KnownPerson, theirs: KnownPerson) -> Match:
    """Compare names: the same if fingerprints were equal on one birth date."""
    one, other = mine.identity, theirs.identity
    born_alike = other.model_copy(update={"birth_date": one.birth_date})
    if fingerprints(one, None) == fingerprints(born_alike, None):
        return Match.SAME
    names = (other.birth_name, other.usage_name, other.given_name, other.preferred_given_name)
    return Match.ALIKE if recognisable(one, filter(None, names)) else Match.DIFFERENT
