"""A command's language: `--lang`, else the setting `language`, else the locale's, else English."""

from __future__ import annotations

import os
from functools import cache, partial
from gettext import GNUTranslations
from pathlib import Path
from typing import Final

import click

from schemas import language as spoken
from schemas.language import LANGUAGES, Language, compiled, in_code

CATALOGUES: Final = Path(__file__).parents[1] / "locale"
HELP: Final = "Language of what is said. Default: the setting `language`, then the locale's."


def speak(language: Language) -> None:
    """Say everything in this language from here on."""
    spoken.speak(language, in_code if language == "en" else partial(_translations, language))


@cache
def _translations(language: Language) -> GNUTranslations:
    return compiled(CATALOGUES / f"{language}.po", language)


def of_locale() -> Language:
    """The language of the locale's messages (POSIX, Environment Variables, 8.2)."""
    given = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    locale = next(filter(None, given), "").partition("_")[0]
    return next((one for one in LANGUAGES if one == locale), "en")


def with_lang(command: click.Command) -> click.Command:
    """The command, which takes `--lang` as `sesame` itself does. Its help does not repeat that."""
    if not any(each.name == "lang" for each in command.params):
        command.params.append(
            click.Option(
                ["--lang"],
                type=click.Choice(LANGUAGES),
                help=HELP,
                hidden=True,
                expose_value=False,
                is_eager=True,  # what is wrong with the others is told in this language
                callback=_choose,
            )
        )
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        with_lang(below)
    return command


def _choose(ctx: click.Context, _option: click.Parameter, language: Language | None) -> None:
    if language is not None:
        ctx.obj.choose(language)
