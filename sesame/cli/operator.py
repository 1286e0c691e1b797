"""Who gives a command, and why: what support is shown, and what the audit refers to."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from typing import TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])


def reason_option(default: str | None = None) -> Callable[[Command], Command]:
    """`--reason`: the command gets `reason`, one line of text. Required without `default`."""
    words = "Why, for support: kept in the store, never on the log."
    if default is None:  # a default of None would count as a value that was given
        return click.option("--reason", required=True, callback=_one_line, help=words)
    return click.option("--reason", default=default, show_default=True, callback=_one_line, help=words)


def operator_name() -> str:
    """The name of the user who runs this; their number where the system has no name for it, as in images."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _one_line(_context: click.Context, _option: click.Parameter, value: object) -> object:
    if not isinstance(value, str):
        return value  # it was not given: click says so itself, afterwards
    from pydantic import TypeAdapter, ValidationError

    from schemas.scalars import Text

    try:
        return TypeAdapter(Text).validate_python(value.strip())
    except ValidationError:
        raise click.BadParameter("give one line of 1 to 512 characters") from None
