"""Who is the same person? Pure: what is compared between two numbers, and between two holders of one number.

Two numbers are compared by **fingerprints**: the birth name, given name and birth date, however they are
spelt; and the INE, the national number, which is no key here but must not belong to two people. Only hashes
are kept. Homonyms with other birth dates are not in doubt.

One number is compared with itself when the registrar changes who holds it. People change their family name,
or their given name, and typing errors change a birth date; hardly ever two of these at once. So a holder is
**recognised** when the INE is the same, or when two of family name, given name and birth date agree. Names
agree when they share a word, birth and usage name alike, or are spelt almost alike. Of somebody who has one
name only, now or then, it and the birth date must agree: nobody knows which of two names it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final

from consumers.registry.identity import ascii_word
from consumers.registry.people import Identity

ALIKE_MIN: Final = 0.8
"""From this ratio on (difflib: 2 × common letters / letters in all), two words are two spellings of one."""

AGREEING_MIN: Final = 2
_WORD_LETTERS_MIN: Final = 2  # initials and particles of one letter tell nobody from anybody


def fingerprints(identity: Identity, ine: str | None) -> dict[str, str]:
    """Kind to value. A name of which nothing is left in ASCII is compared as it is written; an only name is
    the same as a family name and as a given name."""
    given = (identity.birth_name, identity.given_name)
    names = [ascii_word(name).replace("-", "") or name for name in given if name]
    prints = {"birth": _hash(*names, identity.birth_date.isoformat())}
    return prints | ({"ine": _hash(ine.upper())} if ine else {})


def shared(mine: dict[str, str], theirs: dict[str, str]) -> set[str]:
    """The kinds of fingerprint that two people have in common."""
    return {kind for kind, value in mine.items() if theirs.get(kind) == value}


def recognised(before: Identity, after: Identity, ine: str | None, ine_after: str | None) -> bool:
    """Whether this may be the same person as before, as far as a machine can tell.

    Args:
        before: who held the number until now, with `ine`.
        after: who is said to hold it now, with `ine_after`.
    """
    if ine and ine_after and ine.upper() == ine_after.upper():
        return True
    same_day = before.birth_date == after.birth_date
    if not all((before.birth_name, before.given_name, after.birth_name, after.given_name)):
        return same_day and _agree(_all_names(before), _all_names(after))
    agreeing = (
        same_day,
        _agree((before.birth_name, before.usage_name), (after.birth_name, after.usage_name)),
        _agree(
            (before.given_name, before.preferred_given_name), (after.given_name, after.preferred_given_name)
        ),
    )
    return sum(agreeing) >= AGREEING_MIN


def recognisable(identity: Identity, names: Iterable[str]) -> bool:
    """Whether any of these names, given or family, may be one of this person's."""
    return _agree(_all_names(identity), names)


def _all_names(identity: Identity) -> tuple[str | None, ...]:
    return (identity.birth_name, identity.usage_name, identity.given_name, identity.preferred_given_name)


def _agree(before: Iterable[str | None], after: Iterable[str | None]) -> bool:
    mine, theirs = _words(before), _words(after)
    if mine & theirs:
        return True
    return any(SequenceMatcher(None, one, other).ratio() >= ALIKE_MIN for one in mine for other in theirs)


def _words(names: Iterable[str | None]) -> set[str]:
    """The words of some names; a name without any letter of ASCII's stands for itself."""
    words: set[str] = set()
    for name in names:
        if name:
            found = {word for word in ascii_word(name).split("-") if len(word) >= _WORD_LETTERS_MIN}
            words |= found or {ascii_word(name) or name}
    return words


def _hash(*parts: str) -> str:
    return "sha256:" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
