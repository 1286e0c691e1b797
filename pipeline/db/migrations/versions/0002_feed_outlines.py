"""What a feed recalls of each enrolment, so that an import can tell what it would change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Rows of before keep neither: they count as held, and nothing is known of their traits."""
    op.add_column("feed_rows", sa.Column("live", sa.Boolean(), nullable=True))
    op.add_column("feed_rows", sa.Column("outline", sa.Text(), nullable=True))


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
