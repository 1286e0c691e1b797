"""What the commands that only look show of many: a page at a time, and how to see the next one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from pipeline import parking, status, target_states
from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.parking import Kind, Parked
from pipeline.status import ConsumerStatus
from pipeline.target_states import Conclusion, State
from schemas.account import Lane
from sesame.app.observability.metrics import Metrics
from sesame.app.reporter import Reporter
from sesame.testing.servers.command import sesame

if TYPE_CHECKING:
    from pipeline.outbox import OutboxRelay


@pytest.fixture
def store(command_folder: Path) -> Iterator[Database]:
    """The store of the settings that the commands find."""
    with closing(Database(f"sqlite:///{command_folder / 'data' / 'sesame.db'}")) as database:
        migrate.upgrade(database)
        yield database


def try_again(store: Database, students: int, *, for_s: float, cause: str = "moodle_rejected") -> None:
    """So many students are tried again at Moodle, the first since so long."""
    with store.write() as connection:
        now = store.now(connection)
        for number in range(students):
            row = Parked(
                student_number=f"{cause} {number}",
                kind=Kind.RETRY,
                version=1,
                bells=1,
                due_at=now + 30,
                attempts=3,
                first_at=now - for_s + number,
                age_s=1.0,
                counted_at=now,
                cause=cause,
                message="refused",
                lane=Lane.PERSONAL,
                event_id="e",
                replay=False,
            )
            parking.park(connection, store, "moodle", row, seen=None)


def test_who_is_tried_again_is_shown_by_cause_with_number_and_age(store: Database) -> None:
    assert "tried again" not in sesame("overview").stdout
    try_again(store, 40, for_s=85)
    shown = sesame("overview").stdout
    assert re.search(
        r"^  tried again: moodle moodle_rejected: 40 students, the first for 8[5-9] s$", shown, re.MULTILINE
    )
    [(name, found)] = json.loads(sesame("overview", "--json").stdout)["retrying"].items()
    assert (name, found["students"]) == ("moodle moodle_rejected", 40)
    assert 85 <= found["oldest_s"] < 120


def test_the_doctor_sees_who_has_been_tried_again_for_long(store: Database) -> None:
    def examined() -> dict[str, str]:
        [found] = json.loads(sesame("doctor", "--only", "retries", "--json").stdout)
        return dict(found)

    assert examined()["state"] == "ok"
    try_again(store, 2, for_s=3, cause="unavailable")
    young = examined()
    assert (young["state"], young["text"][:33]) == ("ok", "tried again: moodle: 2 students, ")
    try_again(store, 40, for_s=85)
    old = examined()
    assert old["state"] == "warn"
    assert re.search(r"moodle: 40 students, the first for 8[5-9] s: moodle_rejected", old["text"])
    assert "sesame students --state retrying --cause moodle_rejected" in old["remedy"]


def test_the_metrics_say_who_is_tried_again(store: Database) -> None:
    try_again(store, 40, for_s=85)
    metrics = Metrics()
    relay = SimpleNamespace(waiting=lambda: 0)
    metrics.refresh_with(Reporter(metrics, store, process="p").refresh_from(cast("OutboxRelay", relay)))
    text = metrics.exposition().decode()
    labels = '{cause="moodle_rejected",consumer="moodle"}'
    assert f"sesame_retrying{labels} 40.0" in text
    [age] = re.findall(rf"^sesame_retrying_oldest_seconds{re.escape(labels)} (\S+)$", text, re.MULTILINE)
    assert 85 <= float(age) < 120


def wait_at_moodle(store: Database, reason: str, students: int) -> None:
    """So many students wait at Moodle for this."""
    with store.write() as connection:
        for number in range(students):
            whom = f"{reason} {number}"
            target_states.lease(connection, store, "moodle", {whom: 1}, owner="x", until=1.0)
            ended = Conclusion(whom, 1, State.WAITING, 1, 1, reason=reason)
            target_states.conclude(connection, store, "moodle", [ended], 1.0)


def test_what_an_operator_must_mend_is_shown_apart_and_measured(store: Database) -> None:
    assert "an operator must act" not in sesame("overview").stdout
    wait_at_moodle(store, "moodle_email_taken", 3)
    wait_at_moodle(store, "pedagogical_enrolment_pending", 5)
    collision = DeadLetter("0" * 64, "directory", "22600001", 1, "identity_collision", "held", 1, 1.0)
    with store.write() as connection:
        dead_letters.add(connection, store, collision)
    lines = [line for line in sesame("overview").stdout.splitlines() if "an operator must act" in line]
    assert lines == [
        "  an operator must act: moodle moodle_email_taken: 3",
        "  an operator must act: directory identity_collision: 1",
    ]
    counted = json.loads(sesame("overview", "--json").stdout)["for_operator"]
    assert counted == {"moodle moodle_email_taken": 3, "directory identity_collision": 1}
    metrics = Metrics()
    relay = SimpleNamespace(waiting=lambda: 0)
    metrics.refresh_with(Reporter(metrics, store, process="p").refresh_from(cast("OutboxRelay", relay)))
    measured = [line for line in metrics.exposition().decode().splitlines() if "operator_needed{" in line]
    assert measured == [
        'sesame_operator_needed{consumer="moodle",reason="moodle_email_taken"} 3.0',
        'sesame_operator_needed{consumer="directory",reason="identity_collision"} 1.0',
    ]


def say(
    store: Database, consumer: str, process: str, *, ago_s: float, state: str = "running", why: str = ""
) -> None:
    with store.write() as connection:
        at = store.now(connection) - ago_s
        status.report(connection, store, ConsumerStatus(consumer, process, state, why, at, at))


CONSUMERS = ("registry", "propagation", "directory", "mailbox", "moodle")


def test_a_silent_process_and_one_of_two_that_is_stuck_are_seen(store: Database) -> None:
    for name in CONSUMERS:
        say(store, name, "h:1:aa", ago_s=2)
    [well] = json.loads(sesame("doctor", "--only", "processes", "--json").stdout)
    assert (well["state"], well["text"]) == ("ok", "5 consumers at work, in h:1")
    say(store, "moodle", "h:1:aa", ago_s=43)
    say(store, "mailbox", "h:2:bb", ago_s=1, state="misconfigured", why="the key is refused")
    say(store, "mailbox", "h:1:aa", ago_s=0)
    shown = sesame("overview").stdout
    assert re.search(r"^  moodle is silent for 4[3-9] s \(h:1\), last state running$", shown, re.MULTILINE)
    assert "  mailbox is misconfigured (h:2): the key is refused\n" in shown
    found = json.loads(sesame("overview", "--json").stdout)["consumers"]
    assert {name: found[name]["state"] for name in CONSUMERS} == {
        "registry": "running",
        "propagation": "running",
        "directory": "running",
        "mailbox": "misconfigured",
        "moodle": "silent",
    }
    [doctor] = json.loads(sesame("doctor", "--only", "processes", "--json").stdout)
    assert doctor["state"] == "fail"
    assert re.search(r"moodle: silent for 4[3-9] s \(h:1\), last state running", doctor["text"])
    assert "mailbox: misconfigured (h:2): the key is refused" in doctor["text"]
    assert doctor["remedy"].endswith("sesame processes forget h:1")


def test_a_consumer_that_runs_nowhere_is_said(store: Database) -> None:
    assert "  moodle is absent: no process runs it\n" in sesame("overview").stdout
    [nothing] = json.loads(sesame("doctor", "--only", "processes", "--json").stdout)
    assert nothing["state"] == "ok"  # before the first start
    for name in CONSUMERS[:-1]:
        say(store, name, "h:1:aa", ago_s=2)
    [doctor] = json.loads(sesame("doctor", "--only", "processes", "--json").stdout)
    assert (doctor["state"], doctor["text"]) == ("fail", "moodle: no process runs it")
    assert "sesame consume moodle" in doctor["remedy"]


def test_who_has_died_can_be_seen_off_and_who_lives_cannot(store: Database) -> None:
    say(store, "moodle", "h:1:aa", ago_s=50)
    say(store, "moodle", "h:1:aa#2", ago_s=50)
    say(store, "moodle", "h:2:bb", ago_s=1)
    assert "silent for 5" in sesame("processes", "list").stdout
    assert sesame("processes", "forget", "h:3").exit_code == 1
    alive = sesame("processes", "forget", "h:2")
    assert alive.exit_code == 1
    assert re.search(r"h:2 was seen \d+ s ago", alive.stderr)
    assert sesame("processes", "forget", "h:1").stdout == "h:1 is forgotten: moodle\n"
    listed = json.loads(sesame("processes", "list", "--json").stdout)
    assert [one["place"] for one in listed["moodle"]["processes"]] == ["h:2"]
    assert "process.forget" in sesame("audit").stdout
