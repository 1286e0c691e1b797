"""`sesame migrate`."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context


@click.command()
@pass_context
def migrate(context: Context) -> None:
    """Create the database, or bring it to this version's form. Harmless when repeated."""
    from pipeline.store.database import Database
    from pipeline.store.migrate import upgrade

    context.quiet_logs()
    context.settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(context.settings.store_url.get_secret_value())
    try:
        revision = upgrade(database)
    finally:
        database.close()
    click.echo(f"The database is at revision {revision}.", err=True)
