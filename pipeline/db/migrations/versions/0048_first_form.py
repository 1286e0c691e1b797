"""The first form of the store, equal to all migrations before the first release."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0048"
down_revision = None
branch_labels = None
depends_on = None

_KEPT = "COALESCE((SELECT entry_id FROM audit_marks WHERE name = 'removed'), 0)"
_REFUSED = "'the audit is only appended to'"
_SQLITE = (
    f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, {_REFUSED}); END",
    f"""CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit WHEN OLD.id > {_KEPT}
        BEGIN SELECT RAISE(ABORT, {_REFUSED}); END""",
)
_POSTGRESQL = (
    f"""CREATE FUNCTION audit_appended() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'DELETE' THEN IF OLD.id <= {_KEPT} THEN RETURN OLD; END IF; END IF;
        RAISE EXCEPTION {_REFUSED}; END $$""",
    """CREATE TRIGGER audit_appended BEFORE UPDATE OR DELETE ON audit
        FOR EACH ROW EXECUTE FUNCTION audit_appended()""",
)


def _of(rows: str) -> dict[str, Any]:
    """An index of some rows only."""
    return {"sqlite_where": sa.text(rows), "postgresql_where": sa.text(rows)}


def upgrade() -> None:  # noqa: PLR0915 (one statement for each table and index)
    """Make every table."""
    op.create_table(
        "accepted_requests",
        sa.Column("txn", sa.String(32), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("method", sa.String(8), nullable=False),
        sa.Column("steps", sa.Text, nullable=False),
        sa.Column("changes_hold", sa.Boolean, nullable=False),
        sa.Column("accepted_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("txn", name=op.f("pk_accepted_requests")),
    )
    op.create_index(op.f("ix_accepted_requests_student_number"), "accepted_requests", ["student_number"])
    op.create_table(
        "accepted_values",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(32), nullable=False),
        sa.Column("import_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("student_number", "digest", name=op.f("pk_accepted_values")),
    )
    op.create_table(
        "accounts",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("login", sa.String(255), nullable=False),
        sa.Column("activated_at", sa.Float),
        sa.Column("changed_at", sa.Float, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_accounts")),
        sa.UniqueConstraint("login", name=op.f("uq_accounts_login")),
    )
    op.create_index("ix_accounts_activated", "accounts", ["student_number", "version", "activated_at"])
    op.create_index(op.f("ix_accounts_stage"), "accounts", ["stage"])
    op.create_table(
        "activation_requests",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("credential_ref", sa.String(64)),
        sa.Column("intended_at", sa.Float, nullable=False),
        sa.Column("confirmed_at", sa.Float),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_activation_requests")),
    )
    op.create_table(
        "adoption_questions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("object", sa.String(512), nullable=False),
        sa.Column("student_number", sa.String(32)),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("raised_at", sa.Float, nullable=False),
        sa.Column("decided_at", sa.Float),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adoption_questions")),
    )
    op.create_index(op.f("ix_adoption_questions_state"), "adoption_questions", ["state"])
    op.create_index(op.f("ix_adoption_questions_student_number"), "adoption_questions", ["student_number"])
    op.create_index("ix_adoption_questions_target_object", "adoption_questions", ["target", "object"])
    op.create_table(
        "adoptions",
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("object", sa.String(512), nullable=False),
        sa.Column("evidence", sa.String(32), nullable=False),
        sa.Column("adopted_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("target", "student_number", name=op.f("pk_adoptions")),
    )
    op.create_table(
        "api_answers",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("begun_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("sealed", sa.Text),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_api_answers")),
    )
    op.create_index(op.f("ix_api_answers_expires_at"), "api_answers", ["expires_at"])
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(12), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("revoked_at", sa.Float),
        sa.Column("last_used_at", sa.Float),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
    )
    op.create_index(op.f("ix_api_tokens_expires_at"), "api_tokens", ["expires_at"])
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("ended", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_student_number", "attempts", ["student_number", "id"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sa.UniqueConstraint("previous", name=op.f("uq_audit_previous")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"])
    op.create_table(
        "audit_marks",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("entry_id", sa.Integer, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_marks")),
    )
    op.create_table(
        "audit_persons",
        sa.Column("entry_id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(64), nullable=False),
        sa.Column("salt", sa.String(32)),
        sa.PrimaryKeyConstraint("entry_id", "digest", name=op.f("pk_audit_persons")),
    )
    op.create_index("ix_audit_persons_student_number", "audit_persons", ["student_number", "entry_id"])
    op.create_table(
        "cas_logins",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("seen_at", sa.Float),
        sa.Column("last_at", sa.Float),
        sa.Column("failed_at", sa.Float),
        sa.Column("failure", sa.String(32)),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_cas_logins")),
    )
    op.create_table(
        "cas_sessions",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("ticket_hash", sa.String(64), nullable=False),
        sa.Column("service", sa.String(255), nullable=False),
        sa.Column("login", sa.String(255), nullable=False),
        sa.Column("student_number", sa.String(32)),
        sa.Column("roles", sa.String(255)),
        sa.Column("opened_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_cas_sessions")),
        sa.UniqueConstraint("ticket_hash", name=op.f("uq_cas_sessions_ticket_hash")),
    )
    op.create_index(op.f("ix_cas_sessions_expires_at"), "cas_sessions", ["expires_at"])
    op.create_table(
        "charter_acceptances",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("charter", sa.String(32), nullable=False),
        sa.Column("accepted_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("student_number", "charter", name=op.f("pk_charter_acceptances")),
    )
    op.create_table(
        "closings",
        sa.Column("closing", sa.String(96), nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("students", sa.Integer, nullable=False),
        sa.Column("population", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("closing", "day", name=op.f("pk_closings")),
    )
    op.create_table(
        "consumer_status",
        sa.Column("consumer", sa.String(64), nullable=False),
        sa.Column("process", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
        sa.Column("lag_personal", sa.Integer, server_default="0", nullable=False),
        sa.Column("lag_bulk", sa.Integer, server_default="0", nullable=False),
        sa.Column("per_s", sa.Float, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("consumer", "process", name=op.f("pk_consumer_status")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("consumer", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32)),
        sa.Column("version", sa.Integer),
        sa.Column("cause", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("topic", sa.String(64)),
        sa.Column("partition", sa.Integer),
        sa.Column("offset", sa.BigInteger),
        sa.Column("timestamp_ms", sa.BigInteger),
        sa.Column("event_id", sa.String(64)),
        sa.Column("recorded_at", sa.Float, nullable=False),
        sa.Column("resolved_at", sa.Float),
        sa.Column("resolution", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index(
        "ix_dead_letters_cause", "dead_letters", ["consumer", "cause"], **_of("resolved_at IS NULL")
    )
    op.create_index("ix_dead_letters_consumer_student_number", "dead_letters", ["consumer", "student_number"])
    op.create_index("ix_dead_letters_resolved_at", "dead_letters", ["resolved_at"])
    op.create_index(
        "ix_dead_letters_unresolved", "dead_letters", ["recorded_at", "id"], **_of("resolved_at IS NULL")
    )
    op.create_table(
        "enrolments",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("step_version", sa.String(64), nullable=False),
        sa.Column("source_sequence", sa.BigInteger, nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False),
        sa.Column("document", sa.Text),
        sa.PrimaryKeyConstraint("student_number", "year", "step", "step_version", name=op.f("pk_enrolments")),
    )
    op.create_table(
        "erasures",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("pseudonym", sa.String(32), nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("signed_by", sa.String(80), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("noted", sa.Text, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("receipt", sa.Text),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index(op.f("ix_erasures_pseudonym"), "erasures", ["pseudonym"])
    op.create_index(op.f("ix_erasures_state"), "erasures", ["state"])
    op.create_table(
        "external_ids",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("external_id", sa.String(255)),
        sa.Column("changed_at", sa.Float),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_external_ids")),
    )
    op.create_index(op.f("ix_external_ids_external_id"), "external_ids", ["external_id"])
    op.create_table(
        "feed_rows",
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("step_version", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("base", sa.BigInteger, nullable=False),
        sa.Column("import_id", sa.Integer, nullable=False),
        sa.Column("live", sa.Boolean),
        sa.Column("outline", sa.Text),
        sa.PrimaryKeyConstraint(
            "source", "student_number", "year", "step", "step_version", name=op.f("pk_feed_rows")
        ),
    )
    op.create_table(
        "fingerprints",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.String(80), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_fingerprints")),
    )
    op.create_index(op.f("ix_fingerprints_student_number"), "fingerprints", ["student_number"])
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.String(32), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("group_id", "student_number", name=op.f("pk_group_members")),
    )
    op.create_index(op.f("ix_group_members_student_number"), "group_members", ["student_number"])
    op.create_table(
        "held_closings",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("closing", sa.String(96), nullable=False),
        sa.Column("held_at", sa.Float, nullable=False),
        sa.Column("approved_by", sa.String(64)),
        sa.Column("approved_plan", sa.String(16)),
        sa.Column("released", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_held_closings")),
    )
    op.create_index(op.f("ix_held_closings_closing"), "held_closings", ["closing"])
    op.create_table(
        "identity_doubts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("other_number", sa.String(32)),
        sa.Column("evidence", sa.String(64), nullable=False),
        sa.Column("claimed", sa.Text),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("raised_at", sa.Float, nullable=False),
        sa.Column("decided_at", sa.Float),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_doubts")),
    )
    op.create_index(op.f("ix_identity_doubts_other_number"), "identity_doubts", ["other_number"])
    op.create_index(op.f("ix_identity_doubts_state"), "identity_doubts", ["state"])
    op.create_index(op.f("ix_identity_doubts_student_number"), "identity_doubts", ["student_number"])
    op.create_table(
        "imports",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("file_name", sa.Text, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
        sa.Column("superseded", sa.Boolean, nullable=False),
        sa.Column("confirmed_through", sa.BigInteger, nullable=False),
        sa.Column("summary", sa.Text),
        sa.Column("detail", sa.Text),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    op.create_index("ix_imports_files", "imports", ["id"], **_of("source <> 'api'"))
    op.create_index(
        "ix_imports_going_on", "imports", ["source", "id"], **_of("finished_at IS NULL AND NOT superseded")
    )
    op.create_index(op.f("ix_imports_source_id"), "imports", ["source", "id"])
    op.create_table(
        "kept_hashes",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("sealed_by", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_kept_hashes")),
        sa.UniqueConstraint("ref", name=op.f("uq_kept_hashes_ref")),
    )
    op.create_table(
        "known_teachings",
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("element", sa.String(64), nullable=False),
        sa.Column("group_code", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("year", "element", "group_code", name=op.f("pk_known_teachings")),
    )
    op.create_table(
        "ledger",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.Column("student_number", sa.String(32)),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("recorded_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_ledger")),
    )
    op.create_index("ix_ledger_student_number", "ledger", ["student_number"])
    op.create_table(
        "lost_records",
        sa.Column("consumer", sa.String(64), nullable=False),
        sa.Column("topic", sa.String(64), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("noticed_at", sa.Float, nullable=False),
        sa.Column("accepted_at", sa.Float),
        sa.PrimaryKeyConstraint("consumer", "topic", "partition", "offset", name=op.f("pk_lost_records")),
    )
    op.create_table(
        "mail_proofs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("student_number", sa.String(32)),
        sa.Column("pair", sa.String(64), nullable=False),
        sa.Column("asked_by", sa.String(64)),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("link_digest", sa.String(64), nullable=False),
        sa.Column("code_digest", sa.String(64), nullable=False),
        sa.Column("value", sa.LargeBinary),
        sa.Column("letter", sa.LargeBinary),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("proved_at", sa.Float),
        sa.Column("used_at", sa.Float),
        sa.Column("used_by", sa.String(64)),
        sa.Column("voided_at", sa.Float),
        sa.Column("send_at", sa.Float),
        sa.Column("sent_at", sa.Float),
        sa.Column("send_attempts", sa.Integer, nullable=False),
        sa.Column("refusal", sa.Text),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_proofs")),
    )
    op.create_index(op.f("ix_mail_proofs_asked_by"), "mail_proofs", ["asked_by"])
    op.create_index(op.f("ix_mail_proofs_expires_at"), "mail_proofs", ["expires_at"])
    op.create_index(op.f("ix_mail_proofs_send_at"), "mail_proofs", ["send_at"])
    op.create_index(op.f("ix_mail_proofs_student_number"), "mail_proofs", ["student_number"])
    op.create_table(
        "member_lists",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("student_number", "year", name=op.f("pk_member_lists")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("lane", sa.Integer, nullable=False),
        sa.Column("topic", sa.String(64), nullable=False),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_lane_id", "outbox", ["lane", "id"])
    op.create_table(
        "parked",
        sa.Column("consumer", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("bells", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Float),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_at", sa.Float, nullable=False),
        sa.Column("age_s", sa.Float, nullable=False),
        sa.Column("counted_at", sa.Float, nullable=False),
        sa.Column("cause", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("lane", sa.String(16), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("replay", sa.Boolean, nullable=False),
        sa.Column("attempts_version", sa.Integer, server_default="0", nullable=False),
        sa.Column("key_hash", sa.BigInteger, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("consumer", "student_number", name=op.f("pk_parked")),
    )
    op.create_index("ix_parked_consumer_lane_due_at", "parked", ["consumer", "lane", "due_at"])
    op.create_table(
        "pauses",
        sa.Column("consumer", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("consumer", name=op.f("pk_pauses")),
    )
    op.create_table(
        "pending_facts",
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("received_at", sa.Float, nullable=False),
        sa.Column("topic", sa.String(64), nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("waits_for", sa.String(16), server_default="enrolment", nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_pending_facts")),
    )
    op.create_index(op.f("ix_pending_facts_received_at"), "pending_facts", ["received_at"])
    op.create_index(op.f("ix_pending_facts_student_number"), "pending_facts", ["student_number"])
    op.create_table(
        "people",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("identity_sequence", sa.BigInteger, nullable=False),
        sa.Column("ine", sa.String(11)),
        sa.Column("personal_mail", sa.Text),
        sa.Column("language", sa.String(8)),
        sa.Column("preferred_given_name", sa.Text),
        sa.Column("mail_redirect", sa.Text),
        sa.Column("activated_at", sa.Float),
        sa.Column("credential_ref", sa.String(64)),
        sa.Column("credential_sequence", sa.Integer, nullable=False),
        sa.Column("holds", sa.Text, nullable=False),
        sa.Column("recent_facts", sa.Text, nullable=False),
        sa.Column("merged_into", sa.String(32)),
        sa.Column("warned_until", sa.Date),
        sa.Column("prolongations", sa.Text),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_people")),
    )
    op.create_index(op.f("ix_people_merged_into"), "people", ["merged_into"])
    op.create_table(
        "propagation",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("lane", sa.String(16), nullable=False),
        sa.Column("opened_at", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("paused_since", sa.Float),
        sa.Column("waited_s", sa.Float, nullable=False),
        sa.Column("completed_version", sa.Integer, nullable=False),
        sa.Column("completed_at", sa.Float),
        sa.Column("elapsed_s", sa.Float),
        sa.Column("late_at", sa.Float),
        sa.Column("breached_at", sa.Float),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_propagation")),
    )
    op.create_index("ix_propagation_completed", "propagation", ["state", "completed_at", "lane", "elapsed_s"])
    op.create_index("ix_propagation_newest", "propagation", ["student_number", "version", "state"])
    op.create_table(
        "quarantines",
        sa.Column("consumer", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("consumer", name=op.f("pk_quarantines")),
    )
    op.create_table(
        "reconciliations",
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("claimed_at", sa.Float, nullable=False),
        sa.Column("document", sa.Text),
        sa.Column("mark", sa.String(1000)),
        sa.Column("looked_at", sa.Float),
        sa.PrimaryKeyConstraint("target", name=op.f("pk_reconciliations")),
    )
    op.create_table(
        "remarks",
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("about", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32)),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_remarks")),
    )
    op.create_index(op.f("ix_remarks_student_number"), "remarks", ["student_number"])
    op.create_table(
        "replay_students",
        sa.Column("replay_id", sa.String(16), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("asked_at", sa.Float),
        sa.Column("outcome", sa.String(8)),
        sa.PrimaryKeyConstraint("replay_id", "position", name=op.f("pk_replay_students")),
    )
    op.create_index("ix_replay_students_student_number", "replay_students", ["student_number"])
    op.create_table(
        "replays",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("consumer", sa.String(64), nullable=False),
        sa.Column("lane", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason_ref", sa.String(64), nullable=False),
        sa.Column("begun_at", sa.Float, nullable=False),
        sa.Column("students", sa.Integer, nullable=False),
        sa.Column("per_s", sa.Integer),
        sa.Column("asking_by", sa.String(64)),
        sa.Column("asking_until", sa.Float),
        sa.Column("incident", sa.String(120)),
        sa.Column("stopped_at", sa.Float),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replays")),
    )
    op.create_index(op.f("ix_replays_begun_at"), "replays", ["begun_at"])
    op.create_table(
        "restore_questions",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("shown_by", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("raised_at", sa.Float, nullable=False),
        sa.Column("decided_at", sa.Float),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_restore_questions")),
    )
    op.create_index(op.f("ix_restore_questions_state"), "restore_questions", ["state"])
    op.create_table(
        "site_locks",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("until", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_site_locks")),
    )
    op.create_table(
        "store_form",
        sa.Column("oldest", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("oldest", name=op.f("pk_store_form")),
    )
    op.create_table(
        "store_life",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("beats", sa.BigInteger, nullable=False),
        sa.Column("shut_why", sa.Text),
        sa.Column("shut_at", sa.Float),
        sa.Column("checked_at", sa.Float),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store_life")),
    )
    op.create_table(
        "support_cases",
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("opened_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("desk", sa.String(64)),
        sa.Column("sent_at", sa.Float),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_support_cases")),
    )
    op.create_index(op.f("ix_support_cases_expires_at"), "support_cases", ["expires_at"])
    op.create_index(op.f("ix_support_cases_student_number"), "support_cases", ["student_number"])
    op.create_table(
        "target_states",
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("applied_version", sa.Integer, nullable=False),
        sa.Column("applied_at", sa.Float),
        sa.Column("digest", sa.String(80)),
        sa.Column("replayed_event_id", sa.String(64)),
        sa.Column("suspect", sa.Boolean, nullable=False),
        sa.Column("lease_owner", sa.String(64)),
        sa.Column("lease_epoch", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Float, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_version", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("pending", sa.Text),
        sa.Column("since", sa.Float),
        sa.PrimaryKeyConstraint("target", "student_number", name=op.f("pk_target_states")),
    )
    op.create_index(
        "ix_target_states_reason",
        "target_states",
        ["reason", "target", "student_number"],
        **_of("reason IS NOT NULL"),
    )
    op.create_table(
        "teaching_groups",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("element", sa.String(64), nullable=False),
        sa.Column("group_code", sa.String(64), nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("display_key", sa.String(255), nullable=False),
        sa.Column("external_id", sa.String(255)),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("changed_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teaching_groups")),
        sa.UniqueConstraint("year", "element", "group_code", name="uq_teaching_groups"),
    )
    op.create_index(op.f("ix_teaching_groups_display_key"), "teaching_groups", ["display_key"])
    op.create_index(op.f("ix_teaching_groups_external_id"), "teaching_groups", ["external_id"])
    op.create_table(
        "teaching_rows",
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("base", sa.BigInteger, nullable=False),
        sa.Column("import_id", sa.Integer, nullable=False),
        sa.Column("listed", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("source", "student_number", "year", name=op.f("pk_teaching_rows")),
    )
    op.create_table(
        "teachings",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("source_sequence", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("student_number", "year", "source", name=op.f("pk_teachings")),
    )
    op.create_table(
        "throttles",
        sa.Column("name", sa.String(96), nullable=False),
        sa.Column("until", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_throttles")),
    )
    op.create_index(op.f("ix_throttles_until"), "throttles", ["until"])
    op.create_table(
        "timers",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timers")),
        sa.UniqueConstraint("kind", "student_number", name=op.f("uq_timers_kind_student_number")),
    )
    op.create_index(op.f("ix_timers_due_at"), "timers", ["due_at"])
    op.create_table(
        "vault",
        sa.Column("sequence", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("ref", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("consumed_at", sa.Float),
        sa.Column("expires_at", sa.Float),
        sa.Column("shown_at", sa.Float),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_vault")),
        sa.UniqueConstraint("ref", name=op.f("uq_vault_ref")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_vault_student_number"), "vault", ["student_number"])
    op.create_table(
        "web_sessions",
        sa.Column("id_digest", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("means", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.PrimaryKeyConstraint("id_digest", name=op.f("pk_web_sessions")),
    )
    op.create_index(op.f("ix_web_sessions_expires_at"), "web_sessions", ["expires_at"])
    op.create_index(op.f("ix_web_sessions_student_number"), "web_sessions", ["student_number"])
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("receiver", sa.String(32), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("lane", sa.Integer, nullable=False),
        sa.Column("topic", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("type", sa.String(80), nullable=False),
        sa.Column("happened_at", sa.Float, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failed_at", sa.Float),
        sa.Column("due_at", sa.Float),
        sa.Column("replay_id", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhook_events_receiver_lane_id", "webhook_events", ["receiver", "lane", "id"])
    op.create_index(
        "ix_webhook_events_receiver_student_number_id", "webhook_events", ["receiver", "student_number", "id"]
    )
    op.create_index(
        "uq_webhook_events_receiver_event_id", "webhook_events", ["receiver", "event_id"], unique=True
    )
    op.create_table(
        "welcome_messages",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("message_id", sa.String(255), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger, nullable=False),
        sa.Column("uidnext", sa.BigInteger, nullable=False),
        sa.Column("intended_at", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.CheckConstraint(
            "state in ('intended', 'sent', 'undecided')", name=op.f("ck_welcome_messages_state")
        ),
        sa.PrimaryKeyConstraint("student_number", name=op.f("pk_welcome_messages")),
    )
    op.create_table(
        "propagation_targets",
        sa.Column("student_number", sa.String(32), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("lease_epoch", sa.Integer, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("pending", sa.Text),
        sa.Column("finished_at", sa.Float, nullable=False),
        sa.ForeignKeyConstraint(
            ["student_number"],
            ["propagation.student_number"],
            name=op.f("fk_propagation_targets_student_number"),
        ),
        sa.PrimaryKeyConstraint("student_number", "target", name=op.f("pk_propagation_targets")),
    )
    op.create_index(
        "ix_propagation_targets_reason",
        "propagation_targets",
        ["reason", "target", "student_number"],
        **_of("reason IS NOT NULL"),
    )
    op.create_index("ix_propagation_targets_state", "propagation_targets", ["target", "state"])
    # ### end Alembic commands ###
    op.bulk_insert(sa.table("store_form", sa.column("oldest")), [{"oldest": revision}])
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE if is_sqlite else _POSTGRESQL:
        op.execute(statement)
    if not is_sqlite:
        _index_names()


def _index_names() -> None:
    """Index names by trigrams, if the server lets the database's owner do so."""
    try:
        with op.get_bind().begin_nested():
            op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except DBAPIError:
        return
    op.execute("CREATE INDEX ix_people_identity ON people USING gin (identity gin_trgm_ops)")


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
