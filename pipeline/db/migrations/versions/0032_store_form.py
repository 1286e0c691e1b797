"""From which form on programs may work with this store: one that is newer refuses them no more by itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    form = op.create_table("store_form", sa.Column("oldest", sa.String(32), primary_key=True))
    op.bulk_insert(form, [{"oldest": revision}])


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
