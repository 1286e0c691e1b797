"""Programs send persons asynchronously: what was accepted waits for its answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "accepted_requests",
        sa.Column("txn", sa.String(32), primary_key=True),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("method", sa.String(8), nullable=False),
        sa.Column("steps", sa.Text, nullable=False),
        sa.Column("changes_hold", sa.Boolean, nullable=False),
        sa.Column("accepted_at", sa.Float, nullable=False),
    )
    op.create_index("ix_accepted_requests_student_number", "accepted_requests", ["student_number"])


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
