"""What existed before Sésame has two tables: what is whose, and what an operator is asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Nothing was adopted before."""
    op.create_table(
        "adoptions",
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("object", sa.String(length=512), nullable=False),
        sa.Column("evidence", sa.String(length=32), nullable=False),
        sa.Column("adopted_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("target", "student_number", name=op.f("pk_adoptions")),
    )
    op.create_table(
        "adoption_questions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("object", sa.String(length=512), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("raised_at", sa.Float(), nullable=False),
        sa.Column("decided_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adoption_questions")),
    )
    for columns in (["student_number"], ["state"], ["target", "object"]):
        name = op.f(f"ix_adoption_questions_{'_'.join(columns)}")
        op.create_index(name, "adoption_questions", columns, unique=False)


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
