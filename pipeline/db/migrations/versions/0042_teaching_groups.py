"""Programs keep teaching groups member by member."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "teaching_groups",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("element", sa.String(64), nullable=False),
        sa.Column("group_code", sa.String(64), nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("display_key", sa.String(255), nullable=False),
        sa.Column("external_id", sa.String(255)),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("changed_at", sa.Float, nullable=False),
        sa.UniqueConstraint("year", "element", "group_code", name="uq_teaching_groups"),
    )
    op.create_index("ix_teaching_groups_display_key", "teaching_groups", ["display_key"])
    op.create_index("ix_teaching_groups_external_id", "teaching_groups", ["external_id"])
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.String(32), primary_key=True),
        sa.Column("student_number", sa.String(32), primary_key=True),
    )
    op.create_index("ix_group_members_student_number", "group_members", ["student_number"])
    op.create_table(
        "member_lists",
        sa.Column("student_number", sa.String(32), primary_key=True),
        sa.Column("year", sa.Integer, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
