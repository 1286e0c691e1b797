"""What stands on top of the console: a table of overviews, and the trouble that each is in."""

from __future__ import annotations

from typing import Any

import pytest

from sesame.operations.people.diagnosis.overview import Overview
from sesame.web.console.alerts import Trouble, TroubleKind, troubles

QUIET: dict[str, Any] = {
    "accounts": 9,
    "students": 9,
    "completed": 9,
    "waiting": 0,
    "failed": 0,
    "in_progress": 0,
    "dead_letters": 0,
    "within_15_min": 9,
    "within_60_min": 0,
    "beyond": 0,
    "late": 0,
    "breached": 0,
    "durations": [],
    "waiting_by_reason": {},
    "for_operator": {},
    "dead_letters_by_cause": {},
    "retrying": {},
    "seconds": {},
    "windows": {},
    "targets": {},
    "consumers": {},
    "observed": {},
}


def consumer(state: str, reason: str = "", *, silent: tuple[str, ...] = ()) -> dict[str, Any]:
    processes = [{"place": place, "silent": True} for place in silent] + [{"place": "a:1", "silent": False}]
    return {"state": state, "reason": reason, "processes": processes}


def told(**more: Any) -> list[Trouble]:
    return troubles(Overview(**QUIET | more))


@pytest.mark.parametrize(
    ("more", "worst"),
    [
        ({"consumers": {"moodle": consumer("absent", "none")}}, ("stopped", "moodle", "", 0, "none")),
        ({"consumers": {"moodle": consumer("silent", "x")}}, ("stopped", "moodle", "", 0, "x")),
        ({"consumers": {"moodle": consumer("stopped", "x")}}, ("stopped", "moodle", "", 0, "x")),
        (
            {"consumers": {"moodle": consumer("absent"), "registry": consumer("stopped")}},
            ("stopped", "", "", 0, "moodle registry"),
        ),
        ({"consumers": {"moodle": consumer("quarantined", "x")}}, ("quarantined", "moodle", "", 0, "x")),
        ({"consumers": {"moodle": consumer("misconfigured", "x")}}, ("misconfigured", "moodle", "", 0, "x")),
        ({"consumers": {"moodle": consumer("open", "x")}}, ("down", "moodle", "", 0, "x")),
        ({"consumers": {"moodle": consumer("half_open", "x")}}, ("down", "moodle", "", 0, "x")),
        ({"consumers": {"moodle": consumer("hanging", "x")}}, ("hanging", "moodle", "", 0, "x")),
        ({"consumers": {"moodle": consumer("paused", "x")}}, ("paused", "moodle", "", 0, "x")),
        (
            {"dead_letters_by_cause": {"moodle busy": 3, "moodle taken": 12, "directory taken": 7}},
            ("failed", "moodle", "taken", 12, "", "taken"),
        ),
        ({"late": 5, "breached": 5}, ("breached", "", "", 5, "")),
        ({"late": 5, "breached": 2}, ("breached", "", "", 2, "")),
        ({"late": 5}, ("late", "", "", 5, "")),
        ({"for_operator": {"moodle ambiguous": 4}}, ("operator", "moodle", "ambiguous", 4, "")),
        (
            {"consumers": {"moodle": consumer("running", silent=("b:2", "c:3"))}},
            ("silent", "moodle", "", 0, "b:2, c:3"),
        ),
    ],
)
def test_the_worst_stands_on_top(more: dict[str, Any], worst: tuple[Any, ...]) -> None:
    kind, *rest = worst
    assert told(**more)[0] == Trouble(TroubleKind(kind), *rest)


@pytest.mark.parametrize("state", ["running", "throttled"])
def test_what_goes_well_is_no_trouble(state: str) -> None:
    assert told(consumers={"moodle": consumer(state)}) == []
    assert told(retrying={"moodle busy": {"students": 3, "oldest_s": 9}}, waiting_by_reason={"x": 3}) == []


def test_what_stops_everybody_comes_before_what_stops_some_and_that_before_what_is_late() -> None:
    found = told(
        late=900,
        breached=800,
        dead_letters_by_cause={"moodle taken": 1},
        for_operator={"mailbox x": 700, "moodle taken": 1},
        consumers={
            "directory": consumer("open"),
            "mailbox": consumer("running", silent=("b:2",)),
            "moodle": consumer("quarantined"),
            "registry": consumer("stopped"),
        },
    )
    assert [one.kind.value for one in found] == [
        *("stopped", "quarantined", "down", "failed", "breached", "operator", "silent", "late")
    ]
    assert [one.students for one in found] == [0, 0, 0, 1, 800, 700, 0, 100]
