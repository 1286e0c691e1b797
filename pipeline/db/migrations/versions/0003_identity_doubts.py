"""Doubtful identities and what was decided about them; numbers that are one person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Doubts of before have no row: lifting the technical hold still settles them."""
    op.create_table(
        "identity_doubts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("other_number", sa.String(length=32), nullable=True),
        sa.Column("evidence", sa.String(length=64), nullable=False),
        sa.Column("claimed", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("raised_at", sa.Float(), nullable=False),
        sa.Column("decided_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_doubts")),
    )
    for column in ("student_number", "other_number", "state"):
        op.create_index(op.f(f"ix_identity_doubts_{column}"), "identity_doubts", [column], unique=False)
    op.add_column("people", sa.Column("merged_into", sa.String(length=32), nullable=True))
    op.create_index(op.f("ix_people_merged_into"), "people", ["merged_into"], unique=False)
    op.add_column(
        "pending_facts",
        sa.Column("waits_for", sa.String(length=16), nullable=False, server_default="enrolment"),
    )


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
