"""Renders the console's pages in both languages, with the texts of the operations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from schemas.account import NO_YEAR
from schemas.language import LANGUAGES, Language, gettext, local_time, spoken, written_time
from schemas.typography import day, number, spaced
from sesame.operations.people.diagnosis import act_sentences
from sesame.operations.people.diagnosis.reasons import explain
from sesame.operations.people.diagnosis.words import word
from sesame.settings import Settings
from sesame.web.kit.assets import Assets
from sesame.web.kit.languages import duration, moment, took
from sesame.web.kit.templates import environment

ROOM: Final = "sesame.web.console"
STATIC_PATH: Final = "/console/static"
_OF_THE_STORE: Final = {
    "account": {"fr": "Compte", "en": "Account"},
    "registry": {"fr": "Registre", "en": "Registry"},
    "propagation": {"fr": "Suivi", "en": "Tracking"},
    "webhooks": {"fr": "Webhooks", "en": "Webhooks"},
}
_STAFF: Final = {
    "student": {"fr": "l'étudiant", "en": "the student"},
    "registrar": {"fr": "la scolarité", "en": "the registrar"},
    "component": {"fr": "la composante", "en": "the component"},
    "desk": {"fr": "l'assistance", "en": "the support desk"},
    "operator": {"fr": "l'équipe informatique", "en": "the IT team"},
    "nobody": {"fr": "personne, la suite vient d'elle-même", "en": "nobody, it goes on by itself"},
}
"""Who must act, in texts for staff; the diagnosis has those for students."""

_NO_YEAR: Final = {"fr": "le personnel et les invités", "en": "staff and guests"}

_ROLES: Final = {
    "viewer": {"fr": "consultation", "en": "viewer"},
    "support": {"fr": "assistance", "en": "support"},
    "registrar": {"fr": "scolarité", "en": "registrar"},
    "operator": {"fr": "exploitation", "en": "operator"},
    "administrator": {"fr": "administration", "en": "administrator"},
}


class ConsolePages:
    """The templates, once per language."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.assets = Assets(settings.portal, STATIC_PATH)
        self._environments = {language: environment(ROOM, language, self.assets) for language in LANGUAGES}
        for language, made in self._environments.items():
            made.filters |= _filters(language, settings)
            made.globals |= {"said": act_sentences.sentence, "zone": partial(_zone, settings.portal.timezone)}
        self._common = {
            "institution": settings.portal.institution,
            "logo": self.assets.logo,
            "targets": settings.targets,
            "support": settings.portal.support,
        }

    def service(self, name: str) -> str:
        """The common name of a consumer, in the current language."""
        return service_name(self._settings, name, language=spoken())

    def render(self, template: str, language: Language, **context: Any) -> str:
        """A page, or a part of one."""
        made = self._environments[language].get_template(template)
        return made.render(**self._common, language=language, **context)


def _zone(name: str) -> str:
    """The site's time zone with today's offset: Europe/Paris (UTC+02:00)."""
    offset = datetime.now(ZoneInfo(name)).isoformat()[-6:]
    return f"{name} (UTC{offset})"


def _filters(language: Language, settings: Settings) -> dict[str, Callable[..., str]]:
    zone = ZoneInfo(settings.portal.timezone)
    return {
        "number": partial(number, language=language),
        "took": partial(took, language=language),
        "upto": lambda seconds: duration(seconds, language),
        "role": lambda role: _ROLES[role][language],
        "acts": lambda who: _STAFF[who][language],
        "moment": lambda at: _moment(at, datetime.now(UTC), language, zone),
        "stamp": lambda at: _set(local_time(at), language),
        "hour": lambda at: moment(at, datetime.now(UTC), language, zone),
        "clock": lambda at: f"{at.astimezone(zone):%H:%M:%S}",
        "day": lambda when: day(date.fromisoformat(str(when)), language),
        "place": lambda name: f"/console/cibles{'/' if name in settings.targets else '#cible-'}{name}",
        "year": lambda year: f"{year}-{year + 1}" if year != NO_YEAR else _NO_YEAR[language],
        "service": partial(service_name, settings, language=language),
        "meaning": lambda token: _set(explain(token).what, language),
        "remedy": lambda token: _set(explain(token).next, language),
        "token": lambda name, kind: word(kind, name, language),
        "shown": lambda value: _set(_in_words(value, language, zone), language),
        "brief": lambda token: _set(act_sentences.brief(token), language),
        "sentence": lambda text: _set(f"{text[:1].upper()}{text[1:]}.", language),
        "set": lambda text: _set(text, language),
    }


def service_name(settings: Settings, name: str, *, language: Language) -> str:
    """The common name of a consumer, without an article."""
    if name in _OF_THE_STORE:
        return _OF_THE_STORE[name][language]
    given = settings.titles.get(name, {}).get(language) or word("services", name, language)
    for article in ("L'", "La ", "Le ", "The "):
        given = given.removeprefix(article)
    return given[:1].upper() + given[1:]


def _moment(at: datetime, now: datetime, language: Language, zone: ZoneInfo) -> str:
    """The time of day to the second, and the date if it is another day's."""
    local = at.astimezone(zone)
    if local.date() == now.astimezone(zone).date():
        return f"{local:%H:%M:%S}"
    return written_time(local, language)


def _in_words(value: Any, language: Language, zone: ZoneInfo) -> str:
    """A value of the evidence."""
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, datetime):
        return _moment(value, datetime.now(UTC), language, zone)
    if isinstance(value, date):
        return day(value, language)
    if isinstance(value, list | tuple):
        return ", ".join(_in_words(each, language, zone) for each in value)
    return str(value)


def _set(text: str, language: Language) -> str:
    return spaced(text) if language == "fr" else text
