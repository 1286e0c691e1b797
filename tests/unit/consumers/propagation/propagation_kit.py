"""What the tests of propagation share: bells, outcomes and timers on a store of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import select

from consumers.propagation import rows as propagation_rows
from consumers.propagation.handler import BREACHED, LATE, Propagation, Said
from consumers.propagation.settings import PropagationSettings
from consumers.propagation.window import PropagationProgress
from pipeline import timers
from pipeline.db.database import Database
from pipeline.eventlog.port import Record
from pipeline.facts import Fact
from pipeline.outbox import outbox
from schemas import catalogue
from schemas.account import Lane, Stage
from schemas.envelope import Message, event_id
from schemas.events import (
    AccountChanged,
    Cause,
    Event,
    Outcome,
    PropagationBreached,
    PropagationCompleted,
    PropagationLate,
    TargetFailed,
    TargetProvisioned,
    TargetWaiting,
)
from sesame.testing.servers import stores
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.database_kit import START, Clock

LEA = "22001234"
TARGETS = ("directory", "mailbox", "moodle")
DIGEST = "sha256:" + "0" * 64


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


@dataclass
class PropagationHarness:
    """Propagation on a store of its own. Times are seconds since the window opened."""

    database: Database
    clock: Clock
    told: list[Said] = field(default_factory=list)
    epochs: int = 0

    def __post_init__(self) -> None:
        self.propagation = Propagation(
            self.database,
            targets=TARGETS,
            follows={"mailbox": "directory"},
            objectives=PropagationSettings(),
            on_said=self.told.append,
        )

    def account(
        self, version: int = 1, *, opened: float = 0.0, lane: Lane = Lane.PERSONAL, asked: bool = True
    ) -> None:
        account = account_of(
            LEA,
            f"lea.martin.{LEA}",
            version=version,
            stage=Stage.ACTIVE if asked else Stage.PRECREATED,
            activated_at=at(opened) if asked else None,
            opened_at=at(opened) if asked else None,
            lane=lane,
        )
        stores.keep(self.database, account, changed_at=START)

    def bell(self, version: int = 1, *, when: float = 0.0) -> Message:
        """The registry's event, applied."""
        event = AccountChanged(
            student_number=LEA,
            version=version,
            stage=Stage.ACTIVE,
            lane=Lane.PERSONAL,
            cause=Cause.ACTIVATION,
        )
        return self.apply(event, when)

    def outcome(
        self, kind: type[Outcome], target: str, when: float, version: int = 1, **more: object
    ) -> Message:
        """An outcome, applied. Its lease epoch is above all before, unless it is given."""
        return self.apply(self.said(kind, target, when, version, **more), when)

    def said(
        self, kind: type[Outcome], target: str, when: float, version: int = 1, **more: object
    ) -> Outcome:
        self.epochs += 1
        own: dict[type[Outcome], dict[str, object]] = {
            TargetProvisioned: {"digest": DIGEST, "changed": True},
            TargetWaiting: {"reason": "pedagogical_enrolment_pending", "pending": ("L1INFO-2026",)},
            TargetFailed: {"cause": "identity_collision", "dead_letter_id": "letter-1"},
        }
        common: dict[str, object] = {
            "student_number": LEA,
            "version": version,
            "target": target,
            "lane": Lane.PERSONAL,
            "lease_epoch": self.epochs,
            "sequence": 1,
            "attempt": 1,
            "started_at": at(when),
            "finished_at": at(when),
        }
        return kind.model_validate({**common, **own[kind], **more})

    def apply(self, event: Event, when: float) -> Message:
        message = Message(event_id(event.type, "test", str(event)), "/sesame/test", at(when), event)
        self.redeliver(message)
        return message

    def redeliver(self, message: Message) -> None:
        record = Record(catalogue.OUTCOMES, 0, 0, LEA, b"", (), 0)
        with self.database.write() as connection:
            self.propagation.handle(connection, [Fact(record, message)])

    def tick(self, seconds: float) -> None:
        """Let the time come, and the timers run."""
        self.clock.now = START + seconds
        due = {LATE: self.propagation.on_late, BREACHED: self.propagation.on_breached}
        timers.run_due(self.database, due)

    def progress(self) -> PropagationProgress:
        with self.database.write() as connection:
            progress = propagation_rows.progress_of(connection, self.database, LEA)
        assert progress is not None
        return progress

    def armed(self) -> dict[str, int]:
        return timers.armed(self.database)

    def announced(self) -> list[Event]:
        """What propagation has put into the outbox."""
        models: dict[str, type[Event]] = {
            model.type: model for model in (PropagationCompleted, PropagationLate, PropagationBreached)
        }
        with self.database.read() as connection:
            found = connection.execute(select(outbox).order_by(outbox.c.id)).all()
        assert all(row.topic == catalogue.PROPAGATION for row in found)
        headers = [row.headers for row in found]
        return [
            next(model for name, model in models.items() if name in head).from_json(row.value)
            for row, head in zip(found, headers, strict=True)
        ]

    def all_done(self, when: float, version: int = 1) -> None:
        for target in TARGETS:
            self.outcome(TargetProvisioned, target, when, version)


OPEN = PropagationProgress("A", 1, Lane.PERSONAL, START)
