"""Each target's last comparison: the nightly claim, the result, later findings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from pydantic import Field, field_validator
from sqlalchemy import Column, Connection, Float, String, Table, Text, or_, select, update

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody
from sesame.acts.acts import Report

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("target", String(64), primary_key=True),
    Column("claimed_at", Float, nullable=False),  # when the nightly comparison was last claimed
    Column("document", Text),  # Pass as JSON; None: none has ended yet
    Column("mark", String(1000)),  # how far the target's changes were read
    Column("looked_at", Float),  # when its changes were last read
    info=of_nobody("counts", named_in=("document",)),
)

_CLOCK_CHANGE_S = 2 * 3600.0
"""Where summer time ends, one night's time comes twice."""

WENT_BACK: Final = "went_back"
KINDS = ("missing", "different", "moved", "password_replaced", "extra", "orphaned", "renamed", WENT_BACK)
"""What a difference is: see `TargetReport`."""

OF_STUDENTS = ("missing", "different", "moved", "password_replaced")
"""Kinds that name students, and no objects."""

KEPT_MAX: Final = 1_000
"""This many of each kind are recorded by name; all are counted."""

AGAIN_MAX: Final = 400
"""This many students are checked again each time."""


class Pass(Report):
    """What the last comparison of a target came to.

    Attributes:
        seconds: how long it took.
        found: how many of each kind, with what was noticed since.
        left: which they are, as far as they are remembered.
        evidence: of these, as `TargetReport` has it.
        several: objects of students with several, as far as they are remembered, of the unsettled too.
        part: which part of everybody was looked at in depth last, of so many as nights it takes.
        failed_at: when the last new try failed: `trouble` says why; None: it was not.
        noticed_at: when a change at the target last changed these figures; None: never since.
        trouble, approval: see `TargetReport`.
    """

    target: str
    ended_at: datetime
    seconds: float
    accounts: int
    objects: int
    unmanaged: int
    unsettled: int
    found: dict[str, int]
    left: dict[str, list[str]] = Field(default_factory=dict)
    evidence: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    several: list[str] = Field(default_factory=list)
    part: int = 0
    noticed_at: datetime | None = None
    failed_at: datetime | None = None
    trouble: str = ""
    approval: str = ""

    @field_validator("found")
    @classmethod
    def _each_kind(cls, found: dict[str, int]) -> dict[str, int]:
        """Add the kinds that a pass stored by an earlier release lacks."""
        return {**dict.fromkeys(KINDS, 0), **found}

    def names(self) -> set[str]:
        """The recorded student numbers and objects."""
        return {each for several in self.left.values() for each in several}

    @property
    def tried_at(self) -> datetime:
        """When the target was last compared, or a comparison was last tried."""
        return self.failed_at or self.ended_at

    def one_of_several(self) -> set[str]:
        """The objects that were one of several of a student."""
        extra = self.left.get("extra", ())
        return {*self.several, *(each for each in extra if len(self.evidence.get(each, ())) < 2)}  # noqa: PLR2004

    def failed(self, after: Pass) -> Pass:
        """This pass after a failed comparison: no difference is known to be repaired."""
        return self.model_copy(update={"trouble": after.trouble, "failed_at": after.ended_at})

    def to_look_at_again(self) -> list[str]:
        """The first of the recorded students, who may be repaired by now."""
        students = {each for kind in OF_STUDENTS for each in self.left.get(kind, ())}
        return sorted(students)[:AGAIN_MAX]


def claim(connection: Connection, database: Database, target: str, due_at: float) -> bool:
    """Claim the comparison that was due then; true in one process, once.

    A target that was never compared waits for its first night.
    """
    first = database.insert(reconciliations).values(target=target, claimed_at=due_at)
    if connection.execute(first.on_conflict_do_nothing(index_elements=[reconciliations.c.target])).rowcount:
        return False
    due = reconciliations.c.target == target, reconciliations.c.claimed_at < due_at - _CLOCK_CHANGE_S
    return connection.execute(update(reconciliations).where(*due).values(claimed_at=due_at)).rowcount == 1


def release(connection: Connection, target: str) -> None:
    """Release a claimed comparison that did not end, for another process to claim."""
    was = update(reconciliations).where(reconciliations.c.target == target)
    connection.execute(was.values(claimed_at=0.0))


def keep(connection: Connection, database: Database, ended: Pass) -> None:
    """Store this pass in place of the earlier one."""
    document = ended.model_dump_json()
    statement = database.insert(reconciliations).values(
        target=ended.target, claimed_at=ended.ended_at.timestamp(), document=document
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[reconciliations.c.target], set_={"document": document}
        )
    )


def begin_look(connection: Connection, database: Database, target: str, *, every_s: float) -> str | None:
    """Claim a look at a target's changes; return the mark to read from.

    Empty: the target was never read. None: another process looked less than `every_s` seconds ago.
    """
    now = database.now(connection)
    first = database.insert(reconciliations).values(target=target, claimed_at=now)
    connection.execute(first.on_conflict_do_nothing(index_elements=[reconciliations.c.target]))
    due = or_(reconciliations.c.looked_at.is_(None), reconciliations.c.looked_at < now - every_s)
    mine = update(reconciliations).where(reconciliations.c.target == target, due).values(looked_at=now)
    if not connection.execute(mine).rowcount:
        return None
    return mark_of(connection, target)


def mark_of(connection: Connection, target: str) -> str:
    """How far the target's changes were read; empty: not since it was paused."""
    mark = select(reconciliations.c.mark).where(reconciliations.c.target == target)
    return connection.execute(mark).scalar_one_or_none() or ""


def end_look(connection: Connection, target: str, mark: str) -> None:
    """Record how far the target's changes were read; empty: compare all of it next."""
    at = update(reconciliations).where(reconciliations.c.target == target)
    connection.execute(at.values(mark=mark))


def amended(
    before: Pass,
    looked: Collection[str],
    found: Mapping[str, Sequence[str]],
    evidence: Mapping[str, tuple[str, ...]],
    at: datetime,
) -> Pass:
    """The pass as it is after another look.

    Args:
        looked: the student numbers and objects that were looked at.
        found: of these, what differs, by kind.
        evidence: what of them.
        at: when.
    """
    counts, left = {}, {}
    for kind in KINDS:
        named = before.left.get(kind, [])
        kept = [each for each in named if each not in looked]
        counts[kind] = before.found.get(kind, 0) - (len(named) - len(kept)) + len(found[kind])
        left[kind] = [*kept, *found[kind]][:KEPT_MAX]
    after = before.model_copy(update={"found": counts, "left": left, "noticed_at": at})
    names = after.names()
    told = {name: why for name, why in {**before.evidence, **evidence}.items() if name in names}
    return after.model_copy(update={"evidence": told})


def going_back(before: Pass, why: str, at: datetime) -> Pass:
    """The pass of a target seen to have gone back or lost much, before comparing all."""
    target = before.target
    found, left = {**before.found, WENT_BACK: 1}, {**before.left, WENT_BACK: [target]}
    evidence = {**before.evidence, target: (why,)}
    return before.model_copy(update={"found": found, "left": left, "evidence": evidence, "noticed_at": at})


def of_target(connection: Connection, target: str) -> Pass | None:
    """The target's last ended pass."""
    ended = select(reconciliations.c.document).where(reconciliations.c.target == target)
    text = connection.execute(ended).scalar_one_or_none()
    return None if text is None else Pass.model_validate_json(text)


def latest(connection: Connection) -> list[Pass]:
    """Each target's last ended pass."""
    ended = select(reconciliations.c.document).where(reconciliations.c.document.is_not(None))
    found = connection.scalars(ended.order_by(reconciliations.c.target))
    return [Pass.model_validate_json(text) for text in found]
