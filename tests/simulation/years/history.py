"""The history of five years, by a seed: the calendar, and the checks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

from consumers.registry.lifecycle import closings
from consumers.registry.lifecycle.closings import ERASURE_DUE
from consumers.registry.lifecycle.stages import Closing
from consumers.registry.minter import GRACE_ENDS
from pipeline import timers
from pipeline.threshold import Threshold
from schemas.account import Account, Hold
from schemas.envelope import from_record
from schemas.events import ActivationRequested, Event, HoldLifted, HoldPlaced
from sesame.acts.acts import Actor, Role
from sesame.operations.questions.reconcile.acts import ReconcileRequest, reconcile
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.registry_kit import cancelled, enrolled, record_of
from tests.simulation.history import _change, changed_for
from tests.simulation.years.campus import NAMES, CampusWorld, Compared
from tests.simulation.years.looks import FIRST, Inspector, Year
from tests.simulation.years.truth import Student, year_ends

WEEK: Final = 7
NIGHT: Final = Actor("sesame", frozenset({Role.OPERATOR}))
LENIENT: Final = Threshold(share=1.0, people=10**6)
LARGE: Final = 1_000
"""From so many students on everything is checked every four weeks."""

STEPS: Final = tuple(
    f"{level}{subject}" for subject in ("INFO", "DROIT", "LETTRES") for level in ("L1", "L2", "L3")
)
ONE_DAY: Final = timedelta(1)
_TIMER: Final = {Closing.ERASE: ERASURE_DUE}


class University:
    """All people, for five years.

    Attributes:
        years: the events, by year.
        wrong: broken promises, in words.
    """

    def __init__(self, world: CampusWorld, folder: Path, size: int, years: int) -> None:
        self._folder = folder
        self.world, self.size, self.chance = world, size, world.chance
        self.end = date(FIRST + years, 8, 31)
        self.look_every = timedelta(7 if size < LARGE else 28)
        self.students: dict[str, Student] = {}
        self.years = [Year(FIRST + n) for n in range(years)]
        self.wrong: list[str] = []
        self.misled: set[str] = set()  # students with a wrong file that the registrar does not know of yet
        self._plans: set[str] = set()
        self._acts: dict[date, list[Callable[[], None]]] = defaultdict(list)
        self._sequence = 0
        self._misled_year = 0
        self._stays: dict[tuple[str, int], bool] = {}
        self._inspector = Inspector(world, self.students, self._year_of)

    # --- the calendar ---

    def live(self) -> None:
        """Live the years by the days on which anyone acts, or time does."""
        for year in self.years:
            self._plan(year.year)
        day = operator = looked = date(FIRST, 9, 2)
        while day <= self.end:
            self.world.dawn(day)
            for act in self._acts.pop(day, ()):
                act()
            self.world.rest()
            if (day - operator).days >= WEEK or day == self.end:
                self._release(day)
                self.world.rest()
                operator = day
            if day - looked >= self.look_every or day == self.end:
                self._look(day)
                looked = day
            day = self._next(day)

    def _next(self, day: date) -> date:
        coming = (*self._acts, self.world.next_timer(), day + timedelta(WEEK))
        after = min(each for each in coming if each is not None and each > day)
        return after if day >= self.end else min(after, self.end)

    def _plan(self, year: int) -> None:
        """Plan the calendar of a university, carried out day by day."""
        rentree = date(year, 9, 2)
        if year > FIRST:
            self._on(date(year, 7, 10), lambda: self._continue(year, 0.5))
        self._on(rentree, lambda: self._begin(year))
        for month in (10, 11, 1, 2, 3, 4, 5):
            day = date(year if month > 8 else year + 1, month, 14)
            self._on(day, partial(self._hands, day))
            self._on(day + timedelta(3), lambda: self._marries(max(1, self.size // 300)))
        for month in (10, 12, 3):
            day = date(year if month > 8 else year + 1, month, 5)
            self._on(day, partial(self._hold, day, max(1, self.size // 400)))
        self._on(date(year, 10, 20), lambda: self._leave(year, max(1, self.size // 100)))
        self._on(date(year + 1, 2, 15), lambda: self._leave(year, max(1, self.size // 150)))
        if year == FIRST + 1:  # a file forgets a step, unnoticed for eleven weeks
            self._on(date(year, 11, 20), lambda: self._forget(year, self._fullest(year)))
            self._on(date(year + 1, 2, 5), self._mend)
        if year == FIRST + 3:  # a slow leak: one in a hundred each day, for twenty days
            for n in range(20):
                self._on(date(year + 1, 1, 10) + timedelta(n), lambda: self._leak(year))
            self._on(date(year + 1, 4, 5), self._mend)

    def _on(self, day: date, act: Callable[[], None]) -> None:
        self._acts[day].append(act)

    # --- what people do ---

    def _of(self, year: int) -> list[Student]:
        return [each for each in self.students.values() if each.told.get(year)]

    def _begin(self, year: int) -> None:
        """The rentrée, with an outage and killed processes in the middle of it."""
        now = self.world.schedule.now
        self.world.campus.cabinets["directory"].away_until = now + 60.0
        self.world.campus.cabinets["moodle"].away_until = now + 25.0
        self._kill_some()
        if year > FIRST:
            self._continue(year, 0.9)
            gone = [s for s in self.students.values() if s.told.get(year - 2) and not s.told.get(year - 1)]
            back = [s for s in gone if not s.told.get(year) and self.chance.random() < 0.15]
            for each in back:
                self._enrol(each, year)
            self._year(year).returns += len(back)
        while len(self._of(year)) < self.size:
            self._enter(year)

    def _continue(self, year: int, share: float) -> None:
        """Enrol this share of last year's students again, if they have decided so."""
        for each in self._of(year - 1):
            stays = self._stays.setdefault((each.number, year), self.chance.random() < 0.68)
            if stays and not each.told.get(year) and self.chance.random() < share:
                self._enrol(each, year)

    def _enter(self, year: int) -> None:
        n = len(self.students)
        family, given = _word("Nom", n), _word("Pre", n * 7 + 1)
        each = Student(str(22_000_000 + n), given, [family])
        self.students[each.number] = each
        self._enrol(each, year)
        self._year(year).entries += 1
        if self.chance.random() < 0.95:
            day = self.world.today + timedelta(self.chance.randrange(1, 20))
            self._on(day, lambda: self._activate(each, day))

    def _enrol(self, student: Student, year: int, step: str | None = None) -> None:
        today = self.world.today
        student.told[year] = step or self.chance.choice(STEPS)
        student.spans.setdefault(year, []).append((today, year_ends(year)))
        self._tell(student, year)

    def _activate(self, student: Student, day: date) -> None:
        if student.activated is None and student.enrolled(day):
            student.activated = day
            self._publish(ActivationRequested(student_number=student.number))

    def _marries(self, count: int) -> None:
        year = max(y for s in self.students.values() for y in s.told)
        for each in self.chance.sample(self._of(year), min(count, len(self._of(year)))):
            each.families.append(_word("Nom", 500_000 + self._sequence))
            self._tell(each, year)
            self._year(year).changes += 1

    def _leave(self, year: int, count: int) -> None:
        sure = [each for each in self._of(year) if each.number not in self.misled]
        for each in self.chance.sample(sure, min(count, len(sure))):
            yesterday = self.world.today - ONE_DAY
            for spans in each.spans.values():
                spans[-1] = (spans[-1][0], min(spans[-1][1], yesterday))
            for told in [y for y, step in each.told.items() if step and yesterday < year_ends(y)]:
                self._cancel(each, told)
            self._year(year).leaves += 1

    def _hold(self, day: date, count: int) -> None:
        """Shut accounts by hand, for six weeks."""
        lifted = day + timedelta(42)
        free = [each for each in self.students.values() if each.fate(NAMES[0], day) == "open"]
        for each in self.chance.sample(free, min(count, len(free))):
            each.held.append((day, lifted))
            self._publish(HoldPlaced(student_number=each.number, hold=Hold.ADMINISTRATIVE))
            self._on(lifted, partial(self._lift, each))
            self._year_of(day).holds += 1

    def _lift(self, student: Student) -> None:
        self._publish(HoldLifted(student_number=student.number, hold=Hold.ADMINISTRATIVE))

    def _forget(self, year: int, some: list[Student]) -> None:
        """Send a wrong file: it lacks these enrolled students."""
        for each in some:
            self.misled.add(each.number)
            self._cancel(each, year)
        self._misled_year = year

    def _fullest(self, year: int) -> list[Student]:
        """The students of the largest step. One who is gone is no sign of a wrong file."""
        return max(([s for s in self._of(year) if s.told[year] == step] for step in STEPS), key=len)

    def _leak(self, year: int) -> None:
        there = [each for each in self._of(year) if each.number not in self.misled]
        self._forget(year, self.chance.sample(there, min(len(there), max(1, self.size // 100))))

    def _mend(self) -> None:
        """Send the right file at last."""
        year = self._misled_year
        for number in sorted(self.misled):
            each = self.students[number]
            each.told[year] = self.chance.choice(STEPS)
            self._tell(each, year)
        self._year(year).kept_open += len(self.misled)
        self.misled.clear()

    def _hands(self, day: date) -> None:
        """Change three objects by hand; the night's comparison finds these and no others."""
        planted: dict[str, set[str]] = {name: set() for name in NAMES}
        for _ in range(3):
            cabinet = self.world.campus.cabinets[self.chance.choice(NAMES)]
            mine = [n for n in cabinet.objects if self.students[n].fate(cabinet.name, day) == "open"]
            number = self.chance.choice(mine)
            if self.chance.random() < 0.4:
                del cabinet.objects[number]
            else:
                one = cabinet.objects[number]
                cabinet.objects[number] = replace(one, fields={**one.fields, "name": ("By Hand",)})
            cabinet.drifted.add(number)
            planted[cabinet.name].add(number)
        compared = reconcile(
            cast("Any", Compared(self.world.campus, self._folder)),
            NIGHT,
            ReconcileRequest(repair=True),
            clock=lambda: datetime.fromtimestamp(self.world.site.wall(), UTC),
            threshold=LENIENT,
        )
        for name, report in compared.targets.items():
            found = {*report.missing, *report.different}
            if found != planted[name] or report.extra or report.orphaned or report.trouble:
                self.wrong.append(f"{day}: {name} was changed at {planted[name]}, and compared as {report}")
            self._year_of(day).drift += len(found)
        self._kill_some()

    def _kill_some(self) -> None:
        """Kill processes while they work."""

        def kills() -> None:
            for _ in range(3):
                self.world.schedule.sleep(self.chance.uniform(0.1, 6.0))
                self.world.schedule.kill(self.chance.choice(self.world.posts).life)
                self._year_of(self.world.today).killed += 1

        self.world.schedule.spawn(self.world._outside, kills)  # noqa: SLF001

    # --- facts ---

    def _tell(self, student: Student, year: int) -> None:
        step = present(student.told[year])
        self._publish(
            enrolled(
                student.number,
                self._next_sequence(),
                year=year,
                step=step,
                step_version="1",
                step_label=step,
                birth_name=student.families[0],
                usage_name=student.families[-1] if len(student.families) > 1 else None,
                given_name=student.given,
                birth_date=date(1998, 1, 1) + timedelta(int(student.number) % 3000),
            )
        )

    def _cancel(self, student: Student, year: int) -> None:
        step = present(student.told[year])
        student.told[year] = None
        changes = {"step": step, "step_version": "1", "reason": "gone_from_export"}
        self._publish(cancelled(student.number, self._next_sequence(), year=year, **changes))

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def _publish(self, fact: Event) -> None:
        self._next_sequence()
        record = record_of(fact, "university", self._sequence, at=self.world.site.wall())
        self.world.site.producer().append([record])

    # --- looking ---

    def _year(self, year: int) -> Year:
        return self.years[min(max(year - FIRST, 0), len(self.years) - 1)]

    def _year_of(self, day: date) -> Year:
        return self._year(day.year if day.month >= 9 else day.year - 1)

    def _look(self, day: date) -> None:
        """Check that everything is right."""
        broken = list(self._inspector.broken(day))
        self.wrong += [f"{day}: {what}" for what in broken]
        self._year_of(day).wrong += len(broken)

    def _release(self, day: date) -> None:
        """Release weekly the plans in which all have left.

        A plan with an enrolled student shows that a file is wrong.
        """
        database = self.world.site.database
        with database.write() as connection:
            for plan in closings.held(connection):
                if plan.id not in self._plans:
                    self._plans.add(plan.id)
                    self._year_of(day).held += 1
                if any(self.students[number].enrolled(day) for number in plan.students):
                    continue
                closings.release(connection, plan)
                now = database.now(connection)
                for number in plan.students:
                    kind = _TIMER.get(plan.scope.closing, GRACE_ENDS)
                    timers.arm(connection, database, kind, number, now)


def five_years(
    seed: int, size: int, years: int = 5, planted: Callable[[], AbstractContextManager[object]] = nullcontext
) -> University:
    """Live the years.

    Args:
        size: students in each year.
        years: fewer, for a short look.
        planted: a fault in the shipped code.
    """
    with ExitStack() as stack:
        world = CampusWorld(seed)
        stack.callback(world.close)
        stack.enter_context(planted())
        changes = changed_for(world)
        bounded = lru_cache(maxsize=20_000)
        changes |= {
            name: bounded(from_record) for name, _ in changes.items() if name.endswith(".from_record")
        }
        changes["schemas.account.Account.model_validate_json"] = lru_cache(maxsize=20_000)(
            Account.model_validate_json
        )
        del changes["pipeline.outbox.ROWS_PER_PAGE"]
        for name, value in changes.items():
            _change(stack, name, value)
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="sesame-years-")))
        university = University(world, folder, size, years)
        university.live()
        return university


def _word(prefix: str, number: int) -> str:
    """A unique name, in letters alone."""
    return prefix + "".join(chr(ord("a") + int(digit)) for digit in str(number))
