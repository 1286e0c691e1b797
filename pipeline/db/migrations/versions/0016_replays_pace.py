"""A replay keeps its pace, and one run at a time asks for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Replays of before go on without a pace."""
    op.add_column("replays", sa.Column("per_s", sa.Integer(), nullable=True))
    op.add_column("replays", sa.Column("asking_by", sa.String(length=64), nullable=True))
    op.add_column("replays", sa.Column("asking_until", sa.Float(), nullable=True))


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
