"""`sesame run` in one process: it does the whole job, no loop ends in silence, and a stop is bounded."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection

from consumers.propagation.handler import LATE
from pipeline import timers
from sandbox.process import PATIENCE_S
from sesame.app import background, process_runner
from sesame.app.observability.metrics import Metrics
from sesame.app.process_runner import OneOwner, ProcessRunner, UnknownConsumer
from sesame.testing.servers.registry_kit import LEA
from sesame.testing.servers.running_kit import Run, Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(process_runner, "RESTART_AFTER_S", 0.1)
    monkeypatch.setattr(background, "TIMERS_EVERY_S", 0.02)
    site = Site(tmp_path)
    yield site
    site.close()
    gc.unfreeze()  # for the tests that come after


@pytest.fixture
def run(site: Site) -> Iterator[Run]:
    run = Run(site)
    yield run
    run.stop()


def test_each_consumer_is_there_before_its_port_says_that_the_process_is_ready(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, tuple[str, str]]] = []
    port = SimpleNamespace(start=lambda: seen.append(run.states()), stop=lambda: None)
    monkeypatch.setattr(process_runner, "health_server", lambda *_given: port)
    run.start()
    run.until(lambda: bool(seen))
    assert seen == [dict.fromkeys(("registry", "propagation", "moodle"), ("running", ""))]


def test_the_loops_begin_with_what_is_loaded_out_of_the_collectors_sight(run: Run) -> None:
    frozen: list[int] = []

    def look(stopping: threading.Event) -> None:
        frozen.append(gc.get_freeze_count())
        stopping.wait(PATIENCE_S)

    gc.unfreeze()
    run.site.instead["moodle"] = look
    run.start()
    run.until(lambda: bool(frozen))
    assert frozen[0] > len(sys.modules), "the modules, and all that is in them"


def test_what_runs_loads_the_libraries_of_no_pages_and_of_no_target() -> None:
    code = "import sys, sesame.app.process_runner; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"sqlalchemy", "uvicorn", "prometheus_client"} <= set(loaded)
    pages = {"fastapi", "jinja2", "babel", "zxcvbn", "scim2_models", "alembic"}
    assert not (pages | {"ldap3", "cas", "icalendar", "kafka", "psycopg"}) & set(loaded)


def test_an_enrolment_and_an_activation_become_an_account_that_is_complete(run: Run) -> None:
    run.start()
    run.enrol_and_activate()
    run.until(lambda: run.propagated() == "completed")
    run.stop()
    assert run.letters() == []
    assert [set(handler.held) for handler in run.site.handlers] == [set(), {LEA}]  # the first one only looks
    assert run.states() == {}, "who ends as it should is not missed"


@pytest.mark.parametrize("name", ["registry", "propagation", "moodle"])
def test_a_loop_that_fails_says_so_without_naming_anybody_and_is_started_again(run: Run, name: str) -> None:
    run.site.fails = {name: [KeyError("Léa Martin")] * 10_000}
    run.start()
    run.until(lambda: run.states().get(name, ("", ""))[0] == "stopped")
    reason = run.states()[name][1]
    run.site.fails[name].clear()
    assert "KeyError" in reason
    assert "Martin" not in reason
    run.enrol_and_activate()
    run.until(lambda: run.propagated() == "completed")
    run.until(lambda: run.states()[name][0] == "running")


def test_while_a_loop_is_down_the_process_says_that_it_is_not_ready(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_runner, "RESTART_AFTER_S", PATIENCE_S)
    run.site.fails = {"registry": [KeyError("oops")]}
    run.start()
    run.until(lambda: run.runner._dead_loops() == "not running: registry")  # noqa: SLF001


def test_a_loop_that_ends_by_itself_says_so_and_its_successor_is_another_owner(run: Run) -> None:
    run.site.instead = {"moodle": lambda _stopping: None}
    run.start()
    run.until(lambda: len(run.site.owners) == 2)
    run.enrol_and_activate()
    run.until(lambda: run.propagated() == "completed")
    run.stop()
    assert len(set(run.site.owners)) == 2
    assert all(handler.closed for handler in run.site.handlers)  # no connection is left behind


def test_a_stop_does_not_wait_for_ever_for_a_loop_that_hangs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_runner, "JOIN_MARGIN_S", -0.9)
    hanging, let_go = threading.Event(), threading.Event()

    def hang(_stopping: threading.Event) -> None:
        hanging.set()
        assert let_go.wait(PATIENCE_S)

    run.site.instead = {"moodle": hang}
    run.start()
    assert hanging.wait(PATIENCE_S)
    run.stop()
    let_go.set()
    for thread in threading.enumerate():
        if thread.name == "moodle":
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_a_timer_that_fails_is_a_dead_letter_and_the_others_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def on_late(_self: object, _connection: Connection, number: str, _now: float) -> None:
        if number == LEA:
            raise KeyError("Léa Martin")
        ran.append(number)

    monkeypatch.setattr("consumers.propagation.handler.Propagation.on_late", on_late)
    with run.site.database.write() as connection:
        for number in (LEA, "22005678"):
            timers.arm(connection, run.site.database, LATE, number, 1.0)
    run.start()
    run.until(lambda: ran == ["22005678"] and len(run.letters()) == 1)
    [letter] = run.letters()
    assert (letter.consumer, letter.student_number, letter.cause) == ("propagation", LEA, "internal_error")
    assert "Martin" not in letter.message


def test_a_chore_that_hangs_does_not_hold_lateness_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    chores = iter(range(100))
    hanging, let_go = threading.Event(), threading.Event()

    def run_due(_self: object) -> None:
        if next(chores):  # the first time is before the loops
            hanging.set()
            let_go.wait(PATIENCE_S)

    monkeypatch.setattr("sesame.app.housekeeping.Housekeeping.run_due", run_due)
    monkeypatch.setattr(
        "consumers.propagation.handler.Propagation.on_late", lambda _s, _c, number, _n: ran.append(number)
    )
    run.start()
    assert hanging.wait(PATIENCE_S)
    with run.site.database.write() as connection:
        timers.arm(connection, run.site.database, LATE, LEA, 1.0)
    run.until(lambda: ran == [LEA])
    let_go.set()


def loops(site: Site, *consumers: str, workers: int = 1) -> list[str]:
    runner = ProcessRunner(site, Metrics(), consumers, workers=workers)
    return [loop.name for loop in runner._loops()]  # noqa: SLF001


def test_each_consumer_brings_the_duties_that_it_needs(site: Site) -> None:
    assert loops(site, "registry") == ["registry", "outbox", "timers", "housekeeping"]
    assert loops(site, "propagation") == ["propagation", "outbox", "timers"]
    assert loops(site, "moodle") == ["moodle", "outbox", "reconcile", "drift"]
    assert loops(site, "moodle", "moodle") == ["moodle", "outbox", "reconcile", "drift"]


def test_workers_are_members_of_their_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Site, "log_has_one_owner", False)
    night_and_day = ("reconcile", "drift")
    assert loops(site, "moodle", workers=3) == ["moodle", "moodle-2", "moodle-3", "outbox", *night_and_day]
    host = site.life.host
    assert [site.members.name("moodle", worker) for worker in (1, 2)] == [host, f"{host}-2"]


def test_what_cannot_be_run_is_refused(site: Site) -> None:
    with pytest.raises(UnknownConsumer, match="no such consumer: directory; there are registry"):
        ProcessRunner(site, Metrics(), ["directory"])  # it is not among the targets
    with pytest.raises(OneOwner):
        ProcessRunner(site, Metrics(), ["moodle"], workers=2)


def test_a_process_of_one_consumer_does_its_part(site: Site) -> None:
    rest, moodle = Run(site, ["registry", "propagation"]), Run(site, ["moodle"])
    rest.start()
    rest.enrol_and_activate()
    rest.until(lambda: rest.propagated() == "in_progress")
    moodle.start()
    rest.until(lambda: rest.propagated() == "completed")
    for run in (rest, moodle):
        run.stop()


def test_a_stop_names_what_has_not_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_runner, "JOIN_MARGIN_S", -0.9)
    hanging, let_go = threading.Event(), threading.Event()

    def hang(_stopping: threading.Event) -> None:
        hanging.set()
        assert let_go.wait(PATIENCE_S)

    site.instead = {"moodle": hang}
    left: list[str] = []
    runner, stopping = ProcessRunner(site, Metrics(), ["moodle"]), threading.Event()
    thread = threading.Thread(target=lambda: left.extend(runner.run(stopping)))
    thread.start()
    assert hanging.wait(PATIENCE_S)
    stopping.set()
    thread.join(PATIENCE_S)
    assert left == ["moodle"]
    let_go.set()
