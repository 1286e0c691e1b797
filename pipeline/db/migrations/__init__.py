"""The database's history, as Alembic migrations. `pipeline.db.migrate` runs them."""
