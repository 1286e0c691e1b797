"""Persons' mobiles and ESIs, live feeds, forecasts and times, and the canary.

The forms 0049 to 0053, which had a part of it, were never released: what is there is left as it is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0048"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    inspector = sa.inspect(op.get_bind())
    if "mobile" not in {column["name"] for column in inspector.get_columns("people")}:
        op.add_column("people", sa.Column("mobile", sa.String(16)))
    op.add_column("people", sa.Column("ine_provisional", sa.Boolean))
    op.add_column("people", sa.Column("esi", sa.String(64)))
    if not inspector.has_table("feed_polls"):
        op.create_table(
            "feed_polls",
            sa.Column("feed", sa.String(64), primary_key=True),
            sa.Column("owner", sa.String(64), nullable=False),
            sa.Column("seen_at", sa.Float, nullable=False),
            sa.Column("through", sa.BigInteger, nullable=False),
            sa.Column("finished_at", sa.Float),
        )
    if not inspector.has_table("throughput"):
        op.create_table(
            "throughput",
            sa.Column("target", sa.String(64), primary_key=True),
            sa.Column("process", sa.String(64), primary_key=True),
            sa.Column("until", sa.Float, primary_key=True),
            sa.Column("seconds", sa.Float, nullable=False),
            sa.Column("queued", sa.Boolean, nullable=False),
            sa.Column("students", sa.Integer, nullable=False),
            sa.Column("calls", sa.Integer, nullable=False),
            sa.Column("called", sa.Integer, nullable=False),
            sa.Column("call_s", sa.Float, nullable=False),
            sa.Column("down_s", sa.Float, nullable=False),
            sa.Column("throttled_s", sa.Float, nullable=False),
        )
        op.create_index("ix_throughput_until", "throughput", ["until"])
        op.create_table(
            "forecasts",
            sa.Column("made_at", sa.Float, primary_key=True),
            sa.Column("students", sa.Integer, nullable=False),
            sa.Column("done_at", sa.Float, nullable=False),
            sa.Column("low", sa.Float, nullable=False),
            sa.Column("high", sa.Float, nullable=False),
            sa.Column("brake", sa.String(64), nullable=False),
            sa.Column("happened_at", sa.Float),
        )
    if not inspector.has_table("propagation_times"):
        op.create_table(
            "propagation_times",
            sa.Column("begins", sa.Integer, primary_key=True),
            sa.Column("start", sa.String(16), primary_key=True),
            sa.Column("kind", sa.String(8), primary_key=True),
            sa.Column("name", sa.String(255), primary_key=True),
            sa.Column("bucket", sa.Integer, primary_key=True),
            sa.Column("students", sa.Integer, nullable=False),
        )
    if not inspector.has_table("canary_steps"):
        op.create_table(
            "canary_steps",
            sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("name", sa.String(64), nullable=False),
            sa.Column("seconds", sa.Float, nullable=False),
            sa.Column("ok", sa.Boolean, nullable=False),
            sa.Column("cause", sa.Text, nullable=False),
            sa.Column("at", sa.Float, nullable=False),
        )


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
