"""Options with the same meaning in every command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from schemas.language import gettext, local
from sesame.app.lazy import lazily
from sesame.cli.errors import ExitCode
from sesame.cli.output import CommandResult, write_json

with lazily():
    from schemas import scalars

_JSON: Final = "json"
Command = TypeVar("Command", bound=Callable[..., object])


def json_option(command: Callable[..., CommandResult | None]) -> Callable[..., None]:
    """`--json`: write the answer as JSON instead of text for people."""

    @wraps(command)
    def answered(*arguments: Any, **given: Any) -> None:
        del given[_JSON]
        if (answer := command(*arguments, **given)) is not None:
            write(answer)

    return click.option("--json", _JSON, is_flag=True, help="Write JSON instead of text.")(answered)


def wants_json() -> bool:
    """Whether the command that runs was given `--json`: it shows no progress then."""
    return bool(click.get_current_context().params[_JSON])


def write(answer: CommandResult) -> None:
    """Write an answer and end with its code; for a command that does more after it.

    Raises:
        click.exceptions.Exit, SesameError: what the answer ends with.
    """
    if wants_json():
        write_json(answer.document)
    else:
        answer.text()
    if isinstance(answer.end, Exception):
        raise answer.end
    if answer.end is not ExitCode.DONE:
        raise click.exceptions.Exit(int(answer.end))


def dry_run_option(command: Command) -> Command:
    """`--dry-run`: the command gets `dry_run`."""
    return click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")(command)


def yes_option(command: Command) -> Command:
    """`--yes`: the command gets `yes`."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")(command)


def reason_option(default: str | None = None) -> Callable[[Command], Command]:
    """`--reason`: the command gets `reason`, one line of text. Required without `default`."""
    words = "Why, for support: kept in the store, never on the log."
    if default is None:  # a default of None would count as a value that was given
        return click.option("--reason", required=True, callback=_one_line, help=words)
    return click.option("--reason", default=default, show_default=True, callback=_one_line, help=words)


first_courses_option = click.option(
    "--first-courses",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Those whose component's first course comes first go first: a CSV (component;begins), or .ics.",
)


def moment(option: str, text: str | None) -> float | None:
    """Parse an option's time into epoch seconds; None: it was not given.

    Without a zone it is of the site's; the settings, which name it, have been read.

    Raises:
        click.BadParameter: it is no time.
    """
    if text is None:
        return None
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            gettext("{option} is a time such as 2026-09-01T08:00, not {text!r}", option=option, text=text)
        ) from None
    return local(given).timestamp()


def _one_line(_context: click.Context, _option: click.Parameter, value: object) -> object:
    if not isinstance(value, str):
        return value  # it was not given: click says so itself, afterwards
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(scalars.Text).validate_python(value.strip())
    except ValidationError:
        raise click.BadParameter(gettext("give one line of 1 to 512 characters")) from None
