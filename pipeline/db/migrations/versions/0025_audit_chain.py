"""The audit is chained (ADR 38): each entry has the hash of the one before, persons are named by digests, and
entries are only ever appended. What is there is chained as it is found."""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_STEP = 1_000
_ONE, _SEVERAL = {"student_number", "other"}, {"student_numbers", "students"}
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


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "audit_persons",
        sa.Column("entry_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("student_number", sa.String(64), nullable=False),
        sa.Column("salt", sa.String(32), nullable=True),
        sa.PrimaryKeyConstraint("entry_id", "digest", name=op.f("pk_audit_persons")),
    )
    op.create_index("ix_audit_persons_student_number", "audit_persons", ["student_number", "entry_id"])
    op.create_table(
        "audit_marks",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_marks")),
    )
    with op.batch_alter_table("audit", table_kwargs={"sqlite_autoincrement": True}) as batch_op:
        batch_op.add_column(sa.Column("previous", sa.String(64), nullable=True))
        batch_op.add_column(sa.Column("hash", sa.String(64), nullable=True))
    _chain(op.get_bind())
    with op.batch_alter_table("audit", table_kwargs={"sqlite_autoincrement": True}) as batch_op:
        batch_op.alter_column("previous", existing_type=sa.String(64), nullable=False)
        batch_op.alter_column("hash", existing_type=sa.String(64), nullable=False)
        batch_op.create_unique_constraint(batch_op.f("uq_audit_previous"), ["previous"])
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def _chain(connection: sa.Connection) -> None:
    """Chain what is there, in the order of ids. The form is that of `pipeline.audit.chain`, frozen."""
    audit = sa.table("audit", *map(sa.column, ("id", "at", "actor", "action", "detail", "previous", "hash")))
    named = sa.table("audit_persons", *map(sa.column, ("entry_id", "digest", "student_number", "salt")))
    marks = sa.table("audit_marks", *map(sa.column, ("name", "entry_id", "hash", "at")))
    last: dict[str, Any] = {"id": -1, "hash": "0" * 64}
    change = sa.update(audit).where(audit.c.id == sa.bindparam("own_id"))
    change = change.values({name: sa.bindparam(f"new_{name}") for name in ("detail", "previous", "hash")})
    while rows := connection.execute(
        sa.select(audit).where(audit.c.id > last["id"]).order_by(audit.c.id).limit(_STEP)
    ).all():
        changes, persons = [], []
        for row in rows:
            detail, those = _without_persons(row.detail)
            persons += [{"entry_id": row.id, **each} for each in those]
            at = datetime.fromtimestamp(row.at, UTC).isoformat(timespec="microseconds")
            document = {"id": row.id, "at": at, "actor": row.actor, "action": row.action}
            document |= {"detail": detail, "previous": last["hash"]}
            text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            own = hashlib.sha256(text.encode()).hexdigest()
            kept = json.dumps(detail, ensure_ascii=False, sort_keys=True)
            changes.append(
                {"own_id": row.id, "new_detail": kept, "new_previous": last["hash"], "new_hash": own}
            )
            last = {"id": row.id, "hash": own, "at": row.at}
        connection.execute(change, changes)
        if persons:
            connection.execute(sa.insert(named), persons)
    if "at" in last:
        head = {"name": "head", "entry_id": last["id"], "hash": last["hash"], "at": last["at"]}
        connection.execute(sa.insert(marks), head)


def _without_persons(text: str) -> tuple[object, list[dict[str, str]]]:
    try:
        detail = json.loads(text)
    except ValueError:
        return text, []
    persons: list[dict[str, str]] = []

    def name(number: str) -> str:
        salt = secrets.token_hex(16)
        digest = hashlib.sha256((salt + number).encode()).hexdigest()
        persons.append({"digest": digest, "student_number": number, "salt": salt})
        return f"person:{digest}"

    for field, value in detail.items() if isinstance(detail, dict) else ():
        if field in _ONE and isinstance(value, str):
            detail[field] = name(value)
        elif field in _SEVERAL and isinstance(value, list):
            detail[field] = [name(str(each)) for each in value]
    return detail, persons


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
