"""A replay has a name, and can be stopped from anywhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.add_column("replays", sa.Column("incident", sa.String(120), nullable=True))
    op.add_column("replays", sa.Column("stopped_at", sa.Float(), nullable=True))


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
