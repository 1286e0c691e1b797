"""The quarantine of a consumer is a row in the database: every process of it stops, and goes on, with it."""

from __future__ import annotations

from pipeline import quarantine
from pipeline.db.database import Database
from pipeline.engine import Engine


class Quarantine:
    """Brings the engine and the row to agree.

    Args:
        consumer: the target's name.
    """

    def __init__(self, consumer: str, engine: Engine, database: Database) -> None:
        self._consumer = consumer
        self._engine = engine
        self._database = database
        self._known = False  # whether the row was there when this worker looked last

    def agree(self, now: float) -> None:
        """Look at the row, and stop or go on; write it, or take it away, if this worker found the reason.

        Args:
            now: the engine's time, in monotonic seconds.

        Raises:
            StoreUnavailable: call again.
        """
        circuit = self._engine.circuit
        with self._database.read() as connection:
            row = quarantine.of(connection, self._consumer)
        if circuit.quarantined and row is None and self._known:
            self._engine.lift()  # an operator did it, or another process's trial
        elif circuit.quarantined and row is None:
            with self._database.write() as connection:
                quarantine.place(connection, self._database, self._consumer, circuit.reason)
            self._known = True
            return
        elif not circuit.quarantined and row is not None and self._known:
            with self._database.write() as connection:
                quarantine.lift(connection, self._consumer)  # a student who was tried here succeeded
            row = None
        elif not circuit.quarantined and row is not None:
            self._engine.quarantine(now, row.reason)
        self._known = row is not None
