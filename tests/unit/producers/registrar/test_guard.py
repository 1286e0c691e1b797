"""The guard: a file that would change unusually much is held until somebody approves that very file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from pipeline.audit.trail import audit
from pipeline.threshold import Threshold
from producers.registrar.faults import UnusableFile
from producers.registrar.feed_memory import SqlFeedMemory, feed_rows
from producers.registrar.guard import OutlineChange
from producers.registrar.import_runs import ImportSuperseded, imports
from producers.registrar.profiles import apogee
from producers.registrar.report import ImportReport
from producers.registrar.sheets import MEANINGS
from schemas.events import EnrolmentCancelled, EnrolmentRecorded
from sesame.testing.servers.registrar_kit import MAMADOU, ZOE, Registrar, Row, students

SMALL = Threshold(share=0.05, people=2)


@pytest.fixture
def registrar(stored_registrar: Registrar) -> Registrar:
    return stored_registrar


def held(registrar: Registrar, rows: Sequence[Row], **options: object) -> ImportReport:
    """Import these rows, of which nothing may be published."""
    registrar.log.take()
    report = registrar.import_rows(*rows, threshold=SMALL, **options)  # type: ignore[arg-type]
    assert report.held
    assert report.approval
    assert registrar.log.records == []
    return report


def summary(registrar: Registrar, import_id: int | None) -> Mapping[str, int]:
    with registrar.database.read() as connection:
        row = connection.execute(select(imports).where(imports.c.id == import_id)).one()
    assert row.finished_at is not None
    counts: dict[str, int] = json.loads(row.summary)
    return counts


def test_a_file_that_cancels_everybody_is_held_and_says_who(registrar: Registrar) -> None:
    registrar.import_rows(*students(60))
    report = registrar.import_rows(*students(60, ETA_IAE="A"))
    assert report.held
    assert [message.event for message in registrar.log.take()][60:] == []
    (year,) = report.years
    assert (year.year, year.known, year.affected, year.losing, year.over) == (2026, 60, 60, 60, True)
    assert year.changes == {OutlineChange.CANCELLED: 60}
    assert report.affected_path == registrar.affected
    rows = registrar.affected_rows()
    assert {row["student"] for row in rows} == {f"226{index:05d}" for index in range(60)}
    assert {(row["change"], row["before"], row["after"]) for row in rows} == {
        ("cancelled", "in force", "cancelled")
    }
    assert summary(registrar, report.import_id)["held"] == 1


@pytest.mark.parametrize(
    ("known", "losing", "threshold", "is_held"),
    [
        pytest.param(52, 50, Threshold(), True, id="two lines are left of 52"),
        pytest.param(52, 1, Threshold(), False, id="an ordinary night"),
        pytest.param(52, 2, Threshold(), False, id="two of 52 leave in one night"),
        pytest.param(52, 3, Threshold(), True, id="three of 52 are more than 5 %"),
        pytest.param(10, 1, Threshold(), False, id="one of ten leaves"),
        pytest.param(10, 2, Threshold(), False, id="two of ten leave"),
        pytest.param(10, 3, Threshold(), True, id="three of ten"),
        pytest.param(1, 1, Threshold(), False, id="the only one leaves"),
        pytest.param(2, 2, Threshold(), True, id="both of two"),
        pytest.param(3, 2, Threshold(), True, id="two of three"),
        pytest.param(4, 2, Threshold(), False, id="half of four"),
        pytest.param(1000, 50, Threshold(), False, id="exactly 5 % of 1000"),
        pytest.param(1000, 51, Threshold(), True, id="51 of 1000"),
        pytest.param(1000, 30, Threshold(people=30), False, id="exactly the number of people"),
        pytest.param(1000, 31, Threshold(people=30), True, id="the number of people, whatever the share"),
        pytest.param(40, 3, Threshold(floor=0), True, id="no floor"),
        pytest.param(40, 2, Threshold(floor=0), False, id="exactly the share"),
        pytest.param(40, 4, Threshold(floor=4), False, id="exactly the floor"),
        pytest.param(40, 1, Threshold(share=0, floor=0), True, id="anybody at all"),
    ],
)
def test_a_share_or_a_number_of_people_holds_a_file(
    registrar: Registrar, known: int, losing: int, threshold: Threshold, is_held: bool
) -> None:
    rows = students(known)
    registrar.import_rows(*rows)
    report = registrar.import_rows(
        *[row | {"ETA_IAE": "R"} for row in rows[:losing]], *rows[losing:], threshold=threshold
    )
    assert report.held is is_held
    (year,) = report.years
    assert (year.known, year.affected) == (known, losing)
    assert (report.cancelled, report.unchanged) == (losing, known - losing)


def nightly(registrar: Registrar, rows: Sequence[Row], nights: int, **options: object) -> list[ImportReport]:
    """The next nights' complete files, each without one more of the people."""
    reports = []
    for night in range(1, nights + 1):
        registrar.now += timedelta(days=1)
        reports.append(registrar.import_rows(*rows[night:], full_year=2026, **options))  # type: ignore[arg-type]
    return reports


def test_a_feed_that_loses_one_in_a_hundred_each_night_is_held_before_long(registrar: Registrar) -> None:
    rows = students(100)
    registrar.import_rows(*rows, full_year=2026)
    reports = nightly(registrar, rows, 20)
    assert [report.held for report in reports] == [False] * 10 + [True] * 10
    assert [year.lost for report in reports[:12] for year in report.years] == [*range(11), 10]
    with registrar.database.read() as connection:
        gone = connection.scalar(select(func.count()).where(feed_rows.c.live.is_(False)))
    assert gone == 10, "what is held takes nobody away"


def test_an_approval_counts_anew_and_so_does_time(registrar: Registrar) -> None:
    rows = students(100)
    registrar.import_rows(*rows, full_year=2026)
    (*_, held) = nightly(registrar, rows, 11)
    assert held.approval is not None
    registrar.now += timedelta(days=1)
    assert not registrar.import_rows(*rows[11:], full_year=2026, approval=held.approval).held
    after = nightly(registrar, rows[11:], 8)
    assert [report.held for report in after] == [False] * 8
    registrar.now += timedelta(days=31)
    assert not registrar.import_rows(*rows[25:], full_year=2026, threshold=Threshold(share=0.5)).held


def test_who_is_enrolled_again_and_who_changes_the_step_has_lost_nothing(registrar: Registrar) -> None:
    rows = students(30)
    registrar.import_rows(*rows, full_year=2026)
    moved = [row | {"COD_ETP": "L1MATH"} for row in rows[:8]]
    for n in (2, 4, 6, 8):
        assert not registrar.import_rows(*moved[:n], *rows[n:], full_year=2026).held
    registrar.import_rows(*moved, *rows[8:-2], full_year=2026)
    (year,) = registrar.import_rows(*moved, *rows[8:-3], full_year=2026, dry_run=True).years
    assert (year.losing, year.lost) == (1, 2)
    registrar.import_rows(*moved, *rows[8:], full_year=2026)
    (year,) = registrar.import_rows(*moved, *rows[9:], full_year=2026, dry_run=True).years
    assert (year.losing, year.lost, year.over) == (1, 0, False)


def test_a_file_that_takes_nothing_is_not_held_for_what_earlier_ones_took(registrar: Registrar) -> None:
    rows = students(100)
    registrar.import_rows(*rows, full_year=2026)
    assert nightly(registrar, rows, 11)[-1].held
    changed = [row | {"MAIL_PERSO": "autre@example.org"} for row in rows[10:12]]
    assert not registrar.import_rows(*changed, *rows[12:], full_year=2026).held


def test_the_number_of_people_counts_losses_only(registrar: Registrar) -> None:
    registrar.import_rows(*students(40))
    bounds = Threshold(share=1, people=2)
    report = registrar.import_rows(*students(40, MAIL_PERSO="quelqu.un@example.com"), threshold=bounds)
    assert (report.held, report.recorded) == (False, 40)
    assert registrar.import_rows(*students(40, ETA_IAE="C"), threshold=bounds).held


def test_a_complete_file_of_two_lines_takes_nobody_away_from_52(registrar: Registrar) -> None:
    registrar.import_rows(*students(52))
    registrar.log.take()
    report = registrar.import_rows(*students(2), full_year=2026)
    assert (report.held, report.gone) == (True, 50)
    assert registrar.log.records == []


def test_years_are_judged_apart(registrar: Registrar) -> None:
    this_year, last_year = students(100), students(3, COD_ANU="2025", COD_VRS_VET="251")
    registrar.import_rows(*this_year, *last_year)
    report = held(registrar, [*this_year, *(row | {"ETA_IAE": "A"} for row in last_year)])
    assert [(year.year, year.known, year.over) for year in report.years] == [(2025, 3, True)]


@pytest.mark.parametrize(
    ("changes", "change", "losing"),
    [
        ({"ETA_IAE": "A"}, OutlineChange.CANCELLED, 5),
        ({"ETA_IAE": "R"}, OutlineChange.CANCELLED, 5),
        ({"ETA_IAE": "C"}, OutlineChange.NOT_IN_FORCE, 5),
        ({"ETA_PMT_IAE": "A"}, OutlineChange.NOT_IN_FORCE, 5),
        ({"IP_VALIDE": "N"}, OutlineChange.PEDAGOGICAL, 0),
        ({"LIB_NOM_PAT_IND": "Martin"}, OutlineChange.IDENTITY, 0),
        ({"LIB_PR1_IND": "Camille"}, OutlineChange.IDENTITY, 0),
        ({"DATE_NAI_IND": "24/12/2006"}, OutlineChange.IDENTITY, 0),
        ({"COD_NNE_IND": "999999999ZZ"}, OutlineChange.INE, 0),
        ({"COD_NNE_IND": ""}, OutlineChange.INE, 0),
        ({"MAIL_PERSO": "quelqu.un@example.com"}, OutlineChange.PERSONAL_MAIL, 0),
        ({"MAIL_PERSO": ""}, OutlineChange.PERSONAL_MAIL, 0),
        ({"COD_CMP": "DRT"}, OutlineChange.COMPONENT, 0),
    ],
)
def test_what_seldom_changes_is_told_when_it_changes_for_many(
    registrar: Registrar, changes: dict[str, str], change: OutlineChange, losing: int
) -> None:
    registrar.import_rows(*students(5))
    report = held(registrar, students(5, **changes))
    (year,) = report.years
    assert (year.changes, year.losing) == ({change: 5}, losing)
    assert {row["meaning"] for row in registrar.affected_rows()} == {MEANINGS[change]}


@pytest.mark.parametrize(
    "changes", [{"LIB_NOM_USU_IND": "Martin"}, {"LIB_ETP": "Licence 1 d'informatique"}, {"TEM_IAE_PRM": "N"}]
)
def test_what_changes_every_day_is_not_held(registrar: Registrar, changes: dict[str, str]) -> None:
    registrar.import_rows(*students(5))
    report = registrar.import_rows(*students(5, **changes), threshold=SMALL)
    assert (report.held, report.years, report.recorded) == (False, (), 5)


def test_another_spelling_of_every_name_is_no_other_person(registrar: Registrar) -> None:
    rows = students(10)
    registrar.import_rows(*rows)
    shouting = [
        row
        | {"LIB_NOM_PAT_IND": row["LIB_NOM_PAT_IND"].upper().replace("È", "E").replace(" ", "-")}
        | {"MAIL_PERSO": row["MAIL_PERSO"].upper()}
        for row in rows
    ]
    report = registrar.import_rows(*shouting, threshold=SMALL)
    assert (report.held, report.years, report.recorded) == (False, (), 10)


def test_values_that_were_missing_may_all_come_at_once(registrar: Registrar) -> None:
    registrar.import_rows(*students(10, COD_NNE_IND="", MAIL_PERSO="", IP_VALIDE="N", ETA_IAE="C"))
    report = registrar.import_rows(*students(10), threshold=SMALL)
    assert (report.held, report.years, report.recorded) == (False, (), 10)


def test_a_column_that_was_sorted_alone_is_noticed(registrar: Registrar) -> None:
    rows = students(20)
    registrar.import_rows(*rows)
    shifted = [row | {"MAIL_PERSO": rows[index - 1]["MAIL_PERSO"]} for index, row in enumerate(rows)]
    (year,) = held(registrar, shifted).years
    assert year.changes == {OutlineChange.PERSONAL_MAIL: 20}


def test_numbers_that_belong_to_others_next_year_are_noticed(registrar: Registrar) -> None:
    rows = students(20)
    registrar.import_rows(*rows)
    whose = ("LIB_NOM_PAT_IND", "LIB_PR1_IND", "DATE_NAI_IND")
    next_year = [
        row | {"COD_ANU": "2027", "COD_VRS_VET": "271"} | {name: rows[index - 1][name] for name in whose}
        for index, row in enumerate(rows)
    ]
    (year,) = held(registrar, next_year).years
    assert (year.year, year.known, year.changes) == (2027, 20, {OutlineChange.IDENTITY: 20})


def test_next_years_enrolments_of_the_same_people_pass(registrar: Registrar) -> None:
    rows = students(20)
    registrar.import_rows(*rows)
    registrar.log.take()
    report = registrar.import_rows(
        *[row | {"COD_ANU": "2027", "COD_ETP": "L2INFO"} for row in rows], threshold=SMALL
    )
    assert (report.held, report.years, report.recorded, report.gone) == (False, (), 20, 0)
    events = [message.event for message in registrar.log.take()]
    assert {event.year for event in events if isinstance(event, EnrolmentRecorded)} == {2027}
    assert len(registrar.memory.published("apogee", ["22600000"])) == 2


def test_a_cancellation_of_what_was_cancelled_or_never_known_takes_nothing_away(registrar: Registrar) -> None:
    registrar.import_rows(*students(5, ETA_IAE="A"), threshold=SMALL)
    report = registrar.import_rows(
        *students(5, ETA_IAE="R"), *students(5, ETA_IAE="A", COD_ETP="DULSF"), threshold=SMALL
    )
    assert (report.held, report.years, report.cancelled) == (False, (), 10)


def test_somebody_who_comes_back_as_another_person_is_noticed_though_they_were_cancelled(
    registrar: Registrar,
) -> None:
    registrar.import_rows(*students(5))
    registrar.import_rows(*students(5, ETA_IAE="A"), threshold=Threshold(share=1))
    (year,) = held(registrar, students(5, DATE_NAI_IND="24/12/2006")).years
    assert year.changes == {OutlineChange.IDENTITY: 5}


def test_another_feed_takes_nothing_away_unnoticed(registrar: Registrar) -> None:
    registrar.import_rows(*students(5))
    other = replace(apogee(), name="scolarite")
    for changes, change in (
        ({"ETA_IAE": "A"}, OutlineChange.CANCELLED),
        ({"MAIL_PERSO": ""}, OutlineChange.PERSONAL_MAIL),
    ):
        path = registrar.write(students(5, **changes))
        report = registrar.import_(path, profile=other, threshold=SMALL)
        assert report.held
        assert report.years[0].changes == {change: 5}
    unchanged = registrar.import_(registrar.write(students(5)), profile=other, threshold=SMALL)
    assert (unchanged.held, unchanged.years, unchanged.recorded) == (False, (), 5)


# --- approval -----------------------------------------------------------------------------------------


def approvals(registrar: Registrar) -> list[tuple[str, dict[str, object]]]:
    with registrar.database.read() as connection:
        rows = connection.execute(select(audit).where(audit.c.action == "import.approve")).all()
    return [(row.actor, json.loads(row.detail)) for row in rows]


def test_an_approved_file_goes_on_and_who_approved_it_is_kept(registrar: Registrar) -> None:
    registrar.import_rows(*students(5))
    wrong = students(5, ETA_IAE="A")
    report = held(registrar, wrong)
    approved = registrar.import_rows(*wrong, threshold=SMALL, approval=report.approval or "")
    assert (approved.held, approved.cancelled, approved.approval) == (False, 5, report.approval)
    events = [message.event for message in registrar.log.take()]
    assert [type(event) for event in events] == [EnrolmentCancelled] * 5
    ((actor, detail),) = approvals(registrar)
    assert (actor, detail["approval"], detail["sha256"]) == ("odile", report.approval, approved.digest)
    assert "226" not in json.dumps(detail["years"]), "the audit names nobody"


def test_what_an_operator_has_approved_goes_on_once_when_it_comes_again(registrar: Registrar) -> None:
    registrar.import_rows(*students(5))
    wrong, other = students(5, ETA_IAE="A"), students(5, ETA_IAE="A", LIB_ETP="L1")
    report = held(registrar, wrong)
    held(registrar, wrong)  # as a program does, which tries again
    assert SqlFeedMemory(registrar.database).approve_held(report.import_id or 0, "odile")
    registrar.log.take()
    held(registrar, other)
    assert registrar.log.take() == []
    done = registrar.import_rows(*wrong, threshold=SMALL)
    assert (done.held, done.cancelled) == (False, 5)
    ((actor, detail),) = approvals(registrar)
    assert (actor, detail["approval"]) == ("odile", report.approval)
    assert not SqlFeedMemory(registrar.database).approve_held(done.import_id or 0, "odile"), (
        "it is held no more"
    )
    assert not SqlFeedMemory(registrar.database).approve_held(4711, "odile")
    registrar.import_rows(*students(5), threshold=Threshold(share=1.0, people=1000))
    again = registrar.memory.approver_of("apogee", report.approval or "", 0.0)
    assert again is None, "one approval lets it pass once"


def test_an_approval_is_for_one_files_content_only(registrar: Registrar) -> None:
    registrar.import_rows(*students(5))
    first = held(registrar, students(5, ETA_IAE="A"))
    other = held(registrar, students(5, ETA_IAE="A", LIB_ETP="L1"), approval=first.approval)
    assert other.approval != first.approval
    assert approvals(registrar) == []


def test_an_approval_is_for_the_very_differences_only(registrar: Registrar) -> None:
    rows = students(6)
    wrong = students(5, ETA_IAE="A")
    registrar.import_rows(*rows[:5])
    first = held(registrar, wrong)
    registrar.import_rows(rows[0] | {"IP_VALIDE": "N"})
    again = held(registrar, wrong, approval=first.approval)
    assert again.approval != first.approval
    assert held(registrar, wrong).approval == again.approval, "the same file and state have the same id"


def test_an_approval_does_not_extend_to_a_full_import(registrar: Registrar) -> None:
    registrar.import_rows(*students(9))
    wrong = students(5, ETA_IAE="A")
    first = held(registrar, wrong)
    assert held(registrar, wrong, full_year=2026, approval=first.approval).approval != first.approval


def test_an_approval_that_nothing_asks_for_changes_nothing(registrar: Registrar) -> None:
    report = registrar.import_rows(*students(5), approval="0123456789abcdef0123")
    assert (report.held, report.recorded, report.approval) == (False, 5, None)
    assert approvals(registrar) == []


def test_a_dry_run_tells_the_id_that_the_import_will_want(registrar: Registrar) -> None:
    registrar.import_rows(*students(5))
    wrong = students(5, ETA_IAE="A")
    dry = registrar.import_rows(*wrong, threshold=SMALL, dry_run=True)
    assert dry.held
    assert registrar.import_rows(*wrong, threshold=SMALL, approval=dry.approval or "").cancelled == 5


def test_an_approved_import_that_was_overtaken_is_neither_noted_nor_published(registrar: Registrar) -> None:
    registrar.import_rows(*students(5))
    report = held(registrar, students(5, ETA_IAE="A"))

    class Overtaken(SqlFeedMemory):
        def approve(self, import_id: int, *, actor: str, detail: Mapping[str, object]) -> None:
            self.begin("apogee", file_name="newer.csv", started_at=0.0)
            super().approve(import_id, actor=actor, detail=detail)

    registrar.memory = Overtaken(registrar.database)
    with pytest.raises(ImportSuperseded):
        registrar.import_rows(*students(5, ETA_IAE="A"), threshold=SMALL, approval=report.approval or "")
    assert registrar.log.records == []
    assert approvals(registrar) == []


def test_the_file_of_affected_people_is_private_harmless_and_does_not_outlive_its_import(
    registrar: Registrar,
) -> None:
    registrar.import_rows(*students(3))
    held(registrar, students(3, LIB_PR1_IND="=cmd|' /C calc'!A0"))
    assert registrar.affected.stat().st_mode & 0o777 == 0o600
    assert registrar.affected_rows()[0]["after"].startswith("'=cmd|")
    assert registrar.import_rows(*students(3), threshold=SMALL).affected_path is None
    assert not registrar.affected.exists()


def test_the_files_about_an_import_never_take_one_anothers_place(registrar: Registrar) -> None:
    registrar.affected = registrar.rejects
    with pytest.raises(UnusableFile, match="would replace the rejects file"):
        registrar.import_rows(ZOE)


# --- full files ---------------------------------------------------------------------------------------


def test_who_is_absent_from_a_full_file_is_listed_and_cancelled(registrar: Registrar) -> None:
    rows = students(40)
    registrar.import_rows(*rows)
    registrar.log.take()
    report = registrar.import_rows(*rows[:39], full_year=2026)
    assert (report.held, report.gone, report.cancelled, report.unchanged) == (False, 1, 0, 39)
    (message,) = registrar.log.take()
    assert isinstance(message.event, EnrolmentCancelled)
    assert (message.event.student_number, message.event.reason) == ("22600039", "gone_from_export")
    assert [(row["student"], row["change"]) for row in registrar.affected_rows()] == [("22600039", "gone")]
    assert registrar.import_rows(*rows[:39], full_year=2026).published == 0


def test_who_is_absent_from_any_other_file_stays(registrar: Registrar) -> None:
    rows = students(40)
    registrar.import_rows(*rows)
    assert registrar.import_rows(rows[0]).published == 0


def test_a_step_that_a_full_file_lacks_is_gone_though_the_student_is_there(registrar: Registrar) -> None:
    rows = students(3)
    registrar.import_rows(*rows, rows[0] | {"COD_ETP": "DULSF", "TEM_IAE_PRM": "N"})
    report = registrar.import_rows(*rows, full_year=2026)
    assert (report.gone, report.unchanged) == (1, 3)


def test_a_full_file_says_nothing_of_other_years(registrar: Registrar) -> None:
    rows = students(3)
    registrar.import_rows(*rows, *(row | {"COD_ANU": "2025"} for row in rows))
    report = registrar.import_rows(*rows, full_year=2026)
    assert (report.gone, report.years) == (0, ())


def test_a_full_file_that_lacks_many_is_held(registrar: Registrar) -> None:
    rows = students(100)
    registrar.import_rows(*rows)
    report = held(registrar, rows[:60], full_year=2026)
    assert (report.gone, report.years[0].changes) == (40, {OutlineChange.GONE: 40})
    approved = registrar.import_rows(
        *rows[:60], full_year=2026, threshold=SMALL, approval=report.approval or ""
    )
    assert approved.gone == len(registrar.log.take()) == 40


def test_whoever_has_a_refused_line_is_in_the_file(registrar: Registrar) -> None:
    rows = students(3)
    registrar.import_rows(*rows)
    report = registrar.import_rows(rows[0], rows[1] | {"DATE_NAI_IND": "31/02/2005"}, full_year=2026)
    assert (report.rejected, report.gone, report.unattributed) == (1, 1, 0)
    assert [row["student"] for row in registrar.affected_rows()] == ["22600002"]


def test_nobody_is_gone_while_a_refused_line_names_no_student(registrar: Registrar) -> None:
    rows = students(3)
    registrar.import_rows(*rows)
    path = registrar.write(rows[:2])
    with path.open("a", encoding="utf-8") as file:
        file.write('22600002;"060900002KT;Lefèvre 2;\n')
    report = registrar.import_(path, full_year=2026)
    assert (report.rejected, report.gone, report.unattributed, report.absence_unknown) == (1, 0, 1, True)


def test_who_is_gone_and_comes_back_is_recorded_again(registrar: Registrar) -> None:
    rows = students(2)
    for file in (rows, rows[:1], rows):
        registrar.import_rows(*file, full_year=2026)
    events = [
        message.event for message in registrar.log.messages if message.event.student_number == "22600001"
    ]
    assert [type(event) for event in events] == [EnrolmentRecorded, EnrolmentCancelled, EnrolmentRecorded]
    sequences = [
        event.source_sequence for event in events if isinstance(event, EnrolmentRecorded | EnrolmentCancelled)
    ]
    assert sequences == sorted(set(sequences))


def test_a_full_file_of_a_year_that_it_does_not_have_is_refused(registrar: Registrar) -> None:
    registrar.import_rows(*students(3))
    with pytest.raises(UnusableFile, match="complete for 2027, and holds nothing of that year"):
        registrar.import_rows(*students(3), full_year=2027)


def test_absent_people_are_found_page_by_page(registrar: Registrar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.registrar.feed_memory._PAGE", 2)
    rows = students(5)
    registrar.import_rows(*rows, *(row | {"COD_ETP": "DULSF", "TEM_IAE_PRM": "N"} for row in rows))
    assert registrar.import_rows(rows[2], full_year=2026).gone == 9


def test_a_file_that_is_still_being_written_is_refused(
    registrar: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = registrar.write(students(3))

    class Late(SqlFeedMemory):
        def begin(self, *_source: object, **_begun: object) -> int:
            raise AssertionError("nothing begins")

    registrar.memory = Late(registrar.database)

    def grows(_done: int, _in_all: int | None) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(";".join(students(4)[3].values()) + "\n")

    monkeypatch.setattr("producers.registrar.import_steps._PROGRESS_LINES", 1)
    with pytest.raises(UnusableFile, match="changed while it was being read"):
        registrar.import_(path, progress=grows)
    assert registrar.log.records == []


def test_rows_of_an_older_version_count_as_held_and_tell_nothing_else(registrar: Registrar) -> None:
    registrar.import_rows(*students(5))
    with registrar.database.write() as connection:
        connection.exec_driver_sql("UPDATE feed_rows SET live = NULL, outline = NULL")
    assert registrar.import_rows(*students(5, COD_CMP="DRT"), dry_run=True, threshold=SMALL).years == ()
    (year,) = held(registrar, students(5, ETA_IAE="A")).years
    assert (year.known, year.changes) == (5, {OutlineChange.CANCELLED: 5})


@pytest.mark.parametrize("other", [{"LIB_PR1_IND": "Zoe"}, {"COD_ETP": "L1INFO", "IP_VALIDE": "N"}])
def test_whose_lines_contradict_one_another_is_in_the_file_and_loses_nothing(
    registrar: Registrar, other: dict[str, str]
) -> None:
    second = {"COD_ETP": "DULSF", "LIB_ETP": "DU Langue des signes", "TEM_IAE_PRM": "N"}
    registrar.import_rows(ZOE, ZOE | second, MAMADOU)
    report = registrar.import_rows(ZOE, ZOE | second | other, MAMADOU, full_year=2026)
    assert report.rejected == 2
    assert (report.gone, report.cancelled, report.affected_path) == (0, 0, None)
