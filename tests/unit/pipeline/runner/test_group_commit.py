"""Group commit: who waits goes together, what comes meanwhile is the next group, and a fault is one's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from pipeline.errors import DependencyDown
from pipeline.eventlog.port import LogUnavailable
from pipeline.runner import group_commit
from pipeline.runner.group_commit import GroupCommit
from sandbox.process import PATIENCE_S


class Table:
    """A group commit whose first group hangs until all others wait; items are words, as large as long."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.errors: dict[str, Exception | None] = {}
        self.refuses: Callable[[Sequence[str]], Exception | None] = lambda _items: None
        self.entered, self.open = threading.Event(), threading.Event()
        self.commit: GroupCommit[str] = GroupCommit(self._work)

    def _work(self, items: Sequence[str]) -> None:
        first = not self.groups
        self.groups.append(list(items))
        if first:
            self.entered.set()
            assert self.open.wait(PATIENCE_S)
        if (error := self.refuses(items)) is not None:
            raise error

    def _one(self, item: str) -> None:
        try:
            self.commit.commit(item)
        except (DependencyDown, LogUnavailable, KeyError) as error:
            self.errors[item] = error
        else:
            self.errors[item] = None

    def run(self, *items: str) -> None:
        """Commit the first; while it is under way let the others come, one after the other."""
        threads = [threading.Thread(target=self._one, args=(item,)) for item in items]
        for waiting, thread in enumerate(threads):
            thread.start()
            assert self.entered.wait(PATIENCE_S)
            while waiting > len(self.commit._waiting):  # noqa: SLF001  # until it waits
                thread.join(0.001)
        self.open.set()
        for thread in threads:
            thread.join(PATIENCE_S)


@pytest.fixture
def table() -> Table:
    return Table()


def test_the_first_goes_alone_and_what_comes_meanwhile_is_the_next_group(table: Table) -> None:
    table.run("a", "b", "ccc", "d")
    assert table.groups == [["a"], ["b", "ccc", "d"]]
    assert table.errors == dict.fromkeys(("a", "b", "ccc", "d"))


def test_a_group_ends_with_the_item_by_which_it_reaches_its_size(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "SIZE_MAX", 3)
    table.run("x", "ab", "c", "d", "efgh", "i")
    assert table.groups == [["x"], ["ab", "c"], ["d", "efgh"], ["i"]]
    assert set(table.errors.values()) == {None}


def test_one_who_comes_after_the_others_leads_again(table: Table) -> None:
    table.run("a", "b")
    table.commit.commit("c")
    assert table.groups == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize("error", [DependencyDown("away"), LogUnavailable("away")])
def test_a_store_or_a_log_that_is_away_fails_the_whole_group_once(table: Table, error: Exception) -> None:
    table.refuses = lambda items: error if "c" in items else None
    table.run("a", "b", "c", "d")
    assert table.groups == [["a"], ["b", "c", "d"]]
    assert table.errors == {"a": None, "b": error, "c": error, "d": error}


def test_a_fault_in_one_item_is_not_the_others_although_they_are_committed_together(table: Table) -> None:
    fault = KeyError("oops")
    table.refuses = lambda items: fault if "c" in items else None
    table.run("a", "b", "c", "d")
    assert table.groups == [["a"], ["b", "c", "d"], ["b"], ["c"], ["d"]]
    assert table.errors == {"a": None, "b": None, "c": fault, "d": None}


def test_of_two_the_one_that_is_the_cause_is_found(table: Table) -> None:
    fault = KeyError("oops")
    table.refuses = lambda items: fault if "b" in items else None
    table.run("a", "b", "c")
    assert table.errors == {"a": None, "b": fault, "c": None}


def test_one_who_fails_alone_is_not_tried_twice(table: Table) -> None:
    table.refuses = lambda _items: KeyError("oops")
    table.open.set()
    with pytest.raises(KeyError, match="oops"):
        table.commit.commit("a")
    assert table.groups == [["a"]]


def test_whoever_comes_while_the_first_lingers_is_in_its_group() -> None:
    groups: list[list[str]] = []
    lingering, others = threading.Event(), threading.Event()

    def linger() -> None:
        lingering.set()
        assert others.wait(PATIENCE_S)

    commit: GroupCommit[str] = GroupCommit(lambda items: groups.append(list(items)), linger=linger)
    threads = [threading.Thread(target=commit.commit, args=(item,)) for item in "ab"]
    threads[0].start()
    assert lingering.wait(PATIENCE_S)
    threads[1].start()
    while len(commit._waiting) < 2:  # noqa: SLF001  # until both wait
        threads[1].join(0.001)
    others.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert groups == [["a", "b"]]


# --- those who do not wait ---------------------------------------------------------------------------------


def test_one_who_leaves_an_item_to_the_leader_goes_on_and_is_told_how_it_ended() -> None:
    table, told = Table(), dict[str, Exception | None]()
    table.refuses = lambda items: KeyError("oops") if "b" in items else None
    leader = threading.Thread(target=table.commit.leave, args=("a", partial(told.__setitem__, "a")))
    leader.start()
    assert table.entered.wait(PATIENCE_S)
    for item in "bc":
        table.commit.leave(item, partial(told.__setitem__, item))  # does not wait for the group under way
    assert told == {}
    table.open.set()
    leader.join(PATIENCE_S)
    assert table.groups == [["a"], ["b", "c"], ["b"], ["c"]]
    assert (told["a"], told["c"]) == (None, None)
    assert isinstance(told["b"], KeyError)


def test_one_who_waits_leads_on_and_the_leader_is_free() -> None:
    table, told = Table(), list[Exception | None]()
    leader = threading.Thread(target=table.commit.leave, args=("a", told.append))
    leader.start()
    assert table.entered.wait(PATIENCE_S)
    leading = threading.current_thread()

    def refuse(_items: Sequence[str]) -> None:
        nonlocal leading
        leading = threading.current_thread()

    table.refuses = refuse
    waiting = threading.Thread(target=table.commit.commit, args=("b",))
    waiting.start()
    while not table.commit._waiting:  # noqa: SLF001  # until it waits
        waiting.join(0.001)
    table.open.set()
    for thread in (leader, waiting):
        thread.join(PATIENCE_S)
    assert table.groups == [["a"], ["b"]]
    assert leading is waiting


def test_one_who_comes_while_the_next_leader_commits_waits_for_its_turn() -> None:
    table = Table()
    at_once: list[str] = []
    late = threading.Thread(target=table.commit.commit, args=("c",))

    def refuse(items: Sequence[str]) -> None:
        at_once.append("begun")
        if "b" in items:
            late.start()
            while not table.commit._waiting and len(at_once) == 1:  # noqa: SLF001  # until it waits, or commits
                late.join(0.001)
            assert at_once == ["begun"]
        at_once.clear()

    table.refuses = refuse
    table.run("a", "b")
    late.join(PATIENCE_S)
    assert table.groups == [["a"], ["b"], ["c"]]
    assert table.errors == {"a": None, "b": None}
