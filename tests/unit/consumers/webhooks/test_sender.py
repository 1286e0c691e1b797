"""Receivers are told what happens: by real HTTP, and judged by the reference library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import get_args

import pytest
from pydantic import ValidationError
from standardwebhooks.webhooks import WebhookVerificationError

from consumers.webhooks import rows
from consumers.webhooks.handler import Webhooks
from consumers.webhooks.sender import AGAIN_AFTER_S, Sender
from consumers.webhooks.settings import ASYNC_ANSWER, Told, WebhookReceiver
from pipeline import quarantine
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.eventlog.port import TopicPartition
from pipeline.locks import SiteLocks
from schemas import catalogue
from schemas.account import Lane
from schemas.events import DeadLetterResolved, PropagationCompleted, ReplayRequested
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.webhooks_kit import (
    LEA,
    NEVER,
    NEXT,
    NOAH,
    SECRET,
    Program,
    WebhookHarness,
    completed,
    late,
    letter,
)

DAY_S = 86_400.0


@pytest.fixture
def desk(database: Database, clock: Clock, tmp_path: Path) -> WebhookHarness:
    return WebhookHarness(database, clock, tmp_path)


@pytest.fixture
def program() -> Iterator[Program]:
    program = Program()
    with program.serving():
        yield program


def send(*senders: Sender) -> None:
    """All that is due."""
    for sender in senders:
        while sender.step(NEVER):
            pass


def test_what_happens_is_told_as_the_reference_library_reads_it(
    desk: WebhookHarness, program: Program
) -> None:
    sender = desk.sender(program)
    identity = desk.say(completed())
    send(sender)
    [heard] = program.heard
    assert heard.headers["content-type"] == "application/json"
    assert heard.id == identity
    assert heard.checked(SECRET) == {
        "type": PropagationCompleted.type,
        "timestamp": "2026-08-31T08:00:00Z",
        "data": {
            "student_number": LEA,
            "version": 1,
            "lane": "personal",
            "window": "within_15_min",
            "opened_at": "2026-08-31T08:00:00Z",
            "completed_at": "2026-08-31T08:00:00Z",
            "elapsed_s": 4.0,
            "waited_s": 0.0,
            "targets_s": {"moodle": 4.0},
        },
    }
    with pytest.raises(WebhookVerificationError):
        heard.checked(NEXT)
    send(sender)
    assert (len(program.heard), desk.waiting()) == (1, 0)
    assert desk.states["webhooks_portal"] == ("running", "")


def test_an_event_that_is_read_twice_waits_once(desk: WebhookHarness, program: Program) -> None:
    sender = desk.sender(program)
    identity = desk.say(completed())
    desk.say(completed(), identity=identity)
    send(sender)
    assert [one.id for one in program.heard] == [identity]


def test_a_person_is_told_before_the_crowd_and_each_student_s_events_in_order(
    desk: WebhookHarness, program: Program
) -> None:
    sender = desk.sender(program)
    said = [desk.say(completed(NOAH, lane=Lane.BULK)), desk.say(late(LEA)), desk.say(completed(LEA))]
    send(sender)
    assert [one.id for one in program.heard] == [said[1], said[0], said[2]]


def test_answers_to_requests_pass_other_events_and_stay_in_order_themselves(
    desk: WebhookHarness, program: Program
) -> None:
    desk.sender(program)
    [name] = desk.receivers
    desk.say(completed(LEA, lane=Lane.BULK))
    desk.say(late(NOAH))
    with desk.database.write() as connection:
        for txn in ("first", "second"):
            rows.add_answer(connection, desk.database, [name], LEA, {"txn": txn, "answer": {}}, desk.now)
        found = rows.due(connection, name, desk.now, limit=9)
        assert [each.student_number for each in found] == [NOAH, LEA, LEA]
        assert json.loads(found[1].data)["txn"] == "first"
        rows.taken(connection, found[1])
        found = rows.due(connection, name, desk.now, limit=9)
        assert json.loads(found[1].data)["txn"] == "second"
        assert found[2].lane == 1


def test_keys_change_without_a_gap_and_without_a_restart(desk: WebhookHarness, program: Program) -> None:
    sender = desk.sender(program)
    for keys, good in (((SECRET,), (SECRET,)), ((SECRET, NEXT), (SECRET, NEXT)), ((NEXT,), (NEXT,))):
        desk.key_file("portal", *keys)
        desk.say(completed())
        send(sender)
        assert all(program.heard[-1].checked(key) for key in good)
    with pytest.raises(WebhookVerificationError):
        program.heard[-1].checked(SECRET)


def test_a_receiver_that_is_away_misses_nothing_and_nobody_is_charged(desk: WebhookHarness) -> None:
    program, well = Program(), Program()
    with program.serving(), well.serving():
        sender, other = desk.sender(program), desk.sender(well, "dashboard")
    with well.serving():
        said = [desk.say(completed(each)) for each in (LEA, NOAH)]
        for _ in range(20):
            send(sender, other)
            desk.passes(DAY_S)
        state, reason = desk.states["webhooks_portal"]
        assert (state, "Connection refused" in reason) == ("down", True)
        assert desk.lags["webhooks_portal"] == {TopicPartition(catalogue.PROPAGATION, 0): 2}
        assert [one.id for one in well.heard] == said, "another's outage is no matter of this one's"
        with program.serving():
            send(sender)
    assert [one.id for one in program.heard] == said
    assert (desk.waiting(), letters(desk)) == (0, [])


@pytest.mark.parametrize(("status", "state"), [(429, "throttled"), (503, "throttled"), (502, "down")])
def test_a_receiver_that_wants_fewer_calls_is_left_alone_for_as_long(
    desk: WebhookHarness, program: Program, status: int, state: str
) -> None:
    sender = desk.sender(program)
    desk.say(completed())
    program.answer(status, **({"Retry_After": "120"} if state == "throttled" else {}))
    send(sender)
    assert (desk.states["webhooks_portal"][0], len(program.heard)) == (state, 1)
    desk.passes(119 if state == "throttled" else 4)
    send(sender)
    assert len(program.heard) == 1
    desk.passes(1)
    send(sender)
    assert (program.heard[0].id, desk.states["webhooks_portal"][0]) == (program.heard[1].id, "running")


@pytest.mark.parametrize("status", [401, 403])
def test_a_receiver_that_refuses_our_signature_is_said_to(
    desk: WebhookHarness, program: Program, status: int
) -> None:
    sender = desk.sender(program)
    desk.say(completed())
    program.answer(status)
    send(sender)
    state, reason = desk.states["webhooks_portal"]
    assert (state, "webhooks.receivers.portal.key_file" in reason) == ("misconfigured", True)
    desk.passes(600)
    send(sender)
    assert len(program.heard) == 2


def test_a_redirection_is_not_followed(desk: WebhookHarness, program: Program) -> None:
    sender = desk.sender(program)
    desk.say(completed())
    program.answer(308, Location=f"http://127.0.0.1:{program.port}/elsewhere")
    send(sender)
    assert (desk.states["webhooks_portal"][0], len(program.heard)) == ("misconfigured", 1)


def test_a_receiver_that_is_gone_is_not_called_until_an_operator_says_so(
    desk: WebhookHarness, program: Program
) -> None:
    sender = desk.sender(program)
    desk.say(completed())
    program.answer(410)
    send(sender)
    desk.passes(7 * DAY_S)
    send(sender)
    assert (desk.states["webhooks_portal"][0], len(program.heard)) == ("quarantined", 1)
    with desk.database.write() as connection:
        assert quarantine.lift(connection, "webhooks_portal")
    send(sender)
    assert (program.heard[0].id, desk.waiting()) == (program.heard[1].id, 0)


def test_an_event_that_the_receiver_cannot_bear_does_not_stand_before_the_others(
    desk: WebhookHarness, program: Program
) -> None:
    sender = desk.sender(program)
    desk.say(late(LEA))
    desk.say(completed(LEA))
    desk.say(completed(NOAH))
    program.answer(500)
    send(sender)
    assert desk.states["webhooks_portal"][0] == "down"
    desk.passes(5)
    send(sender)
    assert program.students == [LEA, NOAH]
    desk.passes(2)
    send(sender)
    assert program.students == [LEA, NOAH, LEA, LEA]
    assert program.heard[2].id == program.heard[0].id, "in order all the same"


def test_what_is_refused_for_days_while_others_are_taken_is_a_dead_letter_and_can_be_replayed(
    desk: WebhookHarness, program: Program
) -> None:
    sender = desk.sender(program)
    program.refuses.add(LEA)
    identity = desk.say(completed(LEA))
    days_pass(desk, sender)
    assert program.students.count(LEA) == len(AGAIN_AFTER_S) + 1
    [found] = letters(desk)
    assert (found.consumer, found.cause, found.student_number) == ("webhooks_portal", "receiver_refused", LEA)
    assert "422" in found.message
    assert desk.waiting() == 0
    desk.say(completed(LEA, version=2))
    program.refuses.clear()
    send(sender)
    assert program.heard[-1].id != identity, "what was given up does not stand in the way"

    desk.say(asked_again("webhooks_other"), catalogue.ACTIVATIONS)
    send(sender)
    assert program.heard[-1].id != identity
    desk.say(asked_again("webhooks_portal"), catalogue.ACTIVATIONS)
    send(sender)
    assert program.heard[-1].id == identity
    assert letters(desk) == []


def test_while_nothing_at_all_is_taken_nothing_is_given_up(desk: WebhookHarness, program: Program) -> None:
    sender = desk.sender(program)
    program.refuses |= {LEA, NOAH}
    desk.say(completed(LEA))
    days_pass(desk, sender)
    assert (letters(desk), desk.waiting() > 0) == ([], True)


def test_the_senders_own_dead_letters_are_told_to_nobody(desk: WebhookHarness, program: Program) -> None:
    sender = desk.sender(program)
    resolved = DeadLetterResolved(
        student_number=LEA, dead_letter_id="a" * 40, consumer="webhooks_portal", resolution="replayed"
    )
    for event in (letter("webhooks_portal"), resolved, letter("moodle")):
        desk.say(event, catalogue.DEAD_LETTERS)
    send(sender)
    assert [one.checked(SECRET)["data"]["consumer"] for one in program.heard] == ["moodle"]


def test_a_receiver_is_told_what_it_wants_only(desk: WebhookHarness, program: Program) -> None:
    sender = desk.sender(program)
    desk.receivers["portal"] = desk.receivers["portal"].model_copy(update={"types": (late().type,)})
    desk.say(completed())
    desk.say(late())
    send(sender)
    assert [one.checked(SECRET)["type"] for one in program.heard] == [late().type]


def test_who_begins_to_listen_is_not_told_what_happened_long_ago(
    desk: WebhookHarness, program: Program
) -> None:
    sender = desk.sender(program)
    desk.now += 8 * DAY_S
    desk.say(completed())
    desk.now -= 2 * DAY_S
    news = desk.say(completed())
    send(sender)
    assert [one.id for one in program.heard] == [news]


def test_of_two_processes_one_sends(desk: WebhookHarness, program: Program) -> None:
    sender = desk.sender(program)
    desk.say(completed())
    with SiteLocks(desk.database).hold("webhooks_portal", ttl_s=60):
        assert not sender.step(NEVER)
    assert program.heard == []
    send(sender)
    assert len(program.heard) == 1


def test_without_keys_nothing_is_sent_and_the_operator_is_told_why(
    desk: WebhookHarness, program: Program
) -> None:
    sender = desk.sender(program, keys=("whsec_tooshort",))
    desk.say(completed())
    send(sender)
    assert (desk.states["webhooks_portal"][0], program.heard) == ("misconfigured", [])
    desk.key_file("portal", SECRET)
    desk.passes(10)
    send(sender)
    assert len(program.heard) == 1


def test_the_loop_ends_when_it_is_told_to(desk: WebhookHarness, program: Program) -> None:
    stopping = Event()
    stopping.set()
    desk.sender(program).run(stopping)
    assert program.heard == []


def test_each_type_that_receivers_may_be_told_is_an_event_without_persons() -> None:
    topics = [topic for topic in catalogue.TOPICS.values() if topic.name in Webhooks.topics]
    carried = {event.type for topic in topics if not topic.personal_data for event in topic.types}
    assert set(get_args(Told)) - {ASYNC_ANSWER} <= carried


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://portal.univ-exemple.fr/hooks"},
        {"url": "https://name:secret@portal.univ-exemple.fr/hooks"},
        {"types": ["fr.sesame.enrolment.recorded.v1"]},
        {"types": []},
    ],
)
def test_a_receiver_that_would_be_told_in_the_clear_or_of_persons_is_refused(
    wrong: dict[str, object],
) -> None:
    good: dict[str, object] = {"url": "https://portal.univ-exemple.fr/hooks", "key_file": "/keys"}
    WebhookReceiver.model_validate(good)
    with pytest.raises(ValidationError):
        WebhookReceiver.model_validate({**good, **wrong})


def days_pass(desk: WebhookHarness, sender: Sender) -> None:
    """Four days, in which others are said now and then."""
    send(sender)
    for delay in AGAIN_AFTER_S:
        desk.say(completed(NOAH))
        send(sender)
        desk.passes(delay * 1.2)
        send(sender)


def letters(desk: WebhookHarness) -> list[dead_letters.DeadLetter]:
    with desk.database.read() as connection:
        return dead_letters.unresolved(connection)


def asked_again(consumer: str) -> ReplayRequested:
    return ReplayRequested(student_number=LEA, consumer=consumer, replay_id="replay-1")
