"""Typography: the blanks at which no line may break, numbers, and days in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
_NAMES: Final[Mapping[Language, tuple[str, str]]] = {
    "fr": (
        "lundi mardi mercredi jeudi vendredi samedi dimanche",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    ),
    "en": (
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
        "January February March April May June July August September October November December",
    ),
}
"""The names of weekdays and of months."""

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
    """A day in words, in British English; no line breaks before its month."""
    number = "1er" if language == "fr" and when.day == 1 else str(when.day)
    _, months = _NAMES[language]
    return f"{number}{NO_BREAK}{months.split()[when.month - 1]} {when.year}"


def weekday(when: date, language: Language) -> str:
    """A day with its name in front."""
    weekdays, _ = _NAMES[language]
    return f"{weekdays.split()[when.weekday()]} {day(when, language)}"


def number(value: float, language: Language) -> str:
    """A number with at most three decimals, its thousands apart."""
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".")
    return text.replace(",", NARROW).replace(".", ",") if language == "fr" else text
