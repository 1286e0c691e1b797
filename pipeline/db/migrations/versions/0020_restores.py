"""A store that went back in time is recognised, and asks about those whom a target shows shut."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. The count begins with the first process that runs consumers."""
    op.create_table(
        "store_life",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.Column("shut_why", sa.Text(), nullable=True),
        sa.Column("shut_at", sa.Float(), nullable=True),
        sa.Column("checked_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "restore_questions",
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("shown_by", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("raised_at", sa.Float(), nullable=False),
        sa.Column("decided_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("student_number"),
    )
    op.create_index("ix_restore_questions_state", "restore_questions", ["state"])


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
