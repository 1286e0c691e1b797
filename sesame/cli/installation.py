"""`sesame migrate`, `vault`, `version`: set up an installation, show its version."""

from __future__ import annotations

import platform
import time
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import cast

import click
from click.shell_completion import ShellComplete, get_completion_class

from schemas.language import gettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.man_page import ManPage, walk
from sesame.cli.operator import operator
from sesame.cli.options import json_option
from sesame.cli.output import CommandResult, remark

with lazily():
    from pipeline.db import migrate as db_migrate
    from sesame.operations.keeping import vault as keeping_vault

_LOOK_EVERY_S = 1.0


@click.command()
@click.option("--wait", is_flag=True, help="Wait for older programs where a step has to.")
@pass_context
def migrate(context: Context, *, wait: bool) -> None:
    """Bring the database to the form that this version wants. Doing it again changes nothing.

    Programs of the version before go on beside this one. A step that takes from them what they use waits
    until they have ended: they are named, and the code is 5.
    """
    application = context.application
    database, told = application.database_as_it_is, ""
    while True:
        revision, at_work = db_migrate.upgrade(database, at_work=application.with_store_open)
        if not (older := ", ".join(at_work)):
            break
        if older != told:
            remark(gettext("Waiting for older programs: {who}", who=older))
        told = older
        if not wait:
            raise db_migrate.OlderAtWork(gettext("the database is at revision {revision}", revision=revision))
        time.sleep(_LOOK_EVERY_S)
    remark(gettext("The database is at revision {revision}.", revision=revision))


@click.group()
def vault() -> None:
    """Prepare the vault."""


@vault.command()
@pass_context
def init(context: Context) -> None:
    """Make the vault's key file, mode 0600. An existing one is never replaced."""
    made = keeping_vault.make_key(context, operator())
    remark(gettext("Wrote {path}. Keep a copy of it apart from the backups of the database.", path=made.path))


@click.command()
@json_option
def version() -> CommandResult:
    """Show the version of the program and of Python."""
    sesame, python = installed_version(), platform.python_version()
    text = f"sesame {sesame} (Python {python})"
    return CommandResult({"sesame": sesame, "python": python}, partial(click.echo, text))


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print what lets SHELL complete commands, options and choices.

    Install it for everybody: `sesame completion bash > /usr/share/bash-completion/completions/sesame`.
    """
    made = cast("type[ShellComplete]", get_completion_class(shell))
    click.echo(made(ctx.find_root().command, {}, "sesame", "_SESAME_COMPLETE").source())


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.pass_context
def man(ctx: click.Context, *, folder: Path) -> None:
    """Write a man page for each command into FOLDER, from its help.

    Install them for everybody: `/opt/sesame/bin/sesame man /usr/local/share/man/man1`, as root.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for context in walk(ctx.find_root().command, "sesame"):
        summary = context.command.get_short_help_str(limit=1000)
        page = ManPage(context.command_path.replace(" ", "-"), installed_version(), summary)
        context.command.format_help(context, page)
        (folder / f"{page.name}.1").write_text(page.getvalue(), encoding="utf-8")


def installed_version() -> str:
    """The installed version; `unknown` when the program runs from a checkout."""
    try:
        return version_of("sesame")
    except PackageNotFoundError:
        return "unknown"
