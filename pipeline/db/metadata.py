"""The one metadata of all tables, for SQLite and PostgreSQL.

Times are seconds since the epoch, UTC, as floats, so that both databases compare them alike. Documents are
JSON text. No table holds a secret in the clear: passwords' hashes are sealed by the vault's key.
"""

from __future__ import annotations

from sqlalchemy import Connection, Index, MetaData, event, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def partial_index(name: str, rows: str, *columns: str) -> Index:
    """Return a partial index; other rows cost nothing, queries repeat its condition."""
    index = Index(name, *columns, sqlite_where=text(rows))

    @event.listens_for(index, "before_create")  # in Index(), it would always load the dialect
    def _on_postgresql(index: Index, connection: Connection, **_how: object) -> None:
        if connection.dialect.name == "postgresql":
            index.dialect_options["postgresql"]["where"] = text(rows)

    return index
