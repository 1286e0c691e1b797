"""Closings are counted by scope: at one target, or of one step of one year, too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    for table in ("closings", "held_closings"):
        with op.batch_alter_table(table) as batch_op:
            batch_op.alter_column(
                "closing", existing_type=sa.String(16), type_=sa.String(96), existing_nullable=False
            )


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
