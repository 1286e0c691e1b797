"""Renders pages: the templates in both languages, nothing inline, everything escaped; and the files they use.

Style sheet, script and picture have names that change with their content: browsers keep them for good, and a
new version's pages never meet an old version's script.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from schemas.typography import spaced
from sesame.settings import Settings
from sesame.web.languages import LANGUAGES, Spoken, translations

STATIC_FOLDER: Final = Path(__file__).with_name("static")
STATIC_PATH: Final = "/static"
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_FINGERPRINT: Final = re.compile(r"\.[0-9a-f]{12}(?=\.\w+$)")


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
    environment.globals["asset"] = asset_address
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


@cache
def fingerprinted() -> Mapping[str, str]:
    """The name of each file in addresses, by its own name: `portal.1f2e3d4c5b6a.css`."""
    return {path.name: _named(path) for path in sorted(STATIC_FOLDER.iterdir()) if path.is_file()}


def asset_address(name: str) -> str:
    """Where a page finds this file.

    Raises:
        KeyError: there is none of this name.
    """
    return f"{STATIC_PATH}/{fingerprinted()[name]}"


class Assets(StaticFiles):
    """Serves them. Another version's name gets this version's file, which is not kept."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC_FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file."""
        name = _FINGERPRINT.sub("", path)
        response = await super().get_response(name, scope)
        kept = fingerprinted().get(name) == path
        response.headers["Cache-Control"] = _FOR_GOOD if kept else "no-cache"
        return response


def _named(path: Path) -> str:
    return f"{path.stem}.{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}{path.suffix}"
