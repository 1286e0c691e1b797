"""The registrar, students and operators: their acts, and the expected accounts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta

from pipeline import accounts
from pipeline.dead_letters import rows as dead_letters
from pipeline.errors import DependencyDown
from pipeline.eventlog.port import LogUnavailable
from schemas.account import Administrative, Hold, Lane, Pedagogical
from schemas.events import (
    ActivationRequested,
    CredentialChanged,
    Event,
    HoldLifted,
    HoldPlaced,
    Preference,
    PreferenceChanged,
    ReplayRequested,
)
from sesame.testing.servers.registry_kit import cancelled, enrolled, record_of
from tests.simulation.oracle import COMPONENTS
from tests.simulation.site import TARGETS, Site

NAMES = (
    ("Lefèvre", "Élodie"), ("Martin", "Léa"), ("Martin", "Léa"), ("Nguyễn", "Minh"), ("de la Tour", "Anne"),
    ("Martin", "Léa"), ("O’Brien", "Zoé"),
)  # fmt: skip
STEPS = tuple(COMPONENTS)
SCHEDULED = 0.7
"""Share of the students with a calendar from the first day on."""


@dataclass
class Expected:
    """The expectation about one student, in any order of the facts.

    Attributes:
        enrolments: by step: the newest fact's sequence, and its states; None: cancelled.
        kept_out: whether the hold stays.
    """

    number: str
    name: tuple[str, str]
    enrolments: dict[str, tuple[int, tuple[Administrative, Pedagogical] | None]] = field(default_factory=dict)
    activated: bool = False
    credential: str | None = None
    holds: set[Hold] = field(default_factory=set)
    language: str | None = None
    redirect: str | None = None
    kept_out: bool = False

    @property
    def steps(self) -> dict[str, tuple[Administrative, Pedagogical]]:
        """The enrolments that are not cancelled."""
        return {step: states for step, (_, states) in self.enrolments.items() if states is not None}


class People:
    """All outside actors. Each act is repeated until it is acknowledged."""

    def __init__(self, site: Site, students: int) -> None:
        self.site = site
        self.students = [Expected(f"2260{index:04}", NAMES[index % len(NAMES)]) for index in range(students)]
        chance = site.schedule.chance
        site.timetable.calendars |= {e.number for e in self.students if chance.random() < SCHEDULED}
        self._acts = 0
        self._sequence = 0
        self._recent: deque[str] = deque(maxlen=3)
        self._deciding: set[str] = set()  # those with an unacknowledged operator's act about their access

    # --- acting -----------------------------------------------------------------------------------

    def act(self) -> None:
        """Do one act."""
        chance = self.site.schedule.chance
        new = [each for each in self.students if not each.enrolments]
        waiting = [each for each in self.students if not each.activated]
        held = [each for each in self.students if each.holds and not each.kept_out]
        somebody = self.somebody()
        acts: list[tuple[int, Callable[[], None]]] = [
            (40 * bool(new), lambda: self.enrol(chance.choice(new))),
            (30 * bool(waiting), lambda: self.activate(chance.choice(waiting))),
            (6, lambda: self.enrol(somebody)),
            (4, lambda: self.cancel(somebody)),
            (5, lambda: self.choose_password(somebody)),
            (2, lambda: self.choose_language(somebody)),
            (3, lambda: self.redirect(somebody)),
            (3, lambda: self.site.mailboxes.visit(somebody.number)),
            (5, lambda: self.hold(somebody)),
            (15 * bool(held), lambda: self.hold(chance.choice(held))),
        ]
        chance.choices([act for _, act in acts], [weight for weight, _ in acts])[0]()

    def somebody(self) -> Expected:
        """Choose a student, rather one with a recent act: one act follows another."""
        chance = self.site.schedule.chance
        recent = [each for each in self.students if each.number in self._recent]
        return chance.choice(recent if recent and chance.random() < 0.5 else self.students)

    def enrol(self, student: Expected) -> None:
        """Send the registrar's record of one step, perhaps with a corrected name."""
        chance = self.site.schedule.chance
        step = chance.choice(STEPS[:1] if not student.enrolments else STEPS)
        administrative = chance.choices((Administrative.IN_FORCE, Administrative.PENDING), (9, 1))[0]
        pedagogical = chance.choices((Pedagogical.VALIDATED, Pedagogical.PENDING), (4, 1))[0]
        if student.enrolments and chance.random() < 0.2:
            family, given = student.name
            student.name = (family.upper() if chance.random() < 0.3 else f"{family}-Roy"[:20], given)
        sequence = self._next()
        student.enrolments[step] = (sequence, (administrative, pedagogical))
        self._publish(
            enrolled(
                student.number,
                sequence,
                step=step,
                step_label=step,
                component=COMPONENTS[step],
                administrative=administrative,
                pedagogical=pedagogical,
                birth_name=student.name[0],
                given_name=student.name[1],
                birth_date=date(2000, 1, 1) + timedelta(days=int(student.number[-4:])),
            )
        )

    def cancel(self, student: Expected) -> None:
        held = sorted(student.steps)
        if not held:
            return
        step, sequence = self.site.schedule.chance.choice(held), self._next()
        student.enrolments[step] = (sequence, None)
        self._publish(cancelled(student.number, sequence, step=step, reason="cancelled"))

    def activate(self, student: Expected) -> None:
        """Request the account, perhaps before the registrar's first record."""
        student.activated = True
        student.credential = self._seal(student)
        lane = Lane.BULK if self.site.schedule.chance.random() < 0.2 else Lane.PERSONAL
        self._publish(
            ActivationRequested(student_number=student.number, credential_ref=student.credential), lane
        )

    def choose_password(self, student: Expected) -> None:
        student.credential = self._seal(student)
        self._publish(CredentialChanged(student_number=student.number, credential_ref=student.credential))

    def choose_language(self, student: Expected) -> None:
        student.language = "en" if student.language != "en" else "fr"
        self._publish(
            PreferenceChanged(
                student_number=student.number, preference=Preference.LANGUAGE, value=student.language
            )
        )

    def redirect(self, student: Expected) -> None:
        """Redirect a student's mail to another address, or end that."""
        ref = None
        if student.redirect is None:
            student.redirect = f"p{self._acts}.{student.number}@ailleurs.example"
            with self.site.database.write() as connection:
                ref = self.site.vault.seal(connection, student.number, "mail_redirect", student.redirect)
        else:
            student.redirect = None
        self._publish(
            PreferenceChanged(
                student_number=student.number, preference=Preference.MAIL_REDIRECT, value_ref=ref
            )
        )

    def publish_timetable(self, *, everybody: bool = False) -> None:
        """Publish a calendar, or `everybody`'s but one student's.

        In half of the worlds that one's courses stay unscheduled.
        """
        calendars, chance = self.site.timetable.calendars, self.site.schedule.chance
        to_come = [each.number for each in self.students if each.number not in calendars]
        if to_come and not everybody:
            calendars.add(chance.choice(to_come))
        elif to_come:
            calendars.update(to_come[chance.randrange(2) :])

    def hold(self, student: Expected, *, stays: bool = False) -> None:
        """Place a hold, or lift it, if it is not to stay, as the only operator meanwhile.

        The log would choose the order of two acts.
        """
        if student.kept_out or student.number in self._deciding:
            return
        self._deciding.add(student.number)
        student.kept_out = stays
        if student.holds:
            student.holds.clear()
            self._publish(HoldLifted(student_number=student.number, hold=Hold.SUSPENDED))
        else:
            student.holds.add(Hold.SUSPENDED)
            self._publish(HoldPlaced(student_number=student.number, hold=Hold.SUSPENDED))
        self._deciding.remove(student.number)

    def replay(self, target: str, number: str) -> None:
        """Have a student compared with a target, if there is an account."""
        with self.site.database.read() as connection:
            if accounts.version_of(connection, number) is None:
                return
        fact = ReplayRequested(student_number=number, consumer=target, replay_id=f"replay-{self._acts:05}")
        self._publish(fact, self.site.schedule.chance.choice(tuple(Lane)))

    def replay_somebody(self) -> None:
        chance = self.site.schedule.chance
        self.replay(chance.choice(TARGETS), chance.choice(self.students).number)

    def dead_letters(self) -> list[tuple[str, str]]:
        """Target and student of the unresolved ones."""
        with self.site.database.read() as connection:
            letters = dead_letters.unresolved(connection)
        return [(each.consumer, each.student_number) for each in letters if each.student_number is not None]

    def replay_all(self, these: list[tuple[str, str]]) -> None:
        for target, number in these:
            self.replay(target, number)

    def drift(self) -> None:
        """Change a target by hand, and replay."""
        chance = self.site.schedule.chance
        target, student = self.site.targets[chance.choice(TARGETS)], chance.choice(self.students)
        if target.drift(student.number):
            target.drifted.add(student.number)
            self.replay(target.name, student.number)

    # --- inside -----------------------------------------------------------------------------------

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _seal(self, student: Expected) -> str:
        password = f"$argon2id${self._acts}"
        with self.site.database.write() as connection:
            ref = self.site.vault.seal(connection, student.number, "password", password)
        self.site.directory.passwords[ref] = password
        return ref

    def _publish(self, fact: Event, lane: Lane = Lane.PERSONAL) -> None:
        """Publish a fact once, with retries."""
        self._acts += 1
        self._recent.append(fact.student_number)
        site = self.site
        record = record_of(fact, "people", self._acts, at=site.wall(), lane=lane)
        producer = site.producer()
        while True:
            try:
                producer.append([record])
            except (LogUnavailable, DependencyDown):
                site.schedule.sleep(0.3)
            else:
                return
