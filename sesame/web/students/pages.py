"""Renders pages: the templates in both languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consumers.registry.lifecycle.settings import PROLONGATIONS_MAX
from producers.activation.proofs import LIFETIME_H, MESSAGES_AT_ONCE
from schemas.language import LANGUAGES, Language
from schemas.typography import day, spaced
from sesame.settings import Settings
from sesame.web.kit.assets import Assets
from sesame.web.kit.templates import environment


class Pages:
    """The templates, once per language."""

    def __init__(self, settings: Settings) -> None:
        portal, rules = settings.portal, settings.lifecycle
        self.assets = Assets(portal)
        self._environments = {
            language: environment("sesame.web.students", language, self.assets) for language in LANGUAGES
        }
        self._common = {
            "institution": portal.institution,
            "support": portal.support,
            "logo": self.assets.logo,
            "links": portal.links,
            "privacy_contact": portal.privacy_contact,
            "accessibility": next(iter(portal.accessibility), "none"),
            "grace_days": settings.registry.grace_days + rules.prolong_days * PROLONGATIONS_MAX,
            "history_days": settings.store.history_days,
            "audit_days": settings.store.audit_days,
            "policy": settings.password,
            "messages_max": MESSAGES_AT_ONCE,
            "hours": f"{LIFETIME_H:g}",
            "sms": settings.sms.url is not None,
        }
        self._of = {language: _in_language(settings, language) for language in LANGUAGES}

    def render(self, template: str, language: Language, **context: Any) -> str:
        """A page, or a part of one."""
        return (
            self._environments[language]
            .get_template(template)
            .render(**self._common, **self._of[language], language=language, **context)
        )


def _in_language(settings: Settings, language: Language) -> dict[str, Any]:
    portal = settings.portal
    office = portal.registrar_office_en if language == "en" else spaced(portal.registrar_office)
    audited = [day(each, language) for each in portal.accessibility.values()]
    return {
        "charter": _charter(settings, language),
        "registrar_office": office,
        "audited": "".join(audited),
        "titles": {name: title[language] for name, title in settings.titles.items()},
        "roles": settings.roles,
        "short_logins": settings.short_logins,
    }


def _charter(settings: Settings, language: Language) -> list[str]:
    """The charter's paragraphs. Raises `OSError`: the settings' file cannot be read."""
    portal = settings.portal
    path = (portal.charter_en_file or portal.charter_file) if language == "en" else portal.charter_file
    if path is None:
        path = Path(__file__).with_name("templates") / f"charter.{language}.txt"
    text = path.read_text(encoding="utf-8")
    paragraphs = [" ".join(block.split()) for block in text.split("\n\n") if block.strip()]
    return [spaced(paragraph) for paragraph in paragraphs] if language == "fr" else paragraphs
