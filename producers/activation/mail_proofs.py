"""Proofs by mail: a link and a 6-digit code that prove access to a student's mail.

Of both only keyed digests are kept. The message's values are sealed until it was sent, then erased.

A request that matches no student makes a row too, a **decoy** without a student: it costs the same time,
counts the same attempts, and no message leaves. So nothing reveals who is known here.

Notices (a password was changed, access ends …) wait here too, to be sent as the others are: without a digest
they prove nothing, except for the link that prolongs access. A message withheld after too many requests has
no digest either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    and_,
    delete,
    func,
    or_,
    select,
    update,
)

from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of

NONE = "-"
"""In place of a digest: nothing matches it."""

LETTER = "letter"
"""In place of a pair: the code is printed by the support desk, no message has it."""

LAST = "ending"
"""The purpose with thousands of messages, which leave after all others due."""

mail_proofs = Table(
    "mail_proofs",
    metadata,
    Column("id", String(32), primary_key=True),  # random; not secret
    Column("purpose", String(16), nullable=False),  # password | redirect; or a notice's
    Column("student_number", String(32), index=True),  # None: a decoy
    Column("pair", String(64), nullable=False),  # keyed digest of the requested number and address
    Column("asked_by", String(64), index=True),  # keyed digest of the browser; None: no browser
    Column("language", String(8), nullable=False),
    Column("link_digest", String(64), nullable=False),
    Column("code_digest", String(64), nullable=False),
    Column("value", LargeBinary),  # sealed: the address that a redirection goes to
    Column("letter", LargeBinary),  # sealed: the message's values; None once it was sent, or of no more use
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("attempts", Integer, nullable=False, default=0),  # of the code
    Column("proved_at", Float),  # the code was typed: it has no further use, the link still has
    Column("used_at", Float),  # its purpose was carried out
    Column("used_by", String(64)),  # digest of the grant that used it: a double click is recognised
    Column("voided_at", Float),  # a password was chosen by another proof since
    Column("send_at", Float, index=True),  # when the message is due; None: there is nothing to send
    Column("sent_at", Float),
    Column("send_attempts", Integer, nullable=False, default=0),
    Column("refusal", Text),  # why it can never be sent, for the support desk: no address in it
    info=rows_of("student_number"),
)


_UNUSED = and_(mail_proofs.c.used_at.is_(None), mail_proofs.c.voided_at.is_(None))


@dataclass(frozen=True)
class MailProof:
    """One proof. Times are seconds since the epoch, UTC; see the columns' comments."""

    id: str
    purpose: str
    student_number: str | None
    pair: str
    language: str
    link_digest: str
    code_digest: str
    created_at: float
    expires_at: float
    asked_by: str | None = None
    value: bytes | None = None
    letter: bytes | None = None
    attempts: int = 0
    proved_at: float | None = None
    used_at: float | None = None
    used_by: str | None = None
    voided_at: float | None = None
    send_at: float | None = None
    sent_at: float | None = None
    send_attempts: int = 0
    refusal: str | None = None

    def stands(self, now: float) -> bool:
        """True if it may still be used."""
        return self.used_at is None and self.voided_at is None and now < self.expires_at


def add(connection: Connection, proof: MailProof) -> None:
    """Store a new proof."""
    connection.execute(mail_proofs.insert().values(**proof.__dict__))


def find(connection: Connection, proof_id: str) -> MailProof | None:
    """The proof of this id."""
    row = connection.execute(select(mail_proofs).where(mail_proofs.c.id == proof_id)).mappings().one_or_none()
    return None if row is None else MailProof(**row)


def letter_of(connection: Connection, student_number: str, now: float) -> MailProof | None:
    """The student's letter with a code that may still be used."""
    mine = (mail_proofs.c.student_number == student_number, mail_proofs.c.pair == LETTER)
    valid = (mail_proofs.c.expires_at > now, mail_proofs.c.letter.is_not(None), _UNUSED)
    row = connection.execute(select(mail_proofs).where(*mine, *valid).limit(1)).mappings().one_or_none()
    return None if row is None else MailProof(**row)


def of_request(connection: Connection, asked: Sequence[str], *, asked_by: str, limit: int) -> list[MailProof]:
    """The newest proofs of one request.

    Those whose ids a browser keeps, and those that it has requested for the same student and address, whose
    ids it may never have received. A withheld one takes no place from a sent message.
    """
    pair = (
        select(mail_proofs.c.pair).where(mail_proofs.c.id == (asked[-1] if asked else "")).scalar_subquery()
    )
    rows = connection.execute(
        select(mail_proofs)
        .where(
            or_(
                mail_proofs.c.id.in_(asked),
                and_(mail_proofs.c.asked_by == asked_by, mail_proofs.c.pair == pair),
            )
        )
        .order_by(mail_proofs.c.link_digest == NONE, mail_proofs.c.created_at.desc(), mail_proofs.c.id)
        .limit(limit)
    ).mappings()
    return [MailProof(**row) for row in rows]


def count_attempt(
    connection: Connection, proof_id: str, *, attempts_max: int, repeats_max: int, proved_after: float
) -> bool:
    """Count an attempt at the code before it is checked. False: none was left, or it is of no use.

    Args:
        repeats_max: how many more there may be after a right code whose answer was lost.
        proved_after: when that may have been at the earliest.
    """
    first = and_(mail_proofs.c.proved_at.is_(None), mail_proofs.c.attempts < attempts_max)
    repeated = and_(
        mail_proofs.c.proved_at > proved_after, mail_proofs.c.attempts < attempts_max + repeats_max
    )
    done = connection.execute(
        update(mail_proofs)
        .where(mail_proofs.c.id == proof_id, or_(first, repeated))
        .values(attempts=mail_proofs.c.attempts + 1)
    )
    return bool(done.rowcount)


def prove(connection: Connection, proof_id: str, now: float) -> None:
    """Record that the code was typed; the first time counts."""
    connection.execute(
        update(mail_proofs)
        .where(mail_proofs.c.id == proof_id, mail_proofs.c.proved_at.is_(None))
        .values(proved_at=now)
    )


def use(connection: Connection, proof_id: str, now: float, *, by: str) -> bool:
    """Use a proof up; False if it is not valid (any more). Of concurrent calls one succeeds."""
    done = connection.execute(
        update(mail_proofs)
        .where(mail_proofs.c.id == proof_id, _UNUSED, mail_proofs.c.expires_at > now)
        .values(used_at=now, used_by=by, letter=None, value=None, send_at=None)
    )
    return bool(done.rowcount)


def void_others(connection: Connection, student_number: str, purpose: str, now: float) -> None:
    """Void every unused proof of this student and purpose."""
    connection.execute(
        update(mail_proofs)
        .where(mail_proofs.c.student_number == student_number, mail_proofs.c.purpose == purpose, _UNUSED)
        .values(voided_at=now, letter=None, value=None, send_at=None)
    )


def letters_due(connection: Connection, now: float) -> bool:
    """True if a message is due."""
    query = (
        select(mail_proofs.c.id)
        .where(mail_proofs.c.send_at <= now, mail_proofs.c.letter.is_not(None))
        .limit(1)
    )
    return connection.execute(query).first() is not None


def claim_letters(connection: Connection, now: float, *, until: float, limit: int) -> list[MailProof]:
    """Claim due messages; other senders skip each until `until`."""
    rows = connection.execute(
        select(mail_proofs)
        .where(mail_proofs.c.send_at <= now, mail_proofs.c.letter.is_not(None))
        .order_by(mail_proofs.c.purpose == LAST, mail_proofs.c.send_at)
        .limit(limit)
    ).mappings()
    claimed = []
    for row in rows.all():
        mine = connection.execute(
            update(mail_proofs)
            .where(mail_proofs.c.id == row["id"], mail_proofs.c.send_at == row["send_at"])
            .values(send_at=until, send_attempts=mail_proofs.c.send_attempts + 1)
        )
        if mine.rowcount:
            claimed.append(MailProof(**{**row, "send_attempts": row["send_attempts"] + 1}))
    return claimed


def sent(connection: Connection, proof_id: str, now: float) -> None:
    """Record that the mail server has the message, and erase its text."""
    _change(connection, proof_id, sent_at=now, send_at=None, letter=None)


def refuse(connection: Connection, proof_id: str, why: str) -> None:
    """Mark a message as permanently refused."""
    _change(connection, proof_id, send_at=None, letter=None, refusal=why)


def last_refused(connection: Connection, student_number: str, purpose: str) -> MailProof | None:
    """The last message of this purpose to a student, if it was permanently refused."""
    row = connection.execute(
        select(mail_proofs)
        .where(
            mail_proofs.c.student_number == student_number,
            mail_proofs.c.purpose == purpose,
            or_(mail_proofs.c.refusal.is_not(None), mail_proofs.c.sent_at.is_not(None)),
        )
        .order_by(mail_proofs.c.created_at.desc())
        .limit(1)
    ).mappings()
    last = next((MailProof(**each) for each in row), None)
    return last if last is not None and last.refusal is not None else None


def last_sent(connection: Connection, student_number: str, purpose: str) -> float | None:
    """When the last message of this purpose to a student was sent, epoch seconds."""
    found: float | None = connection.execute(
        select(func.max(mail_proofs.c.sent_at)).where(
            mail_proofs.c.student_number == student_number, mail_proofs.c.purpose == purpose
        )
    ).scalar_one()
    return found


def postpone(connection: Connection, proof_id: str, until: float | None) -> None:
    """Postpone a message; None: never send it (it has expired meanwhile)."""
    _change(connection, proof_id, send_at=until, **({"letter": None} if until is None else {}))


def _change(connection: Connection, proof_id: str, **values: object) -> None:
    connection.execute(update(mail_proofs).where(mail_proofs.c.id == proof_id).values(**values))


def forget(connection: Connection, *, expired_before: float) -> int:
    """Delete proofs that expired before this moment; return how many."""
    return connection.execute(delete(mail_proofs).where(mail_proofs.c.expires_at < expired_before)).rowcount
