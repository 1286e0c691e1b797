"""Replays that go on where they stopped; a dead letter's record has a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Replays of before have no row: each was asked for as a whole."""
    op.create_table(
        "replays",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("consumer", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("reason_ref", sa.String(length=64), nullable=False),
        sa.Column("begun_at", sa.Float(), nullable=False),
        sa.Column("students", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replays")),
    )
    op.create_index(op.f("ix_replays_begun_at"), "replays", ["begun_at"], unique=False)
    op.create_table(
        "replay_students",
        sa.Column("replay_id", sa.String(length=16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("replay_id", "position", name=op.f("pk_replay_students")),
    )
    op.add_column("dead_letters", sa.Column("timestamp_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
