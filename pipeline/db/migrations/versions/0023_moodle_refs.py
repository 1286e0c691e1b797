"""An adopted user of Moodle is named as a connector names it: by its id, and the number that it had apart."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_MOODLE = "moodle"
_ADOPTIONS = sa.table("adoptions", *(sa.column(name) for name in ("target", "student_number", "object")))
_ASKED = ("id", "target", "object", "student_number", "kind", "decided_at", "raised_at")
_QUESTIONS = sa.table("adoption_questions", *(sa.column(name) for name in _ASKED))


def upgrade() -> None:
    """Go forward: `17 OLD-4` was the user 17, who had the idnumber OLD-4."""
    connection = op.get_bind()
    adopted = sa.select(_ADOPTIONS.c.student_number, _ADOPTIONS.c.object).where(_of_moodle(_ADOPTIONS))
    for student, named in connection.execute(adopted).all():
        ref, _, number = named.partition(" ")
        theirs = (_ADOPTIONS.c.target == _MOODLE) & (_ADOPTIONS.c.student_number == student)
        apart = ref if number == student else f"{ref}\n{number}"
        connection.execute(sa.update(_ADOPTIONS).where(theirs).values(object=apart))
    q = _QUESTIONS.c
    asked = sa.select(q.id, q.object, q.student_number, q.kind).where(_of_moodle(_QUESTIONS))
    newest = sa.desc(sa.func.coalesce(q.decided_at, q.raised_at))
    for id_, named, student, kind in connection.execute(asked.order_by(newest)).all():
        ref = named.partition(" ")[0]
        new = hashlib.sha256("\x1f".join((_MOODLE, ref, student or "", kind)).encode()).hexdigest()
        if connection.execute(sa.select(q.id).where(q.id == new)).first() is None:
            connection.execute(sa.update(_QUESTIONS).where(q.id == id_).values(id=new, object=ref))
        else:  # of two of one user, the one that was answered last
            connection.execute(sa.delete(_QUESTIONS).where(q.id == id_))


def _of_moodle(table: sa.TableClause) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.target == _MOODLE, table.c.object.like("% %"))


def downgrade() -> None:
    """Migrations only go forward: restore a backup to go back."""
    raise NotImplementedError("migrations only go forward: restore a backup to go back")
