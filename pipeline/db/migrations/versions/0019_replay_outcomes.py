"""How each student's replay ended is noted with it, so that its figures stay what they were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. What ended before is counted by each student's newest state, as it was."""
    op.add_column("replay_students", sa.Column("outcome", sa.String(length=8), nullable=True))
    op.create_index("ix_replay_students_student_number", "replay_students", ["student_number"], unique=False)


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
