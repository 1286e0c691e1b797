"""Imports of files, and those of the single persons that programs send, are listed apart quickly."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

PARTIAL = (
    ("ix_imports_files", ["id"], "source <> 'api'"),
    ("ix_imports_going_on", ["source", "id"], "finished_at IS NULL AND NOT superseded"),
)


def upgrade() -> None:
    """Go forward."""
    op.drop_index("ix_imports_source", "imports")
    op.create_index("ix_imports_source_id", "imports", ["source", "id"])
    for name, columns, rows in PARTIAL:
        only = sa.text(rows)
        op.create_index(name, "imports", columns, sqlite_where=only, postgresql_where=only)


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
