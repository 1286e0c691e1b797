"""PostgreSQL finds a person by a piece of a name, without reading everybody.

Its extension pg_trgm is one that a database's owner may create. Where the server does not have it, the search
reads everybody, as SQLite does, and docs/how-to/use-postgresql.md says how to have the index later.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    try:
        with connection.begin_nested():
            connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    except DBAPIError:
        return
    op.execute("CREATE INDEX ix_people_identity ON people USING gin (identity gin_trgm_ops)")


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
