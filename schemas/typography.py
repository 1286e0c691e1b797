"""Typography: the blanks at which no line may break, and days in words."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from schemas.language import Language

NO_BREAK: Final = "\u00a0"
NARROW: Final = "\u202f"

_SETTINGS: Final = (
    (re.compile(r" +(?=[;!?])"), NARROW),
    (re.compile(r" +(?=:(?:\s|$))"), NO_BREAK),  # nor in an address, nor in a time
    (re.compile(r"«[ \u00a0]*"), f"«{NO_BREAK}"),
    (re.compile(r"[ \u00a0]*»"), f"{NO_BREAK}»"),
    (re.compile(r"\bn° *(?=\S)"), f"n°{NO_BREAK}"),
)
_WORD: Final = re.compile(r"\S*'\S*")
_APOSTROPHE: Final = re.compile(r"(?<=[^\W\d_])'(?=[\w%{«])")
_ADDRESS: Final = re.compile(r"@|://")


def spaced(text: str) -> str:
    """French as a typographer sets it: its apostrophe, narrow no-break blanks before ; ! ?, full ones at :
    and guillemets. Addresses stay as they are.

    Source: Lexique des règles typographiques en usage à l'Imprimerie nationale, 'Ponctuation'.
    """
    for where, blank in _SETTINGS:
        text = where.sub(blank, text)
    return _WORD.sub(_with_apostrophe, text)


def _with_apostrophe(word: re.Match[str]) -> str:
    return word[0] if _ADDRESS.search(word[0]) else _APOSTROPHE.sub("’", word[0])


def day(when: date, language: Language) -> str:
    """A day as people write it; no line breaks between its number and its month."""
    from babel.dates import format_date

    number = "d" if language == "en" or when.day > 1 else "'1er'"
    return format_date(when, f"{number}{NO_BREAK}MMMM y", locale="en_GB" if language == "en" else "fr")
