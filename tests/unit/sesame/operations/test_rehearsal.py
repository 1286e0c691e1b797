"""The rehearsal: a twin that is compared with a site counted by hand, and days whose ends are known."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from consumers.registry.teachings import teachings
from pipeline.db.database import Database
from schemas.account import Administrative, Enrolment, Pedagogical, Person
from sesame.acts.acts import Actor, ActRefused, Role, UnknownTarget
from sesame.operations.work.forecast.report import ForecastChange
from sesame.operations.work.rehearsal.acts import (
    Outage,
    Rehearsal,
    RehearsalUnfit,
    RehearseRequest,
    rehearse,
)
from sesame.settings.folders import FolderUnusable
from sesame.testing.servers import stores
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.database_kit import START
from sesame.testing.servers.population_kit import OPERATOR
from tests.unit.sesame.operations.test_forecast import known, site

NAMES = (("Lefèvre", "Zoé"), ("Ly", "An"), ("O'Brien-Ka", "Marie Ève"), ("Lefèvre", "Zoé"))
STEPS = (("SCI", "L1INFO"), ("SCI", "L1INFO"), ("DRT", "L1DROIT"), ("SCI", "L1INFO"))


def enrol(database: Database, came: dict[int, float] | None = None, *, times: int = 1) -> None:
    """Four students, so often: two of one name, three of one step with two units, one who awaits payment."""
    for place in range(4 * times):
        family, given = NAMES[place % 4]
        component, step = STEPS[place % 4]
        enrolment = Enrolment(
            year=2026,
            step=step,
            step_version="261",
            step_label="Licence",
            component=component,
            primary=True,
            administrative=Administrative.AWAITING_PAYMENT if place % 4 == 1 else Administrative.IN_FORCE,
            pedagogical=Pedagogical.VALIDATED,
        )
        old = enrolment.model_copy(update={"year": 2025, "step": "OLD"})
        at = (came or {}).get(place)
        account = account_of(
            f"2260{place:04d}",
            f"zoe.lefevre{place}",
            activated_at=None if at is None else datetime.fromtimestamp(at, UTC),
            person=Person(birth_name=family, given_name=given),
            enrolments=(old, enrolment),
        )
        stores.keep(database, account, changed_at=START)
        units = '[["U1","TD1","Un"],["U1","","Un"]]' if step == "L1INFO" else "[]"
        with database.write() as connection:
            row = {"student_number": account.student_number, "year": 2026, "source": "s", "document": units}
            connection.execute(insert(teachings).values(source_sequence=1, **row))


def play(database: Database, folder: Path, **more: Any) -> Rehearsal:
    with database.read() as connection:
        now = database.now(connection)
    request = RehearseRequest(folder=folder, **more)
    return rehearse(site(database), OPERATOR, request, clock=lambda: datetime.fromtimestamp(now, UTC))


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text, delimiter=";"))


# --- the twin ---------------------------------------------------------------------------------------------


def test_a_twin_has_the_sites_shape(database: Database, tmp_path: Path) -> None:
    enrol(database, times=10)
    play(database, tmp_path / "twin", students=400)
    export = rows(tmp_path / "twin/registrar.csv")
    assert len(export) == len({row["COD_ETU"] for row in export}) == 400
    assert {row["COD_ANU"] for row in export} == {"2026"}
    lengths = Counter((len(row["LIB_NOM_PAT_IND"]), len(row["LIB_PR1_IND"])) for row in export)
    assert lengths.keys() <= {(len(family), len(given)) for family, given in NAMES}
    steps = Counter((row["COD_CMP"], row["COD_ETP"]) for row in export)
    assert sorted(round(count / 400, 1) for count in steps.values()) in ([0.2, 0.8], [0.3, 0.7], [0.3, 0.8])
    assert 0.15 < sum(row["ETA_PMT_IAE"] == "A" for row in export) / 400 < 0.35
    groups = rows(tmp_path / "twin/groups.csv")
    [large] = [step for step, count in steps.items() if count > 200]
    members = Counter(row["COD_ETU"] for row in groups)
    assert members == {row["COD_ETU"]: 2 for row in export if row["COD_ETP"] == large[1]}
    assert {bool(row["COD_GPE"]) for row in groups} == {True, False}


def test_homonyms_are_as_many_and_born_on_different_days(database: Database, tmp_path: Path) -> None:
    enrol(database)
    play(database, tmp_path / "twin", students=300)
    export = rows(tmp_path / "twin/registrar.csv")
    named = Counter((row["LIB_NOM_PAT_IND"], row["LIB_PR1_IND"]) for row in export)
    sizes = Counter(named.values())
    assert sizes.keys() <= {1, 2}
    assert 0.2 < sizes[2] / len(named) < 0.45, "of three names one has two bearers"
    people = {(row["LIB_NOM_PAT_IND"], row["LIB_PR1_IND"], row["DATE_NAI_IND"]) for row in export}
    assert len(people) == 300


def test_nobody_is_in_it(database: Database, tmp_path: Path) -> None:
    enrol(database, dict.fromkeys(range(40), START), times=10)
    play(database, tmp_path / "twin", students=5_000)
    written = b"".join(file.read_bytes() for file in (tmp_path / "twin").iterdir()).lower()
    for word in ("lefèvre", "lefevre", "zoé", "brien", "marie", "22600", "l1info", "licence"):
        assert word.encode() not in written, word
    export = rows(tmp_path / "twin/registrar.csv")
    fields = [row[name].lower() for row in export for name in ("COD_ETU", "LIB_NOM_PAT_IND", "LIB_PR1_IND")]
    for short in ("ly", "an", "ka", "zoe", "eve"):  # a heading may have them
        assert not [field for field in fields if short in field]


def test_the_same_site_has_the_same_twin(database: Database, tmp_path: Path) -> None:
    enrol(database, times=3)
    for name in ("one", "two"):
        play(database, tmp_path / name, students=50)
    for file in ("registrar.csv", "groups.csv", "arrivals.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_they_come_as_on_the_day_on_which_most_came(database: Database, tmp_path: Path) -> None:
    """One a month before; on the day one at once, and three within the last of ten minutes."""
    day = datetime(2026, 9, 7, 6, 0, tzinfo=UTC).timestamp()
    came = {0: day - 30 * 86_400.0, 1: day, 2: day + 600.0, 3: day + 600.0, 4: day + 599.0}
    enrol(database, came, times=2)
    found = play(database, tmp_path / "twin", students=400)
    assert found.like is not None
    assert found.like.timestamp() == day
    times = Counter(float(row["seconds"]) for row in rows(tmp_path / "twin/arrivals.csv"))
    assert sum(times.values()) == 400
    assert times[0.0] == 100
    assert sum(count for at, count in times.items() if at > 590) == 300
    play(database, tmp_path / "twin")
    assert len(rows(tmp_path / "twin/arrivals.csv")) == 4, "as many as came on that day"


def test_it_begins_on_the_first_monday_of_september(database: Database, tmp_path: Path) -> None:
    enrol(database)
    found = play(database, tmp_path / "twin")
    assert (found.at.month, found.at.weekday()) == (9, 0)
    assert found.at.day <= 7
    assert found.at.timestamp() > START
    assert found.like is None
    assert len(rows(tmp_path / "twin/arrivals.csv")) == 4, "nobody came last year: all of them, at once"


# --- the day ----------------------------------------------------------------------------------------------


def test_who_all_come_at_once_wait_as_long_as_the_brake_takes(database: Database, tmp_path: Path) -> None:
    enrol(database)
    known(database)
    found = play(database, tmp_path / "twin", students=60)
    assert (found.brake, found.students) == ("moodle", 60)
    assert found.seconds is not None
    assert 27 < found.seconds < 33
    assert found.longest_wait_s == pytest.approx(found.seconds, abs=0.2)
    assert [(each.change, round(each.longest_wait_s / 5)) for each in found.what_if] == [
        (ForecastChange.WORKER, 3),
        (ForecastChange.WORKERS, 2),
    ]


def test_who_come_one_after_the_other_wait_for_those_before_them(database: Database, tmp_path: Path) -> None:
    """30 at once and 30 after 10 s, at two a second: done after 15 s and 30 s; the latter wait for 20 s."""
    enrol(database, {0: START, 1: START, 2: START + 10, 3: START + 10})
    known(database)
    found = play(database, tmp_path / "twin", students=60)
    assert found.seconds == pytest.approx(30, rel=0.1)
    assert found.longest_wait_s == pytest.approx(20, rel=0.15)


def test_who_come_when_all_others_are_done_do_not_wait_for_them(database: Database, tmp_path: Path) -> None:
    enrol(database, {0: START, 1: START, 2: START + 100, 3: START + 100})
    known(database)
    found = play(database, tmp_path / "twin", students=60)
    assert found.seconds == pytest.approx(115, rel=0.1)
    assert found.longest_wait_s == pytest.approx(15, rel=0.15)
    assert play(database, tmp_path / "twin", students=60, at_once=True).seconds == pytest.approx(30, rel=0.1)


@pytest.mark.parametrize(
    ("begins_s", "extra_s"), [(5.0, 40.0), (0.0, 40.0), (300.0, 0.0)], ids=["within", "at-first", "too-late"]
)
def test_an_outage_delays_who_has_work_then(
    database: Database, tmp_path: Path, begins_s: float, extra_s: float
) -> None:
    enrol(database)
    known(database)
    without = play(database, tmp_path / "twin", students=60)
    outages = (Outage(target="moodle", begins_s=begins_s, seconds=40.0),)
    found = play(database, tmp_path / "twin", students=60, outages=outages)
    assert found.seconds is not None
    assert without.seconds is not None
    assert found.seconds - without.seconds == pytest.approx(extra_s, abs=3)
    directory = found.targets["directory"].done_at
    assert directory == without.targets["directory"].done_at, "the other target goes on"


def test_who_comes_within_an_outage_waits_for_the_rest_of_it(database: Database, tmp_path: Path) -> None:
    """Ten are done after 5 s; ten come after 20 s, within an outage from 10 s to 50 s: done after 55 s."""
    enrol(database, {0: START, 1: START, 2: START + 20, 3: START + 20})
    known(database)
    outages = (Outage(target="moodle", begins_s=10.0, seconds=40.0),)
    found = play(database, tmp_path / "twin", students=20, outages=outages)
    assert found.seconds == pytest.approx(55, abs=2)
    assert found.longest_wait_s == pytest.approx(35, abs=2)


def test_what_was_never_measured_is_not_told_and_the_twin_is_there_all_the_same(
    database: Database, tmp_path: Path
) -> None:
    enrol(database)
    found = play(database, tmp_path / "twin", students=10)
    assert (found.seconds, found.done_at, found.longest_wait_s) == (None, None, None)
    assert "never been measured" in (found.cause or "")
    assert len(rows(tmp_path / "twin/registrar.csv")) == 10


# --- what cannot be rehearsed -----------------------------------------------------------------------------


def test_a_site_without_anybody_has_no_twin(database: Database, tmp_path: Path) -> None:
    with pytest.raises(RehearsalUnfit, match="nobody has an account"):
        play(database, tmp_path / "twin")
    assert not (tmp_path / "twin").exists()


def test_an_unknown_target_and_a_time_that_is_past_are_refused(database: Database, tmp_path: Path) -> None:
    enrol(database)
    with pytest.raises(UnknownTarget, match="mailbax"):
        play(database, tmp_path / "twin", outages=(Outage(target="mailbax", begins_s=1, seconds=1),))
    with pytest.raises(RehearsalUnfit, match="is past"):
        play(database, tmp_path / "twin", at=1.0)


def test_a_file_in_the_folders_place_is_said_and_stays(database: Database, tmp_path: Path) -> None:
    enrol(database)
    (tmp_path / "twin").write_text("mine", encoding="utf-8")
    with pytest.raises(FolderUnusable, match="twin"):
        play(database, tmp_path / "twin")
    assert (tmp_path / "twin").read_text(encoding="utf-8") == "mine"


def test_a_viewer_may_not_rehearse(database: Database, tmp_path: Path) -> None:
    request = RehearseRequest(folder=tmp_path / "twin")
    with pytest.raises(ActRefused):
        rehearse(
            site(database),
            Actor("ana", frozenset({Role.VIEWER})),
            request,
            clock=lambda: datetime.fromtimestamp(START, UTC),
        )
