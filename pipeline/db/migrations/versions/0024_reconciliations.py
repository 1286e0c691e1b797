"""The last comparison of each target with the accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "reconciliations",
        sa.Column("target", sa.String(64), primary_key=True),
        sa.Column("claimed_at", sa.Float(), nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
    )


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
