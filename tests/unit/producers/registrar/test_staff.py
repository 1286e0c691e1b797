"""The feed of staff: their numbers, populations and last days; what a line may lack, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from producers.registrar.mapping import read_mapping
from producers.registrar.profile import FeedProfile
from producers.registrar.profiles import choose
from schemas.account import Administrative
from schemas.events import EnrolmentCancelled, EnrolmentRecorded
from sesame.testing.servers.narrowing import expect
from sesame.testing.servers.registrar_kit import ZOE, Registrar

HEADER = "MATRICULE;NOM_FAMILLE;NOM_USAGE;PRENOM;DATE_NAISSANCE;MAIL_PERSO;POPULATION;EMPLOYEUR;DATE_FIN\n"
CLAIRE = "004711;Durand;;Claire;12/03/1975;claire@example.org;STAFF;UNIV;31/12/9999\n"
MARC = "004712;Petit;Petit-Roux;Marc;01/02/1998;;teacher;CNRS;31/08/2027\n"
LABELS = {"staff": "Personnel", "teacher": "Enseignant"}
MAPPING = """
name = "siham"
[fields]
student_number = "Matricule"
birth_name = "Nom"
given_name = "Prénom"
birth_date = "Né le"
component = { constant = "UNIV" }
step_version = "Contrat"
population = { column = "Statut", values = { BIATSS = "staff", EC = "teacher", X = "nobody" } }
ends_on = "Fin"
"""


@pytest.fixture
def staff() -> FeedProfile:
    return replace(choose("staff"), populations=LABELS, year_max=2028)


def imported(registrar: Registrar, profile: FeedProfile, *lines: str) -> list[EnrolmentRecorded]:
    registrar.export.write_text("".join((HEADER, *lines)), encoding="utf-8")
    registrar.import_(registrar.export, profile=profile)
    return [expect(EnrolmentRecorded, message.event) for message in registrar.log.take()]


def test_a_line_of_staff_becomes_an_enrolment_without_a_year(
    registrar: Registrar, staff: FeedProfile
) -> None:
    claire, marc = imported(registrar, staff, CLAIRE, MARC)
    assert (claire.student_number, marc.student_number) == ("P-004711", "P-004712")
    assert (claire.source, claire.year, claire.step, claire.step_label) == (
        "staff",
        1990,
        "staff",
        "Personnel",
    )
    assert (claire.population, claire.component, claire.ends_on) == ("staff", "UNIV", None)
    assert claire.administrative is Administrative.IN_FORCE
    assert (marc.population, marc.step_version, str(marc.ends_on)) == ("teacher", "CNRS", "2027-08-31")
    assert (marc.usage_name, marc.primary) == ("Petit-Roux", False)
    assert imported(registrar, staff, CLAIRE, MARC) == [], "the same file again changes nothing"


def test_a_new_last_day_is_published_and_who_is_gone_from_the_whole_file_ends(
    registrar: Registrar, staff: FeedProfile
) -> None:
    imported(registrar, staff, CLAIRE, MARC)
    [marc] = imported(registrar, staff, CLAIRE, MARC.replace("2027", "2028"))
    assert str(marc.ends_on) == "2028-08-31"
    registrar.export.write_text(HEADER + CLAIRE, encoding="utf-8")
    registrar.import_(registrar.export, profile=staff, full_year=1990)
    [gone] = registrar.log.take()
    assert expect(EnrolmentCancelled, gone.event).student_number == "P-004712"


def test_a_line_that_is_refused_does_not_end_its_person(registrar: Registrar, staff: FeedProfile) -> None:
    imported(registrar, staff, CLAIRE, MARC)
    registrar.export.write_text(HEADER + CLAIRE + MARC.replace(";Marc;", ";M\x00;"), encoding="utf-8")
    registrar.import_(registrar.export, profile=staff, full_year=1990)
    assert registrar.log.take() == []
    registrar.export.write_text(HEADER + CLAIRE + "004712;Petit;one cell too many;" * 9, encoding="utf-8")
    registrar.import_(registrar.export, profile=staff, full_year=1990)
    assert registrar.log.take() == []
    assert '"P-004712"' in registrar.rejects.read_text("utf-8-sig")


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (CLAIRE.replace("STAFF", "vacataire"), "POPULATION"),
        (CLAIRE.replace("STAFF", ""), "POPULATION"),
        (CLAIRE.replace("UNIV", ""), "EMPLOYEUR"),
        (CLAIRE.replace("31/12/9999", "31/02/2027"), "DATE_FIN"),
        (CLAIRE.replace("1975", "1875"), "DATE_NAISSANCE"),
        (CLAIRE.replace("004711", ""), "MATRICULE"),
        (CLAIRE.replace("004711", "N/A"), "MATRICULE"),
        (CLAIRE.replace("004711", "00 47"), "MATRICULE"),
        (CLAIRE.replace("004711", "0" * 31), "MATRICULE"),
        (CLAIRE.replace("Durand", ""), "NOM_FAMILLE"),
    ],
)
def test_what_is_wrong_is_said_by_column_and_the_rest_goes_on(
    registrar: Registrar, staff: FeedProfile, line: str, column: str
) -> None:
    [marc] = imported(registrar, staff, line, MARC)
    assert marc.student_number == "P-004712"
    [shown] = registrar.rejects.read_text("utf-8-sig").splitlines()[1:]
    assert f'"{column}"' in shown.split(";")


@pytest.mark.parametrize("number", ["P-004711", "p-004711", "G-00000001", "g-1"])
def test_no_registrar_gives_a_number_of_staff_or_guests(registrar: Registrar, number: str) -> None:
    registrar.import_rows(ZOE | {"COD_ETU": number}, ZOE)
    [message] = registrar.log.take()
    assert message.event.student_number == ZOE["COD_ETU"]
    assert "which no registrar gives" in registrar.rejects.read_text("utf-8-sig")


def test_a_mapping_that_maps_a_population_needs_nothing_of_students(
    registrar: Registrar, tmp_path: Path
) -> None:
    place = tmp_path / "siham.toml"
    place.write_text(MAPPING, encoding="utf-8")
    profile = replace(read_mapping(place), populations=LABELS, year_max=2028)
    registrar.export.write_text(
        "Matricule;Nom;Prénom;Né le;Contrat;Statut;Fin\n"
        "UPS01;Durand;Claire;12/03/1975;C1;EC;31/08/2027\n"
        "UPS01;Durand;Claire;12/03/1975;C2;BIATSS;\n"
        "UPS02;Petit;Marc;12/03/1976;C3;X;\n",
        encoding="utf-8",
    )
    registrar.import_(registrar.export, profile=profile)
    told = [expect(EnrolmentRecorded, message.event) for message in registrar.log.take()]
    assert [(each.student_number, each.population, each.step_version) for each in told] == [
        ("P-UPS01", "teacher", "C1"),
        ("P-UPS01", "staff", "C2"),
    ]
    assert "staff, teacher" in registrar.rejects.read_text("utf-8-sig")
