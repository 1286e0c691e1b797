"""Up to where each target told its changes, and when it was last asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.add_column("reconciliations", sa.Column("mark", sa.String(1000), nullable=True))
    op.add_column("reconciliations", sa.Column("looked_at", sa.Float(), nullable=True))


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
