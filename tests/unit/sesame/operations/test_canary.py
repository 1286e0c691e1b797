"""The canary is in no count and no list, whatever its state; a number in other letters is in all."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import insert, select

from consumers.registry.people import Identity, KnownPerson, People
from pipeline import accounts, parking
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.outbox import OutboxRelay
from pipeline.parking.rows import parked
from pipeline.target import OBSERVED_ONLY, Done, Retry
from pipeline.target_states import target_states, waiting_counts
from producers.replay.selection import Selection, select_students
from schemas.account import CANARY, Enrolment, Stage
from sesame.app.observability.metrics import Metrics
from sesame.app.reporter import Reporter
from sesame.operations.access.activation import _everybody, _not_activated
from sesame.operations.people.diagnosis.observed import observed
from sesame.operations.people.diagnosis.overview import show
from sesame.operations.people.diagnosis.students import StudentsRequest, listed
from sesame.operations.programs.registered_persons import PersonsRequest, look
from sesame.operations.work.canary import runs
from sesame.operations.work.canary.runs import CanaryStep
from sesame.operations.work.incidents import IncidentRequest
from sesame.operations.work.incidents import show as incident
from sesame.testing.servers import stores
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.database_kit import START
from sesame.testing.servers.population_kit import OPERATOR, TARGETS, site_of
from sesame.testing.servers.registry_kit import enrolled
from sesame.testing.servers.target_kit import turn

ANOTHER, LEA, PAUL = "Sesame-Canary", "22600001", "22600002"
COLLISION, BUSY = "identity_collision", "moodle_busy"


def give(database: Database, number: str, *, activated: bool) -> None:
    """A person with an account who waits, is tried again, was given up and is observed, at each target."""
    asked = datetime.fromtimestamp(START, UTC) if activated else None
    stage = Stage.ACTIVE if activated else Stage.PRECREATED
    account = account_of(number, f"login.{number}", activated_at=asked, stage=stage)
    stores.keep(database, account, changed_at=START)
    person = Identity.model_validate({"birth_name": "Martin", "birth_date": "2007-05-04"})
    stretch = {"due_at": START, "first_at": START, "counted_at": START, "attempts": 3, "event_id": "e"}
    row: dict[str, Any] = {
        "student_number": number,
        "version": 1,
        "lane": "personal",
        "cause": BUSY,
        **stretch,
    }
    with database.write() as connection:
        People(database).add(connection, KnownPerson(number, person, 1))
        step = Enrolment.model_validate(enrolled(number).model_dump(exclude_none=True))
        People(database).record_enrolment(connection, number, step.key, 1, step)
        connection.execute(insert(parked).values(consumer="moodle", kind="retry", **row))
        for target, reason in (("moodle", "pedagogical_enrolment_pending"), ("directory", OBSERVED_ONLY)):
            connection.execute(
                insert(target_states).values(
                    target=target, student_number=number, state="waiting", reason=reason, pending='["mail"]'
                )
            )
        letter = DeadLetter(f"dl-{number}", "mailbox", number, 1, COLLISION, "", 1, START)
        dead_letters.add(connection, database, letter)


def counted(database: Database) -> dict[str, Any]:
    """All that counts, lists or selects students."""
    site = site_of(database, TARGETS)
    versions = select(accounts.accounts.c.student_number, accounts.accounts.c.version)
    with database.read() as connection:
        of_the_store = {
            "stages": accounts.by_stage(connection),
            "parked": parking.counts(connection),
            "retries": parking.retries(connection),
            "letters": dead_letters.counts(connection),
            "recorded": dead_letters.recorded(connection, START - 1.0, START + 1.0),
            "waiting": waiting_counts(connection),
            "observed": observed(connection),
            "live": accounts.numbers_after(connection, *accounts.LIVE, after="", limit=100),
            "pages": list(accounts.pages(connection, versions)),
        }
    overview = show(site, OPERATOR)
    persons = look(site, OPERATOR, PersonsRequest(limit=100, counted=True))
    return of_the_store | {
        "overview": overview.model_dump(),
        "listed": [each.student_number for each in listed(site, OPERATOR, StudentsRequest()).students],
        "retrying": listed(site, OPERATOR, StudentsRequest(cause=BUSY)).students,
        "activated": _everybody(database),
        "to activate": list(_not_activated(database, {})),
        "to activate in turn": list(_not_activated(database, {"SCI": 0})),
        "to replay": select_students(database, "moodle", Selection(everybody=True)),
        "persons": ([each.student_number for each in persons.persons], persons.total),
        "incident": incident(site, OPERATOR, IncidentRequest(consumer="mailbox", cause=COLLISION)),
    }


@pytest.mark.parametrize("activated", [True, False])
def test_nothing_counts_lists_or_selects_it(database: Database, activated: bool) -> None:
    give(database, LEA, activated=True)
    give(database, PAUL, activated=False)
    before = counted(database)
    give(database, CANARY, activated=activated)
    assert counted(database) == before
    give(database, ANOTHER, activated=activated)
    after = counted(database)
    same = {name for name, value in before.items() if after[name] == value}
    of_others = (
        {"to activate", "to activate in turn"}
        if activated
        else {"live", "pages", "listed", "retrying", "to replay"}
    )
    assert same == of_others, "each of them counts who only looks like it"


def test_its_turns_are_in_no_metric_but_its_own(database: Database) -> None:
    metrics = Metrics()
    reporter = Reporter(metrics, database, process="h:1:aa")
    for number in (LEA, CANARY):
        reporter.outcome("moodle", Done("sha256:0", changed=True), turn(account_of(number)))
        reporter.outcome("moodle", Retry("moodle_busy", ""), turn(account_of(number)))
    for gauge, labels in (
        ("sesame_attempts_total", {"consumer": "moodle", "result": "done"}),
        ("sesame_attempts_total", {"consumer": "moodle", "result": "retry"}),
        ("sesame_target_changes_total", {"target": "moodle", "result": "written"}),
    ):
        assert metrics.registry.get_sample_value(gauge, labels) == 1.0


def test_its_newest_run_is_a_gauge_for_each_step_and_no_other_runs(database: Database) -> None:
    first = [CanaryStep(name="login", seconds=1.5, ok=False, cause="CAS is away"), step("reset", 2.0)]
    second = [step("Login", 0.25), step("moodle", 3.0)]
    metrics, relay = Metrics(), cast("OutboxRelay", SimpleNamespace(waiting=lambda: 0))
    by_itself, when_sent = Metrics(), Metrics()
    reporter = Reporter(metrics, database, process="h:1:aa")
    by_itself.refresh_with(reporter.refresh_from(relay, canary=True))
    when_sent.refresh_with(Reporter(when_sent, database, process="h:2:aa").refresh_from(relay))
    with database.write() as connection:
        assert runs.newest(connection) is None
        saved = runs.save(connection, first, START)
        assert (saved.ok, runs.newest(connection)) == (False, saved)
    by_itself.exposition()
    assert [value(metrics, "ok", name) for name in ("login", "reset")] == [0.0, 1.0]
    assert value(metrics, "seconds", "login") == 1.5
    with database.write() as connection:
        assert runs.save(connection, second, START + 300.0).ok
    by_itself.exposition()
    when_sent.exposition()
    assert [value(metrics, "ok", name) for name in ("login", "Login", "moodle", "reset")] == [
        None,
        1.0,
        1.0,
        None,
    ]
    assert metrics.registry.get_sample_value("sesame_canary_finished_timestamp_seconds") == START + 300.0
    assert value(when_sent, "ok", "moodle") is None


def step(name: str, seconds: float) -> CanaryStep:
    return CanaryStep(name=name, seconds=seconds, ok=True)


def value(metrics: Metrics, what: str, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"sesame_canary_{what}", {"step": name})
