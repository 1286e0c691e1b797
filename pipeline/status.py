"""Each consumer's reported state: no stop is silent, every process is visible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Connection, Float, Integer, String, Table, Text, delete, or_, select

from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody
from pipeline.engine.circuit import CIRCUIT_REASONS, CircuitState
from schemas.language import gettext_noop, retold

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
    Column("per_s", Float, nullable=False, server_default="0"),  # students whose turns ended, of late
    info=of_nobody("which process is in which state", named_in=("reason",)),
)


DOWN: Final = frozenset({CircuitState.OPEN, CircuitState.HALF_OPEN, "down"})
"""States of a consumer whose target is away."""
HALTED: Final = frozenset({"paused", CircuitState.MISCONFIGURED, CircuitState.QUARANTINED})
"""States that end by somebody's act: how long they last says nothing of the target."""


TOLD_TO_STOP: Final = gettext_noop("the process was told to stop")
"""The reason of a consumer that ended as it should: recorded in English, shown in the reader's language."""

PAUSED: Final = gettext_noop("paused by an operator")
ENDED_BY_ERROR: Final = gettext_noop("an error ended the loop; the log has it")
HANGING: Final = gettext_noop(
    "{calls} of {slots} calls have not come back in the {seconds} s that the connector promises: restart"
    " this process; if it comes again, tell the connector's author"
)
OWN_REASONS: Final = (TOLD_TO_STOP, PAUSED, ENDED_BY_ERROR, HANGING, *CIRCUIT_REASONS)
"""All reasons in Sésame's own words; other ones are a target's or a connector's, word for word."""


def own_words(reason: str) -> str | None:
    """Translate a recorded reason; None: it is a target's, word for word."""
    return retold(reason, OWN_REASONS) if reason else ""


def in_words(reason: str) -> str:
    """A recorded reason in the reader's language, as far as it is Sésame's own."""
    own = own_words(reason)
    return reason if own is None else own


SILENT_AFTER_S: Final = 30.0
"""Each loop says every few seconds that it is there: one that has not for so long is dead, or hangs."""


@dataclass(frozen=True)
class ConsumerStatus:
    """One consumer in one process: state, reason, and last sign of life (database time).

    Attributes:
        process: a process life, `host:pid:token`; of several workers the others add `#2`, `#3` …
        lag_personal, lag_bulk: records of its topics that are not settled, by lane.
        per_s: students whose turns ended in a second, since its last report.
    """

    consumer: str
    process: str
    state: str
    reason: str
    since: float
    seen_at: float
    lag_personal: int = 0
    lag_bulk: int = 0
    per_s: float = 0.0

    @property
    def place(self) -> str:
        """The process's name for operators: `host:pid`, and `#n` of a further worker."""
        life, hash_, worker = self.process.partition("#")
        return life.rsplit(":", 1)[0] + hash_ + worker

    def silent_s(self, now: float) -> float:
        """Return the seconds since the last sign of life (`now`: database time)."""
        return max(0.0, now - self.seen_at)

    def is_silent(self, now: float) -> bool:
        """Whether it is dead, or hangs."""
        return self.silent_s(now) > SILENT_AFTER_S


def report(connection: Connection, database: Database, status: ConsumerStatus) -> None:
    """Store a consumer's status, replacing its process's last one."""
    values = {
        "state": status.state,
        "reason": status.reason,
        "since": status.since,
        "seen_at": status.seen_at,
        "lag_personal": status.lag_personal,
        "lag_bulk": status.lag_bulk,
        "per_s": status.per_s,
    }
    statement = database.insert(consumer_status).values(
        consumer=status.consumer, process=status.process, **values
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[consumer_status.c.consumer, consumer_status.c.process], set_=values
        )
    )


def forget_others(connection: Connection, consumer: str, *, seen_before: float) -> None:
    """Forget processes that have not been heard of for long."""
    connection.execute(
        delete(consumer_status).where(
            consumer_status.c.consumer == consumer, consumer_status.c.seen_at < seen_before
        )
    )


def forget(connection: Connection, process: str, consumer: str | None = None) -> int:
    """Delete a process's rows, or those of one consumer in it; return how many.

    A process that ends properly removes itself. A living one reports again within seconds.
    """
    whose = or_(
        consumer_status.c.process == process,
        consumer_status.c.process.startswith(f"{process}#", autoescape=True),
    )
    which = () if consumer is None else (consumer_status.c.consumer == consumer,)
    return connection.execute(delete(consumer_status).where(whose, *which)).rowcount


def statuses(connection: Connection) -> list[ConsumerStatus]:
    """Return every consumer's status in every process."""
    rows = connection.execute(
        select(consumer_status).order_by(consumer_status.c.consumer, consumer_status.c.seen_at.desc())
    ).mappings()
    return [ConsumerStatus(**row) for row in rows]
