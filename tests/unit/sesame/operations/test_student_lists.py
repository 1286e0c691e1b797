"""Lists for Pix Orga and timetables, and cards, on both databases, read as those programs read them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.account import NO_YEAR, Administrative, Hold
from schemas.events import HoldPlaced, IdentityDecided, IdentityDecision
from sesame.acts.acts import Actor, ActRefused, Role
from sesame.operations.keeping.student_lists import (
    ListFile,
    NobodyListed,
    StudentListRequest,
    card_holder,
    student_list,
)
from sesame.operations.people.known_persons import NoSuchStudent
from sesame.testing.servers.registry_kit import (
    LEA,
    PAUL,
    SETTINGS,
    RegistryHarness,
    activation,
    enrolled,
    taught,
)

OPERATOR = Actor("ada", frozenset({Role.OPERATOR}))
HEADER = (
    '"Premier prénom";"Deuxième prénom";"Troisième prénom";"Nom de famille";"Nom d\'usage";'
    '"Date de naissance (jj/mm/aaaa)";"Email";"Numéro étudiant";"Composante";"Équipe pédagogique";"Groupe";'
    '"Diplôme";"Régime"'
)


@pytest.fixture
def desk(store_url: str) -> Iterator[RegistryHarness]:
    desk = RegistryHarness(store_url)
    with closing(desk.database):
        yield desk


def site(desk: RegistryHarness) -> Any:
    connector = SimpleNamespace(connector=SimpleNamespace(role="mailbox"))
    support = SimpleNamespace(components={"SAN": "Santé ; « médecine »"})
    settings = SimpleNamespace(
        support=support, registry=SETTINGS, targets=("mailbox",), connector_of=lambda _name: connector
    )
    return SimpleNamespace(database=desk.database, settings=settings)


def give(desk: RegistryHarness, name: str, component: str | None = None) -> ListFile:
    request = StudentListRequest.model_validate({"list": name, "component": component})
    return student_list(site(desk), OPERATOR, request)


def rows(found: ListFile) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(found.content, newline=""), delimiter=";"))


def student(desk: RegistryHarness, number: str, birth: date, **more: Any) -> None:
    desk.apply(enrolled(number, birth_date=birth, **more))
    desk.apply(activation(number))


def two(desk: RegistryHarness) -> None:
    """Two students of two components whose names need care."""
    student(
        desk, LEA, date(2007, 5, 4), birth_name="Martin", usage_name='D\'Aubigné; "dite"', given_name="Léa"
    )
    student(
        desk, PAUL, date(2006, 12, 31), birth_name="Ñandú", given_name="Paul", component="SAN", step="L1SAN",
        step_label="Licence 1 Santé",
    )  # fmt: skip


def test_the_file_for_pix_has_its_header_and_a_line_for_each_student(desk: RegistryHarness) -> None:
    two(desk)
    found = give(desk, "pix")
    assert found.content.split("\r\n")[0] == HEADER
    assert found.students == (LEA, PAUL)
    lea, paul = rows(found)
    assert list(lea.values()) == [
        *("Léa", "", "", "Martin", 'D\'Aubigné; "dite"', "04/05/2007", desk.account(LEA).mail, LEA),
        *("SCI", "", "", "Licence 1 Informatique", ""),
    ]
    assert (paul["Composante"], paul["Diplôme"]) == ("Santé ; « médecine »", "Licence 1 Santé")
    assert (paul["Date de naissance (jj/mm/aaaa)"], paul["Nom d'usage"]) == ("31/12/2006", "")


def test_whom_pix_would_refuse_is_left_out_and_told(desk: RegistryHarness) -> None:
    two(desk)
    student(desk, "22009999", date(2007, 1, 1), birth_name=None, given_name="Suharto")
    found = give(desk, "pix")
    assert (found.students, found.left_out) == ((LEA, PAUL), ("22009999",))


def test_an_address_is_given_once_there_can_be_a_mailbox_and_nobody_without_an_enrolment(
    desk: RegistryHarness,
) -> None:
    two(desk)
    desk.apply(enrolled("22003333", birth_date=date(2005, 1, 1), birth_name="Durand", given_name="Zoé"))
    waits = {"administrative": Administrative.AWAITING_PAYMENT}
    student(desk, "22004444", date(2004, 1, 1), birth_name="Petit", given_name="Anna", **waits)
    found = {row["Numéro étudiant"]: row["Email"] for row in rows(give(desk, "pix"))}
    assert found == {LEA: desk.account(LEA).mail, PAUL: desk.account(PAUL).mail, "22003333": ""}
    desk.apply(taught("MATH1/TD2", student_number="22003333"))
    [row] = rows(give(desk, "groups"))
    assert (row["numero_etudiant"], row["identifiant"], row["courriel"]) == ("22003333", "", "")


def test_a_formula_in_a_name_is_text(desk: RegistryHarness) -> None:
    student(desk, LEA, date(2007, 5, 4), birth_name="=1+1", given_name="@Léa")
    [row] = rows(give(desk, "pix"))
    assert (row["Nom de famille"], row["Premier prénom"]) == ("'=1+1", "'@Léa")


def test_groups_are_listed_one_by_one_and_of_all_numbers_of_a_person(desk: RegistryHarness) -> None:
    two(desk)
    desk.apply(taught("MATH1/TD2", "MATH1/TP1", "SPORT"))
    desk.apply(taught("ANAT/TD2", student_number=PAUL))
    other = "22007777"
    student(desk, other, date(2007, 5, 4), birth_name="Martin", given_name="Léa")
    desk.apply(taught("LANG/A2", student_number=other))
    desk.apply(IdentityDecided(student_number=other, other=LEA, decision=IdentityDecision.MERGE))
    found = rows(give(desk, "groups"))
    listed = [(row["numero_etudiant"], row["element"], row["groupe"], row["libelle"]) for row in found]
    assert sorted(listed) == [
        (LEA, "LANG", "A2", "Cours LANG"),
        (LEA, "MATH1", "TD2", "Cours MATH1"),
        (LEA, "MATH1", "TP1", "Cours MATH1"),
        (PAUL, "ANAT", "TD2", "Cours ANAT"),
    ]
    row = next(row for row in found if row["numero_etudiant"] == PAUL)
    account = desk.account(PAUL)
    assert (row["identifiant"], row["courriel"], row["etape"], row["annee"]) == (
        *(account.login, account.mail, "L1SAN", "2026"),
    )
    assert rows(give(desk, "pix"))[0]["Groupe"] == "A2, TD2, TP1"


def test_a_component_is_a_code_exactly_as_it_is_written(desk: RegistryHarness) -> None:
    two(desk)
    assert give(desk, "pix", "SAN").students == (PAUL,)
    for code in ("san", "SA", "DROIT"):
        with pytest.raises(NobodyListed) as refused:
            give(desk, "pix", code)
        assert refused.value.remedy == "Components with students: SAN, SCI"


def test_a_card_system_is_told_of_a_holder_in_its_own_words(desk: RegistryHarness) -> None:
    two(desk)
    eppn = desk.account(LEA).principal
    found = card_holder(site(desk), OPERATOR, eppn.upper()).model_dump()
    assert found == {
        "eppn": eppn,
        "supannEtuId": LEA,
        "supannCodeINE": "",
        "name": 'D\'Aubigné; "dite"',
        "firstname": "Léa",
        "schacDateOfBirth": "20070504",
        "email": desk.account(LEA).mail,
        "eduPersonPrimaryAffiliation": "student",
        "supannEntiteAffectationPrincipale": "SCI",
        "schacExpiryDate": "20271031235959Z",
        "referenceStatut": "etd",
        "institute": "etu.univ-exemple.fr",
        "editable": "true",
    }
    desk.apply(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED))
    assert card_holder(site(desk), OPERATOR, eppn).editable == "false"
    with pytest.raises(NoSuchStudent):
        card_holder(site(desk), OPERATOR, f"x{eppn}")


def test_no_card_is_a_student_s_who_is_staff_or_a_guest_alone(desk: RegistryHarness) -> None:
    two(desk)
    desk.apply(activation(LEA))
    person = desk.account(LEA).person
    for number, more in (
        ("P-004711", {"population": "staff", "ends_on": None}),
        ("G-90012054", {"population": "guest", "ends_on": date(2026, 12, 31), "given_name": "Ada"}),
    ):
        step: dict[str, Any] = {
            "year": NO_YEAR,
            "step": more["population"],
            "step_version": "UNIV",
            "component": "UNIV",
        }
        names: dict[str, Any] = {"birth_name": "Agent", "given_name": "Zoé", "birth_date": date(1975, 3, 12)}
        desk.apply(enrolled(number, **{**names, **step, **more}))
        desk.apply(activation(number))
        with pytest.raises(NoSuchStudent):
            card_holder(site(desk), OPERATOR, desk.account(number).principal)
    desk.apply(IdentityDecided(student_number="P-004711", other=LEA, decision=IdentityDecision.MERGE))
    assert desk.account(LEA).valid_until is None, "the contract has no end"
    found = card_holder(site(desk), OPERATOR, desk.account(LEA).principal)
    assert (found.eduPersonPrimaryAffiliation, found.schacExpiryDate) == ("student", "20271031235959Z")
    assert found.name == person.family_name


def test_a_viewer_gets_neither(desk: RegistryHarness) -> None:
    two(desk)
    viewer = Actor("ana", frozenset({Role.VIEWER}))
    with pytest.raises(ActRefused):
        student_list(site(desk), viewer, StudentListRequest(list="pix"))
    with pytest.raises(ActRefused):
        card_holder(site(desk), viewer, desk.account(LEA).principal)
