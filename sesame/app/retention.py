"""Retention of each table's rows, and the removal of expired ones.

What grows with acts and with time is pruned; what grows with the number of students alone stays with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, Table, delete, func, or_, select
from sqlalchemy.sql.expression import ColumnElement

from consumers.propagation import times
from consumers.registry.people import people
from consumers.webhooks import rows as webhooks
from pipeline import attempts, throughput
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
from sesame.operations.work.forecast import promises

ROWS_PER_PRUNE = 5_000
"""Rows of one table that one transaction removes: others wait for it."""

YEAR_DAYS: Final = 400
"""A forecast of this year's busiest days is made from last year's."""

STUDENT, WORK, HISTORY, AUDIT, EXPIRY, EVER, YEAR = (
    "with the student",
    "until the work is done",
    "`store.history_days` after its end",
    "`store.audit_days`",
    "until it expires",
    "permanently",
    f"{YEAR_DAYS} days",
)

KEPT: Final[Mapping[str, tuple[str, str]]] = {
    "people": (STUDENT, "with the ids of the last 32 facts, to recognise a redelivery"),
    "enrolments": (STUDENT, "by year and step, cancelled ones too"),
    "ledger": (EVER, "no name is given twice"),
    "closings": (EVER, "one row per day and kind"),
    "erasures": (EVER, "under a pseudonym; the receipt proves it"),
    "held_closings": (WORK, "until released, or enrolled again"),
    "fingerprints": (STUDENT, "to recognise one person with two numbers"),
    "identity_doubts": (EVER, "decisions about two numbers"),
    "adoptions": (STUDENT, "the owners of objects"),
    "adoption_questions": (EVER, "decisions about objects"),
    "pending_facts": ("14 days", "then a dead letter"),
    "activation_requests": (STUDENT, "the last one"),
    "accounts": (STUDENT, "the newest version"),
    "teachings": (STUDENT, "the newest list of each year"),
    "known_teachings": (EVER, "one row per year, unit and group"),
    "accepted_values": (EVER, "texts that look damaged and are right"),
    "restore_questions": (STUDENT, "students shut after a restore, and the answers"),
    "feed_polls": (EVER, "one row per live feed: how far it was read"),
    "reconciliations": (EVER, "one row per target: its last comparison"),
    "store_form": (EVER, "one row: the oldest admitted form"),
    "store_life": (EVER, "one row, to recognise a store that went back in time"),
    "outbox": (WORK, "until the log has acknowledged it"),
    "vault": (HISTORY, "a secret until consumed or expired; then its tombstone; the newest stays"),
    "kept_hashes": (STUDENT, "with `vault.keep_last_hash`; until a new password or a sign of theft"),
    "target_states": (STUDENT, "for each target"),
    "attempts": (HISTORY, "those with a new result"),
    "parked": (WORK, "one row per consumer and student"),
    "webhook_events": (WORK, "until the receiver has it; at most `store.history_days`"),
    "dead_letters": (HISTORY, "once resolved; unresolved ones permanently"),
    "throughput": (YEAR, "how fast each target was while many were under way"),
    "forecasts": (YEAR, "and what happened"),
    "canary_steps": (EVER, "the newest run"),
    "consumer_status": (WORK, "one row per process"),
    "quarantines": (WORK, "until it is lifted"),
    "pauses": (WORK, "until resumed"),
    "lost_records": (HISTORY, "once accepted"),
    "site_locks": (WORK, "seconds"),
    "replays": (HISTORY, "from when it was begun"),
    "replay_students": (HISTORY, "with their replay"),
    "imports": (HISTORY, "longer while a feed's row refers to it; the newest stays"),
    "feed_rows": (STUDENT, "by year and step, to compare imports"),
    "teaching_groups": (EVER, "until a program ends the group"),
    "group_members": (STUDENT, "by teaching group"),
    "member_lists": (STUDENT, "by year: the last list's sequence"),
    "accepted_requests": (WORK, "until applied and answered"),
    "external_ids": (STUDENT, "the sending program's identifiers"),
    "teaching_rows": (STUDENT, "by year, to compare imports"),
    "welcome_messages": (STUDENT, "the welcome is sent once"),
    "propagation": (STUDENT, "the newest version"),
    "propagation_times": (YEAR, "counts of completions, by month"),
    "propagation_targets": (STUDENT, "for each target"),
    "timers": (WORK, "until it is due"),
    "api_answers": (EXPIRY, "a day; sealed with what only the program has"),
    "api_tokens": (EXPIRY, "those that were revoked, too"),
    "cas_logins": (STUDENT, "the first login and the last one"),
    "cas_sessions": (EXPIRY, "or until the student logs out"),
    "web_sessions": (EXPIRY, ""),
    "mail_proofs": (EXPIRY, "codes and links of the students' pages"),
    "throttles": (EXPIRY, "counted attempts"),
    "charter_acceptances": (STUDENT, "by the charter's text"),
    "support_cases": (EXPIRY, "14 days"),
    "audit": (AUDIT, "then moved to `audit-YEAR.jsonl` in `audit` of `data_dir`"),
    "audit_persons": (AUDIT, "with their entry"),
    "audit_marks": (EVER, "the newest entry, and the last removed one"),
    "remarks": (AUDIT, "longer for a hold in force"),
}
"""The retention of every table's rows, and a remark."""


def prune(
    connection: Connection, *, now: float, history_before: float, audit_before: float
) -> dict[str, int]:
    """Remove expired rows, some of each table; return how many, by table.

    History that ended before `history_before` has expired, and remarks before `audit_before` (epoch seconds,
    UTC). The audit itself is archived: see `audit`. The students' pages remove their own codes and sessions.
    """
    lost = delete(lost_records).where(lost_records.c.accepted_at < history_before)
    done = {
        "webhook_events": webhooks.forget_old(connection, before=history_before, limit=ROWS_PER_PRUNE),
        "attempts": attempts.forget_old(connection, before=history_before, limit=ROWS_PER_PRUNE),
        "dead_letters": dead_letters.prune(connection, resolved_before=history_before),
        "replays": _replays(connection, history_before),
        "imports": _imports(connection, history_before),
        "vault": _tombstones(connection, history_before),
        "lost_records": connection.execute(lost).rowcount,
        "remarks": _remarks(connection, audit_before),
        "throughput": throughput.prune(connection, now - YEAR_DAYS * 86_400.0),
        "forecasts": promises.prune(connection, now - YEAR_DAYS * 86_400.0),
        "propagation_times": times.prune(connection, now - YEAR_DAYS * 86_400.0),
        "throttles": throttles.forget(connection, now),
        "api_answers": api_answers.forget_over(connection, now=now),
        "api_tokens": api_tokens.forget_over(connection, now=now),
        "cas_sessions": cas_sessions.forget_over(connection, now=now),
    }
    return {table: count for table, count in done.items() if count}


def _replays(connection: Connection, before: float) -> int:
    """Remove the oldest one only: it may have as many students as there are."""
    old = select(replays.c.id).where(replays.c.begun_at < before).order_by(replays.c.begun_at).limit(1)
    replay_id = connection.execute(old).scalar_one_or_none()
    if replay_id is None:
        return 0
    connection.execute(delete(replay_students).where(replay_students.c.replay_id == replay_id))
    return connection.execute(delete(replays).where(replays.c.id == replay_id)).rowcount


def _imports(connection: Connection, before: float) -> int:
    """Remove old imports that no row of a feed refers to. The newest stays: ids continue from it."""
    newest = connection.execute(select(func.max(imports.c.id))).scalar_one()
    referred = select(feed_rows.c.import_id).union(select(teaching_rows.c.import_id))
    over = imports.c.started_at < before, imports.c.id < (newest or 0), imports.c.id.not_in(referred)
    return connection.execute(delete(imports).where(*over)).rowcount


def _tombstones(connection: Connection, before: float) -> int:
    """Remove old tombstones: a newer secret of that student and purpose keeps the order."""
    newer = vault.alias()
    followed = select(newer.c.sequence).where(
        newer.c.student_number == vault.c.student_number,
        newer.c.purpose == vault.c.purpose,
        newer.c.sequence > vault.c.sequence,
    )
    over: list[ColumnElement[bool]] = [vault.c.sealed.is_(None), vault.c.consumed_at < before]
    old = select(vault.c.sequence).where(*over, followed.exists()).limit(ROWS_PER_PRUNE)
    return connection.execute(delete(vault).where(vault.c.sequence.in_(old))).rowcount


def _remarks(connection: Connection, before: float) -> int:
    held = select(people.c.student_number).where(people.c.holds != "[]")
    mine = or_(remarks.c.student_number.is_(None), remarks.c.student_number.not_in(held))
    old = select(remarks.c.ref).where(remarks.c.at < before, mine).limit(ROWS_PER_PRUNE)
    return connection.execute(delete(remarks).where(remarks.c.ref.in_(old))).rowcount


_HEAD = """\
# What is kept, why, for how long, and how it is erased

<!-- Generated by `python -m sesame.pages` from `sesame/app/retention.py` and the tables' declarations. -->

For the record of processing activities (GDPR, art. 30). **Purpose**: university accounts for students, from
the registrar's enrolments to the services. **Persons**: students; operators, by their user names; the
staff, by their logins and addresses. **Data**: identity (names, birth date, INE, personal address, mobile),
enrolments and teachings, logins and addresses, requests on the students' pages, operators' acts and
reasons, the state of each service. Passwords are hashed, sealed, and removed once the services have them;
the last hash stays, sealed, with `vault.keep_last_hash`. **Recipients**: the [services](connectors.md)
only.

The process that runs the registry removes expired rows once a day. *With the student* means: until the
person is [erased](../how-to/erase-a-person.md). The days are [settings](settings.md#store).

| Table | Kept | | When a person is erased |
|---|---|---|---|
"""

_ON_ERASURE: Final = {
    OnErasure.REMOVED: "removed",
    OnErasure.PSEUDONYM: "pseudonym",
    OnErasure.OWN: "digests, pseudonym",
    OnErasure.NOTHING: "–",
}

_TAIL = """
The audit is archived: `audit-2026.jsonl`, a JSON object a line, has the entries of 2026 that are older than
`store.audit_days`, without operators' reasons, and continues the chain of hashes (ADR 16). Sésame appends
to these files and never reads them: move and remove them by your rules. After a crash an entry may be there
twice, with one id.

A file sent in the console is kept for 15 minutes, sealed, in `kept-files` of `data_dir`, in no backup. It is
deleted once imported, refused or set aside, and at each start.

For the retention of the log see [settings](settings.md#log).
"""


def _erased(table: Table) -> str:
    said = persons.declared(table)
    columns = (*said.named_in, *(name for name, _ in said.numbered_in))
    named = ", ".join(f"`{name}`" for name in columns)
    return _ON_ERASURE[said.on_erasure] + (f"; searched: {named}" if named else "")


def retention_page() -> str:
    """The page, in Markdown."""
    from sesame.app.tables import metadata

    rows = [
        f"| `{table}` | {kept} | {words} | {_erased(metadata.tables[table])} |"
        for table, (kept, words) in sorted(KEPT.items())
    ]
    return _HEAD + "\n".join(rows) + "\n" + _TAIL
