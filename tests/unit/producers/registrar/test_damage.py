"""Damaged names never become logins: the line is held, with the likely right reading; true names pass."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline import audit
from pipeline.threshold import Threshold
from producers.registrar.acceptance import CODE, Acceptance, AcceptanceUnfit
from producers.registrar.faults import Fault
from producers.registrar.physical import Line
from producers.registrar.profiles import apogee
from producers.registrar.report import ImportReport
from producers.registrar.rows import parse
from sesame.testing.servers.registrar_kit import COLUMNS, MAMADOU, ZOE, Registrar, students

ACCENTED = (
    "Hélène", "Zoé", "François", "Noël", "Gaëlle", "Jérôme", "Anaïs", "Benoît", "Müller", "Éric", "HÉLÈNE",
    "Conceição", "João", "Ñuñez", "Łukasz", "Şahin", "L’Hôpital", "Nguyễn", "محمد", "Иван", "李明",
)  # fmt: skip
TRUE_NAMES = (
    "N'Guessan", "João", "Conceição", "Ãlvaro", "Guimarães", "MAÇÃ", "IRMÃ DA", "SÃO",
    "TOMÁŠ", "JANÍŠEK", "Žižka", "Dvořák", "Gal·la", "L’Hôpital", "O´Brien", "Mª José",  # noqa: RUF001
    "RABÎ’A", "Na", "Nan", "Nil", "MacÉoin", "DeÁngelis", "Đặng", "Þórður", "Guðrún",
    "İbrahim", "محمد", "می‌خواهم", "李明", "Ka‘ahumanu", "Saint–Exupéry", "Jean «dit» X",  # noqa: RUF001
    "ʿAlī", "Ștefan", "Țepeș", "Ø", "ŒUVRE", "Lætitia", "Weiß", "L'Haÿ", "Smith & Co",
    "Nullot", "Nonez", "=Énora",
)  # fmt: skip


def as_web(raw: bytes) -> str:
    """Bytes as software reads them as Windows-1252: those that it leaves out are control characters."""
    return "".join(raw[i : i + 1].decode("cp1252", "ignore") or chr(raw[i]) for i in range(len(raw)))


def found_in(**changes: str) -> list[tuple[str, Fault, str]]:
    """The faults of a line that differs from a sound one."""
    row = ZOE | changes
    stated = parse(Line(2, tuple(row[column] for column in COLUMNS)), apogee())
    return [(each.column, each.fault, each.detail) for each in stated] if isinstance(stated, list) else []


@pytest.mark.parametrize("name", ACCENTED)
@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(lambda name: as_web(name.encode()), id="utf-8 read as windows-1252"),
        pytest.param(lambda name: name.encode().decode("latin-1"), id="utf-8 read as latin-1"),
        pytest.param(lambda name: as_web(as_web(name.encode()).encode()), id="the same twice"),
        pytest.param(lambda name: name.encode("ascii", "xmlcharrefreplace").decode(), id="html"),
        pytest.param(lambda name: name.encode("ascii", "backslashreplace").decode(), id="escapes"),
    ],
)
def test_a_name_in_a_wrong_encoding_is_held_with_its_right_reading(
    name: str, damaged: Callable[[str], str]
) -> None:
    faults = found_in(LIB_PR1_IND=damaged(name))
    assert [column for column, _, _ in faults] == ["LIB_PR1_IND"]
    assert f"did you mean {unicodedata.normalize('NFC', name)}?" in faults[0][2]


@pytest.mark.parametrize(
    ("wrote", "read"), [("mac_roman", "cp1252"), ("cp850", "cp1252"), ("cp1252", "cp850")]
)
@pytest.mark.parametrize("name", ["Hélène", "François", "Jérôme", "Irène", "Célia"])
def test_a_name_of_another_encoding_is_held_with_its_right_reading(name: str, wrote: str, read: str) -> None:
    faults = found_in(LIB_PR1_IND=name.encode(wrote).decode(read, "surrogateescape"))
    if faults or name != "François":  # one letter for another, which names may have
        assert f"did you mean {name}?" in faults[0][2]


@pytest.mark.parametrize("column", ["LIB_NOM_PAT_IND", "LIB_NOM_USU_IND", "LIB_PR1_IND"])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("H?l?ne", "place 2, 4; did you mean Hélène?"),
        ("H\ufffdl\ufffdne", "place 2, 4; did you mean Hélène?"),
        ("Zo?", "place 3; did you mean Zoé?"),
        ("Lef?vre", "place 4"),
        ("NULL", "NULL stands for a value that is missing"),
        ("Null", "Null stands for a value that is missing"),
        ("(null)", "stands for a value that is missing"),
        ("\\N", "stands for a value that is missing"),
        ("None", "stands for a value that is missing"),
        ("N/A", "stands for a value that is missing"),
        ("#N/A", "stands for a value that is missing"),
        ("#REF!", "stands for a value that is missing"),
        ("#NOM?", "stands for a value that is missing"),
        ("Hé\ufefflène", "did you mean Hélène?"),
        ("Hé\u200blène", "did you mean Hélène?"),
        ("H&eacute;l&egrave;ne", "did you mean Hélène?"),
        ("H%C3%A9l%C3%A8ne", "did you mean Hélène?"),
        ("H=E9l=E8ne", "did you mean Hélène?"),
        ("Noe¨l", "did you mean Noël?"),
        ("Rom\u00c3", "did you mean Romà?"),
        ("Jürgen²", "² stands beside a letter"),
    ],
)
def test_what_is_left_of_a_name_is_held_and_told(column: str, value: str, says: str) -> None:
    ((place, fault, detail),) = found_in(**{column: value})
    assert (place, fault) == (column, Fault.DAMAGED_TEXT)
    assert says in detail


@pytest.mark.parametrize("name", TRUE_NAMES)
def test_a_true_name_passes(name: str) -> None:
    assert found_in(LIB_NOM_PAT_IND=name, LIB_NOM_USU_IND=name, LIB_PR1_IND=name) == []


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        pytest.param("hÃ©lÃ¨ne@example.org", Fault.BAD_MAIL, id="with signs that no address has"),
        pytest.param("hÈlËne@example.org", Fault.DAMAGED_TEXT, id="with letters that one may have"),
    ],
)
def test_a_damaged_mail_address_is_held(address: str, wanted: Fault) -> None:
    ((column, fault, detail),) = found_in(MAIL_PERSO=address)
    assert (column, fault) == ("MAIL_PERSO", wanted)
    assert "did you mean hélène?" in detail


def test_a_word_for_no_value_is_no_student_number() -> None:
    assert [(column, fault) for column, fault, _ in found_in(COD_ETU="NULL")] == [
        ("COD_ETU", Fault.BAD_STUDENT_NUMBER)
    ]


# --- what an operator knows to be right ---------------------------------------------------------------

JENNIFER = ZOE | {
    "COD_ETU": "22600099",
    "COD_NNE_IND": "",
    "LIB_NOM_PAT_IND": "Null",
    "LIB_PR1_IND": "Jennifer",
}


def import_rows(
    registrar: Registrar, *rows: dict[str, str], accept: str = "", **options: object
) -> ImportReport:
    registrar.acceptance = Acceptance(frozenset({accept} - {""}), "odile")
    return registrar.import_rows(*rows, **options)  # type: ignore[arg-type]


def seen(registrar: Registrar, *rows: dict[str, str]) -> str:
    """The code that the rejects file gives for the last line that has one, as a preview shows it."""
    import_rows(registrar, *rows, dry_run=True)
    details = [row["detail"] for row in registrar.rejected()]
    found = [match[1] for detail in details if (match := re.search(r" \(--accept ([^)]+)\)$", detail))]
    assert all(CODE.fullmatch(each) for each in found)
    return found[-1]


def test_a_true_name_that_looks_damaged_is_accepted_once_and_for_all(registrar: Registrar) -> None:
    assert import_rows(registrar, JENNIFER, MAMADOU).rejected == 1
    code = seen(registrar, JENNIFER)
    dry = import_rows(registrar, JENNIFER, MAMADOU, accept=code, dry_run=True)
    assert (dry.rejected, dry.recorded) == (0, 1)
    assert import_rows(registrar, JENNIFER, MAMADOU).rejected == 1, "a dry run accepts nothing"
    report = import_rows(registrar, JENNIFER, MAMADOU, accept=code)
    assert (report.rejected, report.recorded, report.accepted) == (0, 1, 1)
    assert {message.event.student_number for message in registrar.log.messages} == {"22600018", "22600099"}
    later = import_rows(registrar, JENNIFER | {"IP_VALIDE": "N"}, MAMADOU)
    assert (later.rejected, later.recorded) == (0, 1), "nobody is asked again"
    again = import_rows(registrar, JENNIFER, MAMADOU, accept=code)
    assert (again.rejected, again.accepted) == (0, 0), "the same command again accepts nothing anew"
    with registrar.database.read() as connection:
        rows = audit.entries(connection, action="import.accept", limit=10)
    assert [(row.actor, row.detail["students"]) for row in rows] == [("odile", ["22600099"])]


def test_what_was_accepted_is_that_value_of_that_student_only(registrar: Registrar) -> None:
    import_rows(registrar, JENNIFER, accept=seen(registrar, JENNIFER))
    other = JENNIFER | {"COD_ETU": "22600098", "COD_NNE_IND": ""}
    assert import_rows(registrar, JENNIFER, other).rejected == 1
    assert import_rows(registrar, JENNIFER | {"LIB_NOM_PAT_IND": "NULL"}).rejected == 1


def test_a_code_of_another_file_accepts_nothing_and_says_so(registrar: Registrar) -> None:
    of_yesterday = seen(registrar, JENNIFER)
    unseen = JENNIFER | {"LIB_NOM_PAT_IND": "Lef?vre"}
    with pytest.raises(AcceptanceUnfit, match="another value than this file has") as refused:
        import_rows(registrar, unseen, MAMADOU, accept=of_yesterday)
    assert refused.value.exit_code == 2
    with pytest.raises(AcceptanceUnfit, match="another value than this file has"):
        import_rows(registrar, JENNIFER | {"LIB_NOM_PAT_IND": "Nulle"}, accept=of_yesterday)
    with pytest.raises(AcceptanceUnfit, match=r"22600099:.{8}: no line is of this student"):
        import_rows(registrar, MAMADOU, accept=of_yesterday, dry_run=True)
    assert registrar.log.messages == []
    assert import_rows(registrar, unseen, accept=seen(registrar, unseen)).accepted == 1


def test_another_fault_of_the_line_is_not_accepted_with_it(registrar: Registrar) -> None:
    late = JENNIFER | {"DATE_NAI_IND": "31/02/2005"}
    code = seen(registrar, late)
    report = import_rows(registrar, late, accept=code)
    assert (report.rejected, report.accepted) == (1, 0)
    assert import_rows(registrar, JENNIFER, accept=code).accepted == 1, "the date was mended"
    control = JENNIFER | {"LIB_PR1_IND": "Jen\0nifer"}
    assert import_rows(registrar, control).rejected == 1


def test_a_wrong_number_is_no_part_of_a_code(registrar: Registrar) -> None:
    report = import_rows(registrar, JENNIFER | {"COD_ETU": "2260 ?:(99"})
    assert report.rejected == 1
    assert not any("--accept" in row["detail"] for row in registrar.rejected())


def test_nothing_is_accepted_by_an_import_that_is_held(registrar: Registrar) -> None:
    rows = students(10)
    import_rows(registrar, *rows)
    code = seen(registrar, JENNIFER)
    assert import_rows(registrar, JENNIFER, *rows[:2], accept=code, full_year=2026).held
    assert import_rows(registrar, JENNIFER, *rows).rejected == 1


# --- a file in a wrong encoding -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "likely"),
    [
        pytest.param(lambda text: as_web(text.encode()).encode(), "utf-8-twice", id="encoded twice"),
        pytest.param(lambda text: text.encode("mac_roman"), "mac-roman", id="of a Macintosh"),
        pytest.param(lambda text: text.encode("cp850"), "cp850", id="of a DOS program"),
    ],
)
def test_a_file_of_which_many_lines_are_damaged_is_held_and_its_encoding_told(
    registrar: Registrar, raw: Callable[[str], bytes], likely: str
) -> None:
    text = registrar.write(students(52)).read_text(encoding="utf-8")
    registrar.export.write_bytes(raw(text))
    report = registrar.import_(registrar.export)
    assert (report.held, report.misread, report.likely_encoding) == (True, True, likely)
    assert report.damaged == 52
    assert registrar.log.records == []
    again = registrar.import_(registrar.export, profile=replace(apogee(), encoding=likely))
    assert (again.held, again.recorded, again.rejected) == (False, 52, 0)
    wanted = {(row["COD_ETU"], row["LIB_NOM_PAT_IND"], row["LIB_PR1_IND"]) for row in students(52)}
    found = {
        (event.student_number, getattr(event, "birth_name"), getattr(event, "given_name"))  # noqa: B009
        for event in (message.event for message in registrar.log.messages)
    }
    assert found == wanted


def test_letters_that_are_lost_come_back_in_no_encoding(registrar: Registrar) -> None:
    text = registrar.write(students(52)).read_text(encoding="utf-8")
    registrar.export.write_bytes(text.encode("ascii", "replace"))
    report = registrar.import_(registrar.export)
    assert (report.held, report.misread, report.likely_encoding) == (True, True, "")


def test_a_few_damaged_lines_keep_nobody_else_waiting(registrar: Registrar) -> None:
    report = registrar.import_rows(*students(50), JENNIFER, JENNIFER | {"COD_ETU": "22600098"})
    assert (report.held, report.recorded, report.rejected) == (False, 50, 2)


def test_the_sound_lines_of_a_file_with_many_damaged_ones_may_be_approved(registrar: Registrar) -> None:
    rows = [
        *students(9),
        *(row | {"LIB_PR1_IND": "H?l?ne", "COD_ETU": f"9{row['COD_ETU']}"} for row in students(3)),
    ]
    report = registrar.import_rows(*rows)
    assert (report.held, report.misread) == (True, True)
    approved = registrar.import_rows(*rows, approval=report.approval or "")
    assert (approved.held, approved.recorded, approved.rejected) == (False, 9, 3)
    assert registrar.import_rows(*rows, threshold=Threshold(share=1)).recorded == 0
