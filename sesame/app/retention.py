"""How long each table keeps its rows, and the removal of expired ones.

What grows with acts and with time is pruned; what grows with the number of students alone stays with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import Connection, CursorResult, Table, delete, func, or_, select
from sqlalchemy.sql.expression import ColumnElement

from consumers.registry.people import people
from consumers.webhooks import rows as webhooks
from pipeline import attempts
from pipeline.audit.trail import remarks
from pipeline.db import persons
from pipeline.db.persons import OnErasure
from pipeline.dead_letters import rows as dead_letters
from pipeline.lost_records import lost_records
from pipeline.replays import replay_students, replays
from pipeline.vault import vault
from producers.activation import throttles
from producers.registrar.feed_memory import feed_rows, teaching_rows
from producers.registrar.import_runs import imports
from sesame.login import api_answers, api_tokens, cas_sessions

ROWS_PER_PRUNE = 5_000
"""Rows of one table that one transaction removes: others wait for it."""

STUDENT, WORK, HISTORY, AUDIT, EXPIRY, EVER = (
    "one row, or a few, for each student",
    "until the work is done",
    "`store.history_days` after it is over",
    "`store.audit_days`",
    "until it expires",
    "for ever",
)

KEPT: Final[Mapping[str, tuple[str, str]]] = {
    "people": (STUDENT, "the last 32 facts' ids of each are remembered, to recognise a redelivery"),
    "enrolments": (STUDENT, "by year and step, cancelled ones too: a late fact must not win"),
    "ledger": (EVER, "no login and no address is given twice"),
    "closings": (EVER, "one row for each day on which time closed an account, and each kind"),
    "erasures": (EVER, "under a pseudonym; the receipt proves it"),
    "held_closings": (WORK, "until an operator has released them, or the student is enrolled again"),
    "fingerprints": (STUDENT, "by them one person with two numbers is recognised"),
    "identity_doubts": (EVER, "what was decided about two persons is not asked again"),
    "adoptions": (STUDENT, "which object of which target is whose"),
    "adoption_questions": (EVER, "what was decided about an object is not asked again"),
    "pending_facts": ("14 days", "then a dead letter"),
    "activation_requests": (STUDENT, "the last one"),
    "accounts": (STUDENT, "the newest version"),
    "teachings": (STUDENT, "the newest list of each year"),
    "known_teachings": (EVER, "one row for each year, unit and group"),
    "accepted_values": (EVER, "a text that looks damaged, and that an operator has said is right"),
    "restore_questions": (STUDENT, "whom a restored store would have opened, and what was answered"),
    "reconciliations": (EVER, "one row for each target: its last comparison"),
    "store_form": (EVER, "one row: the oldest form whose programs may work with the store"),
    "store_life": (EVER, "one row: by it a store that went back in time is recognised"),
    "outbox": (WORK, "a row goes once the log has acknowledged it"),
    "vault": (
        HISTORY,
        "a secret until it is consumed or its time is over; then its tombstone, and the newest one stays",
    ),
    "kept_hashes": (
        STUDENT,
        "where `vault.keep_last_hash` says so; until a new password or a sign of theft",
    ),
    "target_states": (STUDENT, "for each target"),
    "attempts": (HISTORY, "one row for each that ended with something new"),
    "parked": (WORK, "one row for each consumer and student"),
    "webhook_events": (WORK, "until the receiver has it; at most `store.history_days`"),
    "dead_letters": (HISTORY, "once resolved; until somebody resolves it, for ever"),
    "consumer_status": (WORK, "one row for each process that runs"),
    "quarantines": (WORK, "until it is lifted"),
    "pauses": (WORK, "until somebody lets the consumer go on"),
    "lost_records": (HISTORY, "once accepted"),
    "site_locks": (WORK, "seconds"),
    "replays": (HISTORY, "from when it was begun"),
    "replay_students": (HISTORY, "with their replay"),
    "imports": (HISTORY, "longer while a row of a feed refers to it; the newest stays"),
    "feed_rows": (STUDENT, "by year and step: what an import is compared with"),
    "teaching_groups": (EVER, "one row for each that programs keep, until one of them ends it"),
    "group_members": (STUDENT, "for each teaching group that a program keeps them in"),
    "member_lists": (STUDENT, "by year: the sequence of the list that was published last"),
    "accepted_requests": (WORK, "until what a program sent is applied, and told"),
    "external_ids": (STUDENT, "what the program that sent somebody calls them"),
    "teaching_rows": (STUDENT, "by year: what an import is compared with"),
    "welcome_messages": (STUDENT, "the welcome is sent once"),
    "propagation": (STUDENT, "the newest version"),
    "propagation_targets": (STUDENT, "for each target"),
    "timers": (WORK, "until it is due"),
    "api_answers": (EXPIRY, "a day; sealed with what only the program has"),
    "api_tokens": (EXPIRY, "those that were revoked, too"),
    "cas_logins": (STUDENT, "the first login and the last one"),
    "cas_sessions": (EXPIRY, "or until the student logs out"),
    "web_sessions": (EXPIRY, ""),
    "mail_proofs": (EXPIRY, "codes and links of the students' pages"),
    "throttles": (EXPIRY, "how often somebody tried"),
    "charter_acceptances": (STUDENT, "for each text of the charter"),
    "support_cases": (EXPIRY, "14 days"),
    "audit": (AUDIT, "then appended to `audit-YEAR.jsonl` in the folder `audit` of `data_dir`, and removed"),
    "audit_persons": (AUDIT, "whom an entry names; removed with it"),
    "audit_marks": (EVER, "a few rows: the newest entry, and the last one that was removed"),
    "remarks": (AUDIT, "the reasons of a hold that is in force are kept longer"),
}
"""Every table: how long its rows are kept, and what should be known of that."""


def prune(
    connection: Connection, *, now: float, history_before: float, audit_before: float
) -> dict[str, int]:
    """Remove expired rows, some of each table; return how many, by table.

    The students' pages remove their own codes and sessions.

    Args:
        connection: of a transaction that writes.
        now: database time, seconds since the epoch, UTC.
        history_before: history that ended before this moment (seconds since the epoch, UTC) has expired.
        audit_before: likewise for remarks. The audit itself is archived: see `audit`.
    """
    removals: dict[str, Callable[[], int]] = {
        "webhook_events": lambda: webhooks.forget_old(
            connection, before=history_before, limit=ROWS_PER_PRUNE
        ),
        "attempts": lambda: attempts.forget_old(connection, before=history_before, limit=ROWS_PER_PRUNE),
        "dead_letters": lambda: dead_letters.prune(connection, resolved_before=history_before),
        "replays": lambda: _replays(connection, history_before),
        "imports": lambda: _imports(connection, history_before),
        "vault": lambda: _tombstones(connection, history_before),
        "lost_records": lambda: _count(
            connection.execute(delete(lost_records).where(lost_records.c.accepted_at < history_before))
        ),
        "remarks": lambda: _remarks(connection, audit_before),
        "throttles": lambda: throttles.forget(connection, now),
        "api_answers": lambda: api_answers.forget_over(connection, now=now),
        "api_tokens": lambda: api_tokens.forget_over(connection, now=now),
        "cas_sessions": lambda: cas_sessions.forget_over(connection, now=now),
    }
    done = {table: remove() for table, remove in removals.items()}
    return {table: count for table, count in done.items() if count}


def _replays(connection: Connection, before: float) -> int:
    """The oldest one: it may have as many students as there are."""
    old = select(replays.c.id).where(replays.c.begun_at < before).order_by(replays.c.begun_at).limit(1)
    replay_id = connection.execute(old).scalar_one_or_none()
    if replay_id is None:
        return 0
    connection.execute(delete(replay_students).where(replay_students.c.replay_id == replay_id))
    return _count(connection.execute(delete(replays).where(replays.c.id == replay_id)))


def _imports(connection: Connection, before: float) -> int:
    """Remove old imports that no row of a feed refers to.

    The newest stays, since ids continue from it.
    """
    newest = connection.execute(select(func.max(imports.c.id))).scalar_one()
    referred = select(feed_rows.c.import_id).union(select(teaching_rows.c.import_id))
    over = imports.c.started_at < before, imports.c.id < (newest or 0), imports.c.id.not_in(referred)
    return _count(connection.execute(delete(imports).where(*over)))


def _tombstones(connection: Connection, before: float) -> int:
    """Remove old tombstones followed by a newer secret of that student and purpose.

    The newer one keeps the order.
    """
    newer = vault.alias()
    followed = select(newer.c.sequence).where(
        newer.c.student_number == vault.c.student_number,
        newer.c.purpose == vault.c.purpose,
        newer.c.sequence > vault.c.sequence,
    )
    over: list[ColumnElement[bool]] = [vault.c.sealed.is_(None), vault.c.consumed_at < before]
    old = select(vault.c.sequence).where(*over, followed.exists()).limit(ROWS_PER_PRUNE)
    return _count(connection.execute(delete(vault).where(vault.c.sequence.in_(old))))


def _remarks(connection: Connection, before: float) -> int:
    held = select(people.c.student_number).where(people.c.holds != "[]")
    mine = or_(remarks.c.student_number.is_(None), remarks.c.student_number.not_in(held))
    old = select(remarks.c.ref).where(remarks.c.at < before, mine).limit(ROWS_PER_PRUNE)
    return _count(connection.execute(delete(remarks).where(remarks.c.ref.in_(old))))


def _count(result: CursorResult[object]) -> int:
    return result.rowcount


_HEAD = """\
# What is kept, why, for how long, and how it is erased

<!-- Generated by `python -m sesame.pages` from `sesame/app/retention.py` and the tables' declarations. -->

For the record of processing activities (GDPR, art. 30). **Purpose**: university accounts for students, from
the registrar's enrolments to the services. **Persons**: students; operators, by their user names; the staff,
by the logins and addresses that nobody else may be given. **Data**: who somebody is (names, birth date, INE,
personal address), enrolments and teachings, logins and addresses, what they asked for on their pages, what
operators did and said, how far each service is. Passwords are hashed, sealed, and gone once the services have
them; the last hash stays, sealed, where `vault.keep_last_hash` says so. **Recipients**: the
[services](connectors.md), each with what it writes there; nobody else.

What grows with acts and with time is removed by policy, once a day, by the process that runs the registry,
a bounded number of rows a transaction. What grows with the number of students stays with them, until the
person is [erased](../how-to/erase-a-person.md). The days are [settings](settings.md#store).

| Table | Kept | | When a person is erased |
|---|---|---|---|
"""

_ON_ERASURE: Final = {
    OnErasure.REMOVED: "removed",
    OnErasure.PSEUDONYM: "the pseudonym in the number's place",
    OnErasure.OWN: "keyed digests, and the pseudonym",
    OnErasure.NOTHING: "nobody's",
}

_TAIL = """
The audit is archived, never just removed: `audit-2026.jsonl`, a JSON object a line, has what was done in
2026 and is older than `store.audit_days`. Reasons in operators' own words may be personal, and are not in it.
Its lines go on with the chain of hashes that `sesame audit verify` walks in the store (ADR 16).
Files are appended to and never read by Sésame: move them where you keep such records, and remove them as your
rules say. After a crash an entry may be there twice, with one id.

The embedded log has a retention of its own, Kafka's topics have theirs: [settings](settings.md#log).
"""


def _erased(table: Table) -> str:
    said = persons.declared(table)
    named = ", ".join(f"`{name}`" for name in said.named_in)
    return _ON_ERASURE[said.on_erasure] + (f"; looked through: {named}" if named else "")


def retention_page() -> str:
    """The page, in Markdown."""
    from sesame.app.tables import metadata

    rows = [
        f"| `{table}` | {kept} | {words} | {_erased(metadata.tables[table])} |"
        for table, (kept, words) in sorted(KEPT.items())
    ]
    return _HEAD + "\n".join(rows) + "\n" + _TAIL
