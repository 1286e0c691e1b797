"""The mutation run's own rules: which tests a mutant faces, in which order, and what is told of it."""

from __future__ import annotations

import datetime as dt
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.mutation import __main__ as run
from scripts.mutation.groups import GROUPS, Group
from scripts.mutation.judge import KILLED, SURVIVED, UNDECIDED, Bounds, Forks, Kills, within
from scripts.mutation.mutants import Mutant, mutate
from scripts.mutation.page import section

ROOT = Path(__file__).parents[3]
PATH = "producers/registrar/sample.py"
GROUP = Group("import", ("producers/registrar/*.py",), ("test_registr*",))
SOURCE = '''\
"""A module."""


class Guard:
    def held(self, lost: int, people: int) -> bool:
        if (
            lost > 50
            and people > 0
        ):
            return True
        return False


def share(lost: int, people: int) -> float:
    return lost / people
'''


@pytest.fixture(scope="module")
def mutants() -> list[Mutant]:
    return mutate(PATH, SOURCE)[1]


def test_a_mutant_is_known_by_its_function_and_what_is_changed(mutants: list[Mutant]) -> None:
    changed = {(mutant.function, mutant.before, mutant.after) for mutant in mutants}
    assert ("share", "return lost / people", "return lost * people") in changed
    assert ("Guard.held", "lost > 50", "lost >= 50") in changed


def test_a_mutant_s_place_is_the_statement_and_of_a_condition_its_head(mutants: list[Mutant]) -> None:
    places = {mutant.before: (mutant.statement, mutant.body) for mutant in mutants}
    assert places["lost > 50"] == ((6, 9), (5, 11))
    assert places["return True"] == ((10, 10), (5, 11))
    assert places["return lost / people"] == ((15, 15), (14, 15))


def test_every_mutant_runs_in_the_file_that_is_made() -> None:
    code, mutants = mutate(PATH, SOURCE)
    assert mutants
    assert all(mutant.name.rsplit(".", 1)[1] in code for mutant in mutants)
    assert len({mutant.digest for mutant in mutants}) == len(mutants)


def test_a_mutant_survives_being_stored(mutants: list[Mutant]) -> None:
    assert Mutant.of({**mutants[0].stored(), "statement": [*mutants[0].statement]}) == mutants[0]


def test_quick_tests_come_first_and_each_before_its_other_cases() -> None:
    kills = Kills(["a[1]", "a[2]", "a[3]", "b", "slow"], [0.1, 0.1, 0.1, 0.15, 1.0])
    assert kills.likeliest(range(5), ["line", "function", "file"]) == [0, 3, 1, 2, 4]


def test_whoever_killed_a_neighbour_comes_before_the_quick_ones() -> None:
    kills = Kills(["quick", "killed there", "killed in the file"], [0.1, 5.0, 5.0])
    kills.add(2, ["other line", "other function", "file"])
    kills.add(1, ["other line", "function", "file"])
    assert kills.likeliest(range(3), ["line", "function", "file"]) == [1, 2, 0]


@pytest.mark.parametrize(
    ("most", "expected"), [(None, [0, 1, 2]), (1.2, [0, 2]), (0.1, [0])], ids=["all", "some", "one at least"]
)
def test_a_survivor_faces_as_many_tests_as_the_round_allows(most: float | None, expected: list[int]) -> None:
    assert within([0, 1, 2], [1.0, 5.0, 0.2], most) == expected


def sleep(_pipe: int) -> None:
    threading.Event().wait()


def work_for_a_second(_pipe: int) -> None:
    began_s = time.process_time()
    while time.process_time() - began_s < 1:
        pass


@pytest.mark.parametrize(
    ("work", "status"),
    [(sleep, -signal.SIGKILL), (work_for_a_second, 0)],
    ids=["who waits for ever", "who works is not asleep, on a busy machine either"],
)
def test_a_mutant_is_ended_when_it_has_slept_too_long(work: Callable[[int], None], status: int) -> None:
    ended: list[int] = []
    forks = Forks(1, look_s=0.01)
    forks.run(work, Bounds(cpu_s=60, sleep_s=[0.5]), lambda _answer, status: ended.append(status))
    forks.wait()
    assert ended == [status]


def test_what_one_test_sleeps_is_not_counted_for_the_next() -> None:
    ended: list[int] = []
    forks = Forks(1, look_s=0.01)

    def tests(_pipe: int) -> None:
        for step in range(3):
            forks.at(step)
            threading.Event().wait(0.4)

    forks.run(tests, Bounds(cpu_s=60, sleep_s=[0.9] * 3), lambda _answer, status: ended.append(status))
    forks.wait()
    assert ended == [0]


def test_a_group_may_be_named_behind_the_options_as_make_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(run, "run", lambda *given: asked.append(given))
    monkeypatch.setattr(run, "VERDICTS", Path("/nonexistent"))
    run.main(["run", "--children", "2", "runner", "engine"])
    assert asked == [(["runner", "engine"], 2, 3, 1.0)]


TODAY, LATER = dt.date(2026, 11, 24), dt.date(2026, 11, 26)


def verdict(mutant: Mutant, said: str, **more: Any) -> dict[str, dict[str, Any]]:
    return {mutant.name: {"name": mutant.name, "digest": mutant.digest, "verdict": said, **more}}


def test_the_report_counts_what_was_judged_and_who_survived(mutants: list[Mutant]) -> None:
    first, second, third, fourth = mutants[:4]
    verdicts = (
        verdict(first, KILLED, by="a")
        | verdict(second, SURVIVED, faced={"a", "b"}, of=9)
        | verdict(third, UNDECIDED)
        | {fourth.name: {"verdict": KILLED, "digest": "of the code before"}}
    )
    told = section({GROUP: mutants[:4]}, verdicts, TODAY)
    assert told.splitlines()[2:] == ["| import | 2026-11-24 | 4 | 2 | 1 | 1 | 1 | 50.0 % |"]


def test_a_group_that_was_not_judged_keeps_the_line_that_it_has(mutants: list[Mutant]) -> None:
    other = Group("identity", ("consumers/registry/identity.py",), ("test_identit*",))
    before = section({GROUP: mutants}, verdict(mutants[0], KILLED, by="a"), TODAY)
    survived = verdict(mutants[0], SURVIVED, faced=set(), of=0)
    now = section({GROUP: [], other: mutants}, survived, LATER)
    both = section({GROUP: [], other: mutants}, survived, LATER, before)
    assert "| import |" not in now
    assert both.index("2026-11-24") < both.index("2026-11-26")
    assert section({GROUP: [], other: []}, {}, LATER, both) == both


def test_every_group_has_files_and_judges_and_no_file_is_in_two() -> None:
    paths = [path for group in GROUPS for path in group.paths(ROOT)]
    assert len(paths) == len(set(paths))
    assert all(group.paths(ROOT) and group.judges(ROOT) for group in GROUPS)
    assert len({group.name for group in GROUPS}) == len(GROUPS)
