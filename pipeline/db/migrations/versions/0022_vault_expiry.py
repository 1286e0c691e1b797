"""When a secret of the vault is erased, consumed or not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. What is sealed so far waits until it is consumed."""
    op.add_column("vault", sa.Column("expires_at", sa.Float(), nullable=True))


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
