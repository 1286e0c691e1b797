"""UIDVALIDITY and UIDNEXT are unsigned 32-bit numbers (RFC 9051): half of them do not fit a signed column."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    with op.batch_alter_table("welcome_messages") as batch_op:
        for column in ("uidvalidity", "uidnext"):
            batch_op.alter_column(
                column, existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False
            )


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
