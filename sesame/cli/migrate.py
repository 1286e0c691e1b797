"""`sesame migrate`: bring the database to this version's form."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context


@click.command()
@pass_context
def migrate(context: Context) -> None:
    """Bring the database to the form that this version wants. Doing it again changes nothing."""
    from pipeline.db.migrate import upgrade

    click.echo(f"The database is at revision {upgrade(context.application.database_as_it_is)}.", err=True)
