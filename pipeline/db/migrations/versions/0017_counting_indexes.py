"""The database counts students and pages through dead letters by indexes that hold all that is looked at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

WHOLE = (
    ("ix_accounts_activated", "accounts", ["student_number", "version", "activated_at"]),
    ("ix_propagation_newest", "propagation", ["student_number", "version", "state"]),
    ("ix_propagation_completed", "propagation", ["state", "completed_at", "lane", "elapsed_s"]),
    ("ix_propagation_targets_state", "propagation_targets", ["target", "state"]),
)
PARTIAL = (
    (
        "ix_propagation_targets_reason",
        "propagation_targets",
        ["reason", "target", "student_number"],
        "reason IS NOT NULL",
    ),
    (
        "ix_target_states_reason",
        "target_states",
        ["reason", "target", "student_number"],
        "reason IS NOT NULL",
    ),
    ("ix_dead_letters_unresolved", "dead_letters", ["recorded_at", "id"], "resolved_at IS NULL"),
    ("ix_dead_letters_cause", "dead_letters", ["consumer", "cause"], "resolved_at IS NULL"),
)


def upgrade() -> None:
    """Go forward."""
    for name, table, columns in WHOLE:
        op.create_index(name, table, columns, unique=False)
    for name, table, columns, rows in PARTIAL:
        only = sa.text(rows)
        op.create_index(name, table, columns, unique=False, sqlite_where=only, postgresql_where=only)


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
