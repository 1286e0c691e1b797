"""The loop of facts: in order, each once in its effect, and one bad fact is that fact's trouble alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from pipeline import facts
from pipeline.db.database import Database, StoreUnavailable
from pipeline.eventlog.port import NewRecord
from pipeline.facts import Fact, Rejected
from sandbox.process import wait_until
from sesame.testing.servers.database_kit import ONLY_SQLITE, put
from tests.unit.pipeline.facts_kit import TOPICS, FactLoopHarness, Faulty, Handler


@pytest.fixture
def desk(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[FactLoopHarness]:
    monkeypatch.setattr(facts, "PAUSE_S", 0.01)
    desk = FactLoopHarness(tmp_path, database)
    yield desk
    desk.close()


@ONLY_SQLITE
def test_another_process_that_waits_has_its_turn_between_two_pages(
    desk: FactLoopHarness, database: Database, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "TRANSACTION_S", 0.0)
    monkeypatch.setattr(facts, "FACTS_PER_PAGE", 2)
    other = threading.Thread(target=lambda: put_once(store_url))

    class Slow(Handler):
        """Its first fact takes until the other process waits."""

        def handle(self, connection: Connection, facts: Sequence[Fact]) -> None:
            super().handle(connection, facts)
            if other.ident is None:
                other.start()
                wait_until(database.others_wait, "the other process to wait")

    desk.handler = Slow(database)
    for number in "ABC":
        desk.say(number)
    desk.start()
    desk.until(lambda: len(desk.kept()) == 4)
    other.join()
    assert desk.kept() == ["A", "B", "other", "C"]


def put_once(store_url: str) -> None:
    with closing(Database(store_url)) as other:
        put(other, "other")


def test_facts_are_applied_in_order_and_committed(desk: FactLoopHarness) -> None:
    for number in "ABC":
        desk.say(number)
    desk.start()
    desk.until(lambda: len(desk.kept()) == 3)
    desk.stop()
    assert desk.kept() == ["A", "B", "C"]
    assert desk.lag() == 0
    assert desk.rang >= 1
    assert desk.observer.states[-1] == "stopped"


def test_a_record_that_cannot_be_read_goes_to_the_dead_letters_and_the_rest_goes_on(
    desk: FactLoopHarness,
) -> None:
    desk.say("A")
    desk.producer.append([NewRecord(TOPICS[0], "B", b"{broken", ())])
    desk.say("C")
    desk.start()
    desk.until(lambda: "C" in desk.kept())
    desk.stop()
    [letter] = desk.letters()
    assert (letter.cause, letter.student_number, letter.offset) == ("not_an_event", None, 1)
    assert desk.kept() == ["A", "C"]
    assert desk.lag() == 0


def test_what_a_rejected_fact_wrote_is_undone_and_the_others_stay(desk: FactLoopHarness) -> None:
    desk.handler.fails = {"B": Rejected("seal_broken", "the former key is gone")}
    for number in "ABC":
        desk.say(number)
    desk.start()
    desk.until(lambda: "C" in desk.kept())
    desk.stop()
    assert desk.kept() == ["A", "C"]
    [letter] = desk.letters()
    assert (letter.cause, letter.student_number) == ("seal_broken", "B")
    assert letter.event_id is not None


@pytest.mark.parametrize(
    "error",
    [KeyError("Léa Martin, née le 3 mai 2007"), ValueError("Léa Martin"), AssertionError("Léa Martin")],
)
def test_a_fault_of_an_unforeseen_kind_is_that_facts_alone_and_tells_nothing_of_the_person(
    desk: FactLoopHarness, error: Exception
) -> None:
    desk.handler.fails = {"B": error}
    for number in "ABC":
        desk.say(number)
    desk.start()
    desk.until(lambda: "C" in desk.kept())
    desk.stop()
    assert desk.kept() == ["A", "C"]
    [letter] = desk.letters()
    assert letter.cause == "internal_error"
    assert type(error).__name__ in letter.message
    assert all(
        "Martin" not in text and "Léa" not in text for text in (letter.message, *desk.observer.troubles)
    )


def test_a_dead_letter_is_not_written_twice_when_its_fact_is_redelivered(desk: FactLoopHarness) -> None:
    desk.handler.fails = {"A": Rejected("refused", "no")}
    desk.say("A")
    consumer = desk.consumer()
    consumer.fail_commits = 1_000_000
    desk.start(consumer)
    desk.until(lambda: len(desk.letters()) == 1)
    desk.stop()
    desk.start()
    desk.until(lambda: desk.handler.seen == ["A"] * 4)  # each time with others, then alone
    desk.stop()
    assert len(desk.letters()) == 1
    assert desk.lag() == 0


def test_facts_that_were_applied_and_not_committed_are_redelivered_after_a_crash(
    desk: FactLoopHarness,
) -> None:
    consumer = desk.consumer()
    consumer.fail_commits = 1_000_000
    desk.say("A")
    desk.start(consumer)
    desk.until(lambda: desk.kept() == ["A"])
    desk.stop()
    assert desk.lag() == 1
    desk.say("B")
    desk.start()
    desk.until(lambda: len(desk.handler.seen) == 3)
    desk.stop()
    assert desk.handler.seen == ["A", "A", "B"]
    assert (desk.kept(), desk.letters()) == (["A", "B"], [])
    assert desk.lag() == 0


def test_a_commit_that_failed_is_made_good_without_another_fact(desk: FactLoopHarness) -> None:
    consumer = desk.consumer()
    consumer.fail_commits = 1
    desk.say("A")
    desk.start(consumer)
    desk.until(lambda: consumer.commits == [1])
    desk.stop()
    assert desk.handler.seen == ["A"]
    assert desk.lag() == 0


def test_no_fact_is_lost_when_the_log_goes_away_between_two_reads(desk: FactLoopHarness) -> None:
    """Personal facts were read, and then the bulk ones could not be: the position is past the first."""
    desk.say("P")
    desk.say("B", bulk=True)
    consumer = desk.consumer()
    consumer.fail_polls = {2}
    desk.start(consumer)
    desk.until(lambda: len(desk.kept()) == 2)
    desk.stop()
    assert desk.kept() == ["P", "B"]
    assert desk.lag() == 0


def test_personal_facts_come_first_and_bulk_ones_keep_a_share(
    desk: FactLoopHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "RECORDS_PER_TRANSACTION", 10)
    monkeypatch.setattr(facts, "BULK_SHARE", 2)
    for index in range(30):
        desk.say(f"B{index:02}", bulk=True)
    for index in range(25):
        desk.say(f"P{index:02}")
    desk.start()
    desk.until(lambda: len(desk.kept()) == 55)
    desk.stop()
    order = desk.kept()
    pages = [order[:12], order[12:24], order[24:31]]
    assert [[number[0] for number in page] for page in pages] == [
        ["P"] * 10 + ["B"] * 2,
        ["P"] * 10 + ["B"] * 2,
        ["P"] * 5 + ["B"] * 2,
    ]
    assert [number for number in order if number[0] == "B"] == [f"B{index:02}" for index in range(30)]


def test_a_store_that_is_away_stops_the_loop_and_nothing_is_lost_nor_buried(
    desk: FactLoopHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = threading.Event()
    away.set()
    write = Database.write

    def fails(self: Database) -> object:
        if away.is_set():
            raise StoreUnavailable("away")
        return write(self)

    monkeypatch.setattr(Database, "write", fails)
    desk.say("A")
    desk.start()
    desk.until(lambda: "down" in desk.observer.states)
    away.clear()
    desk.until(lambda: desk.kept() == ["A"])
    desk.stop()
    assert desk.letters() == []
    assert desk.lag() == 0


def test_a_lost_connection_in_the_middle_of_a_fact_is_the_stores_and_the_page_is_repeated(
    desk: FactLoopHarness,
) -> None:
    desk.handler.fails = {"B": OperationalError("INSERT", {}, Exception("connection lost"))}
    for number in "ABC":
        desk.say(number)
    desk.start()
    desk.until(lambda: "down" in desk.observer.states)
    assert desk.kept() == []
    desk.handler.fails = {}
    desk.until(lambda: len(desk.kept()) == 3)
    desk.stop()
    assert desk.kept() == ["A", "B", "C"]
    assert desk.letters() == []


def test_a_group_that_was_lost_while_the_store_was_away_is_left_to_its_new_owner(
    desk: FactLoopHarness,
) -> None:
    desk.handler.fails = {"A": StoreUnavailable("away")}
    desk.say("A")
    desk.start()
    desk.until(lambda: "down" in desk.observer.states)
    other = desk.consumer()  # a restart of the same member has the group now
    desk.until(lambda: other.inner.assignment() != {})
    seen = len(desk.handler.seen)
    desk.until(lambda: "running" in desk.observer.states)
    desk.handler.fails = {}
    assert desk.kept() == []
    assert len(desk.handler.seen) <= seen + 1  # at most the attempt that was under way
    other.inner.close()
    desk.until(lambda: desk.kept() == ["A"])
    desk.stop()
    assert desk.lag() == 0


def test_a_group_that_is_lost_before_the_commit_is_no_end_of_the_loop(desk: FactLoopHarness) -> None:
    stolen: list[Faulty] = []

    def steal(connection: Connection, facts: Sequence[Fact]) -> None:
        if not stolen:
            stolen.append(desk.consumer())
        handle(connection, facts)

    handle = desk.handler.handle
    desk.handler.handle = steal  # type: ignore[method-assign]
    desk.say("A")
    desk.start()
    desk.until(lambda: any("does not own" in trouble for trouble in desk.observer.troubles))
    stolen[0].inner.close()
    desk.until(lambda: desk.handler.seen == ["A", "A"])
    desk.stop()
    assert desk.lag() == 0
