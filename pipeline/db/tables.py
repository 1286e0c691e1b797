"""The database's tables. One MetaData for SQLite and PostgreSQL; migrations are made from it.

Times are seconds since the epoch, UTC, as floats, so that both databases compare them alike. Documents are
JSON text. Nothing here holds a secret in the clear: passwords' hashes are sealed by the vault's key.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


_WITH_REASON = "reason IS NOT NULL"


def partial_index(name: str, rows: str, *columns: str) -> Index:
    """An index of some rows only, which costs nothing for the others. A query that says the same finds it."""
    return Index(name, *columns, sqlite_where=text(rows), postgresql_where=text(rows))


# --- the registry's own: what is known of a person, and the desired state made of it --------------

people = Table(
    "people",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("identity", Text, nullable=False),  # names and birth date as last given by the registrar (JSON)
    Column("identity_sequence", BigInteger, nullable=False),  # source sequence of the fact that gave them
    Column("ine", String(11)),
    Column("personal_mail", Text),
    Column("language", String(8)),
    Column("preferred_given_name", Text),  # settled by the student; wins over the registrar's
    Column("mail_redirect", Text),
    Column("activated_at", Float),
    Column("credential_ref", String(64)),
    Column("credential_sequence", Integer, nullable=False, default=0),
    Column("holds", Text, nullable=False, default="[]"),  # JSON list
    Column("recent_facts", Text, nullable=False, default="[]"),  # ids of the last facts applied (JSON list)
    Column("merged_into", String(32), index=True),  # the number that this person goes on under
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("step", String(64), primary_key=True),
    Column("step_version", String(64), primary_key=True),
    Column("source_sequence", BigInteger, nullable=False),  # the highest wins, cancellations included
    Column("cancelled", Boolean, nullable=False),
    Column("document", Text),  # schemas.account.Enrolment as JSON; None: cancelled before it was recorded
)

ledger = Table(
    "ledger",
    metadata,
    Column("kind", String(16), primary_key=True),  # login | mail | principal
    Column("value", String(255), primary_key=True),  # compared in lower case; never deleted
    Column("student_number", String(32)),  # None: held by somebody who is not a student
    Column("origin", String(32), nullable=False),  # minted | directory | reserved …
    Column("recorded_at", Float, nullable=False),
    Index("ix_ledger_student_number", "student_number"),
)

fingerprints = Table(
    "fingerprints",
    metadata,
    Column("kind", String(16), primary_key=True),  # names_and_birth_date | ine
    Column("value", String(80), primary_key=True),
    Column("student_number", String(32), nullable=False, index=True),
)

identity_doubts = Table(
    "identity_doubts",
    metadata,
    Column("id", String(64), primary_key=True),  # a digest of what is compared: one doubt, one row
    Column("student_number", String(32), nullable=False, index=True),  # whose fact raised it
    Column("other_number", String(32), index=True),  # None: whether the number still has its holder
    Column("evidence", String(64), nullable=False),  # what agrees, or does not: birth, ine, holder
    Column("claimed", Text),  # holder: who the number is said to be now (JSON); None once decided
    Column("state", String(16), nullable=False, index=True),  # open | separate | merged | withdrawn
    Column("raised_at", Float, nullable=False),
    Column("decided_at", Float),  # when the operator decided: the newest decision holds
)

adoptions = Table(
    "adoptions",
    metadata,
    Column("target", String(64), primary_key=True),
    Column("student_number", String(32), primary_key=True),
    Column("object", String(512), nullable=False),  # in the target's own words: DN, user id, address
    Column("evidence", String(32), nullable=False),  # student_number | ine | login | mail | operator
    Column("adopted_at", Float, nullable=False),
)

adoption_questions = Table(
    "adoption_questions",
    metadata,
    Column("id", String(64), primary_key=True),  # a digest of what is asked: one question, one row
    Column("target", String(64), nullable=False),
    Column("object", String(512), nullable=False),
    Column("student_number", String(32), index=True),  # None: whose it is, nobody can say
    Column("kind", String(32), nullable=False),
    Column("state", String(16), nullable=False, index=True),  # open | linked | separate | gone
    Column("raised_at", Float, nullable=False),
    Column("decided_at", Float),
    Index("ix_adoption_questions_target_object", "target", "object"),
)

pending_facts = Table(
    "pending_facts",
    metadata,
    Column("event_id", String(64), primary_key=True),
    Column("student_number", String(32), nullable=False, index=True),
    Column("received_at", Float, nullable=False, index=True),
    Column("topic", String(64), nullable=False),
    Column("headers", Text, nullable=False),  # JSON list of [name, text]
    Column("value", LargeBinary, nullable=False),
    Column("waits_for", String(16), nullable=False, server_default="enrolment"),  # or: decision
)

activation_requests = Table(
    "activation_requests",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("event_id", String(64), nullable=False),
    Column("credential_ref", String(64)),
    Column("intended_at", Float, nullable=False),  # written down, then appended to the log
    Column("confirmed_at", Float),  # acknowledged by the log; None: nobody knows, it is published again
)

accounts = Table(
    "accounts",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("stage", String(16), nullable=False, index=True),
    Column("login", String(255), nullable=False, unique=True),
    Column("activated_at", Float),
    Column("changed_at", Float, nullable=False),
    Column("document", Text, nullable=False),  # schemas.account.Account as JSON
    Index("ix_accounts_activated", "student_number", "version", "activated_at"),
)

# --- what waits to be said, and secrets on their way ----------------------------------------------

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("lane", Integer, nullable=False),  # 0 personal, 1 bulk: personal rows are sent first
    Column("topic", String(64), nullable=False),
    Column("key", String(32), nullable=False),
    Column("headers", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Index("ix_outbox_lane_id", "lane", "id"),
    sqlite_autoincrement=True,
)

vault = Table(
    "vault",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("ref", String(64), nullable=False, unique=True),
    Column("student_number", String(32), nullable=False, index=True),
    Column("purpose", String(32), nullable=False),
    Column("sealed", LargeBinary),  # None: consumed, only the tombstone is left
    Column("created_at", Float, nullable=False),
    Column("consumed_at", Float),
    sqlite_autoincrement=True,
)

# --- the engine's memory --------------------------------------------------------------------------

target_states = Table(
    "target_states",
    metadata,
    Column("target", String(64), primary_key=True),
    Column("student_number", String(32), primary_key=True),
    Column("applied_version", Integer, nullable=False, default=0),
    Column("applied_at", Float),
    Column("digest", String(80)),
    Column(
        "replayed_event_id", String(64)
    ),  # the last replay that was carried out: its redelivery is a no-op
    Column(
        "suspect", Boolean, nullable=False, default=False
    ),  # an outcome is unknown: compare before writing
    Column("lease_owner", String(64)),  # a process life; None: free
    Column("lease_epoch", Integer, nullable=False, default=0),
    Column("lease_until", Float, nullable=False, default=0.0),  # database time
    Column("sequence", Integer, nullable=False, default=0),  # of the last outcome under the lease's epoch
    Column("state", String(16), nullable=False, default="new"),  # provisioned | waiting | retrying | failed
    Column("state_version", Integer, nullable=False, default=0),
    Column("reason", String(64)),
    Column("pending", Text),  # JSON list of names
    Column("since", Float),
    partial_index("ix_target_states_reason", _WITH_REASON, "reason", "target", "student_number"),
)

parked = Table(
    "parked",
    metadata,
    Column("consumer", String(64), primary_key=True),
    Column("student_number", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),  # retry | waiting | leased | resync
    Column("version", Integer, nullable=False),  # the highest version that rang
    Column("bells", Integer, nullable=False, default=1),  # raised by each bell; see pipeline.parking
    Column("due_at", Float),  # None: only an event wakes it
    Column("attempts", Integer, nullable=False, default=0),
    Column("first_at", Float, nullable=False),
    Column("age_s", Float, nullable=False, default=0.0),  # counted only while the target was up
    Column("counted_at", Float, nullable=False),  # up to when `age_s` was counted
    Column("cause", String(64), nullable=False),
    Column("message", Text, nullable=False, default=""),
    Column("lane", String(16), nullable=False),
    Column("event_id", String(64), nullable=False),  # of the bell that rang last
    Column("replay", Boolean, nullable=False, default=False),
    Column("attempts_version", Integer, nullable=False, server_default="0"),  # whose attempts are counted
    Column("key_hash", BigInteger, nullable=False, server_default="0"),  # owners fetch due rows by it
    Index("ix_parked_consumer_lane_due_at", "consumer", "lane", "due_at"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("consumer", String(64), nullable=False),
    Column("student_number", String(32)),
    Column("version", Integer),
    Column("cause", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("topic", String(64)),
    Column("partition", Integer),
    Column("offset", BigInteger),
    Column("timestamp_ms", BigInteger),  # when the record was appended
    Column("event_id", String(64)),
    Column("recorded_at", Float, nullable=False),
    Column("resolved_at", Float),
    Column("resolution", String(32)),
    Index("ix_dead_letters_consumer_student_number", "consumer", "student_number"),
    Index("ix_dead_letters_resolved_at", "resolved_at"),
    partial_index("ix_dead_letters_unresolved", "resolved_at IS NULL", "recorded_at", "id"),
    partial_index("ix_dead_letters_cause", "resolved_at IS NULL", "consumer", "cause"),
)

consumer_status = Table(
    "consumer_status",
    metadata,
    Column("consumer", String(64), primary_key=True),
    Column("process", String(64), primary_key=True),
    Column("state", String(16), nullable=False),  # running | down | throttled | misconfigured | stopped
    Column("reason", Text, nullable=False, default=""),
    Column("since", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("lag_personal", Integer, nullable=False, server_default="0"),  # records that are not settled
    Column("lag_bulk", Integer, nullable=False, server_default="0"),
)

site_locks = Table(
    "site_locks",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("until", Float, nullable=False),
)

welcome_messages = Table(
    "welcome_messages",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("message_id", String(255), nullable=False),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uidnext", BigInteger, nullable=False),
    Column("intended_at", Float, nullable=False),
    Column("state", String(16), nullable=False),  # intended | sent | undecided
    CheckConstraint("state in ('intended', 'sent', 'undecided')", name="state"),
)

# --- propagation ----------------------------------------------------------------------------------

propagation = Table(
    "propagation",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("lane", String(16), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("state", String(16), nullable=False),  # in_progress | waiting | completed | failed
    Column("paused_since", Float),  # the window is paused while a business precondition is missing
    Column("waited_s", Float, nullable=False, default=0.0),
    Column("completed_version", Integer, nullable=False, default=0),
    Column("completed_at", Float),
    Column("elapsed_s", Float),
    Column("late_at", Float),
    Column("breached_at", Float),
    Index("ix_propagation_newest", "student_number", "version", "state"),
    Index("ix_propagation_completed", "state", "completed_at", "lane", "elapsed_s"),
)

propagation_targets = Table(
    "propagation_targets",
    metadata,
    Column("student_number", String(32), ForeignKey("propagation.student_number"), primary_key=True),
    Column("target", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("lease_epoch", Integer, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # provisioned | waiting | failed
    Column("reason", String(64)),
    Column("pending", Text),
    Column("finished_at", Float, nullable=False),
    Index("ix_propagation_targets_state", "target", "state"),
    partial_index(
        "ix_propagation_targets_reason", "reason IS NOT NULL", "reason", "target", "student_number"
    ),
)

timers = Table(
    "timers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("student_number", String(32), nullable=False),
    Column("due_at", Float, nullable=False, index=True),
    UniqueConstraint("kind", "student_number"),
)

# --- logging in -----------------------------------------------------------------------------------

cas_logins = Table(
    "cas_logins",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("seen_at", Float),  # the first login by CAS that was seen to work; None: none yet
    Column("last_at", Float),
    Column("failed_at", Float),  # the last one that came back and was of no use
    Column("failure", String(32)),
)

cas_sessions = Table(
    "cas_sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # SHA-256: the browser alone has the token
    Column("ticket_hash", String(64), nullable=False, unique=True),  # what a single logout names
    Column("service", String(255), nullable=False),
    Column("login", String(255), nullable=False),
    Column("student_number", String(32)),  # None: not a student's
    Column("opened_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("ended_at", Float),
)

support_cases = Table(
    "support_cases",
    metadata,
    Column("code", String(16), primary_key=True),  # what is read out on the telephone; says nothing of whom
    Column("student_number", String(32), nullable=False, index=True),
    Column("opened_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("bundle", Text, nullable=False),  # what was found then (JSON)
    Column("desk", String(64)),  # whom it was sent to; None: nobody yet
    Column("sent_at", Float),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("detail", Text, nullable=False),  # JSON, without personal data
    sqlite_autoincrement=True,
)

remarks = Table(
    "remarks",
    metadata,
    Column("ref", String(64), primary_key=True),
    Column("action", String(64), nullable=False),
    Column("about", String(64), nullable=False),
    Column("student_number", String(32), index=True),  # None: said of many at once
    Column("actor", String(64), nullable=False),
    Column("at", Float, nullable=False),
    Column("words", Text, nullable=False),  # an operator's own: they may be personal
)
