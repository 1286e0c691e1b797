"""The database's history, as Alembic migrations. `pipeline.store.migrate` runs them."""
