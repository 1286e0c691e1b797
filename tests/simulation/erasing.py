"""Histories in which persons are erased, and some come back.

The shipped acts, registry and consumers work over targets in memory; a judge knows the right end.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Final, cast

from sqlalchemy import Connection, delete, insert, select

from consumers.registry.erasure.erasures import erasures, has_forgotten
from consumers.registry.erasure.privacy_key import PrivacyKey
from pipeline import accounts
from pipeline.dead_letters import rows as dead_letters
from pipeline.errors import DependencyDown
from pipeline.eventlog.port import LogUnavailable
from producers.registrar.feed_memory import feed_rows
from schemas.account import Stage
from schemas.events import ActivationRequested, Event, IdentityDecided, IdentityDecision, ReplayRequested
from sesame.acts.acts import Actor, Role
from sesame.app.tables import metadata
from sesame.operations.identities import acts as identities
from sesame.operations.identities.acts import DoubtDecisionRequest
from sesame.operations.privacy import acts, erasure
from sesame.testing.servers.registry_kit import cancelled, enrolled, record_of
from tests.simulation.history import _change, changed_for
from tests.simulation.schedule import Life
from tests.simulation.site import FOLLOWS, _until
from tests.simulation.store import SimulatedDatabase
from tests.simulation.threads import Stop
from tests.simulation.weather import Weather
from tests.simulation.years.campus import NAMES, REGISTRY, Campus, CampusWorld

PEOPLE: Final = 6
YEAR: Final = 2026
ROUGH_S, CALM_S_MAX = 60.0, 1800.0
OFFICER: Final = Actor("dpo", frozenset({Role.ADMINISTRATOR}))


@dataclass
class Person:
    """An erased person.

    Attributes:
        numbers: the kept one first.
        family, given: words of no other name.
        back: the number under which an enrolment came into force since; None: none did.
    """

    numbers: tuple[str, ...]
    family: str
    given: str
    back: str | None = None


class ErasingCampus(Campus):
    """A campus that erases persons, by two processes that are killed as any."""

    folder: Path

    def __init__(self, schedule: Any, weather: Weather, wall: Callable[[], float]) -> None:
        secret = schedule.chance.randbytes(32)
        self.privacy: PrivacyKey = PrivacyKey(base64.urlsafe_b64encode(secret).decode())
        super().__init__(schedule, weather, wall)
        self.forgotten = self._forgotten

    def _forgotten(self, connection: Connection, number: str) -> bool:
        return has_forgotten(connection, self.privacy.pseudonym(number))

    def begin(self, what: str, host: str) -> tuple[Life, Stop]:
        if what != "eraser":
            return super().begin(what, host)
        self._lives += 1
        life, stop = Life(f"{host}:{self._lives}", host), Stop(self.schedule)
        self._spawn(life, lambda: self._erase(stop))
        return life, stop

    def _erase(self, stop: Stop) -> None:
        site = self.erasing(self._database())
        for _ in _until(stop):
            with suppress(DependencyDown, LogUnavailable):
                erasure.advance(site, retention=False)
            stop.wait(self.weather.chance.uniform(0.5, 2.0))

    def erasing(self, database: SimulatedDatabase) -> Any:
        """The site, as far as erasures need it."""
        settings = SimpleNamespace(
            targets=NAMES,
            registry=REGISTRY,
            data_dir=self.folder,
            store_file=None,
            log=SimpleNamespace(kind="sqlite"),
            privacy=SimpleNamespace(copies_days=30),
            connector_of=lambda _target: SimpleNamespace(connector=None),
        )
        return SimpleNamespace(
            database=database,
            settings=settings,
            follows=FOLLOWS,
            log=self.log,
            producer=self.producer(),
            registry=self._registry(database),
            privacy=self.privacy,
            privacy_if_any=self.privacy,
            tables=metadata,
            audit_folder=self.folder / "audit",
            erase_in_log=self._erase_in_log,
            rewrite_files=lambda: False,
        )

    def _erase_in_log(self, number: str, pseudonym: str, before: float) -> None:
        self.log.erase(number, pseudonym, before=before)  # as a log that counts nothing


class ErasingWorld(CampusWorld):
    """A day on which all are erased; half of them come back, at any moment of it."""

    site_of = ErasingCampus

    def __init__(self, seed: int, folder: Path) -> None:
        ErasingCampus.folder = folder
        super().__init__(seed)
        self.posts += [self._post("eraser", f"eraser-{n}") for n in (1, 2)]
        self.sequence = self._coming = 0
        self.persons = [_person(n) for n in range(PEOPLE)]
        self.officer: Any = cast("ErasingCampus", self.campus).erasing(self.campus.database)

    def pass_the_day(self) -> None:
        """Enrol, end and erase all in bad weather, let some return, judge at rest."""
        for each in self.persons:
            for number in each.numbers:
                self._enrol(each, number)
            self._publish(ActivationRequested(student_number=each.numbers[0]))
        self.rest()
        for each in self.persons:
            for other in each.numbers[1:]:
                merged = IdentityDecision.MERGE
                self._publish(IdentityDecided(student_number=other, decision=merged, other=each.numbers[0]))
        self.rest()
        assert all(len(each.objects) == PEOPLE for each in self.campus.cabinets.values()), "all are there"
        for each in self.persons:
            for number in each.numbers:
                self._cancel(number)
        self.rest()
        self.weather.rough = True
        for each in self.persons:
            self.schedule.spawn(self._outside, partial(self._have_erased, each))
        self.schedule.spawn(self._outside, self._brew)
        self.schedule.run(self.schedule.now + ROUGH_S)
        self.weather.rough = False
        for cabinet in self.campus.cabinets.values():
            cabinet.away_until, cabinet.poison = 0.0, None
        self._calm()

    def _have_erased(self, person: Person) -> None:
        chance = self.chance
        self.schedule.sleep(chance.uniform(0.0, 15.0))
        request = acts.ErasureRequest(student_number=person.numbers[0], reason=f"{person.family} asked")
        acts.erase(self.officer, OFFICER, request)
        if chance.random() < 0.6:
            self._coming += 1
            self._wait(person, forgotten=chance.random() < 0.6)
            person.back = chance.choice(person.numbers)
            self._enrol(person, person.back)
            self._coming -= 1

    def _wait(self, person: Person, *, forgotten: bool) -> None:
        """Wait for a moment of the erasure. Perhaps kill the registry before it reads what comes then."""
        if forgotten:
            while self._ended(person) == "asked":
                self.schedule.sleep(self.chance.uniform(0.05, 0.2))
        self.schedule.sleep(self.chance.uniform(0.0, 0.3 if forgotten else 20.0))
        if self.chance.random() < 0.5:
            for post in self.posts:
                if post.what == "registry":
                    self.schedule.kill(post.life)

    def _brew(self) -> None:
        while self.weather.rough:
            self.schedule.sleep(self.chance.uniform(0.5, 4.0))
            if self.chance.random() < 0.5:
                self.schedule.kill(self.chance.choice(self.posts).life)
            else:
                cabinet = self.campus.cabinets[self.chance.choice(NAMES)]
                cabinet.away_until = self.schedule.now + self.chance.uniform(0.5, 10.0)

    def _calm(self) -> None:
        """Wait until nothing is under way.

        An operator replays dead letters and settles doubts; those who are back activate again.
        """
        until = self.schedule.now + CALM_S_MAX
        while True:
            self.rest()
            if self.schedule.now >= until or not (self._under_way() or self._see_to_it()):
                return
            self.schedule.run(self.schedule.now + 5.0)

    def _under_way(self) -> bool:
        return any(row.state not in ("done", "withdrawn") for row in self._erasures())

    def _see_to_it(self) -> bool:
        with self.site.database.read() as connection:
            letters = dead_letters.unresolved(connection)
        for each in letters:
            number = str(each.student_number)
            if each.cause == "doubtful_identity":
                decision = DoubtDecisionRequest(student_number=number, reason="seen")
                identities.separate(self.officer, OFFICER, decision)
            elif each.student_number is not None:
                self._publish(
                    ReplayRequested(student_number=number, consumer=each.consumer, replay_id="again")
                )
        asleep = [
            account.student_number
            for account in self._accounts().values()
            if account.activated_at is None and account.stage is Stage.PRECREATED
        ]
        for number in asleep:
            self._publish(ActivationRequested(student_number=number))
        return bool(letters or asleep or self._coming)

    # --- facts ---

    def _enrol(self, person: Person, number: str) -> None:
        self._remember(number, live=True)
        self._publish(
            enrolled(
                number,
                self.sequence,
                step_version="1",
                step_label="L1INFO",
                birth_name=person.family,
                given_name=person.given,
                birth_date=date(2000, 1, 1 + int(person.numbers[0]) % 28),
            )
        )

    def _cancel(self, number: str) -> None:
        self._remember(number, live=False)
        self._publish(cancelled(number, self.sequence, step_version="1", reason="cancelled"))

    def _remember(self, number: str, *, live: bool) -> None:
        """Write the feed's memory, as an import does before the fact is published."""
        self.sequence += 1
        key = {"source": "apogee", "student_number": number, "year": YEAR, "step": "L1INFO"}
        row = key | {"step_version": "1", "fingerprint": "f", "sequence": self.sequence, "base": 0}
        with self.site.database.write() as connection:
            connection.execute(delete(feed_rows).where(feed_rows.c.student_number == number))
            connection.execute(insert(feed_rows), row | {"import_id": 1, "live": live, "outline": "{}"})

    def _publish(self, fact: Event) -> None:
        self.sequence += 1
        self.site.log.append([record_of(fact, "campus", self.sequence, at=self.site.wall())])

    # --- the judge ---

    def _erasures(self) -> list[Any]:
        with self.site.database.read() as connection:
            return list(connection.execute(select(erasures)).all())

    def _accounts(self) -> dict[str, Any]:
        numbers = [number for each in self.persons for number in each.numbers]
        with self.site.database.read() as connection:
            return dict(accounts.newest(connection, numbers))

    def _ended(self, person: Person) -> str | None:
        pseudonym = cast("ErasingCampus", self.campus).privacy.pseudonym(person.numbers[0])
        return next((row.state for row in self._erasures() if row.pseudonym == pseudonym), None)

    def ends(self) -> Counter[str]:
        """Count the erasures by their ends."""
        return Counter(f"{self._ended(each)}{', back' * (each.back is not None)}" for each in self.persons)

    def broken(self) -> Iterator[str]:
        """Broken promises, in words."""
        yield from self.site.ended_by
        texts, known = list(self._texts()), self._accounts()
        for person in self.persons:
            state = self._ended(person)
            if state not in ("done", "withdrawn"):
                yield f"the erasure of {person.numbers} is {state}"
            elif state == "withdrawn":
                if person.back is None:
                    yield f"the erasure of {person.numbers} is withdrawn, and nobody came back"
                yield from self._served(person.numbers[0], known)
            else:
                kept = () if person.back is None else (person.back,)
                gone = [each for each in person.numbers if each not in kept]
                words = gone if kept else [*gone, person.family.lower(), person.given.lower()]
                yield from (
                    f"{word} is still in {where}" for where, text in texts for word in words if word in text
                )
                for number in kept:
                    yield from self._served(number, known)
        for cabinet in self.campus.cabinets.values():
            yield from cabinet.not_so

    def _served(self, number: str, known: dict[str, Any]) -> Iterator[str]:
        """Check that the enrolled have an account, open everywhere."""
        account = known.get(number)
        if account is None or account.stage is not Stage.ACTIVE:
            yield f"{number} is enrolled, and {'nobody' if account is None else account.stage}"
            return
        for name, cabinet in self.campus.cabinets.items():
            if differs := cabinet.differs(account):
                yield f"{name} has of {number} another {differs}"

    def _texts(self) -> Iterator[tuple[str, str]]:
        """All stored texts in lower case, with their places."""
        with self.site.database.read() as connection:
            for table in metadata.sorted_tables:
                for row in connection.execute(select(table)).all():
                    yield table.name, repr(tuple(row)).lower()
        for each in self.records():
            yield f"the log's {each.topic}", repr((each.key, each.value, each.headers)).lower()
        for name, cabinet in self.campus.cabinets.items():
            for number, found in cabinet.objects.items():
                yield name, f"{number} {dict(found.fields)}".lower()
        for path in ErasingCampus.folder.rglob("*"):
            if path.is_file():
                yield path.name, path.read_text(encoding="utf-8").lower()


def _person(n: int) -> Person:
    numbers = (f"2261000{n}",) if n % 3 else (f"2261000{n}", f"2262000{n}")
    letter = chr(ord("a") + n)
    return Person(numbers, f"Famille{letter}", f"Prenom{letter}")


def lived(
    seed: int, planted: Callable[[], AbstractContextManager[object]] = nullcontext
) -> tuple[Counter[str], list[str]]:
    """Live a history. Return the erasures by their ends (returns apart), and what is broken."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="sesame-erasing-")))
        _change(stack, "tests.simulation.store.PLAIN", False)  # erasures use more than the pipeline does
        world = ErasingWorld(seed, folder)
        stack.callback(world.close)
        for name, value in changed_for(world).items():
            _change(stack, name, value)
        _change(stack, "sesame.operations.privacy.erasure.time", SimpleNamespace(time=world.site.wall))
        stack.enter_context(planted())
        world.pass_the_day()
        return world.ends(), list(world.broken())
