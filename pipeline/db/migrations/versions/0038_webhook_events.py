"""What programs are to be told, until they have taken it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("receiver", sa.String(32), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("lane", sa.Integer, nullable=False),
        sa.Column("topic", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("type", sa.String(80), nullable=False),
        sa.Column("happened_at", sa.Float, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failed_at", sa.Float),
        sa.Column("due_at", sa.Float),
        sa.Column("replay_id", sa.String(64)),
        sqlite_autoincrement=True,
    )
    for name, columns, unique in (
        ("ix_webhook_events_receiver_lane_id", ["receiver", "lane", "id"], False),
        ("ix_webhook_events_receiver_student_number_id", ["receiver", "student_number", "id"], False),
        ("uq_webhook_events_receiver_event_id", ["receiver", "event_id"], True),
    ):
        op.create_index(name, "webhook_events", columns, unique=unique)


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
