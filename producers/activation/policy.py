"""The password policy, one for those who choose a password and those who check it.

**Sources.** CNIL, délibération 2022-100 of 21 July 2022 (JORF, 14 October 2022): 80 bits of entropy for a
password alone, with three examples: 12 characters of all four kinds, 14 of three kinds, or a phrase of 7
words. NIST SP 800-63B-4, 3.1.1.2: a long maximum, every printable character and blanks, comparison with what
is common or expected (dictionaries, the service's and the person's own names), a meter, pasting and password
managers allowed, no expiry by date. Where they differ (NIST wants no mixture of kinds) the phrase serves.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from pipeline import accounts
from pipeline.db.database import Database
from pipeline.errors import SesameError
from producers.activation.files import FAULTS_SHOWN_MAX
from producers.activation.hashes import PASSWORD_LENGTH_MAX
from producers.activation.known_students import KnownStudents
from schemas.language import gettext, ngettext

ESTIMATED_LENGTH_MAX = 72  # of zxcvbn, whose time grows fast; the rest only makes a password stronger
PERSONAL_LENGTH_MIN = 4  # shorter names are part of many innocent words
KINDS: Final = ("small", "capital", "digit", "other")
"""Kinds of characters: small letters, capitals, digits, others (CNIL, first example)."""
LONGER_LENGTH_MIN: Final = 14
"""Characters with which one kind less will do (CNIL, second example)."""
WORDS_MIN: Final = 7
"""Words of a phrase, for which the kinds do not count (CNIL, third example)."""
DISTINCT_WORDS_MIN: Final = 5
STRENGTH_MIN: Final = 3
"""Of zxcvbn, from 0 to 4: safely unguessable, ten billion guesses."""

FRENCH_WORDS = (
    *("motdepasse", "azerty", "azertyuiop", "qsdfgh", "wxcvbn", "bonjour", "bonsoir", "soleil", "doudou"),
    *("chouchou", "coucou", "loulou", "marseille", "paris", "lyon", "psg", "france", "bretagne", "jetaime"),
    *(
        "amour",
        "cheval",
        "chocolat",
        "nounours",
        "maman",
        "papa",
        "famille",
        "chaton",
        "princesse",
        "voiture",
    ),
    *("etudiant", "etudiante", "universite", "campus", "licence", "master", "rentree", "bienvenue", "secret"),
    *("janvier", "fevrier", "mars", "avril", "mai", "juin", "juillet", "aout", "septembre", "octobre"),
    *("novembre", "decembre", "printemps", "automne", "hiver", "vacances", "football", "musique", "guitare"),
)
"""Words of French passwords that the estimator's English lists lack; without accents."""

_turn = threading.Lock()


class PasswordSettings(BaseModel):
    """What a student's password must be. The defaults are the CNIL's three examples of 2022."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length_min: int = Field(
        default=12,
        ge=8,
        le=62,
        description="Characters that a password of all four kinds (small letters, capitals, digits, "
        "others) has at least; two more serve for one kind less.",
    )
    words_refused: tuple[str, ...] = Field(
        default=(),
        description="Further words that count as known to an attacker, e.g. the university's name.",
    )

    @property
    def longer_length_min(self) -> int:
        """Characters with which one kind less will do."""
        return max(LONGER_LENGTH_MIN, self.length_min + 2)

    @property
    def words_min(self) -> int:
        """Words of a phrase, for which the kinds do not count."""
        return WORDS_MIN


class PasswordRule(StrEnum):
    """A requirement on a password."""

    FORM = "form"
    COMMON = "common"
    PERSONAL = "personal"
    LENGTH_MAX = "length_max"
    PRINTABLE = "printable"


@dataclass(frozen=True)
class Missing:
    """What a password's form lacks: so many words, or so many characters, and one of each of these kinds.

    `words`: None: it is no phrase yet.
    """

    words: int | None
    characters: int
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class PasswordVerdict:
    """Verdict on a password: the rules that it breaks, and its strength from 0 to 4.

    `missing`: what its form lacks, if that rule is broken.
    """

    broken: frozenset[PasswordRule]
    strength: int
    missing: Missing | None = None

    @property
    def accepted(self) -> bool:
        """True if it may be used."""
        return not self.broken

    @property
    def shown_strength(self) -> int:
        """The strength to show: a refused password is never called strong."""
        return self.strength if self.accepted else min(self.strength, 1)


@dataclass(frozen=True)
class Personal:
    """Known data of the person, which must not be in the password."""

    words: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str | None], numbers: Iterable[str | None], birth: date | None) -> Personal:
        """Build from names and addresses (as words), numbers (whole) and the birth date."""
        words = {word for name in names if name for word in _words(name)}
        words |= {_plain(name) for name in names if name} | {_plain(number) for number in numbers if number}
        if birth is not None:
            forms = ("%d%m%Y", "%Y%m%d", "%d%m%y", "%y%m%d", "%d/%m/%Y", "%d-%m-%Y", "%Y-%m-%d", "%d.%m.%Y")
            words |= {birth.strftime(form) for form in forms}
        return cls(frozenset(words - {""}))


def judge(password: str, personal: Personal, settings: PasswordSettings) -> PasswordVerdict:
    """Judge a password for this person."""
    broken = set()
    missing = _missing(password, settings)
    if missing is not None:
        broken.add(PasswordRule.FORM)
    if len(password) > PASSWORD_LENGTH_MAX:
        broken.add(PasswordRule.LENGTH_MAX)
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in password):
        broken.add(PasswordRule.PRINTABLE)
    plain = _plain(password)
    if any(len(word) >= PERSONAL_LENGTH_MIN and word in plain for word in personal.words):
        broken.add(PasswordRule.PERSONAL)
    strength = _strength(password, [*sorted(personal.words), *settings.words_refused, *FRENCH_WORDS])
    if strength < STRENGTH_MIN:
        broken.add(PasswordRule.COMMON)
    return PasswordVerdict(frozenset(broken), strength, missing)


def _missing(password: str, settings: PasswordSettings) -> Missing | None:
    """What the form lacks, by the shortest of the ways; None: nothing."""
    words = [word for word in _words(password) if len(word) > 1]
    of_words = max(WORDS_MIN - len(words), DISTINCT_WORDS_MIN - len(set(words)))
    kinds = [kind for kind in KINDS if kind not in {_kind(c) for c in password}]
    ways = [
        (max(0, settings.length_min - len(password)), kinds),
        (max(0, settings.longer_length_min - len(password)), kinds[:-1]),
    ]
    if of_words <= 0 or (0, []) in ways:
        return None
    characters, needed = min(ways, key=lambda way: max(way[0], len(way[1])))
    return Missing(of_words if len(words) > 1 else None, characters, tuple(needed))


def _kind(c: str) -> str:
    """The kind of a character. Letters without case (Arabic, Chinese …) are others."""
    return "small" if c.islower() else "capital" if c.isupper() else "digit" if c.isdecimal() else "other"


def _strength(password: str, known: Sequence[str]) -> int:
    if not password:
        return 0  # the library fails on it
    from zxcvbn import matching, zxcvbn  # type: ignore[import-untyped]  # its dictionaries take a while

    # The library keeps a call's words in a table of its module: one call at a time, and taken out after.
    with _turn:
        try:
            estimated = zxcvbn(_stripped(password)[:ESTIMATED_LENGTH_MAX], user_inputs=list(known))
        finally:
            matching.RANKED_DICTIONARIES.pop("user_inputs", None)
    return int(estimated["score"])


def _words(text: str) -> list[str]:
    spaced = "".join(c if c.isalnum() else " " for c in _plain(text))
    return spaced.split()


def _plain(text: str) -> str:
    return _stripped(text).casefold()


def _stripped(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text)
    return "".join(c for c in apart if not unicodedata.combining(c))


class WeakPasswords(SesameError):
    """Passwords that were handed over are weaker than those that students may choose (the settings under
    `password`). Choose others for the students that are named; nothing was activated."""


class PasswordJudge:
    """Judges by the policy and by a student's data; thread-safe. `site_words`: known to attackers."""

    def __init__(
        self, database: Database, policy: PasswordSettings, *, site_words: Sequence[str], known: KnownStudents
    ) -> None:
        self._database = database
        self._policy = policy
        self._site_words = tuple(site_words)
        self._known = known

    def judge(self, student_number: str, password: str) -> PasswordVerdict:
        """Judge a password for this student, who need not be known."""
        with self._database.read() as connection:
            person = self._known.known(connection, student_number)
            account = accounts.find(connection, student_number)
        names: list[str | None] = list(self._site_words)
        numbers: list[str | None] = [student_number]
        birth = None
        if person is not None:
            who = person.identity
            names += [who.birth_name, who.usage_name, who.given_name, who.preferred_given_name]
            names += [person.preferred_given_name, (person.personal_mail or "").partition("@")[0]]
            numbers.append(person.ine)
            birth = who.birth_date
        if account is not None:
            names.append(account.login)
        return judge(password, Personal.of(names, numbers, birth), self._policy)

    def refuse_weak(self, passwords: Mapping[str, str]) -> None:
        """Check passwords by student number. Raises WeakPasswords: whose, and why, but no password."""
        faults = [
            gettext("{number}: {fault}", number=number, fault=", ".join(self._faults(verdict)))
            for number, password in passwords.items()
            if not (verdict := self.judge(number, password)).accepted
        ]
        if not faults:
            return
        shown, more = faults[:FAULTS_SHOWN_MAX], len(faults) - FAULTS_SHOWN_MAX
        if more > 0:
            shown.append(ngettext("and {n} more student", "and {n} more students", more))
        raise WeakPasswords(
            ngettext(
                "{n} password is too weak: {faults}",
                "{n} passwords are too weak: {faults}",
                len(faults),
                faults="; ".join(shown),
            ),
            remedy=gettext("Choose others for these students; nothing was activated."),
        )

    def _faults(self, verdict: PasswordVerdict) -> Iterator[str]:
        policy = self._policy
        words = {
            PasswordRule.FORM: gettext(
                "too short, or of too few kinds of characters (at least {length} of {kinds} kinds, {longer} "
                "of one kind less, or {words} words)",
                length=policy.length_min,
                kinds=len(KINDS),
                longer=policy.longer_length_min,
                words=policy.words_min,
            ),
            PasswordRule.COMMON: gettext("common, or easy to guess"),
            PasswordRule.PERSONAL: gettext("holds a name, a date or a number of the student's or the site's"),
            PasswordRule.LENGTH_MAX: gettext("more than {limit} characters", limit=PASSWORD_LENGTH_MAX),
            PasswordRule.PRINTABLE: gettext("control characters"),
        }
        return (text for rule, text in words.items() if rule in verdict.broken)
