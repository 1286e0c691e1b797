"""The pages' languages: French is in the templates, English in `locale/en.po`."""

from __future__ import annotations

from datetime import datetime
from functools import cache, partial
from gettext import NullTranslations
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import sesame
from schemas.language import LANGUAGES, Language, compiled, in_code, speak
from schemas.typography import NO_BREAK, day, number, spaced

_DAY_S: Final = 86_400
LOCALE_FOLDER: Final = Path(__file__).with_name("locale")


class French(NullTranslations):
    """French as the templates have it, with no-break spaces before double signs."""

    def gettext(self, message: str) -> str:
        """The text."""
        return spaced(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        """The text for one or several: in French the plural begins at two."""
        return spaced(msgid2 if n > 1 else msgid1)


@cache
def translations(language: Language) -> NullTranslations:
    """The translations from French into a language, compiled on first use."""
    if language == "fr":
        return French()
    return compiled(LOCALE_FOLDER / f"{language}.po")


def spoken(chosen: str | None, accepted: str) -> Language:
    """The language of a page: the chosen one, else the browser's first that we have.

    `chosen`: by the reader, on an earlier page. `accepted`: `Accept-Language` (RFC 9110, 12.5.4).
    """
    if chosen in LANGUAGES:
        return "en" if chosen == "en" else "fr"
    parts = sorted(accepted.split(","), key=_weight, reverse=True)
    wanted = [part.partition(";")[0].strip() for part in parts if _weight(part) > 0]
    known = (tag for part in wanted if (tag := part.partition("-")[0].lower()) in LANGUAGES)
    return "en" if next(known, "fr") == "en" else "fr"


def _weight(part: str) -> float:
    _, given, weight = part.partition("q=")
    try:
        return float(weight) if given else 1.0
    except ValueError:
        return 0.0


def moment(at: datetime, now: datetime, language: Language, zone: ZoneInfo) -> str:
    """A time as people say it: the hour, and the day if it is another one."""
    local = at.astimezone(zone)
    french = f"{local.hour}{NO_BREAK}h{NO_BREAK}{local.minute:02d}"
    hour = french if language == "fr" else f"{local:%H:%M}"
    if local.date() == now.astimezone(zone).date():
        return hour
    written = day(local, language)
    return f"le {written} à {hour}" if language == "fr" else f"{written}, {hour}"


def duration(seconds: float, language: Language) -> str:
    """About how long: 8 s, 2 min, 3 h."""
    minute, hour = 60, 3600
    if seconds < 1:
        return "moins d’une seconde" if language == "fr" else "less than a second"
    if seconds < minute:
        return f"{seconds:.0f}{NO_BREAK}s"
    if seconds < hour:
        return f"{seconds / minute:.0f}{NO_BREAK}min"
    return f"{seconds / hour:.0f}{NO_BREAK}h"


def took(seconds: float, *, language: Language) -> str:
    """A duration, with a decimal below ten seconds: 2,9 s; 12 s; 4 min; 3 h; 2 j."""
    if seconds < 10:  # noqa: PLR2004
        return f"{number(round(seconds, 1), language)}{NO_BREAK}s"
    if seconds >= 2 * _DAY_S:
        return f"{seconds / _DAY_S:.0f}{NO_BREAK}{'j' if language == 'fr' else 'd'}"
    return duration(seconds, language)


def speak_for(language: Language) -> None:
    """Set the language of operations from here on, in this context."""
    speak(language, in_code if language == "en" else partial(_of_staff, language))


@cache
def _of_staff(language: Language) -> NullTranslations:
    return compiled(Path(sesame.__file__).with_name("locale") / f"{language}.po")
