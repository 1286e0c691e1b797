"""What time has closed, by day, and whom the guard holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "closings",
        sa.Column("closing", sa.String(16), primary_key=True),
        sa.Column("day", sa.Integer(), primary_key=True),
        sa.Column("students", sa.Integer(), nullable=False),
        sa.Column("population", sa.Integer(), nullable=False),
    )
    op.create_table(
        "held_closings",
        sa.Column("student_number", sa.String(32), primary_key=True),
        sa.Column("closing", sa.String(16), nullable=False, index=True),
        sa.Column("held_at", sa.Float(), nullable=False),
        sa.Column("approved_by", sa.String(64), nullable=True),
        sa.Column("approved_plan", sa.String(16), nullable=True),
        sa.Column("released", sa.Boolean(), nullable=False),
    )


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
