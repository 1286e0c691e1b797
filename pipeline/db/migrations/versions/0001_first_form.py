"""The first form."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "accounts",
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("login", sa.String(length=255), nullable=False),
        sa.Column("activated_at", sa.Float(), nullable=True),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_accounts")),
        sa.UniqueConstraint("login", name=op.f("uq_accounts_login")),
    )
    with op.batch_alter_table("accounts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_accounts_stage"), ["stage"], unique=False)

    op.create_table(
        "activation_requests",
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("credential_ref", sa.String(length=64), nullable=True),
        sa.Column("intended_at", sa.Float(), nullable=False),
        sa.Column("confirmed_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_activation_requests")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_at"), ["at"], unique=False)

    op.create_table(
        "consumer_status",
        sa.Column("consumer", sa.String(length=64), nullable=False),
        sa.Column("process", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "process", name=op.f("pk_consumer_status")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("consumer", sa.String(length=64), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("topic", sa.String(length=64), nullable=True),
        sa.Column("partition", sa.Integer(), nullable=True),
        sa.Column("offset", sa.BigInteger(), nullable=True),
        sa.Column("event_id", sa.String(length=64), nullable=True),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.Column("resolved_at", sa.Float(), nullable=True),
        sa.Column("resolution", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    with op.batch_alter_table("dead_letters", schema=None) as batch_op:
        batch_op.create_index(
            "ix_dead_letters_consumer_student_number", ["consumer", "student_number"], unique=False
        )
        batch_op.create_index("ix_dead_letters_resolved_at", ["resolved_at"], unique=False)

    op.create_table(
        "enrolments",
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=False),
        sa.Column("step_version", sa.String(length=64), nullable=False),
        sa.Column("source_sequence", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("student_number", "year", "step", "step_version", name=op.f("pk_enrolments")),
    )
    op.create_table(
        "feed_rows",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=False),
        sa.Column("step_version", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("import_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "source", "student_number", "year", "step", "step_version", name=op.f("pk_feed_rows")
        ),
    )
    op.create_table(
        "fingerprints",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=80), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_fingerprints")),
    )
    with op.batch_alter_table("fingerprints", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_fingerprints_student_number"), ["student_number"], unique=False)

    op.create_table(
        "imports",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.Column("superseded", sa.Boolean(), nullable=False),
        sa.Column("confirmed_through", sa.BigInteger(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    with op.batch_alter_table("imports", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_imports_source"), ["source"], unique=False)

    op.create_table(
        "ledger",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=True),
        sa.Column("origin", sa.String(length=32), nullable=False),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_ledger")),
    )
    with op.batch_alter_table("ledger", schema=None) as batch_op:
        batch_op.create_index("ix_ledger_student_number", ["student_number"], unique=False)

    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index("ix_outbox_lane_id", ["lane", "id"], unique=False)

    op.create_table(
        "parked",
        sa.Column("consumer", sa.String(length=64), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("bells", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("age_s", sa.Float(), nullable=False),
        sa.Column("counted_at", sa.Float(), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("replay", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "student_number", name=op.f("pk_parked")),
    )
    with op.batch_alter_table("parked", schema=None) as batch_op:
        batch_op.create_index("ix_parked_consumer_lane_due_at", ["consumer", "lane", "due_at"], unique=False)

    op.create_table(
        "pending_facts",
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_pending_facts")),
    )
    with op.batch_alter_table("pending_facts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pending_facts_received_at"), ["received_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_pending_facts_student_number"), ["student_number"], unique=False)

    op.create_table(
        "people",
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("identity_sequence", sa.BigInteger(), nullable=False),
        sa.Column("ine", sa.String(length=11), nullable=True),
        sa.Column("personal_mail", sa.Text(), nullable=True),
        sa.Column("language", sa.String(length=8), nullable=True),
        sa.Column("preferred_given_name", sa.Text(), nullable=True),
        sa.Column("mail_redirect", sa.Text(), nullable=True),
        sa.Column("activated_at", sa.Float(), nullable=True),
        sa.Column("credential_ref", sa.String(length=64), nullable=True),
        sa.Column("credential_sequence", sa.Integer(), nullable=False),
        sa.Column("holds", sa.Text(), nullable=False),
        sa.Column("recent_facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_people")),
    )
    op.create_table(
        "propagation",
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("paused_since", sa.Float(), nullable=True),
        sa.Column("waited_s", sa.Float(), nullable=False),
        sa.Column("completed_version", sa.Integer(), nullable=False),
        sa.Column("completed_at", sa.Float(), nullable=True),
        sa.Column("elapsed_s", sa.Float(), nullable=True),
        sa.Column("late_at", sa.Float(), nullable=True),
        sa.Column("breached_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_propagation")),
    )
    op.create_table(
        "site_locks",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_site_locks")),
    )
    op.create_table(
        "target_states",
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("applied_version", sa.Integer(), nullable=False),
        sa.Column("applied_at", sa.Float(), nullable=True),
        sa.Column("digest", sa.String(length=80), nullable=True),
        sa.Column("replayed_event_id", sa.String(length=64), nullable=True),
        sa.Column("suspect", sa.Boolean(), nullable=False),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_epoch", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_version", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("pending", sa.Text(), nullable=True),
        sa.Column("since", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("target", "student_number", name=op.f("pk_target_states")),
    )
    op.create_table(
        "timers",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timers")),
        sa.UniqueConstraint("kind", "student_number", name=op.f("uq_timers_kind_student_number")),
    )
    with op.batch_alter_table("timers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_timers_due_at"), ["due_at"], unique=False)

    op.create_table(
        "vault",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("ref", sa.String(length=64), nullable=False),
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("consumed_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_vault")),
        sa.UniqueConstraint("ref", name=op.f("uq_vault_ref")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("vault", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_vault_student_number"), ["student_number"], unique=False)

    op.create_table(
        "welcome_messages",
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("uidvalidity", sa.Integer(), nullable=False),
        sa.Column("uidnext", sa.Integer(), nullable=False),
        sa.Column("intended_at", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.CheckConstraint(
            "state in ('intended', 'sent', 'undecided')", name=op.f("ck_welcome_messages_state")
        ),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_welcome_messages")),
    )
    op.create_table(
        "propagation_targets",
        sa.Column("student_number", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("lease_epoch", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("pending", sa.Text(), nullable=True),
        sa.Column("finished_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["student_number"],
            ["propagation.student_number"],
            name=op.f("fk_propagation_targets_student_number"),
        ),
        sa.PrimaryKeyConstraint("student_number", "target", name=op.f("pk_propagation_targets")),
    )


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
