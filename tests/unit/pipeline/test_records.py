"""Dead letters, the welcome message's journal, the audit, and what consumers say of themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from consumers.mailbox.welcome_journal import RecordedIntent, WelcomeMessages, welcome_messages
from pipeline import accounts, audit, status
from pipeline.accounts import accounts as accounts_table
from pipeline.audit.trail import audit as audit_table
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.events import record_unreadable
from pipeline.dead_letters.rows import DeadLetter
from pipeline.eventlog.port import Record
from pipeline.status import ConsumerStatus
from schemas import catalogue
from schemas.account import Stage
from schemas.envelope import EnvelopeError, from_record
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.database_kit import START, Clock, undone
from sesame.testing.servers.pipeline_kit import Plant

LEA, PAUL = "22001234", "22005678"


def letter(name: str, **changes: object) -> DeadLetter:
    values: dict[str, object] = {
        "id": name,
        "consumer": "moodle",
        "student_number": LEA,
        "version": 1,
        "cause": "moodle_refused",
        "message": "refused",
        "attempts": 1,
        "recorded_at": START,
    }
    return DeadLetter(**(values | changes))  # type: ignore[arg-type]


def record(database: Database, *letters: DeadLetter) -> list[bool]:
    with database.write() as connection:
        return [dead_letters.add(connection, database, each) for each in letters]


def resolve(database: Database, student: str, version: int, *, cause: str | None = None) -> list[str]:
    with database.write() as connection:
        return dead_letters.mark_resolved(
            connection, "moodle", student, up_to_version=version, how="replayed", now=START + 9, cause=cause
        )


def test_a_dead_letter_is_recorded_once_however_often_its_turn_is_repeated(database: Database) -> None:
    assert record(database, letter("a"), letter("a")) == [True, False]
    with database.read() as connection:
        assert dead_letters.unresolved(connection) == [letter("a")]


def test_a_success_resolves_the_letters_up_to_its_version_and_keeps_them(database: Database) -> None:
    record(
        database,
        letter("old", version=1),
        letter("none", version=None),
        letter("newer", version=3),
        letter("other consumer", consumer="directory"),
        letter("other student", student_number=PAUL),
    )
    assert sorted(resolve(database, LEA, 2)) == ["none", "old"]
    assert resolve(database, LEA, 2) == []
    with database.read() as connection:
        left = {each.id for each in dead_letters.unresolved(connection)}
        [old] = dead_letters.by_id(connection, "old")
    assert left == {"newer", "other consumer", "other student"}
    assert (old.resolution, old.resolved_at) == ("replayed", START + 9)


def test_dead_letters_are_paged_by_key_and_each_comes_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_ROWS_PER_PAGE", 3)
    names = [f"{name:02}" for name in range(10)]
    record(database, *(letter(name, recorded_at=START + int(name) // 4) for name in reversed(names)))
    record(database, letter("other", cause="timed_out", recorded_at=START))
    which = dead_letters.Which(consumer="moodle", cause="moodle_refused")
    with database.read() as connection:
        assert [one.id for one in dead_letters.each(connection, which)] == names
        [*some] = dead_letters.each(connection, which, limit=4)
        assert [one.id for one in some] == names[:4]
        [*rest] = dead_letters.each(connection, which, some[-1], limit=5)
        assert [one.id for one in rest] == names[4:9]
        assert list(dead_letters.each(connection, which, letter("99", recorded_at=START + 2))) == []
        assert dead_letters.counts(connection, which) == {("moodle", "moodle_refused"): 10}
        assert dead_letters.counts(connection)["moodle", "timed_out"] == 1


def test_letters_of_one_cause_can_be_resolved_alone(database: Database) -> None:
    record(database, letter("a"), letter("b", cause="timed_out"))
    assert resolve(database, LEA, 9, cause="timed_out") == ["b"]


def test_letters_are_found_by_what_an_operator_knows(database: Database) -> None:
    record(
        database,
        letter("abc", recorded_at=START + 1),
        letter("abd", student_number=None, cause="not_an_event"),
        letter("a%c", student_number=PAUL, consumer="mailbox", recorded_at=START + 2),
    )
    with database.read() as connection:

        def ids(**given: Any) -> list[str]:
            return [each.id for each in dead_letters.unresolved(connection, **given)]

        assert ids() == ["abd", "abc", "a%c"]  # oldest first
        assert ids(consumer="moodle") == ["abd", "abc"]
        assert ids(student_number=PAUL) == ["a%c"]
        assert ids(cause="not_an_event", consumer="moodle") == ["abd"]
        within = dead_letters.Which(since=START + 1, until=START + 2)
        assert dead_letters.students(connection, within) == [LEA]
        assert dead_letters.students(connection, dead_letters.Which()) == [LEA, PAUL]
        assert {each.id for each in dead_letters.by_id(connection, "ab")} == {"abc", "abd"}
        assert [each.id for each in dead_letters.by_id(connection, "a%")] == ["a%c"]
        assert dead_letters.counts(connection) == {
            ("mailbox", "moodle_refused"): 1,
            ("moodle", "moodle_refused"): 1,
            ("moodle", "not_an_event"): 1,
        }


def test_the_intent_to_welcome_is_recorded_once_and_never_replaced(database: Database, clock: Clock) -> None:
    journal = WelcomeMessages(database, clock=clock, adopted=lambda _numbers: {})
    assert journal.intend({LEA: ("<one@univ-exemple.fr>", 7, 12)}) == {}
    two = ("<two@univ-exemple.fr>", 2**32 - 1, 2**32 - 1)  # RFC 9051: unsigned
    again = journal.intend({PAUL: two, LEA: ("<other@univ-exemple.fr>", 8, 13)})
    assert again == {LEA: RecordedIntent("<one@univ-exemple.fr>", 7, 12, "intended")}
    journal.sent([LEA])
    journal.undecided([PAUL])
    assert journal.known([LEA, PAUL, "nobody"]) == {
        LEA: RecordedIntent("<one@univ-exemple.fr>", 7, 12, "sent"),
        PAUL: RecordedIntent(*two, "undecided"),
    }
    with database.read() as connection:
        rows = connection.execute(select(welcome_messages.c.student_number, welcome_messages.c.state))
        states = {row.student_number: row.state for row in rows}
    assert states == {LEA: "sent", PAUL: "undecided"}


def test_the_journal_knows_no_other_state(database: Database, clock: Clock) -> None:
    journal = WelcomeMessages(database, clock=clock, adopted=lambda _numbers: {})
    journal.intend({LEA: ("<one@univ-exemple.fr>", 7, 12)})
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(update(welcome_messages).values(state="lost"))


def test_an_operators_act_is_noted_in_the_transaction_that_it_is_done_in(database: Database) -> None:
    with undone(database) as connection:
        audit.note(connection, database, actor="root", action="replay", detail={"students": 1})
    with database.write() as connection:
        audit.note(
            connection, database, actor="m" * 80, action="replay", detail={"reason": "élèves", "students": 3}
        )
    with database.read() as connection:
        [row] = connection.execute(select(audit_table)).all()
    assert (row.action, len(row.actor)) == ("replay", 64)
    assert json.loads(row.detail) == {"reason": "élèves", "students": 3}


def test_each_process_speaks_for_itself_and_old_ones_are_forgotten(database: Database) -> None:
    def say(process: str, state: str, seen_at: float) -> None:
        with database.write() as connection:
            status.report(
                connection, database, ConsumerStatus("moodle", process, state, "why", START, seen_at)
            )

    say("one", "running", START)
    say("other", "running", START + 1)
    say("one", "open", START + 2)
    with database.read() as connection:
        said = [(each.process, each.state) for each in status.statuses(connection)]
    assert said == [("one", "open"), ("other", "running")]  # newest first
    with database.write() as connection:
        status.forget_others(connection, "moodle", seen_before=START + 2)
    with database.read() as connection:
        assert [each.process for each in status.statuses(connection)] == ["one"]


def test_a_process_is_known_by_its_place_and_its_last_sign_of_life(database: Database) -> None:
    one = ConsumerStatus("moodle", "crous-1:4711:0badcafe#2", "running", "", START, START)
    assert one.place == "crous-1:4711#2"
    assert [one.is_silent(START + later) for later in (0.0, 30.0, 30.1)] == [False, False, True]
    assert (one.silent_s(START + 43), one.silent_s(START - 5)) == (43.0, 0.0)


def test_a_process_is_forgotten_with_its_workers_and_nobody_else(database: Database) -> None:
    for process in ("h:1:aa", "h:1:aa#2", "h:1:aab", "h:11:aa"):
        for consumer in ("moodle", "mailbox"):
            with database.write() as connection:
                row = ConsumerStatus(consumer, process, "running", "", START, START)
                status.report(connection, database, row)
    with database.write() as connection:
        assert status.forget(connection, "h:11:aa", "mailbox") == 1
        assert status.forget(connection, "h:1:aa") == 4
    with database.read() as connection:
        left = sorted((each.process, each.consumer) for each in status.statuses(connection))
    assert left == [("h:11:aa", "moodle"), ("h:1:aab", "mailbox"), ("h:1:aab", "moodle")]


def test_accounts_are_loaded_whole_and_a_broken_one_still_has_its_version(database: Database) -> None:
    account = account_of(LEA, version=2)
    with database.write() as connection:
        for number, document in ((LEA, account.model_dump_json()), (PAUL, "{broken")):
            connection.execute(
                insert(accounts_table).values(
                    student_number=number,
                    version=2,
                    stage=Stage.ACTIVE,
                    login=number,
                    changed_at=START,
                    document=document,
                )
            )
    with database.read() as connection:
        assert accounts.newest(connection, [LEA, "nobody"]) == {LEA: account}
        assert accounts.version_of(connection, PAUL) == 2
        assert accounts.version_of(connection, "nobody") is None
        assert accounts.by_stage(connection) == {"active": 2}


def test_a_record_that_cannot_be_read_is_a_letter_that_says_where_it_is_and_once(
    plant: Plant, clock: Clock
) -> None:
    record = Record(catalogue.ACCOUNTS, 1, 3, "A", b"{broken", (), 123)
    with pytest.raises(EnvelopeError) as fault:
        from_record(record.key, record.headers, record.value)
    record_unreadable(plant.database, "directory", record, fault.value)
    record_unreadable(plant.database, "directory", record, fault.value)  # a redelivery
    [first] = plant.letters()
    assert (first.consumer, first.student_number, first.version) == ("directory", None, None)
    assert (first.topic, first.partition, first.offset) == (catalogue.ACCOUNTS, 1, 3)
    assert (first.timestamp_ms, first.attempts, first.recorded_at) == (123, 1, clock.now)
    assert first.cause == fault.value.cause
    assert first.message.startswith("sesame.accounts/1@3: ")
    for another in (
        record._replace(topic=catalogue.ACTIVATIONS),
        record._replace(partition=0),
        record._replace(offset=4),
    ):
        record_unreadable(plant.database, "directory", another, fault.value)
    record_unreadable(plant.database, "moodle", record, fault.value)
    assert len({letter.id for letter in plant.letters()}) == 5
