"""Programs that send persons call them by an id of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "external_ids",
        sa.Column("student_number", sa.String(32), primary_key=True),
        sa.Column("external_id", sa.String(255)),
    )
    op.create_index("ix_external_ids_external_id", "external_ids", ["external_id"])


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
