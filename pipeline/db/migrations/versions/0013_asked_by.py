"""A proof knows which browser asked for it: all it asked for is one request, even when an answer was lost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Proofs of before stand by themselves."""
    op.add_column("mail_proofs", sa.Column("asked_by", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_mail_proofs_asked_by"), "mail_proofs", ["asked_by"], unique=False)


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
