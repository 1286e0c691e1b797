"""The example export is what `examples/README.md` promises."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import pytest

import examples.generate
import examples.groups
from examples.generate import COLUMNS, bad_lines, fold, lines, main, write
from producers.registrar.profiles import apogee
from schemas.account import Administrative
from schemas.events import EnrolmentCancelled, EnrolmentRecorded
from sesame.testing.servers.registrar_kit import Registrar

EXAMPLE = Path(examples.generate.__file__).parent / "registrar-2026.csv"
STUDENTS = 500

Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """The example's valid lines."""
    with EXAMPLE.open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file, delimiter=";"))
    bad = bad_lines(2026)
    return [dict(zip(COLUMNS, row, strict=True)) for row in found[1:] if row not in bad]


def primary(rows: list[Row]) -> dict[str, Row]:
    return {row["COD_ETU"]: row for row in rows if row["TEM_IAE_PRM"] == "O"}


def test_the_committed_file_is_what_the_generator_writes(tmp_path: Path) -> None:
    assert main(["--students", str(STUDENTS), "--year", "2026", "--out", str(tmp_path / "again.csv")]) == 0
    assert (tmp_path / "again.csv").read_bytes() == EXAMPLE.read_bytes()


def test_the_file_of_groups_is_what_its_generator_writes_and_belongs_to_the_students(
    tmp_path: Path, registrar: Registrar, rows: list[Row]
) -> None:
    committed, again = EXAMPLE.with_name("groups-2026.csv"), tmp_path / "again.csv"
    assert examples.groups.main([str(EXAMPLE), "--out", str(again)]) == 0
    assert again.read_bytes() == committed.read_bytes()
    registrar.import_(EXAMPLE)
    report = registrar.import_groups(path=committed)
    followed = {number for number, row in primary(rows).items() if row["ETA_IAE"] in ("C", "E")}
    assert (report.recorded, report.rejected, report.not_enrolled) == (len(followed), 0, 0)


def test_its_columns_are_the_profiles() -> None:
    assert apogee().needed_names == COLUMNS


def test_it_holds_500_students_and_its_bad_lines_are_refused_each_for_another_reason(
    registrar: Registrar,
) -> None:
    report = registrar.import_(EXAMPLE)
    assert (report.students, report.duplicates) == (STUDENTS, 0)
    assert report.rejected == len(bad_lines(2026))
    reasons = {(row["column"], row["fault"]) for row in registrar.rejected()}
    assert len(reasons) == report.rejected
    events = [message.event for message in registrar.log.messages]
    refused = {row["student"] for row in registrar.rejected()}
    assert not refused & {event.student_number for event in events}
    assert len({event.student_number for event in events}) == STUDENTS


def test_few_wait_for_the_administrative_enrolment_and_everybody_else_is_in_force(
    registrar: Registrar,
) -> None:
    registrar.import_(EXAMPLE)
    events = [message.event for message in registrar.log.messages]
    recorded = [event for event in events if isinstance(event, EnrolmentRecorded)]
    states = Counter(event.administrative for event in recorded if event.primary)
    assert sum(states.values()) == STUDENTS
    assert states[Administrative.PENDING] == states[Administrative.AWAITING_PAYMENT] == 2
    assert any(isinstance(event, EnrolmentCancelled) for event in events)


def test_at_most_one_student_in_twenty_waits_for_the_pedagogical_enrolment(rows: list[Row]) -> None:
    waiting = {row["COD_ETU"] for row in rows if row["IP_VALIDE"] == "N"}
    assert 0 < len(waiting) <= STUDENTS * 0.05


def test_some_have_several_steps_and_each_has_one_primary_step(rows: list[Row]) -> None:
    assert len(primary(rows)) == STUDENTS
    assert Counter(row["TEM_IAE_PRM"] for row in rows)["O"] == STUDENTS
    in_force = Counter(row["COD_ETU"] for row in rows if row["ETA_IAE"] == "E")
    assert sum(count > 1 for count in in_force.values()) >= 20


def test_a_few_bear_one_name_and_nobody_shares_name_and_birth_date(rows: list[Row]) -> None:
    people = primary(rows).values()
    names = Counter(fold(row["LIB_NOM_PAT_IND"] + row["LIB_PR1_IND"]) for row in people)
    assert sum(count > 1 for count in names.values()) >= 3
    identities = {(fold(row["LIB_NOM_PAT_IND"] + row["LIB_PR1_IND"]), row["DATE_NAI_IND"]) for row in people}
    assert len(identities) == STUDENTS
    ines = [row["COD_NNE_IND"] for row in people if row["COD_NNE_IND"]]
    assert len(set(ines)) == len(ines)


@pytest.mark.parametrize("spelling", ["é", "-", "'", " ", "œ", "ç", "ễ", "de ", "Le ", "N'", "El "])
def test_names_are_spelled_as_real_ones_are(rows: list[Row], spelling: str) -> None:
    assert any(spelling in row["LIB_NOM_PAT_IND"] + "|" + row["LIB_PR1_IND"] for row in rows)


def test_nobody_could_ever_receive_mail(rows: list[Row]) -> None:
    domains = {row["MAIL_PERSO"].rpartition("@")[2] for row in rows if row["MAIL_PERSO"]}
    reserved = {"example.org", "example.com", "example.net"}  # RFC 2606
    assert all(domain in reserved or domain.endswith(".example") for domain in domains)


@pytest.mark.parametrize("students", [1, 7, 99, 100, 1999])
def test_any_number_of_students_can_be_made(registrar: Registrar, students: int) -> None:
    with registrar.export.open("w", encoding="utf-8", newline="") as file:
        write(file, students=students, year=2031)
    report = registrar.import_(registrar.export, dry_run=True)
    assert (report.students, report.rejected) == (students, len(bad_lines(2031)))


def test_other_seeds_make_other_people() -> None:
    def first(seed: int) -> str:
        text = io.StringIO()
        write(text, students=20, year=2026, seed=seed)
        return text.getvalue()

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_lines_are_made_as_they_are_read() -> None:
    endless = lines(10**9, 2026)
    assert [next(endless)[0] for _ in range(2)] == ["22600001", "22600002"]
