"""Turn an exception into an operator's message and an exit code."""

from __future__ import annotations

import os
import traceback
from enum import IntEnum

import click

from pipeline.errors import SesameError, remedy_of, system_words
from schemas.language import gettext
from sesame.app.errors import is_away

DEBUG_VARIABLE = "SESAME_DEBUG"


class ExitCode(IntEnum):
    """The meaning of a command's exit code to the shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2  # wrong usage or settings: nothing was tried
    PARTLY = 3
    DEPENDENCY_DOWN = 4
    HELD = 5  # held for approval
    DAMAGED = 6  # the audit is not as it was noted
    INTERRUPTED = 130


def exit_code_of(error: Exception) -> ExitCode:
    """The exit code that an exception ends a command with."""
    if is_away(error):
        return ExitCode.DEPENDENCY_DOWN
    return ExitCode(getattr(error, "exit_code", ExitCode.FAILED))


def report(error: Exception) -> ExitCode:
    """Write the error's message and remedy on standard error; return the exit code.

    An unforeseen error is named by kind and place: its text may quote a row, and so a person or a secret.
    With SESAME_DEBUG set, the traceback follows, with the text.
    """
    if isinstance(error, SesameError):
        click.echo(f"sesame: {error}", err=True)
        if remedy := remedy_of(error):
            click.echo(remedy, err=True)
    elif isinstance(error, OSError) and error.strerror:
        about = f": {error.filename}" if error.filename else ""
        click.echo(
            gettext("sesame: the system refused: {why}", why=f"{system_words(error)}{about}"), err=True
        )
    else:
        place = traceback.extract_tb(error.__traceback__)[-1:]
        where = f" at {place[0].filename}:{place[0].lineno}" if place else ""
        click.echo(gettext("sesame: internal error, {what}", what=f"{type(error).__name__}{where}"), err=True)
        setting = f"{DEBUG_VARIABLE}=1"
        again = gettext("Run it again with {setting}, and report what it prints.", setting=setting)
        click.echo(again, err=True)
    if os.environ.get(DEBUG_VARIABLE):
        click.echo("".join(traceback.format_exception(error)), err=True)
    return exit_code_of(error)
