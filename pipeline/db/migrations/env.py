"""Alembic's entry: runs the migrations on the connection that `pipeline.db.migrate` hands over."""

from alembic import context

from pipeline.db.metadata import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transaction_per_migration=False,
)
context.run_migrations()
