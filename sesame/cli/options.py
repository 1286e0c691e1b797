"""Options that mean the same in every command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])


def json_option(command: Command) -> Command:
    """`--json`: the command gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")(command)


def dry_run_option(command: Command) -> Command:
    """`--dry-run`: the command gets `dry_run`."""
    return click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")(command)


def yes_option(command: Command) -> Command:
    """`--yes`: the command gets `yes`."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")(command)


def moment(option: str, text: str | None) -> float | None:
    """A time that was given by an option, in epoch seconds; None: it was not given.

    Raises:
        click.BadParameter: it is no time.
    """
    if text is None:
        return None
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{option} is a time such as 2026-09-01T08:00, not {text!r}") from None
    return given.timestamp()
