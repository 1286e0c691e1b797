"""`sesame vault`: the key that seals password hashes on their way to the directory."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator


@click.group()
def vault() -> None:
    """Prepare the vault."""


@vault.command()
@pass_context
def init(context: Context) -> None:
    """Make the vault's key file, mode 0600. An existing one is never replaced."""
    from sesame.operations.vault import make_key

    made = make_key(context, operator())
    click.echo(f"Wrote {made.path}. Keep a copy of it apart from the backups of the database.", err=True)
