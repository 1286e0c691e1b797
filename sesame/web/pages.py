"""Renders pages: the templates in both languages, nothing inline, everything escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from schemas.typography import spaced
from sesame.settings import Settings
from sesame.web import assets
from sesame.web.languages import LANGUAGES, Spoken, translations


class Pages:
    """The templates, once per language."""

    def __init__(self, settings: Settings) -> None:
        self._environments = {language: _environment(language) for language in LANGUAGES}
        self._common = {
            "institution": settings.portal.institution,
            "support": settings.portal.support,
            "policy": settings.password,
            "messages_max": settings.proofs.messages_at_once,
            "hours": f"{settings.proofs.lifetime_h:g}",
        }
        self._charters = {language: _charter(settings, language) for language in LANGUAGES}

    def render(self, template: str, language: Spoken, **context: Any) -> str:
        """A page, or a part of one."""
        return (
            self._environments[language]
            .get_template(template)
            .render(**self._common, language=language, charter=self._charters[language], **context)
        )


def _environment(language: Spoken) -> Environment:
    environment = Environment(
        loader=PackageLoader("sesame.web", "templates"),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = assets.address
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    return environment


def _charter(settings: Settings, language: Spoken) -> list[str]:
    """The charter's paragraphs.

    Raises:
        OSError: the file that the settings name cannot be read.
    """
    portal = settings.portal
    path = (portal.charter_en_file or portal.charter_file) if language == "en" else portal.charter_file
    if path is None:
        path = Path(__file__).with_name("templates") / f"charter.{language}.txt"
    text = path.read_text(encoding="utf-8")
    paragraphs = [" ".join(block.split()) for block in text.split("\n\n") if block.strip()]
    return [spaced(paragraph) for paragraph in paragraphs] if language == "fr" else paragraphs
