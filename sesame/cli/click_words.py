"""Translate click's usage errors into the command's language.

click calls `_` and `ngettext` in each of its modules, which are Python's and know the process's locale
only. They are replaced by ours.
"""

from __future__ import annotations

from click import core, decorators, exceptions, formatting, parser, termui, types

from schemas.language import gettext, gettext_noop

WORDS = (
    gettext_noop("Usage:"),
    gettext_noop("Options"),
    gettext_noop("Commands"),
    gettext_noop("default: {default}"),
    gettext_noop("required"),
    gettext_noop("Show this message and exit."),
    gettext_noop("Show the version and exit."),
    gettext_noop("Error: {message}"),
    gettext_noop("Try '{command} {option}' for help."),
    gettext_noop("Missing command."),
    gettext_noop("Missing argument"),
    gettext_noop("Missing option"),
    gettext_noop("Missing parameter"),
    gettext_noop("No such option {name!r}."),
    gettext_noop("No such command {name!r}."),
    gettext_noop("Did you mean {possibility}?"),
    gettext_noop("(Did you mean one of: {possibilities}?)"),
    gettext_noop("Got unexpected extra argument ({args})"),
    gettext_noop("Got unexpected extra arguments ({args})"),
    gettext_noop("Option {name!r} does not take a value."),
    gettext_noop("Option {name!r} requires an argument."),
    gettext_noop("Invalid value: {message}"),
    gettext_noop("Invalid value for {param_hint}: {message}"),
    gettext_noop("Choose from:\n\t{choices}"),
    gettext_noop("{value!r} is not {choice}."),
    gettext_noop("{value!r} is not one of {choices}."),
    gettext_noop("{value!r} is not a valid {number_type}."),
    gettext_noop("{value} is not in the range {range}."),
    gettext_noop("{name} {filename!r} does not exist."),
    gettext_noop("{name} {filename!r} is a file."),
    gettext_noop("{name} {filename!r} is a directory."),
    gettext_noop("{name} {filename!r} is not readable."),
    gettext_noop("{name} {filename!r} is not writable."),
)
"""Sentences of click's that commands can come to; for the catalogue."""


def translate() -> None:
    """Translate click's texts into the language of the context."""
    for module in (core, decorators, exceptions, formatting, parser, termui, types):
        for name, ours in (("_", gettext), ("ngettext", _one_or_several)):
            if hasattr(module, name):
                setattr(module, name, ours)


def _one_or_several(one: str, several: str, n: int) -> str:
    """The message for one or for several; click fills in the fields itself."""
    return gettext(one if n == 1 else several)
