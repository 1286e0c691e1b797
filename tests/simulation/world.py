"""A small world in one thread, on the real embedded log and store: every part of the pipeline, a clock that
is told, and a seeded chance that decides what is next, what fails, and which process is killed where."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, event, select, update

from consumers.propagation import BREACHED, LATE, Objectives
from pipeline import outbox, timers
from pipeline.engine import Backoff, Engine, Limits
from pipeline.errors import DependencyDown
from pipeline.eventlog.port import LogError, LogUnavailable, NewRecord
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.facts import FactLoop
from pipeline.outbox import OutboxRelay
from pipeline.store import accounts, migrate
from pipeline.store.database import Database
from pipeline.store.parking import Kind
from pipeline.store.tables import accounts as accounts_table
from pipeline.store.tables import parked, propagation
from pipeline.worker import WAIT_S_MAX, TargetWorker, topics_for
from schemas import catalogue
from schemas.account import Account, Hold, Lane, Person, Stage
from schemas.envelope import Message, event_id, from_record, to_record
from schemas.events import AccountChanged, Cause, ReplayRequested
from tests.simulation.faults import (
    Faults,
    FaultyConsumer,
    FaultyEffects,
    FaultyProducer,
    FaultyPropagation,
    without_flushing,
)
from tests.simulation.targets import ChaosHandler, Crash, Truth, Weather

START = 1_788_163_200.0  # 2026-09-01 08:00:00 UTC
LEASE_S = 10.0
FOLLOWS = {"mailbox": "directory"}
TARGETS = ("directory", "mailbox", "moodle")
OPTIONAL = ("clock", "lose relay", "lose target", "restart", "replay", "drift", "repeat")
"""Deeds without which a history is still one."""
LIMITS = Limits(
    batch_size=3,
    linger_s=0.0,
    slots=3,
    ahead=3,
    in_hand_max=20,
    probe_delay_s_max=4.0,
    misconfigured_delay_s=4.0,
)


class Nobody:
    """An observer that does not look."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args: None


class World:
    """Everything. `step` lets one thing happen.

    Args:
        without: of `OPTIONAL`, what never happens.
    """

    def __init__(self, folder: Path, seed: int, students: int, without: frozenset[str] = frozenset()) -> None:
        self.without = without
        self.evening = False
        self.students = tuple(f"2200{number:04}" for number in range(students))
        self.opened: dict[tuple[str, int], datetime] = {}  # by student and version
        self.settled = False
        self.relay_back_at = START
        self.chance = random.Random(seed)  # noqa: S311  # chance by seed is the point
        self.now = START
        self.behind_s = 0.0  # how far the machine's clock was set back
        self.weather = Weather(self.chance, LEASE_S, poison=self.students[0])
        self.weather.lasts = self.chance.random() < 0.5
        self.faults = Faults(self.weather)
        self.database = Database(f"sqlite:///{folder / 'store.db'}", clock=lambda: self.wall)
        event.listen(self.database.engine, "connect", without_flushing)
        migrate.upgrade(self.database)
        self.log = SqliteEventLog(folder / "log.db", clock=lambda: self.wall, session_timeout_s=1e6)
        self.log.ensure_topics(dict.fromkeys(catalogue.TOPICS, 2))
        self.producer = FaultyProducer(self.log.producer(), self.weather)
        self.relay = OutboxRelay(self.database, self.producer)
        self.truths = {name: Truth(name) for name in TARGETS}
        self.lives = self.killed = self.replays = 0
        self.consumers: dict[str, FaultyConsumer] = {}
        self.workers = {name: self.worker(name) for name in TARGETS}
        self.propagation = self.fact_loop()

    # --- lives ---

    def consumer(self, group: str, topics: tuple[str, ...]) -> FaultyConsumer:
        if group in self.consumers:
            self.consumers[group].inner.close()
        self.consumers[group] = FaultyConsumer(self.log.consumer(group, topics, member="host"), self.faults)
        return self.consumers[group]

    def worker(self, name: str) -> TargetWorker:
        self.lives += 1
        effects = FaultyEffects(
            target=name,
            owner=f"life-{self.lives}",
            database=self.database,
            producer=self.producer,
            backoff=Backoff(delay_s_min=1.0, delay_s_max=30.0, attempts_max=3),
            lease_s=WAIT_S_MAX + LEASE_S,
            recheck_s=20.0,
            follows=FOLLOWS.get(name),
            chance=self.chance,
        )
        effects.faults, effects.truth = self.faults, self.truths[name]
        handler = ChaosHandler(self.truths[name], self.weather, lambda: self.now, lambda: self.hang(name))
        return TargetWorker(
            handler=handler,
            engine=Engine(LIMITS),
            effects=effects,
            consumer=self.consumer(name, topics_for(FOLLOWS.get(name))),
            database=self.database,
            partitions=2,
            observer=Nobody(),
            follows=FOLLOWS.get(name),
            clock=lambda: self.now,
        )

    def fact_loop(self) -> FactLoop:
        handler = FaultyPropagation(self.database, targets=TARGETS, follows=FOLLOWS, objectives=Objectives())
        handler.faults = self.faults
        self.timers = {LATE: handler.on_late, BREACHED: handler.on_breached}
        return FactLoop(
            handler=handler,
            consumer=self.consumer(handler.name, handler.topics),
            database=self.database,
            observer=Nobody(),
            after=self.relay.ring,
            clock=lambda: self.now,
        )

    def hang(self, name: str) -> None:
        """A call hangs, perhaps until its lease is over, while a restarted process takes its work over. Then
        one of the two lives is the one that goes on."""
        self.pass_time(self.chance.choice((0.5, LEASE_S + 2.0)))
        hanging, consumer = self.workers[name], self.consumers.pop(name)
        self.workers[name] = self.worker(name)
        for _ in range(4):
            if not self.evening:
                self.change()
            self.send()
            self.work(name)
            self.pass_time(0.5)
        if self.chance.random() < 0.5:
            consumer.inner.close()
        else:
            self.consumers[name].inner.close()
            self.workers[name], self.consumers[name] = hanging, consumer

    # --- what happens ---

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for truth in self.truths.values():
            truth.until(self.now)

    def step(self, *, evening: bool) -> None:
        """Something happens: a registrar's or a student's act, an operator's, a worker's step, time.

        In the evening nobody acts any more, so that no newer event makes up for one that was lost.
        """
        self.evening = evening
        deeds: dict[str, tuple[int, Callable[[], None]]] = {
            "send": (4, self.send),
            "join": (4, self.join),
            **{f"work {name}": (6, partial(self.work, name)) for name in TARGETS},
            "lose relay": (1, self.lose_relay),
            "lose target": (1, self.lose_target),
            "restart": (1, self.restart),
            "clock": (1, self.set_clock_back),
        }
        if not evening:
            deeds |= {
                "change": (6, self.change),
                "replay": (1, self.ask_for_replay),
                "drift": (1, self.drift),
                "repeat": (2, self.repeat_bell),
            }
        happen = [deed for name, deed in deeds.items() if name not in self.without]
        self.chance.choices([deed for _, deed in happen], [weight for weight, _ in happen])[0]()
        self.pass_time(self.chance.choice((0.0, 0.1, 0.5, 2.0)))

    def settle(self) -> None:
        """No act and no fault any more: let everything come to its end; `settled` says whether it did."""
        self.weather.rough = False
        quiet = 0
        for _ in range(400):
            before = self.position()
            for name in TARGETS:
                self.work(name)
            self.send()
            self.join()
            self.pass_time(10.0)
            rests = self.position() == before and not self.coming_again()
            quiet = quiet + 1 if rests else 0
            if quiet > 6:
                self.settled = True
                return

    def position(self) -> tuple[object, ...]:
        ends = [sorted(self.log.end_offsets(topic).items()) for topic in catalogue.TOPICS]
        lags = [sum(consumer.inner.lag().values()) for consumer in self.consumers.values()]
        return ends, lags, self.relay.waiting()

    def coming_again(self) -> bool:
        """Whether somebody is parked who has an attempt to come."""
        comes = (parked.c.kind != Kind.WAITING, parked.c.due_at.is_not(None))
        with self.database.read() as connection:
            return connection.execute(select(parked.c.consumer).where(*comes)).first() is not None

    def work(self, name: str) -> None:
        worker = self.workers[name]
        with self.survived(name):
            worker._step()  # noqa: SLF001
            worker._calls.here()  # noqa: SLF001

    def join(self) -> None:
        with self.survived("propagation"):
            self.propagation._step()  # noqa: SLF001
            timers.run_due(self.database, self.timers)

    @property
    def wall(self) -> float:
        """The machine's time, which the database and the log go by."""
        return self.now - self.behind_s

    def set_clock_back(self) -> None:
        """Somebody mends the machine's time: now and then it goes back, by up to an hour.

        Forward would be a lease that ends while its call goes on, which no lease can prevent.
        """
        if self.weather.strikes(0.2):
            self.behind_s += self.chance.choice((2.0, 60.0, 3600.0))

    def lose_relay(self) -> None:
        """The relay's process is gone for a while: the outbox fills."""
        self.weather.struck += 1
        self.relay_back_at = self.now + self.chance.uniform(1.0, 60.0)

    def lose_target(self) -> None:
        """A target is away for a while."""
        self.weather.struck += 1
        self.truths[self.chance.choice(TARGETS)].back_at = self.now + self.chance.uniform(1.0, 30.0)

    def restart(self) -> None:
        """A target's process is killed; another one owns its partitions, and what it had parked."""
        busy = [name for name in TARGETS if not self.workers[name]._engine.idle]  # noqa: SLF001
        name = self.chance.choice(busy or TARGETS)  # it hurts most where something is in hand
        self.weather.struck += 1
        self.workers[name] = self.worker(name)

    def send(self) -> None:
        if self.now < self.relay_back_at:
            return
        with suppress(LogUnavailable):
            self.relay.send_page()

    @contextmanager
    def survived(self, name: str) -> Iterator[None]:
        """A part's step; if it is killed, a new life begins in its place."""
        try:
            yield
        except (DependencyDown, LogError):
            pass  # the loop pauses, and goes on
        except Crash:
            self.killed += 1
            if name == "propagation":
                self.propagation = self.fact_loop()
            else:
                self.workers[name] = self.worker(name)

    # --- acts ---

    def change(self) -> None:
        """The registry mints a version of a student's account, and announces it by the outbox."""
        number, lane = self.chance.choice(self.students), self.chance.choice(tuple(Lane))
        with self.database.write() as connection:
            previous = accounts.newest(connection, [number]).get(number)
            version = 1 if previous is None else previous.version + 1
            opened = datetime.fromtimestamp(self.wall, UTC)
            if previous is not None and not self._at_rest(connection, previous):
                opened, lane = previous.opened_at or opened, min(lane, previous.lane, key=list(Lane).index)
            account = Account(
                student_number=number,
                version=version,
                stage=Stage.PRECREATED if version == 1 and self.chance.random() < 0.2 else Stage.ACTIVE,
                holds=frozenset({Hold.SUSPENDED} if self.chance.random() < 0.1 else ()),
                login=f"login.{number}",
                mail=f"login.{number}@etu.univ-exemple.fr",
                principal=f"login.{number}@univ-exemple.fr",
                person=Person(birth_name="Lefèvre", given_name="Élodie"),
                activated_at=opened,
                opened_at=opened,
                lane=lane,
            )
            self.opened[number, version] = opened
            self._save(connection, account)
            message = self._bell(number, version, lane, account.stage)
            topic = catalogue.by_lane(catalogue.ACCOUNTS, lane)
            outbox.enqueue(connection, message, topic, lane)

    def _at_rest(self, connection: Connection, account: Account) -> bool:
        row = connection.execute(
            select(propagation).where(propagation.c.student_number == account.student_number)
        ).one_or_none()
        if row is None:
            return False
        return bool(
            row.completed_version >= account.version
            or (row.state == "waiting" and row.version >= account.version)
        )

    def _save(self, connection: Connection, account: Account) -> None:
        values = {
            "version": account.version,
            "stage": account.stage,
            "login": account.login,
            "activated_at": START,
            "changed_at": self.wall,
            "document": account.model_dump_json(),
        }
        if account.version == 1:
            connection.execute(
                accounts_table.insert().values(student_number=account.student_number, **values)
            )
        else:
            here = accounts_table.c.student_number == account.student_number
            connection.execute(update(accounts_table).where(here).values(**values))

    def _bell(self, number: str, version: int, lane: Lane, stage: Stage) -> Message:
        fact = AccountChanged(
            student_number=number, version=version, stage=stage, lane=lane, cause=Cause.ENROLMENT
        )
        identity = event_id(fact.type, "registry", number, version)
        return Message(identity, "/sesame/registry", datetime.fromtimestamp(self.wall, UTC), fact)

    def repeat_bell(self) -> None:
        """A bell of some version is sent once more, on whichever lane: a redelivery, or a reordering."""
        number, lane = self.chance.choice(self.students), self.chance.choice(tuple(Lane))
        with self.database.read() as connection:
            account = accounts.newest(connection, [number]).get(number)
        if account is None:
            return
        version = self.chance.randint(1, account.version)
        headers, value = to_record(self._bell(number, version, lane, account.stage))
        topic = catalogue.by_lane(catalogue.ACCOUNTS, lane)
        with suppress(LogUnavailable):
            self.producer.append([NewRecord(topic, number, value, headers)])

    def ask_for_replay(self, name: str | None = None, number: str | None = None) -> None:
        self.replays += 1
        number, name = number or self.chance.choice(self.students), name or self.chance.choice(TARGETS)
        with self.database.read() as connection:
            if number not in accounts.newest(connection, [number]):
                return
        lane = self.chance.choice(tuple(Lane))
        fact = ReplayRequested(student_number=number, consumer=name, replay_id=f"replay-{self.replays:05}")
        moment = datetime.fromtimestamp(self.wall, UTC)
        identity = event_id(fact.type, "replay", name, self.replays, number)
        headers, value = to_record(Message(identity, "/sesame/replay", moment, fact))
        record = NewRecord(catalogue.by_lane(catalogue.ACTIVATIONS, lane), number, value, headers)
        while True:  # an operator does it again until it is acknowledged
            with suppress(LogUnavailable):
                self.producer.append([record])
                return

    def drift(self) -> None:
        """Somebody changes a student's object by hand, and an operator asks for a replay."""
        name, number = self.chance.choice(TARGETS), self.chance.choice(self.students)
        held = self.truths[name].of(number)
        if held.version:
            held.intact = False
            self.ask_for_replay(name, number)

    # --- looking ---

    def said(self, *topics: str) -> list[Message]:
        """Every event on these topics."""
        self.lives += 1
        consumer = self.log.consumer(f"look-{self.lives}", topics, member="host")
        messages: list[Message] = []
        while records := consumer.poll(500, 0.0):
            messages += [from_record(record.key, record.headers, record.value) for record in records]
        consumer.close()
        return messages

    def events(self) -> int:
        """How many records are on the log."""
        return sum(sum(self.log.end_offsets(topic).values()) for topic in catalogue.TOPICS)

    def close(self) -> None:
        for consumer in self.consumers.values():
            consumer.inner.close()
        self.producer.close()
        self.log.close()
        self.database.close()
