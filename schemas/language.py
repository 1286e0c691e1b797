"""The language of what people read. English is in the code, every other one in a catalogue (GNU gettext).

Texts have fields as `str.format` has them: `gettext("longer than {limit} characters", limit=200)`. What is
written for machines (log lines, events, tokens, keys of JSON) has no language.

Babel is needed for a text in another language than English only, and imported then: a command starts without.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import date, datetime, tzinfo
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Final, Literal, get_args

Language = Literal["fr", "en"]
"""BCP 47 tag of a language that the project speaks."""

LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

Translations = Callable[[], NullTranslations]
"""Returns a language's translations, at each text: none is loaded without one."""

_ENGLISH: Final = NullTranslations()
_zone: ContextVar[tzinfo | None] = ContextVar("zone", default=None)
_current: ContextVar[tuple[Language, Translations]] = ContextVar("language")


def in_code() -> NullTranslations:
    """No translations: the code is in English."""
    return _ENGLISH


def speak(language: Language, translations: Translations) -> None:
    """From here on, in this context, say everything in this language."""
    _current.set((language, translations))


def spoken() -> Language:
    """The language of this context; English if none was chosen."""
    return _current.get(("en", in_code))[0]


def _translations() -> NullTranslations:
    return _current.get(("en", in_code))[1]()


def gettext(message: str, /, **fields: object) -> str:
    """The message in the language of this context, with its fields filled in."""
    # To a catalogue the empty message is its own head.
    text = _translations().gettext(message) if message else ""
    return text.format(**fields) if fields else text


def ngettext(one: str, several: str, n: int, /, **fields: object) -> str:
    """The message for one or for several; the number is its field `n`."""
    return _translations().ngettext(one, several, n).format(n=n, **fields)


def gettext_noop(message: str) -> str:
    """The message as it is: marks a constant for the catalogue, which `gettext` gets where it is shown."""
    return message


def retold(text: str, messages: Sequence[str]) -> str | None:
    """Translate a text recorded in English; None: none of these messages made it."""
    for message in messages:
        if found := _made_by(message).fullmatch(text):
            return gettext(message, **found.groupdict())
    return None


@cache
def _made_by(message: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.*)", re.escape(message)), re.DOTALL)


def decimal(value: float) -> str:
    """A number with one decimal, as the language of this context writes it."""
    text = f"{value:.1f}"
    return text.replace(".", ",") if spoken() == "fr" else text


def keep_time(zone: tzinfo | None) -> None:
    """From here on, in this context, show times of this zone; None: of the machine's."""
    _zone.set(zone)


def local(at: datetime) -> datetime:
    """A time in this context's zone; one without a zone is taken for one of it."""
    zone = _zone.get()
    return at.replace(tzinfo=zone) if at.tzinfo is None and zone is not None else at.astimezone(zone)


def written_time(at: datetime, language: Language) -> str:
    """A time to the second as people of this language write it, in its own zone."""
    return at.strftime("%d/%m/%Y %H:%M:%S" if language == "fr" else "%Y-%m-%d %H:%M:%S")


def local_day(day: date) -> str:
    """A day as people write it in the current language."""
    return day.strftime("%d/%m/%Y" if spoken() == "fr" else "%Y-%m-%d")


def local_time(at: datetime) -> str:
    """A time of this context's zone, which it names, in the form of the current language."""
    return f"{written_time(local(at), spoken())} {local(at):%Z}"


def compiled(catalogue: Path) -> GNUTranslations:
    """The translations that a catalogue (`.po`) holds."""
    from polib import pofile

    return GNUTranslations(BytesIO(pofile(str(catalogue), encoding="utf-8").to_binary()))
