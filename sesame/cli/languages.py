"""A command's language: `--lang`, else the setting `language`, else the locale's.

English if none applies. It is chosen before anything is parsed, by a look at the arguments: so usage errors
and a command's help are in it too. Click then parses the same option again, and checks it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from copy import copy
from functools import cache, partial
from gettext import GNUTranslations
from os.path import isfile
from pathlib import Path
from typing import Final, TypeVar

import click

from schemas import language as spoken
from schemas.language import LANGUAGES, Language, compiled, gettext, in_code

CATALOGUES: Final = Path(__file__).parents[1] / "locale"
HELP: Final = "Language of what is said. Default: the setting `language`, then the locale's."
CONFIG_VARIABLE: Final = "SESAME_CONFIG"
USUAL_FILES: Final = (Path("sesame.toml"), Path("/etc/sesame/sesame.toml"))
"""As `sesame.settings.load` has them, which needs more than a help may load; tested."""

_WHOLE: Final = 1000  # characters: a list of commands has each one's first sentence, and not its beginning

_Command = TypeVar("_Command", bound=click.Command)


def speak(language: Language) -> None:
    """Set the language of all texts from here on."""
    spoken.speak(language, in_code if language == "en" else partial(_translations, language))


def speak_as_asked(words: Sequence[str]) -> None:
    """Use the language that these arguments, the settings or the locale select."""
    speak(_known(_given(words, "--lang")) or _of_settings(_given(words, "--config")) or of_locale())


@cache
def _translations(language: Language) -> GNUTranslations:
    return compiled(CATALOGUES / f"{language}.po")


def of_locale() -> Language:
    """The language of the locale's messages (POSIX, Environment Variables, 8.2)."""
    given = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return _known(next(filter(None, given), "").partition("_")[0]) or "en"


def _of_settings(config: str) -> Language | None:
    """The setting's value, if readable; its faults are reported when it is loaded."""
    if given := os.environ.get("SESAME_LANGUAGE"):
        return _known(given)
    named = config or os.environ.get(CONFIG_VARIABLE)
    try:
        path = Path(named) if named else next(path for path in USUAL_FILES if isfile(path))  # noqa: PTH113 -- as there
        return _known(tomllib.loads(path.read_text(encoding="utf-8"))["language"])
    except (StopIteration, OSError, ValueError, LookupError):
        return None


def _known(given: object) -> Language | None:
    return next((one for one in LANGUAGES if one == given), None)


def _given(words: Sequence[str], option: str) -> str:
    """The value of an option anywhere among these arguments; empty: it is absent."""
    found = ""
    for word, after in zip(words, [*words, ""][1:], strict=False):
        if word == option:
            found = after
        elif word.startswith(f"{option}="):
            found = word.removeprefix(f"{option}=")
    return found


def in_words(command: _Command) -> _Command:
    """The command with its help translated, and its summary whole."""
    told = copy(command)
    told._help_option = None  # noqa: SLF001 -- made once, in the language of the first who asked
    if command.help is not None:
        told.help = "\n\n".join(map(gettext, paragraphs(command.help)))
    told.short_help = told.get_short_help_str(_WHOLE)
    told.params = [_option_in_words(each) for each in command.params]
    if isinstance(told, click.Group):
        told.commands = {name: in_words(below) for name, below in told.commands.items()}
    return told


def paragraphs(text: str) -> list[str]:
    """Each paragraph of a help, in one line: a text of the catalogue."""
    return [" ".join(each.split()) for each in text.split("\n\n")]


def _option_in_words(option: click.Parameter) -> click.Parameter:
    if not isinstance(option, click.Option) or not option.help:
        return option
    told = copy(option)
    told.help = gettext(option.help)
    return told


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
                is_eager=True,  # errors in the other options are reported in this language
                callback=_choose,
            )
        )
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        with_lang(below)
    return command


def _choose(ctx: click.Context, _option: click.Parameter, language: Language | None) -> None:
    if language is not None:
        ctx.obj.choose(language)
