"""One cause in all faces, and the smallest change that opens what is shut: tried on the registry."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from consumers.moodle.intent import pending_of
from consumers.registry.lifecycle.stages import Lifecycle
from consumers.registry.settings import MembershipTemplate
from pipeline import accounts, target_states
from pipeline.target_states import Conclusion, State
from schemas.account import Account, Administrative, Hold, Pedagogical, Requirement, Stage
from schemas.events import CredentialChanged, HoldLifted, HoldPlaced
from sesame.operations.people.diagnosis.engine import Diagnosis, judge
from sesame.operations.people.diagnosis.openings import OpeningChange, OpeningStep
from sesame.operations.people.diagnosis.situation import Situation, gather
from sesame.testing.servers import stores
from sesame.testing.servers.registry_kit import (
    SETTINGS,
    START,
    RegistryHarness,
    activation,
    cancelled,
    enrolled,
)

TARGETS = ("directory", "mailbox", "moodle")
COURSES = SETTINGS.model_copy(
    update={
        "cohorts": (
            MembershipTemplate(key="{step}-{year}", name="{step_label}"),
            MembershipTemplate(
                key="{step}-{year}-cours", name="{step_label}, cours", requires=Requirement.PEDAGOGICAL
            ),
        )
    }
)
STATES = [
    (administrative, pedagogical)
    for administrative in (Administrative.IN_FORCE, Administrative.AWAITING_PAYMENT, Administrative.PENDING)
    for pedagogical in Pedagogical
]
STEPS = (("L1INFO", "SCI"), ("L1DROIT", "DRT"), ("DULSF", "LSH"))
COMPONENTS = {"SCI": "UFR des sciences"}  # the other one is shown by its code
EnrolmentState = tuple[Administrative, Pedagogical]


class Planted(NamedTuple):
    """A student as planted. `ended`: an earlier enrolment was cancelled, which led to this stage."""

    states: tuple[EnrolmentState, ...]
    activated: bool = True
    holds: tuple[Hold, ...] = ()
    ended: Stage | None = None


class Office:
    """A registry, and the persons who make a change there."""

    def __init__(self, store_url: str) -> None:
        self.registry = RegistryHarness(store_url, COURSES)
        self._numbers = itertools.count(22600001)
        self._sequences = itertools.count(1)

    def plant(self, planted: Planted) -> str:
        number = str(next(self._numbers))
        names = {"given_name": f"Prénom{number}", "birth_name": f"Nom{number}"}
        if planted.ended is not None:
            self._enrol(number, "OLD", "SCI", (Administrative.IN_FORCE, Pedagogical.VALIDATED), **names)
            self._activate(number)
            self.registry.apply(cancelled(number, next(self._sequences), step="OLD"))
            self._end(number, planted.ended)
        for (step, component), state in zip(STEPS, planted.states, strict=False):
            self._enrol(number, step, component, state, **names)
        if planted.activated and planted.ended is None:
            self._activate(number)
        for hold in planted.holds:
            self.registry.apply(HoldPlaced(student_number=number, hold=hold))
        return number

    def make(self, number: str, change: OpeningChange) -> None:
        """Make a change as its person does: by a fact."""
        if change.step is OpeningStep.ACTIVATE:
            self._activate(number)
        elif change.hold is not None:
            if change.step is OpeningStep.PASSWORD:
                secret = self.registry.seal("a new one", number)
                self.registry.apply(CredentialChanged(student_number=number, credential_ref=secret))
            self.registry.apply(HoldLifted(student_number=number, hold=change.hold))
        elif change.step is OpeningStep.ENROL:
            self._enrol(number, "NEW", "SCI", (Administrative.IN_FORCE, Pedagogical.VALIDATED))
        else:
            assert change.enrolment is not None
            account = self.registry.account(number)
            mine = next(each for each in account.enrolments if each.step == change.enrolment.step)
            state = (mine.administrative, mine.pedagogical)
            if change.step is OpeningStep.VALIDATE_COURSES:
                state = (mine.administrative, Pedagogical.VALIDATED)
            else:
                due = {
                    OpeningStep.PAY: Administrative.AWAITING_PAYMENT,
                    OpeningStep.VALIDATE: Administrative.PENDING,
                }
                assert mine.administrative is due[change.step]
                state = (Administrative.IN_FORCE, mine.pedagogical)
            self._enrol(number, mine.step, mine.component, state)

    def look(self, number: str) -> Situation:
        return gather(
            self.registry.database,
            number,
            targets=TARGETS,
            follows={},
            uses_cas=False,
            components=COMPONENTS,
            lifecycle=Lifecycle(COURSES),
        )

    def wait(self, number: str) -> None:
        """Record what Moodle's connector says of the account."""
        database, held = self.registry.database, pending_of(self.registry.account(number))
        if held is None:
            return
        version = self.registry.account(number).version
        with database.write() as connection:
            target_states.lease(
                connection, database, "moodle", {number: 1}, owner="x", until=START.timestamp()
            )
            ended = Conclusion(number, 1, State.WAITING, version, 1, reason=held.reason, pending=held.pending)
            assert target_states.conclude(connection, database, "moodle", [ended], START.timestamp())

    def _end(self, number: str, stage: Stage) -> None:
        """Let the account be at this stage, as the timers would leave it."""
        account = self.registry.account(number)
        assert account.stage is Stage.GRACE
        if stage is Stage.EXPIRED:
            past = START.date() - timedelta(days=60)
            ended = {"stage": stage, "valid_until": past, "version": account.version + 1}
            with self.registry.transaction() as connection:
                accounts.save(connection, account.model_copy(update=ended), START.timestamp())

    def _enrol(self, number: str, step: str, component: str, state: EnrolmentState, **more: Any) -> None:
        fact = enrolled(
            number,
            next(self._sequences),
            step=step,
            step_label=f"Licence {step}",
            component=component,
            administrative=state[0],
            pedagogical=state[1],
            birth_date=date(1990, 1, 1) + timedelta(days=int(number) - 22600000),
            **{"given_name": f"Prénom{number}", "birth_name": f"Nom{number}"} | more,
        )
        self.registry.apply(fact)

    def _activate(self, number: str) -> None:
        self.registry.apply(activation(number, credential_ref=self.registry.seal("a first one", number)))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(stores.sqlite_store(tmp_path))
    with closing(office.registry.database):
        yield office


def is_open(account: Account, target: str, before: Account) -> bool:
    """Whether the student has all that this target can give, and no end of grace is near."""
    stages = {Stage.ACTIVE} if before.access_open else {Stage.ACTIVE, Stage.GRACE}
    given = target != "moodle" or all(cohort.met for cohort in account.cohorts)
    return not account.holds and account.stage in stages and given


def every_plan() -> list[Planted]:
    some = [(), *((state,) for state in STATES), *itertools.product(STATES, repeat=2)]
    three = list(itertools.product(STATES, repeat=3))
    holds: list[tuple[Hold, ...]] = [
        (),
        (Hold.SUSPENDED,),
        (Hold.STOLEN_PASSWORDS,),
        (Hold.SUSPENDED, Hold.STOLEN_PASSWORDS),
        (Hold.TECHNICAL, Hold.ADMINISTRATIVE),
    ]
    plans = [Planted(states, holds=held) for states in some[1:] for held in holds]
    plans += [Planted(states, activated=False) for states in some[1:]]
    plans += [
        Planted(states, holds=held, ended=stage)
        for states in some
        for held in holds
        for stage in (Stage.GRACE, Stage.EXPIRED)
    ]
    return plans + [Planted(states) for states in three]


PLANS = random.Random(33).sample(every_plan(), 250)  # noqa: S311 (a seeded test)


def test_what_is_said_to_open_a_service_opens_it_and_nothing_less_does(office: Office) -> None:
    tried = set()
    for planted in PLANS:
        first = office.look(office.plant(planted))
        assert first.account is not None
        for target in TARGETS:
            changes = first.changes.get(target, ())
            assert (not changes) == is_open(first.account, target, first.account), (planted, target)
        for changes in set(first.changes.values()):
            opened = {target for target, those in first.changes.items() if those == changes}
            kind = (first.account.stage, *opened, *(change.step for change in changes))
            if kind not in tried:
                tried.add(kind)
                check_each_is_needed(office, planted, changes, opened)
    assert len(tried) > 30, "many kinds were tried"


def check_each_is_needed(
    office: Office, planted: Planted, changes: tuple[OpeningChange, ...], opened: set[str]
) -> None:
    """With all changes but one these targets stay shut, whichever it is; with that one they open."""
    for last in changes:
        number = office.plant(planted)
        before = office.registry.account(number)
        for change in (*(each for each in changes if each is not last), last):
            account = office.registry.account(number)
            assert not any(is_open(account, target, before) for target in opened), (planted, changes)
            office.make(number, change)
        account = office.registry.account(number)
        assert all(is_open(account, target, before) for target in opened), (planted, changes)


def due_of(states: tuple[EnrolmentState, ...]) -> tuple[str | None, str | None, set[str]]:
    """By the registrar's own rules: the rule, Moodle's reason, and whom the rule names."""
    in_force = [
        i for i, (administrative, _) in enumerate(states) if administrative is Administrative.IN_FORCE
    ]
    if not in_force:
        unpaid = any(administrative is Administrative.AWAITING_PAYMENT for administrative, _ in states)
        rule = "payment_awaited" if unpaid else "enrolment_not_validated"
        return rule, "administrative_enrolment_pending", {""}
    waits = {STEPS[i][1] for i in in_force if states[i][1] is Pedagogical.PENDING}
    unvalidated = {"UFR des sciences" if component == "SCI" else component for component in waits}
    if unvalidated:
        return "courses_wait_for_enrolment", "pedagogical_enrolment_pending", unvalidated
    if len(in_force) < len(states):
        others = {f"Licence {STEPS[i][0]}" for i in range(len(states)) if i not in in_force}
        return "courses_wait_for_other_enrolment", "other_enrolment_pending", others
    return None, None, set()


def test_all_faces_tell_one_cause_of_any_two_enrolments(office: Office) -> None:
    enrolment_rules = {
        "payment_awaited",
        "enrolment_not_validated",
        "courses_wait_for_enrolment",
        "courses_wait_for_other_enrolment",
    }
    for states in itertools.product(STATES, repeat=2):
        number = office.plant(Planted(states))
        office.wait(number)
        rule, reason, named = due_of(states)
        seen = office.look(number)
        assert seen.status is not None
        moodle = seen.status.targets[TARGETS.index("moodle")]
        assert moodle.reason == reason, states
        found = [each for each in judge(seen, live=False) if each.rule in enrolment_rules]
        assert [each.rule for each in found] == ([] if rule is None else [rule]), states
        for finding in found:
            told = finding.words.get("component", finding.words.get("step", ""))
            assert set(str(told).split(", ")) == named, states
        student = Diagnosis(seen, tuple(found), live=False).for_student("fr")
        opens = [each for each in student.openings if "moodle" in each.services]
        assert bool(opens) == (rule is not None), states
        if rule == "payment_awaited":
            assert opens[0].steps[0] == OpeningStep.PAY
            assert opens[0].condition.startswith("vos droits d’inscription (Licence L1")
        elif rule == "courses_wait_for_enrolment":
            assert all(component in opens[0].condition for component in named)
