"""Alembic's entry point: migrate on the connection of `pipeline.db.migrate`."""

from alembic import context

from pipeline.db.metadata import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transaction_per_migration=False,
)
context.run_migrations()
