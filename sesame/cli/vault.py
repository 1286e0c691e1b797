"""`sesame vault`: the key that seals password hashes on their way to the directory."""

from __future__ import annotations

import os

import click

from pipeline.errors import SesameError
from sesame.cli.context import Context, pass_context


class KeyExists(SesameError):
    """The key file exists, and is left as it is: without it nothing that it sealed can be opened again."""


@click.group()
def vault() -> None:
    """Prepare the vault."""


@vault.command()
@pass_context
def init(context: Context) -> None:
    """Make the vault's key file, mode 0600. An existing one is never replaced."""
    from pipeline.vault import new_key
    from sesame.app import folders

    path = context.settings.vault_key_file
    folders.make(path.parent)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyExists(
            f"{path} exists, and is left as it is",
            remedy="To change keys, put a new one on a line above the present one.",
        ) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(new_key() + "\n")
    click.echo(f"Wrote {path}. Keep a copy of it apart from the backups of the database.", err=True)
