"""`sesame ledger`: the names that are given for ever."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.operator import operator
from sesame.cli.options import json_option
from sesame.cli.output import write_json


@click.group()
def ledger() -> None:
    """The ledger of logins, mail addresses and principal names: nobody is ever given another's."""


@ledger.command(name="refresh")
@json_option
@pass_context
def refresh_command(context: Context, *, as_json: bool) -> None:
    """Put the directory's names into the ledger: those of staff and of everybody else are not given away.

    `sesame run` does this at its start and every hour. Nothing is changed in the directory. Exit code 3 when
    an entry has a name that the ledger knows as somebody else's.
    """
    from sesame.operations.name_reservation import refresh

    found = refresh(context.application, operator())
    if as_json:
        write_json(found.model_dump())
    else:
        click.echo(f"{found.entries} entries with {found.names} names, {len(found.conflicts)} in conflict")
        for dn in found.conflicts:
            click.echo(f"  held by somebody else in the ledger: {dn}", err=True)
    if found.conflicts:
        raise click.exceptions.Exit(int(ExitCode.PARTLY))
