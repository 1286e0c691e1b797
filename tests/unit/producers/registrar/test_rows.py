"""One line at a time: what it states, or what exactly is wrong with it."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.registrar.faults import REMEDIES, Fault, Rejection
from producers.registrar.physical import Line
from producers.registrar.profile import FeedProfile
from producers.registrar.profiles import apogee
from producers.registrar.rows import parse
from schemas.account import Administrative, Pedagogical
from schemas.events import EnrolmentRecorded
from sesame.testing.servers.narrowing import expect
from sesame.testing.servers.registrar_kit import COLUMNS, ZOE


def read(changes: dict[str, str], profile: FeedProfile | None = None) -> dict[str, Any] | list[Rejection]:
    row = ZOE | changes
    return parse(Line(2, tuple(row[column] for column in COLUMNS)), profile or apogee())


def fact(changes: dict[str, str] | None = None, profile: FeedProfile | None = None) -> dict[str, Any]:
    stated = read(changes or {}, profile)
    assert isinstance(stated, dict), stated
    return stated


def test_a_line_becomes_the_data_of_an_event() -> None:
    event = EnrolmentRecorded.model_validate({**fact(), "source": "apogee", "source_sequence": 1})
    assert event.student_number == "22600017"
    assert (event.birth_name, event.usage_name, event.given_name) == ("Lefèvre d'Ormesson", None, "Zoé")
    assert event.birth_date.isoformat() == "2008-03-07"
    assert (event.ine, event.personal_mail) == ("060904317KT", "zoe.lefevre@example.org")
    assert (event.year, event.step, event.step_version, event.component) == (2026, "L1INFO", "261", "SCI")
    assert (event.step_label, event.primary) == ("Licence 1 Informatique", True)
    assert (event.administrative, event.pedagogical) == (Administrative.IN_FORCE, Pedagogical.VALIDATED)


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("COD_ETU", "", Fault.MISSING_VALUE),
        ("COD_ETU", "*)(uid=*", Fault.BAD_STUDENT_NUMBER),
        ("COD_ETU", "2" * 33, Fault.BAD_STUDENT_NUMBER),
        ("COD_ETU", "sesame-canary", Fault.BAD_STUDENT_NUMBER),
        ("COD_ETU", "Sesame-Canary", Fault.BAD_STUDENT_NUMBER),  # the directory compares without case
        ("COD_NNE_IND", "060904317", Fault.BAD_INE),
        ("COD_NNE_IND", "060904317KÉ", Fault.BAD_INE),
        ("LIB_NOM_PAT_IND", "", Fault.MISSING_VALUE),
        ("LIB_NOM_PAT_IND", "N" * 201, Fault.TOO_LONG),
        ("LIB_NOM_USU_IND", "Le\x00Goff", Fault.CONTROL_CHARACTER),
        ("LIB_PR1_IND", "", Fault.MISSING_VALUE),
        ("LIB_PR1_IND", "Zo\u2028é", Fault.CONTROL_CHARACTER),
        ("LIB_PR1_IND", "Zo\udce9", Fault.UNDECODABLE),
        ("DATE_NAI_IND", "", Fault.MISSING_VALUE),
        ("DATE_NAI_IND", "31/02/2005", Fault.BAD_DATE),
        ("DATE_NAI_IND", "00/00/0000", Fault.BAD_DATE),
        ("DATE_NAI_IND", "07/03/08", Fault.BAD_DATE),
        ("DATE_NAI_IND", "7 mars 2008", Fault.BAD_DATE),
        ("DATE_NAI_IND", "07/03/2026", Fault.IMPLAUSIBLE_DATE),
        ("DATE_NAI_IND", "07/03/1899", Fault.IMPLAUSIBLE_DATE),
        ("MAIL_PERSO", "zoe.lefevre", Fault.BAD_MAIL),
        ("MAIL_PERSO", "zoe@lefevre@example.org", Fault.BAD_MAIL),
        ("MAIL_PERSO", "zoe lefevre@example.org", Fault.BAD_MAIL),
        ("MAIL_PERSO", "zoe@example..org", Fault.BAD_MAIL),
        ("MAIL_PERSO", "zoe@-example.org", Fault.BAD_MAIL),
        ("MAIL_PERSO", "Zoé <zoe@example.org>", Fault.BAD_MAIL),
        ("MAIL_PERSO", "zoe.@example.org", Fault.BAD_MAIL),
        ("MAIL_PERSO", ".zoe@example.org", Fault.BAD_MAIL),
        ("MAIL_PERSO", "“zoe”@example.org", Fault.BAD_MAIL),
        ("MAIL_PERSO", "zo\u200be@example.org", Fault.BAD_MAIL),
        ("MAIL_PERSO", "zoe@exam\u200bple.org", Fault.BAD_MAIL),
        ("MAIL_PERSO", "zoe@" + "é" * 64 + ".example.org", Fault.BAD_MAIL),
        ("MAIL_PERSO", "z" * 250 + "@example.org", Fault.TOO_LONG),
        ("NUM_TEL_PORT", "06 12 34 56", Fault.BAD_MOBILE),
        ("NUM_TEL_PORT", "06 12 34 56 78 / 07 12 34 56 78", Fault.BAD_MOBILE),
        ("NUM_TEL_PORT", "06 12 34 56 78 (mère)", Fault.BAD_MOBILE),
        ("NUM_TEL_PORT", "٠٦١٢٣٤٥٦٧٨", Fault.BAD_MOBILE),
        ("NUM_TEL_PORT", "+33 6 12 34 56", Fault.BAD_MOBILE),
        ("INE_PROVISOIRE", "oui", Fault.UNKNOWN_VALUE),
        ("COD_ANU", "", Fault.MISSING_VALUE),
        ("COD_ANU", "26", Fault.BAD_YEAR),
        ("COD_ANU", "2_26", Fault.BAD_YEAR),
        ("COD_ANU", "1989", Fault.BAD_YEAR),
        ("COD_ANU", "2101", Fault.BAD_YEAR),
        ("COD_ANU", "٢٠٢٦", Fault.BAD_YEAR),
        ("COD_ETP", "", Fault.MISSING_VALUE),
        ("COD_ETP", ";DROP TABLE", Fault.BAD_CODE),
        ("COD_VRS_VET", "=1+1", Fault.BAD_CODE),
        ("COD_CMP", "SCI\u00e9", Fault.BAD_CODE),
        ("COD_CMP", "S" * 65, Fault.BAD_CODE),
        ("LIB_ETP", "", Fault.MISSING_VALUE),
        ("LIB_ETP", "L" * 513, Fault.TOO_LONG),
        ("TEM_IAE_PRM", "", Fault.MISSING_VALUE),
        ("TEM_IAE_PRM", "Oui", Fault.UNKNOWN_VALUE),
        ("ETA_IAE", "", Fault.MISSING_VALUE),
        ("ETA_IAE", "in_force", Fault.UNKNOWN_VALUE),
        ("ETA_PMT_IAE", "X", Fault.UNKNOWN_VALUE),
        ("ETA_PMT_IAE", "", Fault.MISSING_VALUE),
        ("IP_VALIDE", "", Fault.MISSING_VALUE),
        ("IP_VALIDE", "o", Fault.UNKNOWN_VALUE),
    ],
)
def test_a_bad_value_is_refused_by_its_column_and_class(column: str, value: str, fault: Fault) -> None:
    rejections = expect(list, read({column: value}))
    (rejection,) = rejections
    assert (rejection.line, rejection.column, rejection.fault) == (2, column, fault)
    assert rejection.value == value
    assert rejection.detail
    assert rejection.student_number == (value if column == "COD_ETU" else ZOE["COD_ETU"])


def test_every_fault_of_a_line_is_told_at_once() -> None:
    rejections = expect(list, read({"DATE_NAI_IND": "31/02/2005", "MAIL_PERSO": "zoe", "COD_ETP": ""}))
    assert {(each.column, each.fault) for each in rejections} == {
        ("DATE_NAI_IND", Fault.BAD_DATE),
        ("MAIL_PERSO", Fault.BAD_MAIL),
        ("COD_ETP", Fault.MISSING_VALUE),
    }


def test_an_unknown_code_does_not_hide_the_other_faults_of_its_line() -> None:
    rejections = expect(list, read({"ETA_IAE": "X", "DATE_NAI_IND": "31/02/2005"}))
    assert {each.column for each in rejections} == {"ETA_IAE", "DATE_NAI_IND"}


def test_every_class_of_fault_has_its_remedy() -> None:
    assert set(REMEDIES) == set(Fault)


@pytest.mark.parametrize("value", ["07/03/2008", "7/3/2008", "2008-03-07"])
def test_dates_are_read_as_the_french_and_as_iso_write_them(value: str) -> None:
    assert fact({"DATE_NAI_IND": value})["birth_date"] == "2008-03-07"


def test_the_29th_of_february_exists_in_leap_years_only() -> None:
    assert fact({"DATE_NAI_IND": "29/02/2008"})["birth_date"] == "2008-02-29"
    assert isinstance(read({"DATE_NAI_IND": "29/02/2007"}), list)


@pytest.mark.parametrize(
    ("state", "payment", "required", "administrative"),
    [
        ("C", "", True, "pending"),
        ("C", "A", True, "pending"),
        ("C", "P", False, "pending"),
        ("E", "P", True, "in_force"),
        ("E", "A", True, "awaiting_payment"),
        ("E", "A", False, "in_force"),
        ("E", "", False, "in_force"),
    ],
)
def test_state_and_payment_make_the_administrative_state(
    state: str, payment: str, required: bool, administrative: str
) -> None:
    profile = apogee(payment_required=required)
    assert fact({"ETA_IAE": state, "ETA_PMT_IAE": payment}, profile)["administrative"] == administrative


@pytest.mark.parametrize(("code", "reason"), [("A", "cancelled"), ("R", "terminated")])
def test_a_cancellation_needs_the_step_only_whatever_else_is_wrong(code: str, reason: str) -> None:
    stated = fact(
        {
            "ETA_IAE": code,
            "LIB_PR1_IND": "",
            "MAIL_PERSO": "zoe",
            "DATE_NAI_IND": "00/00/0000",
            "ETA_PMT_IAE": "",
        }
    )
    assert stated == {
        "student_number": "22600017",
        "year": 2026,
        "step": "L1INFO",
        "step_version": "261",
        "reason": reason,
    }


def test_a_cancellation_without_its_step_is_refused() -> None:
    assert isinstance(read({"ETA_IAE": "A", "COD_ETP": ""}), list)


@pytest.mark.parametrize(
    "mail",
    ["zoe+fac@example.org", "ZOE.Lefevre@Example.ORG", "zoé@université.example", "o'brien_z@a.b-c.example"],
)
def test_unusual_mail_addresses_are_kept_as_they_are(mail: str) -> None:
    assert fact({"MAIL_PERSO": mail})["personal_mail"] == mail


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("06 12 34 56 78", "+33612345678"),
        ("06.12-34/56 78", "+33612345678"),
        ("06\u202f12\u00a034 56 78", "+33612345678"),
        ("+33 (0)6 12 34 56 78", "+33612345678"),
        ("+33 06 12 34 56 78", "+33612345678"),
        ("0033612345678", "+33612345678"),
        ("612345678", "+33612345678"),  # a spreadsheet took the 0
        ("33712345678", "+33712345678"),  # or the +
        ("0692 12 34 56", "+262692123456"),
        ("+33 639 12 34 56", "+262639123456"),
        ("691123456", "+590691123456"),
        ("0694123456", "+594694123456"),
        ("+596 697 12 34 56", "+596697123456"),
        ("+32 470 12 34 56", "+32470123456"),
        ("0044 7911 123456", "+447911123456"),
        ("", None),
    ],
)
def test_a_mobile_number_has_one_form(written: str, number: str | None) -> None:
    assert fact({"NUM_TEL_PORT": written}).get("mobile") == number


@pytest.mark.parametrize(("written", "provisional"), [("O", True), ("N", False), ("", None)])
def test_an_ine_is_provisional_or_not_or_nobody_knows(written: str, provisional: bool | None) -> None:
    assert fact({"INE_PROVISOIRE": written}).get("ine_provisional") is provisional


def test_an_ine_in_small_letters_or_with_blanks_is_put_right() -> None:
    assert fact({"COD_NNE_IND": "0609 04317 kt"})["ine"] == "060904317KT"


@pytest.mark.parametrize("column", ["COD_NNE_IND", "LIB_NOM_USU_IND", "MAIL_PERSO"])
def test_what_is_optional_may_be_empty(column: str) -> None:
    assert set(fact()) - {"usage_name"} >= set(fact({column: ""}))


def test_marks_that_turn_the_direction_of_writing_are_left_out_of_names() -> None:
    assert fact({"LIB_NOM_PAT_IND": "\u202eLe\u200f Goff\u202c"})["birth_name"] == "Le Goff"


names = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp")), min_size=1, max_size=60
).filter(lambda name: bool(name.strip()) and len(unicodedata.normalize("NFC", name.strip())) <= 200)


def accepted(given_name: str) -> dict[str, Any]:
    """The fact of a line whose given name an operator has accepted, whatever it looks like."""
    row = ZOE | {"LIB_PR1_IND": given_name}
    stated = parse(Line(2, tuple(row[column] for column in COLUMNS)), apogee(), accepted=True)
    assert isinstance(stated, dict), stated
    return stated


@given(name=names)
def test_names_are_kept_exactly_as_given_in_nfc(name: str) -> None:
    given_as = name.strip()
    assert accepted(given_as)["given_name"] == unicodedata.normalize("NFC", given_as).strip()


@given(name=names)
def test_both_ways_of_writing_an_accent_are_one_name(name: str) -> None:
    given_as = name.strip()
    composed, decomposed = (unicodedata.normalize(form, given_as) for form in ("NFC", "NFD"))
    assert accepted(composed) == accepted(decomposed)


@given(cells=st.lists(st.text(max_size=40), min_size=len(COLUMNS), max_size=len(COLUMNS)))
def test_whatever_stands_in_a_line_it_is_a_fact_or_has_a_fault(cells: list[str]) -> None:
    stated = parse(Line(2, tuple(cells)), apogee())
    assert stated
    assert isinstance(stated, list)  # random text states nothing
    assert all(rejection.column in COLUMNS for rejection in stated)


@pytest.mark.parametrize("column", ["LIB_NOM_PAT_IND", "LIB_PR1_IND"])
def test_one_name_is_enough_where_the_profile_says_so(column: str) -> None:
    refused = expect(list, read({column: ""}))
    assert [(each.column, each.fault) for each in refused] == [(column, Fault.MISSING_VALUE)]
    one = fact({column: ""}, apogee(one_name=True))
    assert len({"birth_name", "given_name"} & one.keys()) == 1
    event = EnrolmentRecorded.model_validate({**one, "source": "apogee", "source_sequence": 1})
    assert (event.birth_name is None) is (column == "LIB_NOM_PAT_IND")


def test_without_any_name_a_line_is_refused_whatever_the_profile_says() -> None:
    for nameless in (
        {"LIB_NOM_PAT_IND": "", "LIB_PR1_IND": ""},
        {"LIB_NOM_PAT_IND": " ", "LIB_PR1_IND": "\u200f"},
    ):
        refused = expect(list, read(nameless, apogee(one_name=True)))
        assert {each.column for each in refused} == {"LIB_NOM_PAT_IND", "LIB_PR1_IND"}


def test_a_missing_name_is_told_together_with_the_other_faults() -> None:
    refused = expect(list, read({"LIB_PR1_IND": "", "DATE_NAI_IND": "31/02/2005"}))
    assert {each.fault for each in refused} == {Fault.MISSING_VALUE, Fault.BAD_DATE}
