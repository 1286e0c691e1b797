"""Consumers in quarantine; parked rows by owner, with the version whose attempts they count; lost records."""

from __future__ import annotations

import zlib

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Attempts so far are those of the version that was parked."""
    op.create_table(
        "quarantines",
        sa.Column("consumer", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", name=op.f("pk_quarantines")),
    )
    op.create_table(
        "lost_records",
        sa.Column("consumer", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("noticed_at", sa.Float(), nullable=False),
        sa.Column("accepted_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("consumer", "topic", "partition", "offset", name=op.f("pk_lost_records")),
    )
    op.add_column("parked", sa.Column("attempts_version", sa.Integer(), server_default="0", nullable=False))
    op.add_column("parked", sa.Column("key_hash", sa.BigInteger(), server_default="0", nullable=False))
    connection = op.get_bind()
    parked = sa.table(
        "parked",
        sa.column("consumer", sa.String),
        sa.column("student_number", sa.String),
        sa.column("version", sa.Integer),
        sa.column("attempts_version", sa.Integer),
        sa.column("key_hash", sa.BigInteger),
    )
    connection.execute(sa.update(parked).values(attempts_version=parked.c.version))
    for row in connection.execute(sa.select(parked.c.consumer, parked.c.student_number)).all():
        connection.execute(
            sa.update(parked)
            .where(parked.c.consumer == row.consumer, parked.c.student_number == row.student_number)
            .values(key_hash=zlib.crc32(row.student_number.encode()))
        )


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
