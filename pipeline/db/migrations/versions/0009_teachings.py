"""Teaching units and groups: what feeds have published, what students follow, and what was ever taught."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Nobody has a list yet."""
    op.create_table(
        "teaching_rows",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("import_id", sa.Integer(), nullable=False),
        sa.Column("listed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "student_number", "year", name=op.f("pk_teaching_rows")),
    )
    op.create_table(
        "teachings",
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("source_sequence", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("student_number", "year", "source", name=op.f("pk_teachings")),
    )
    op.create_table(
        "known_teachings",
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("element", sa.String(length=64), nullable=False),
        sa.Column("group_code", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("year", "element", "group_code", name=op.f("pk_known_teachings")),
    )


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
