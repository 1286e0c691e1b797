"""The rules of the mutation run: tests of a mutant, their order, the table."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.mutation import __main__ as run
from scripts.mutation.judge import Judge
from scripts.mutation.mutants import GROUPS, matching, mutate

Mutants = list[dict[str, Any]]
ROOT = Path(__file__).parents[3]
SOURCE = '''\
"""A module."""

from threading import Event


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


def countdown(steps: int) -> int:
    while steps > 0:
        steps -= 1
        Event().wait(timeout=0.001)
    return steps
'''
TESTS = """\
from sample import countdown, share


def test_share():
    assert share(3, 2) == 1.5


def test_countdown():
    assert countdown(3) == 0
"""
RUN = "from scripts.mutation import judge; judge.CPU_S = 1; judge.WALL_S = 5; raise SystemExit(judge.main())"


@pytest.fixture
def mutants(tmp_path: Path) -> Mutants:
    path = tmp_path / "sample.py"
    path.write_text(SOURCE, encoding="utf-8")
    return mutate(path, "sample.py")


def test_a_mutant_has_a_name_in_the_file_and_the_statement_that_is_changed(mutants: Mutants) -> None:
    lines = Path(mutants[0]["file"]).read_text(encoding="utf-8").splitlines()
    by_change = {each["change"]: each for each in mutants}
    name = by_change["return lost / people → return lost * people"]["name"]
    assert name.startswith("sample.x_share__mutmut_")
    assert any(name.removeprefix("sample.") in line for line in lines)
    first, last = by_change["lost > 50 → lost >= 50"]["statement"]
    assert [line.strip() for line in lines[first - 1 : last]] == ["if (", "lost > 50", "and people > 0", "):"]
    first, last = by_change["return True → return False"]["statement"]
    assert (first, lines[first - 1].strip()) == (last, "return True")
    assert len({each["digest"] for each in mutants}) == len(mutants)


def test_each_mutant_is_judged_by_the_tests_that_reach_it(mutants: Mutants, tmp_path: Path) -> None:
    profile = 'from hypothesis import settings\n\nsettings.register_profile("mutation")\n'
    (tmp_path / "conftest.py").write_text(profile, encoding="utf-8")
    (tmp_path / "test_sample.py").write_text(TESTS, encoding="utf-8")
    found = tmp_path / "verdicts.jsonl"
    job = {"mutants": mutants, "jobs": 4, "seconds": 3, "files": ["test_sample.py"], "tests": "digest"}
    subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        input=json.dumps(job | {"verdicts": str(found)}),
        text=True,
        check=True,
    )
    said = {each["change"]: each for each in map(json.loads, found.read_text("utf-8").splitlines())}
    assert len(said) == len(mutants)
    judges = {change: (each["verdict"], each["by"]) for change, each in said.items()}
    assert judges["lost > 50 → lost >= 50"] == ("survived", "")  # no test reaches it
    assert judges["return lost / people → return lost * people"] == ("killed", "test_sample.py::test_share")
    assert judges["while steps > 0: → while steps > 1:"] == ("killed", "test_sample.py::test_countdown")
    assert judges["steps -= 1 → steps = 1"] == ("endless", None)
    assert judges["Event().wait(timeout=0.001) → Event().wait(timeout=None)"] == ("endless", None)
    assert judges["Event().wait(timeout=0.001) → Event().wait(timeout=1.001)"] == ("survived", "")


MUTANT: dict[str, Any] = {"file": "file", "statement": [1, 1], "function": [1, 9]}
MUTANT |= {"name": "m", "places": ["line", "function"]}


def judge_of(**seconds: float) -> Judge:
    """One that knows what its tests take, and that all of them reach a certain line."""
    judge = Judge({"mutants": [], "seconds": 1.0})
    judge.seconds = seconds
    judge.reach["file", 3] = set(seconds)
    return judge


def test_a_neighbour_s_killers_come_before_the_quick_ones() -> None:
    judge = judge_of(slow=1.0, quick=0.1, killed_there=5.0, killed_near=5.0)
    judge.kills["line"]["killed_there"] = judge.kills["function"]["killed_near"] = 1
    assert judge.likeliest(MUTANT) == ["killed_there", "killed_near", "quick", "slow"]
    judge.reach["file", 1] = {"slow"}  # of the function, those that reach the statement
    assert judge.likeliest(MUTANT) == ["slow"]


@pytest.mark.parametrize(
    ("seconds", "part", "cpu_s"),
    [({"a": 0.1, "b": 0.2}, False, 5.5), ({"a": 0.3, "b": 0.6, "c": 0.7}, True, 8.5), ({"a": 5}, False, 29)],
    ids=["all", "some", "one at least"],
)
def test_a_survivor_faces_as_many_tests_as_the_bound_allows(
    seconds: dict[str, float], part: bool, cpu_s: float
) -> None:
    subject, most_s, _ = judge_of(**seconds).trial(MUTANT)
    assert subject == (MUTANT, part)
    assert most_s == pytest.approx(cpu_s)


def verdict(mutant: dict[str, Any], said: str, **more: Any) -> dict[str, Any]:
    return {mutant["name"]: {**mutant, "verdict": said, "part": False, "tests": "then", **more}}


def test_the_line_of_a_group_counts_what_was_judged_and_what_survived(mutants: Mutants) -> None:
    first, second, third, fourth, fifth = mutants[:5]
    verdicts = (
        verdict(first, "killed", part=True)
        | verdict(second, "survived", part=True)
        | verdict(third, "survived")
        | verdict(fourth, "endless")
        | verdict(fifth, "killed", digest="of the code before")
    )
    row = run.row_of("import", mutants[:6], verdicts, dt.date(2026, 11, 24))
    assert row == "| import | 2026-11-24 | 6 | 4 | 2 | 2 | 1 | 50.0 % |"


def test_a_group_that_was_not_judged_keeps_its_line_and_one_that_is_no_more_has_none() -> None:
    head = "| Group | Judged |\n|---|--:|\n"
    before = head + "| identity | 1 |\n| gone | 2 |\n| engine | 3 |\n"
    assert run.with_row(before, "| import | 4 |") == head + "| identity | 1 |\n| import | 4 |\n| engine | 3 |"
    assert run.with_row(before, "| engine | 5 |") == head + "| identity | 1 |\n| engine | 5 |"


def test_a_verdict_holds_while_the_function_does_and_a_survivor_s_while_the_tests_do() -> None:
    killed, survived = (
        {"digest": "same", "verdict": each, "tests": "then"} for each in ("killed", "survived")
    )
    assert run.holds(killed, {"digest": "same"}, "now")
    assert run.holds(survived, {"digest": "same"}, "then")
    assert not run.holds(survived, {"digest": "same"}, "now")
    assert not run.holds(killed, {"digest": "other"}, "then")
    assert not run.holds({}, {"digest": "same"}, "then")


def test_every_group_has_files_and_judges_and_no_file_is_in_two() -> None:
    paths = [path for files, _ in GROUPS.values() for path in matching(ROOT, files)]
    assert len(paths) == len(set(paths))
    for files, tests in GROUPS.values():
        assert matching(ROOT, files)
        assert all(matching(ROOT / "tests", pattern) for pattern in tests.split())
