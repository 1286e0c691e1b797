"""Consumers write their backlog beside their state: who waits can be told that many others do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. The next report of each consumer brings the numbers."""
    for name in ("lag_personal", "lag_bulk"):
        op.add_column("consumer_status", sa.Column(name, sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
