"""How fast it is, for everybody to read: against quantiles that are counted by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from httpx import ASGITransport, AsyncClient, Response
from starlette.applications import Starlette

from consumers.propagation import times
from consumers.propagation.settings import PropagationSettings
from consumers.propagation.times import ClosedWindow
from pipeline.db.database import Database, StoreUnavailable
from schemas.account import Lane
from sesame.operations.people.diagnosis import figures
from sesame.operations.people.diagnosis.figures import Figures, PropagationFigures, measure
from sesame.testing.servers import stores
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.database_kit import START
from sesame.testing.servers.population_kit import TARGETS, done, join, student
from sesame.web.kit.figures import FIGURES_PATH, PICTURE_PATH, routes

NOW = START + 3600.0
RULES = PropagationSettings(late_s=900.0, breach_s=3600.0)
SVG = "{http://www.w3.org/2000/svg}"


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def look(database: Database, now: float = NOW) -> dict[str, Any]:
    with database.read() as connection:
        found = measure(connection, TARGETS, RULES, now)
    document: dict[str, Any] = json.loads(found.model_dump_json())
    return document


def test_of_nobody_there_are_no_quantiles(database: Database) -> None:
    nobody: dict[str, Any] = {
        "all": None,
        "within_late": 0,
        "within_breach": 0,
        "beyond": 0,
        "targets": {},
        "cohorts": {},
        "at_least": False,
    }
    assert look(database)["lanes"] == {"personal": nobody, "bulk": nobody}


def test_quantiles_are_of_those_who_were_completed_within_a_day_each_lane_by_itself(
    database: Database,
) -> None:
    for place in range(1, 101):
        done(database, f"{place:03d}", float(place))
    done(database, "old", 7.0, completed_at=NOW - 86_401.0)
    done(database, "batch", 500.0, lane="bulk")
    student(database, "waits", "waiting", seen={"directory": ("provisioned", 900.0)})
    lanes = look(database)["lanes"]
    assert lanes["personal"]["all"] == {"students": 100, "p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert lanes["bulk"]["all"] == {"students": 1, "p50": 500.0, "p95": 500.0, "p99": 500.0}


def test_both_edges_of_the_window_are_inside_it(database: Database) -> None:
    for number, seconds in (("A", 900.0), ("B", 900.5), ("C", 3600.0), ("D", 3600.5)):
        done(database, number, seconds)
    lane = look(database, START + 4000.0)["lanes"]["personal"]
    assert (lane["within_late"], lane["within_breach"], lane["beyond"]) == (1, 2, 1)


def test_a_target_counts_until_it_was_observed_and_never_longer_than_the_whole(database: Database) -> None:
    done(database, "A", 9.0, seen={"directory": ("provisioned", 2.0), "moodle": ("provisioned", 9.0)})
    done(database, "B", 5.0, seen={"directory": ("provisioned", 3000.0)})  # done again by a later pass
    done(database, "C", 4.0, seen={"directory": ("provisioned", -1.0)})  # before the window was opened
    targets = look(database)["lanes"]["personal"]["targets"]
    assert targets == {
        "directory": {"students": 3, "p50": 2.0, "p95": 5.0, "p99": 5.0},
        "moodle": {"students": 1, "p50": 9.0, "p95": 9.0, "p99": 9.0},
    }


def test_a_cohort_of_few_is_not_named(database: Database) -> None:
    for place in range(10):
        done(database, f"{place}", 10.0 + place)
        join(database, f"{place}", "L1INFO-2026", *(["rare"] if place else []))
    cohorts = look(database)["lanes"]["personal"]["cohorts"]
    assert cohorts == {"L1INFO-2026": {"students": 10, "p50": 14.0, "p95": 19.0, "p99": 19.0}}


def test_of_many_the_newest_are_counted_and_it_is_said(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MEASURED_MAX", 2)
    for number, seconds in (("A", 1.0), ("B", 2.0), ("C", 3.0)):
        done(database, number, seconds)
    lane = look(database)["lanes"]["personal"]
    assert (lane["all"]["students"], lane["all"]["p50"], lane["at_least"]) == (2, 2.0, True)


def test_nobody_is_named(database: Database) -> None:
    for place in range(12):
        done(database, f"226000{place:02d}", 10.0)
    said = json.dumps(look(database))
    assert "2260" not in said
    assert "login" not in said


def test_they_are_made_anew_once_a_minute_and_no_sooner(database: Database) -> None:
    clock = [0.0]
    made = Figures(database, TARGETS, RULES, monotonic=lambda: clock[0])
    first = made.now()
    clock[0] = 59.9
    assert made.now() is first
    clock[0] = 60.1
    assert made.now() is not first


# --- as they are served -----------------------------------------------------------------------------------


def served(figures: Callable[[], PropagationFigures], path: str) -> Response:
    async def get() -> Response:
        transport = ASGITransport(Starlette(routes=routes(figures)))
        async with AsyncClient(transport=transport, base_url="http://figures") as client:
            return await client.get(path)

    return asyncio.run(get())


@pytest.mark.parametrize("path", [FIGURES_PATH, PICTURE_PATH])
def test_a_store_that_is_down_is_said_and_asked_again_later(path: str) -> None:
    def down() -> PropagationFigures:
        raise StoreUnavailable("no")

    answer = served(down, path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")


def picture(database: Database, language: str = "fr") -> tuple[Response, list[str], ET.Element]:
    answer = served(Figures(database, TARGETS, RULES).now, f"{PICTURE_PATH}?lang={language}")
    shown = ET.fromstring(answer.text)  # noqa: S314 (it is ours)
    texts = [" ".join((each.text or "").split()) for each in shown.iter(f"{SVG}text")]
    return answer, texts, shown


def test_the_picture_says_the_times_from_activation_and_from_the_registrar(database: Database) -> None:
    """Of 40 activations in 1 to 40 s half took 20 s, and 38 of them 38; two changes took 200 s."""
    with database.read() as connection:
        now = database.now(connection)
    made = [
        ClosedWindow(f"{place}", Lane.PERSONAL, now, now - place, float(place), {}) for place in range(1, 41)
    ]
    for each in made:
        account = account_of(
            each.student_number, f"l.{each.student_number}", activated_at=moment(each.opened_at)
        )
        stores.keep(database, account, changed_at=now)
    for number in ("A", "B"):
        account = account_of(number, f"l.{number}", activated_at=moment(now - 9000.0))
        stores.keep(database, account, changed_at=now)
        made.append(ClosedWindow(number, Lane.BULK, now, now - 200.0, 200.0, {}))
    with database.write() as connection:
        times.count(connection, database, made)
    answer, texts, shown = picture(database)
    assert answer.headers["content-type"] == "image/svg+xml"
    assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == ("*", "Accept-Language")
    said = {f"20 s ; 95 % : {most} s (40)" for most in (37, 38, 39)}  # to 2.5 %
    assert sum(text in said for text in texts) == 3, texts
    assert texts.count("3 min ; 95 % : 3 min (2)") == 3
    halves = [float(each.attrib["cx"]) for each in shown.iter(f"{SVG}circle")]
    assert halves[0] == halves[2] < halves[3] == halves[5]
    _, english, _ = picture(database, "en")
    assert sum(text.startswith("20 s; 95%: 3") for text in english) == 3


def test_the_picture_of_nobody_says_so(database: Database) -> None:
    _, texts, shown = picture(database)
    assert texts.count("–") == 6
    assert list(shown.iter(f"{SVG}circle")) == []
