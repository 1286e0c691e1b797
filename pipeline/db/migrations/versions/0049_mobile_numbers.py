"""A student's mobile number."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.add_column("people", sa.Column("mobile", sa.String(16)))


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
