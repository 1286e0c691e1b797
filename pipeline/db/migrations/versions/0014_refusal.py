"""A message that the mail server refuses for good says why: the support desk sees it, its student cannot."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Of messages that were refused before nothing is known."""
    op.add_column("mail_proofs", sa.Column("refusal", sa.Text(), nullable=True))


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
