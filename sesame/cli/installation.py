"""Commands that set up an installation, and show its version."""

from __future__ import annotations

import os
import platform
import shlex
import stat
import time
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from importlib.resources import files
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
from sesame.cli.settings import checked

with lazily():
    from pipeline import vault as pipeline_vault
    from pipeline.db import migrate as db_migrate
    from sesame import settings as sesame_settings
    from sesame.operations.keeping import vault as keeping_vault

_LOOK_EVERY_S = 1.0


@click.command()
@pass_context
def init(context: Context) -> None:
    """Set up a site: settings to fill in; once filled in, the key and the database.

    The first run writes the settings file that `--config` names, or `./sesame.toml`, and an empty file for
    each secret. Fill them, and run it again. What exists is left as it is.
    """
    named = sesame_settings.named_file(context.config)
    file = named or sesame_settings.find_file() or Path("sesame.toml")
    if not file.exists():
        _write_settings(file)
        return
    checked(context)
    _refuse_another_s(context.settings.data_dir)
    key = context.settings.vault_key_file
    if not key.exists() and db_migrate.is_empty(context.application.database_as_it_is):
        _make_key(context)
    pipeline_vault.read_keys(key)  # no new key for an old store: it would open nothing
    _migrate(context, wait=False)
    remark(gettext("Next: sesame doctor"))


def _refuse_another_s(folder: Path) -> None:
    """Refuse to make root's files where another user works. Raises click.UsageError."""
    if os.geteuid() != 0 or not folder.is_dir() or folder.stat().st_uid == 0:
        return
    try:
        user = folder.owner()
    except KeyError:  # it has no name, as in a container
        user = f"#{folder.stat().st_uid}"
    text = gettext("{folder} belongs to {user}, who could not use root's files", folder=folder, user=user)
    raise click.UsageError(gettext("{text}: sudo -u {user} sesame init", text=text, user=shlex.quote(user)))


def _write_settings(file: Path) -> None:
    text = files("sesame.settings").joinpath("sesame.toml").read_text(encoding="utf-8")
    secrets = [file.parent / name for name in _secret_files(tomllib.loads(text))]
    for path in secrets:
        if not path.exists():
            _write(path, "")
    _write(file, text)
    remark(gettext("Wrote {path}: put your site's names in it.", path=file))
    names = ", ".join(map(str, secrets))
    remark(gettext("Each of these files is for one secret, alone in it: {files}", files=names))
    remark(gettext("Fill them, then run it again."))


def _secret_files(content: Mapping[str, object]) -> Iterator[str]:
    """The files in the settings' own folder: secrets. Certificates are elsewhere."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _secret_files(value)
        elif name.endswith("_file") and Path(str(value)).name == value:
            yield value


def _write(path: Path, text: str) -> None:
    """Write a new file, for its owner; for the group too in a setgid folder."""
    shared = path.absolute().parent.stat().st_mode & stat.S_ISGID
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as new:
        os.fchmod(new.fileno(), 0o640 if shared else 0o600)
        new.write(text)


@click.command()
@click.option("--wait", is_flag=True, help="Wait for older programs where a step has to.")
@pass_context
def migrate(context: Context, *, wait: bool) -> None:
    """Bring the database to the form that this version wants. Doing it again changes nothing.

    Programs of the version before go on beside this one. A step that takes from them what they use waits
    until they have ended: they are named, and the code is 5.
    """
    _migrate(context, wait=wait)


def _migrate(context: Context, *, wait: bool) -> None:
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


@vault.command(name="init")
@pass_context
def vault_init(context: Context) -> None:
    """Make the vault's key file, mode 0600. An existing one is never replaced."""
    _make_key(context)


def _make_key(context: Context) -> None:
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
