"""Logins by CAS that were seen to work, and the sessions that each ticket opened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "cas_logins",
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=True),
        sa.Column("last_at", sa.Float(), nullable=True),
        sa.Column("failed_at", sa.Float(), nullable=True),
        sa.Column("failure", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_cas_logins")),
    )
    op.create_table(
        "cas_sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("ticket_hash", sa.String(length=64), nullable=False),
        sa.Column("service", sa.String(length=255), nullable=False),
        sa.Column("login", sa.String(length=255), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=True),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_cas_sessions")),
        sa.UniqueConstraint("ticket_hash", name=op.f("uq_cas_sessions_ticket_hash")),
    )
    op.create_index(op.f("ix_cas_sessions_expires_at"), "cas_sessions", ["expires_at"], unique=False)


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
