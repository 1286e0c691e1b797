"""What is told of a past import: who ran it, how it ended, and what it would have changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Of the imports so far nothing more is known than their counts."""
    op.add_column("imports", sa.Column("detail", sa.Text(), nullable=True))


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
