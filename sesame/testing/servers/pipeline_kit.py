"""A worker on a real embedded log and store, with the target of `target_kit`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline import parking, target_states
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.engine.bell import topics_for
from pipeline.engine.core import Engine
from pipeline.engine.limits import Backoff, Limits
from pipeline.eventlog.port import Consumer, NewRecord
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.runner import Effects, TargetWorker
from sandbox.process import PATIENCE_S
from schemas import catalogue
from schemas.account import Account, Hold, Lane, Person, Stage
from schemas.envelope import Message, event_id, from_record, to_record
from schemas.events import AccountChanged, Cause, Event, ReplayRequested
from sesame.testing.servers import stores
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.target_kit import NOW, Silent, Target, outcome
from sesame.testing.servers.waiting import until

LIMITS = Limits(batch_size=5, linger_s=0.0, ahead=4, probe_delay_s_min=0.05, probe_delay_s_max=0.1)


class Plant:
    """A log, a store and a target, with a replaceable worker."""

    def __init__(
        self,
        folder: Path,
        url: str,
        target: Target | None = None,
        *,
        follows: str | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.database = Database(url, clock=clock)
        self.clock = clock or time.monotonic
        self.log = SqliteEventLog(folder / "log.db", session_timeout_s=2.0)
        self.log.ensure_topics(dict.fromkeys(catalogue.TOPICS, 2))
        self.producer = self.log.producer()
        self.target = target or Target()
        self.follows = follows
        self.observer = Silent()
        self.backoff = Backoff(delay_s_min=0.01, delay_s_max=0.01, attempts_max=4)
        self.limits = LIMITS
        self.lease_s = 30.0
        self.grace_s = 20.0
        self.lives = 0
        self._thread: threading.Thread | None = None
        self.stopping = threading.Event()

    # --- arranging ---

    def account(self, number: str, version: int = 1, **changes: object) -> Account:
        values: dict[str, Any] = {
            "version": version,
            "person": Person(birth_name="Lefèvre", given_name="Élodie"),
            "activated_at": NOW,
            "opened_at": NOW,
            "lane": Lane.PERSONAL,
        }
        account = account_of(number, f"login.{number.lower()}", **{**values, **changes})
        stores.keep(self.database, account, changed_at=NOW.timestamp())
        return account

    def say(self, event: Event, topic: str, *, emitter: str = "registry", tell_apart: object = "") -> str:
        identity = event_id(event.type, emitter, event.student_number, str(tell_apart))
        headers, value = to_record(Message(identity, f"/sesame/{emitter}", NOW, event))
        self.producer.append([NewRecord(topic, event.student_number, value, headers)])
        return identity

    def ring(self, number: str, version: int = 1, *, lane: Lane = Lane.PERSONAL) -> str:
        event = AccountChanged(
            student_number=number, version=version, stage=Stage.ACTIVE, lane=lane, cause=Cause.ACTIVATION
        )
        return self.say(event, catalogue.by_lane(catalogue.ACCOUNTS, lane), tell_apart=version)

    def suspend(self, number: str, version: int = 2) -> None:
        """Store a version that shuts access, and ring its bell."""
        holds = (Hold.SUSPENDED,)
        account = self.account(number, version, holds=holds)
        event = AccountChanged(
            student_number=number,
            version=version,
            stage=account.stage,
            holds=holds,
            lane=account.lane,
            cause=Cause.HOLD,
        )
        self.say(event, catalogue.ACCOUNTS)

    def leader_says(self, number: str, version: int) -> None:
        """Announce this version, as the directory."""
        said = outcome("directory", number, version)
        self.say(said, catalogue.OUTCOMES, emitter="directory", tell_apart=version)

    def replay(self, number: str, tell_apart: int = 1) -> str:
        event = ReplayRequested(
            student_number=number,
            consumer=self.target.name,
            replay_id=f"replay-{tell_apart:04}",
        )
        return self.say(event, catalogue.ACTIVATIONS, emitter="replay", tell_apart=tell_apart)

    # --- running ---

    def effects(self) -> Effects:
        self.lives += 1
        return Effects(
            target=self.target.name,
            owner=f"life-{self.lives}",
            database=self.database,
            producer=self.producer,
            backoff=self.backoff,
            lease_s=self.lease_s,
            recheck_s=900.0,
            follows=self.follows,
            clock=self.clock,
        )

    def consumer(self) -> Consumer:
        """The target's member of its consumer group."""
        return self.log.consumer(self.target.name, topics_for(self.follows), member="test")

    def worker(self, effects: Effects | None = None, consumer: Consumer | None = None) -> TargetWorker:
        return TargetWorker(
            handler=self.target,
            engine=Engine(self.limits),
            effects=effects or self.effects(),
            consumer=consumer or self.consumer(),
            database=self.database,
            observer=self.observer,
            follows=self.follows,
            grace_s=self.grace_s,
            partitions=2,
        )

    def start(self, effects: Effects | None = None, consumer: Consumer | None = None) -> None:
        worker = self.worker(effects, consumer)
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=worker.run, args=(self.stopping,))
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        if self._thread is not None:
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive()
            self._thread = None

    def close(self) -> None:
        self.stop()
        self.producer.close()
        self.log.close()
        self.database.close()

    # --- looking ---

    def until(self, what: Callable[[], bool]) -> None:
        until(what, lambda: f"troubles: {self.observer.troubles}")

    def applied(self, number: str) -> int:
        state = self.state(number)
        return state.applied_version if state is not None else 0

    def state(self, number: str) -> target_states.TargetState | None:
        with self.database.read() as connection:
            return target_states.states_of(connection, self.target.name, [number]).get(number)

    def parked(self, number: str) -> parking.Parked | None:
        with self.database.read() as connection:
            return parking.parked_of(connection, self.target.name, [number]).get(number)

    def letters(self) -> list[dead_letters.DeadLetter]:
        """The unresolved ones."""
        with self.database.read() as connection:
            return dead_letters.unresolved(connection)

    def read(self, *topics: str) -> list[Message]:
        """Every event on these topics, by a new group."""
        self.lives += 1
        consumer = self.log.consumer(f"look-{self.lives}", topics, member="test")
        messages: list[Message] = []
        while records := consumer.poll(500, 0.0):
            messages += [from_record(record.key, record.headers, record.value) for record in records]
        consumer.close()
        return messages

    def outcomes(self) -> list[Event]:
        return [message.event for message in self.read(*catalogue.both_lanes(catalogue.OUTCOMES))]

    def lag(self) -> int:
        """Records that the target's group has not committed; the worker must be stopped."""
        consumer = self.consumer()
        consumer.poll(0, 0.0)
        lag = sum(consumer.lag().values())
        consumer.close()
        return lag


# --- by the real time; the fixtures `plant` and `mailbox` have a settable clock -------------------------


@pytest.fixture
def live_plant(tmp_path: Path, store_url: str) -> Iterator[Plant]:
    with closing(Plant(tmp_path, store_url)) as plant:
        yield plant


@pytest.fixture
def live_mailbox(tmp_path: Path, store_url: str) -> Iterator[Plant]:
    """As `live_plant`, for a target that follows the directory."""
    with closing(Plant(tmp_path, store_url, Target("mailbox"), follows="directory")) as plant:
        yield plant
