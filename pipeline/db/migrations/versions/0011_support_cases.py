"""Support cases: the code that a student reads out, and what was found when it was given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "support_cases",
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("bundle", sa.Text(), nullable=False),
        sa.Column("desk", sa.String(length=64), nullable=True),
        sa.Column("sent_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_support_cases")),
    )
    for column in ("student_number", "expires_at"):
        op.create_index(op.f(f"ix_support_cases_{column}"), "support_cases", [column], unique=False)


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
