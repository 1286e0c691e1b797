"""`sesame backup` and `sesame restore`: the embedded store and log."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from schemas.language import gettext, local_time, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.installation import installed_version
from sesame.cli.operator import operator
from sesame.cli.options import json_option, yes_option
from sesame.cli.output import CommandResult, confirm, remark

with lazily():
    from pipeline.db import embedded
    from sesame.app import tables, wiring
    from sesame.operations.keeping.backup import acts as backup_acts

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group(invoke_without_command=True)
@click.option("--to", "folder", type=_FOLDER, help="The folder of backups; else `backups` in data_dir.")
@click.option("--keep", type=click.IntRange(min=1), help="Remove all but so many of the newest ones there.")
@json_option
@pass_context
def backup(context: Context, *, folder: Path | None, keep: int | None) -> CommandResult | None:
    """Copy the embedded store and log while they are worked with, and prove the copy.

    Every person in the copy is sealed under a key of their own. The keys are copied into another folder
    (`store.keys_to`): without them nobody can be restored. They, the vault's key and the settings are not in
    the copy: keep them apart. A PostgreSQL server is backed up by pg_dump, Kafka keeps its own copies.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return None
    request = backup_acts.BackupRequest(folder=folder or context.settings.data_dir / "backups", keep=keep)
    made = context.run(
        backup_acts.back_up,
        request,
        metadata=tables.metadata,
        clock=wiring.utc_now,
        version=installed_version(),
    )
    keys_apart = context.settings.store.keys_to is not None
    return CommandResult(made.model_dump(mode="json"), partial(_show_made, made, keys_apart=keys_apart))


_keys_option = click.option(
    "--keys",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A copy of the persons' keys; else the file in data_dir.",
)


@backup.command()
@click.argument("folder", type=_FOLDER)
@_keys_option
@json_option
@pass_context
def verify(context: Context, *, folder: Path, keys: Path | None) -> CommandResult:
    """Prove the backup in FOLDER: restore it into a scratch folder, open it, and compare.

    Nothing else is touched. What was cut off, changed, or made by a newer version is told, with code 1; so is
    a backup that the persons' keys do not open. The audit keeps the rehearsal.
    """
    request = backup_acts.RestoreRequest(folder=folder, keys=keys)
    store = context.looking if context.has_store else None
    found = backup_acts.verify(context, operator(), request, store=store)
    return CommandResult(found.model_dump(mode="json"), partial(_show_proved, found))


@click.command()
@click.argument("folder", type=_FOLDER)
@_keys_option
@yes_option
@json_option
@pass_context
def restore(context: Context, *, folder: Path, keys: Path | None, yes: bool) -> CommandResult:
    """Put the backup in FOLDER in the place of the embedded store and log.

    It is proved first. Every process of Sésame must have been stopped. What was there is kept beside it. Who
    was erased since the backup is not restored. Then `sesame restored check` reads the targets, before
    anything may be written to one.
    """
    if not yes:
        confirm(gettext("Replace the store and the log by the backup in {folder}?", folder=folder))
    request = backup_acts.RestoreRequest(folder=folder, keys=keys)
    done = backup_acts.restore(
        context, operator(), request, clock=wiring.utc_now, in_use=embedded.processes_with
    )
    return CommandResult(done.model_dump(mode="json"), partial(_show_restored, done))


def _show_made(made: backup_acts.BackupReport, *, keys_apart: bool) -> None:
    _show(made)
    click.echo(gettext("keys of the persons in it: {file}", file=made.keys))
    if not keys_apart:
        remark(
            gettext(
                "Keep a copy of the keys on another machine, apart from the backups: without them nobody"
                " can be restored (store.keys_to)."
            )
        )
    if not made.store:
        remark(gettext("The store is a server's: back it up now, with pg_dump."))
    if made.removed:
        n = len(made.removed)
        remark(ngettext("{n} older backup was removed", "{n} older backups were removed", n))


def _show_proved(found: backup_acts.BackupReport) -> None:
    _show(found)
    click.echo(gettext("It can be restored."))


def _show_restored(done: backup_acts.RestoreReport) -> None:
    _show(done.restored)
    if done.kept is not None:
        click.echo(gettext("What was there before: {folder}", folder=done.kept))
    if not done.restored.store:
        remark(gettext("The store is a server's: put it back too, with pg_restore."))
    click.echo(gettext("Then: {command}", command="sesame restored check"))


def _show(found: backup_acts.BackupReport) -> None:
    click.echo(
        gettext(
            "{folder}: {accounts} accounts, {records} records, {size} bytes; made {at} by {version}",
            folder=found.folder,
            accounts=found.accounts,
            records=found.records,
            size=found.bytes,
            at=local_time(found.made_at),
            version=found.version,
        )
    )
    if found.erased:
        text = ngettext(
            "{n} person in it was erased since, and is not restored",
            "{n} persons in it were erased since, and are not restored",
            found.erased,
        )
        click.echo(text)
