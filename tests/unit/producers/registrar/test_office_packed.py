"""Spreadsheets and archives: read as CSV is, bounded, and refused with a clear word where they cannot be."""

from __future__ import annotations

import gzip
import tracemalloc
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odfdo import Cell, Document, Row, Table
from python_calamine import CalamineWorkbook

from producers.registrar import workbooks
from producers.registrar.faults import UnusableFile
from producers.registrar.packing import opened
from producers.registrar.physical import Line
from producers.registrar.profile import Column, FeedProfile, FileOptions
from producers.registrar.profiles import apogee, choose_groups, pegase
from producers.registrar.reader import examine, read
from sesame.testing.servers.registrar_kit import COLUMNS, MAMADOU, ZOE, Registrar
from tests.unit.producers.registrar.workbook_kit import (
    BLANKS,
    DATE,
    LETTER,
    LONG_DATE,
    PERCENT,
    TIME,
    ZEROS,
    number,
    ods,
    row,
    table,
    table_row,
    xlsx,
    zipped,
)

PROFILE = FeedProfile(
    "test", (Column("student_number", "Numéro"), Column("birth_name", "Nom"), Column("birth_date", "Né le"))
)
TOP = row("Numéro", "Nom", "Né le")
TOP_ODS = table_row("Numéro", "Nom", "Né le")
CSV = "Numéro;Nom;Né le\n1;Roux;12/03/2007\n"


def lines_of(path: Path, profile: FeedProfile = PROFILE) -> list[Line]:
    with opened(path, profile) as source:
        return list(read(source, examine(source, profile), profile))


def cells_of(path: Path, profile: FeedProfile = PROFILE) -> list[tuple[str, ...]]:
    return [line.cells for line in lines_of(path, profile)]


def refused(path: Path, profile: FeedProfile = PROFILE) -> str:
    with pytest.raises(UnusableFile) as error:
        lines_of(path, profile)
    assert str(path) in str(error.value)
    assert error.value.remedy
    return f"{error.value} {error.value.remedy}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export.xlsx"


def saved(path: Path, *rows: tuple[object, ...]) -> Path:
    """A workbook as openpyxl writes it."""
    book = openpyxl.Workbook()
    assert book.active is not None
    for each in rows:
        book.active.append(each)
    book.save(path)
    return path


# --- what comes of a whole import -------------------------------------------------------------------


def exported(path: Path) -> Path:
    """Two students, as Excel would save them, under a title and above a footer."""
    first = [int(ZOE["COD_ETU"]), *(ZOE[column] for column in COLUMNS[1:])]
    first[COLUMNS.index("DATE_NAI_IND")] = datetime(2008, 3, 7)  # noqa: DTZ001 -- a spreadsheet knows no zone
    first[COLUMNS.index("COD_ANU")] = 2026
    second = [MAMADOU[column] or None for column in COLUMNS]
    broken = [None, *second[1:]]
    title = ("Inscriptions au 1er septembre",)
    return saved(path, title, (), COLUMNS, tuple(first), tuple(second), (), tuple(broken), (), ("Total", 3))


def test_a_workbook_publishes_what_the_csv_does_and_says_the_row(registrar: Registrar, path: Path) -> None:
    registrar.import_rows(ZOE, MAMADOU)
    facts = [message.event.model_dump(exclude={"source_sequence"}) for message in registrar.log.take()]
    report = registrar.import_(exported(path))
    assert (report.unchanged, report.recorded, report.rejected) == (2, 0, 1)
    assert (report.form, report.sheet) == ("xlsx", "Sheet")
    (wrong,) = registrar.rejected()
    assert (wrong["line"], wrong["column"], wrong["fault"]) == ("7", "COD_ETU", "missing_value")
    assert registrar.log.records == []
    registrar.import_(exported(path), republish=True)
    again = [message.event.model_dump(exclude={"source_sequence"}) for message in registrar.log.take()]
    assert again == facts


def test_the_guard_and_approvals_hold_for_a_workbook(registrar: Registrar, path: Path) -> None:
    rows = [ZOE | {"COD_ETU": f"2260{index:04d}", "COD_NNE_IND": ""} for index in range(40)]
    registrar.import_rows(*rows)
    left = saved(path, COLUMNS, *(tuple(each[column] for column in COLUMNS) for each in rows[:20]))
    held = registrar.import_(left, full_year=2026)
    assert held.held
    assert registrar.import_(left, full_year=2026, approval=held.approval or "").gone == 20


def test_groups_come_in_a_workbook_too(registrar: Registrar, path: Path) -> None:
    saved(path, ("COD_ETU", "COD_ANU", "COD_ELP", "LIB_ELP", "COD_GPE"), (22600017, 2026, "UE1", None, "A"))
    assert registrar.import_groups(path=path, profile=choose_groups("apogee")).recorded == 1


def test_nothing_stays_behind(registrar: Registrar, path: Path, tmp_path: Path) -> None:
    exported(path)
    before = sorted(tmp_path.iterdir())
    registrar.import_(path, dry_run=True)
    made = {each.name for each in tmp_path.iterdir() if each not in before and each.stem != "store"}
    assert made == {registrar.rejects.name}


# --- Excel's cells ----------------------------------------------------------------------------------


@given(
    rows=st.lists(
        st.tuples(
            *[
                st.text(
                    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cn")),
                    max_size=20,
                )
            ]
            * 3
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_texts_are_what_another_reader_finds(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    texts = [tuple("'" + text.replace("_x", "-") for text in each) for each in rows]
    path = saved(tmp_path_factory.mktemp("book") / "b.xlsx", ("Numéro", "Nom", "Né le"), *texts)
    _, *found = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    assert cells_of(path) == [tuple(str(cell).strip() for cell in each) for each in found]


@pytest.mark.parametrize(
    ("cell", "read_as"),
    [
        pytest.param(number(26100001), "26100001", id="whole"),
        pytest.param(number("2.6100001E7"), "26100001", id="in scientific form"),
        pytest.param(number(123456, ZEROS), "00123456", id="zeros of its format"),
        pytest.param(number(26100001, BLANKS), "26100001", id="thousands set apart"),
        pytest.param(number(1234, LETTER), '1234 ["E"0000]', id="a letter of its format"),
        pytest.param(number("0.5"), "0.5", id="a fraction"),
        pytest.param(number("26", PERCENT), "26 [0%]", id="a percentage"),
        pytest.param(number("0.5", PERCENT), "0.5 [0%]", id="a percentage below one"),
        pytest.param(number(12345678901234567890), "1.23456789012346E+19", id="digits lost"),
        pytest.param('<c t="inlineStr"><is><t>00123</t></is></c>', "00123", id="text"),
        pytest.param('<c t="s"><v>0</v></c>', "Roux", id="shared"),
        pytest.param('<c t="s"><v>1</v></c>', "Le Goff", id="shared, in several runs, and how it is spoken"),
        pytest.param('<c t="str"><f>A1</f><v>22600017</v></c>', "22600017", id="a formula's text"),
        pytest.param("<c><f>A1+1</f><v>22600018</v></c>", "22600018", id="a formula's number"),
        pytest.param('<c t="str"><f>A1</f><v></v></c>', "", id="a formula's empty text"),
        pytest.param('<c t="e"><v>#N/A</v></c>', "#N/A", id="an error"),
        pytest.param('<c t="b"><v>1</v></c>', "VRAI", id="yes"),
        pytest.param('<c t="d"><v>2007-03-12</v></c>', "2007-03-12", id="an ISO date"),
        pytest.param(number(39153, DATE), "2007-03-12", id="a date"),
        pytest.param(number(39153, LONG_DATE), "2007-03-12", id="a long French date"),
        pytest.param(number(39153, TIME), "2007-03-12", id="midnight"),
        pytest.param(number(39153.5, TIME), "2007-03-12 12:00:00", id="noon"),
        pytest.param(number(59, DATE), "1900-02-28", id="before the day that never was"),
        pytest.param(number(60, DATE), "60", id="the day that never was"),
        pytest.param(number(61, DATE), "1900-03-01", id="after it"),
        pytest.param('<c t="inlineStr"><is><t>a_x0007_b</t></is></c>', "a\x07b", id="an escape"),
        pytest.param('<c t="inlineStr"><is><t>a&#10;b</t></is></c>', "a\u2028b", id="a line break"),
    ],
)
def test_a_cell_is_read_as_the_office_sees_it(path: Path, cell: str, read_as: str) -> None:
    shared = "<si><t>Roux</t></si><si><r><t>Le </t></r><r><t>Goff</t></r><rPh><t>x</t></rPh></si>"
    xlsx(path, {"A": TOP + row("1", cell, "x")}, shared=shared)
    assert cells_of(path) == [("1", read_as, "x")]


@pytest.mark.parametrize("day", [date(1926, 1, 1), date(2007, 3, 12), date(1904, 2, 29)])
@pytest.mark.parametrize("epoch", [openpyxl.utils.datetime.WINDOWS_EPOCH, openpyxl.utils.datetime.MAC_EPOCH])
def test_dates_are_those_that_another_program_wrote(path: Path, day: date, epoch: datetime) -> None:
    book = openpyxl.Workbook()
    book.epoch = epoch
    assert book.active is not None
    book.active.append(("Numéro", "Nom", "Né le"))
    book.active.append(("1", "Roux", day))
    book.save(path)
    assert cells_of(path) == [("1", "Roux", day.isoformat())]


def test_rows_and_columns_that_are_left_out_keep_their_places(path: Path) -> None:
    moved = '<row r="4"><c r="B4"><v>7</v></c><c r="D4" t="inlineStr"><is><t>x</t></is></c></row>'
    xlsx(path, {"A": TOP + moved + row("9", number=9)})
    assert [(line.number, line.cells) for line in lines_of(path)] == [(4, ("", "7", "")), (9, ("9", "", ""))]


def test_a_number_that_looks_like_a_date_in_another_column_is_refused(
    registrar: Registrar, path: Path
) -> None:
    line = [ZOE[column] for column in COLUMNS]
    line[0] = number(39153, DATE)
    xlsx(path, {"A": row(*COLUMNS) + row(*(cell.replace("'", "&apos;") for cell in line))})
    registrar.import_(path)
    (wrong,) = registrar.rejected()
    assert wrong["fault"] == "lost_digits"


# --- sheets -----------------------------------------------------------------------------------------


def test_of_two_sheets_with_data_none_is_guessed(path: Path) -> None:
    xlsx(path, {"L1": TOP + row("1", "Roux", "x"), "Vide": "", "L2": TOP + row("2", "Noël", "x")})
    said = refused(path)
    assert "2 sheets hold something: L1, L2" in said
    assert "--sheet" in said
    assert cells_of(path, replace(PROFILE, file=FileOptions(sheet="l2"))) == [("2", "Noël", "x")]
    assert "its sheets: L1, Vide, L2" in refused(path, replace(PROFILE, file=FileOptions(sheet="L3")))


def test_a_hidden_sheet_is_read_only_when_it_is_named(path: Path) -> None:
    xlsx(path, {"Listes": TOP + row("1", "Roux", "x"), "A": TOP + row("2", "x", "y")}, hidden=("Listes",))
    assert cells_of(path) == [("2", "x", "y")]
    xlsx(path, {"Listes": TOP + row("1", "Roux", "x"), "A": ""}, hidden=("Listes",))
    assert "only hidden sheets hold something: Listes" in refused(path)
    assert cells_of(path, replace(PROFILE, file=FileOptions(sheet="Listes"))) == [("1", "Roux", "x")]


# --- LibreOffice ------------------------------------------------------------------------------------


def test_what_another_program_wrote_as_ods_is_read(tmp_path: Path) -> None:
    document, sheet = Document("spreadsheet"), Table("Feuille1")
    for values in (("Numéro", "Nom", "Né le"), (22600017, "Lefèvre", date(2007, 3, 12))):
        line = Row()
        for value in values:
            line.append_cell(Cell(value))
        sheet.append_row(line)
    document.body.clear()
    document.body.append(sheet)
    path = tmp_path / "export.ods"
    document.save(path)
    assert cells_of(path) == [("22600017", "Lefèvre", "2007-03-12")]


def cell(kind: str, shown: str, more: str = "") -> str:
    return f'<table:table-cell office:value-type="{kind}" {more}><text:p>{shown}</text:p></table:table-cell>'


@pytest.mark.parametrize(
    ("cell", "read_as"),
    [
        pytest.param(cell("float", "26 100 001", 'office:value="26100001"'), "26100001", id="thousands"),
        pytest.param(cell("float", "00123456", 'office:value="123456"'), "00123456", id="leading zeros"),
        pytest.param(cell("float", "2,61E+07", 'office:value="26100001"'), "26100001", id="shown short"),
        pytest.param(cell("float", "E1234", 'office:value="1234"'), "1234 [E1234]", id="a letter"),
        pytest.param(cell("percentage", "26 %", 'office:value="26"'), "26 %", id="a percentage"),
        pytest.param(
            cell("date", "x", 'office:date-value="2007-03-12T00:00:00"'), "2007-03-12T00:00:00", id="date"
        ),
        pytest.param(cell("boolean", "VRAI", 'office:boolean-value="true"'), "VRAI", id="yes"),
        pytest.param(
            cell("float", "Err:508", 'office:value="0" table:formula="of:=1/0"'), "#VALUE!", id="an error"
        ),
        pytest.param(
            '<table:table-cell office:value-type="string"><office:annotation><text:p>note</text:p>'
            "</office:annotation><text:p>Le<text:s/><text:span>Goff</text:span></text:p></table:table-cell>",
            "Le Goff",
            id="a note",
        ),
    ],
)
def test_a_cell_of_an_ods_is_read_as_the_office_sees_it(path: Path, cell: str, read_as: str) -> None:
    ods(path, table("A", TOP_ODS, table_row("1", cell, "x")))
    assert cells_of(path) == [("1", read_as, "x")]


def test_repeated_rows_and_columns_of_an_ods(path: Path) -> None:
    twice = cell("string", "z", 'table:number-columns-repeated="2"')
    empty = '<table:table-cell table:number-columns-repeated="16384"/>'
    ods(
        path,
        table(
            "A",
            TOP_ODS,
            table_row(empty, times=3),
            table_row("1", twice, times=2),
            table_row(empty, times=1_048_570),
        ),
    )
    assert [(line.number, line.cells) for line in lines_of(path)] == [
        (5, ("1", "z", "z")),
        (6, ("1", "z", "z")),
    ]


def test_two_sheets_of_an_ods_and_a_hidden_one(path: Path) -> None:
    hidden = '<style:style style:name="h"><style:table-properties table:display="false"/></style:style>'
    first, second = (
        table("L1", TOP_ODS, table_row("1", "a", "b")),
        table("L2", TOP_ODS, table_row("2", "a", "b")),
    )
    ods(path, first + second)
    assert "2 sheets hold something: L1, L2" in refused(path)
    ods(path, first.replace('style-name=""', 'style-name="h"') + second, hidden)
    assert cells_of(path) == [("2", "a", "b")]


# --- archives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252"])
def test_gzip_and_zip_are_read_as_what_is_in_them(path: Path, encoding: str) -> None:
    content = CSV.encode(encoding)
    path.write_bytes(gzip.compress(content))
    assert cells_of(path) == [("1", "Roux", "12/03/2007")]
    path.write_bytes(zipped(export__csv=content))
    assert cells_of(path) == [("1", "Roux", "12/03/2007")]


def test_what_a_mac_puts_beside_is_no_second_file(path: Path, tmp_path: Path) -> None:
    with ZipFile(path, "w") as archive:
        archive.writestr("Exports/", "")
        archive.writestr("Exports/export.csv", CSV)
        archive.writestr("Exports/.DS_Store", "x")
        archive.writestr("__MACOSX/Exports/._export.csv", "x")
    assert cells_of(path) == [("1", "Roux", "12/03/2007")]


def test_a_workbook_may_come_in_an_archive(path: Path, tmp_path: Path) -> None:
    inner = xlsx(tmp_path / "inner.xlsx", {"A": TOP + row("1", "Roux", "x")}).read_bytes()
    for packed in (zipped(a__xlsx=inner), gzip.compress(inner)):
        path.write_bytes(packed)
        assert cells_of(path) == [("1", "Roux", "x")]


def test_json_lines_may_come_packed_and_never_as_a_workbook(path: Path) -> None:
    path.write_bytes(gzip.compress(b'{"codeApprenant": "22600017"}\n'))
    assert len(lines_of(path, pegase())) == 1
    xlsx(path, {"A": TOP})
    assert "the profile reads JSON lines" in refused(path, pegase())


def test_a_csv_that_begins_as_a_zip_does_is_a_csv(path: Path) -> None:
    path.write_text("PK;" + CSV.replace("\n1;", "\nx;1;"), encoding="utf-8")
    assert cells_of(path) == [("1", "Roux", "12/03/2007")]


def test_an_encoding_that_was_said_is_of_the_text_and_not_of_the_workbook(path: Path) -> None:
    xlsx(path, {"A": TOP + row("1", "LefÃ¨vre", "x")})
    assert cells_of(path, replace(PROFILE, encoding="utf-8-twice")) == [("1", "Lefèvre", "x")]
    xlsx(path, {"A": TOP + row("1", "Lefèvre", "x")})
    assert cells_of(path, replace(PROFILE, encoding="mac-roman")) == [("1", "Lefèvre", "x")]


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"PK\x03\x04rest", "damaged", id="no archive"),
        pytest.param(b"\x1f\x8brest", "damaged", id="no gzip"),
        pytest.param(gzip.compress(CSV.encode() * 999)[:-20], "damaged", id="gzip cut off"),
        pytest.param(gzip.compress(b""), "the file is empty", id="nothing in a gzip"),
        pytest.param(zipped(), "it holds no file", id="nothing in a zip"),
        pytest.param(zipped(a__csv=b"x", b__csv=b"y"), "it holds 2 files: a.csv, b.csv", id="two files"),
        pytest.param(zipped(a__zip=zipped(b__csv=b"x")), "an archive in an archive", id="a zip in a zip"),
        pytest.param(zipped(a__gz=gzip.compress(b"x")), "an archive in an archive", id="a gzip in a zip"),
        pytest.param(gzip.compress(gzip.compress(b"x")), "an archive in an archive", id="a gzip in a gzip"),
        pytest.param(
            zipped(mimetype=b"application/vnd.oasis.opendocument.text"), "office document", id="a letter"
        ),
        pytest.param(b"\xd0\xcf\x11\xe0" + bytes(500), r"old form \(.xls\), or protected", id="xls"),
    ],
)
def test_what_cannot_be_unpacked_is_refused_with_a_clear_word(path: Path, content: bytes, says: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UnusableFile, match=says) as error:
        lines_of(path)
    assert error.value.remedy


def test_a_zip_with_a_password_is_refused(path: Path) -> None:
    content = bytearray(zipped(a__csv=b"x"))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "password" in refused(path)
    ods(path, "", manifest="<manifest><encryption-data/></manifest>")
    assert "password" in refused(path)


def test_a_formula_without_a_value_is_refused_at_its_place(path: Path) -> None:
    saved(path, ("Numéro", "Nom", "Né le"), ("1", "=A2", "x"))
    assert "row 2, column 2: a formula whose value the file does not hold" in refused(path)
    ods(path, table("A", TOP_ODS, table_row("1", '<table:table-cell table:formula="of:=[.A1]"/>')))
    assert "row 2, column 2: a formula" in refused(path)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(TOP + row("1", number=2) + row("2", number=2), id="a row twice"),
        pytest.param(row("1", number=1_048_577), id="below the last row"),
        pytest.param(TOP + '<row r="2"><c r="XFE2"><v>1</v></c></row>', id="beyond the last column"),
        pytest.param(TOP + '<row r="2"><c r="A-1"><v>1</v></c></row>', id="nowhere"),
        pytest.param(TOP + '<row><c t="s"><v>7</v></c></row>', id="a text that is not there"),
        pytest.param(TOP + "<row>", id="broken XML"),
    ],
)
def test_a_workbook_that_is_broken_is_refused(path: Path, rows: str) -> None:
    refused(xlsx(path, {"A": rows}))


# --- bombs ------------------------------------------------------------------------------------------


def peak_of(path: Path) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(UnusableFile):
            lines_of(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_cell_in_the_last_corner_takes_no_memory_for_the_others(path: Path) -> None:
    xlsx(path, {"A": TOP + row("1", "Roux", "x") + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'})
    assert cells_of(path)[0] == ("1", "Roux", "x")


def test_a_million_empty_rows_are_an_empty_sheet(path: Path) -> None:
    xlsx(path, {"A": "".join(f'<row r="{n}"><c r="A{n}" s="1"/></row>' for n in range(1, 200_001))})
    assert peak_of(path) < 20_000_000
    assert "its sheets are empty" in refused(path)


@pytest.mark.parametrize("kind", ["gzip", "zip", "xlsx", "strings", "ods"])
def test_a_bomb_is_refused_at_the_bound(path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(workbooks, "UNPACKED_BYTES_MAX", 5_000_000)
    if kind == "gzip":
        path.write_bytes(gzip.compress(bytes(20_000_000)))
    elif kind == "zip":
        path.write_bytes(zipped(a__csv=bytes(20_000_000)))
    elif kind == "xlsx":
        xlsx(path, {"A": TOP + row("1", "x" * 20_000_000, "x")})
    elif kind == "strings":
        xlsx(path, {"A": TOP + row("1", "x", "x")}, shared="<si><t>" + "x" * 20_000_000 + "</t></si>")
    else:
        ods(path, table("A", TOP_ODS, table_row("1", "x" * 1000, times=1_000_000)))
    assert path.stat().st_size < 200_000
    assert peak_of(path) < 20_000_000
    assert "unpacked it is larger than 5000000 bytes" in refused(path)


def test_a_name_of_xml_that_never_ends_is_refused(path: Path) -> None:
    xlsx(path, {"A": f'<row x="{"y" * 20_000_000}"/>'})
    assert peak_of(path) < 20_000_000


def test_entities_are_not_expanded(path: Path) -> None:
    xlsx(path, {"A": TOP})
    with ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/worksheets/sheet1.xml"] = b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert "DOCTYPE" in refused(path)


def test_a_row_longer_than_a_line_is_refused_alone(path: Path) -> None:
    xlsx(path, {"A": TOP + row("1", "x" * 70_000, "x") + row("2", "Roux", "x")})
    first, second = lines_of(path)
    assert (first.number, first.fault, second.cells) == (2, "line_too_long", ("2", "Roux", "x"))


def test_apogees_profile_is_asked_for_its_columns_in_a_workbook(path: Path) -> None:
    saved(path, ("COD_ETUDIANT", "LIB_NOM_PAT_IND"), ("1", "x"))
    assert "expected COD_ETU: found COD_ETUDIANT" in refused(path, apogee())


# --- UTF-16, as Excel saves 'Unicode text' -----------------------------------------------------------

PAIR = "\U0001f600"  # two units of UTF-16
WIDE = f"Numéro\tNom\tNé le\r\n1\tŒuvrard\t12/03/2007\r\n2\t{PAIR}\t01/02/2006\r\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_unicode_text_of_excel_is_read(path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path.write_bytes((mark + WIDE).encode(encoding))
    assert cells_of(path) == [("1", "Œuvrard", "12/03/2007"), ("2", PAIR, "01/02/2006")]
    with opened(path, PROFILE) as source:
        assert source.form == "UTF-16"


def test_unicode_text_is_unpacked_first(path: Path) -> None:
    path.write_bytes(gzip.compress(WIDE.encode("utf-16")))
    assert len(cells_of(path)) == 2
    with opened(path, PROFILE) as source:
        assert source.form == "gzip, UTF-16"


def test_unicode_text_beyond_one_chunk_loses_no_character(path: Path) -> None:
    rows = [(str(number), PAIR * 40, "01/02/2006") for number in range(2_000)]
    lines = ["x\tNuméro\tNom\tNé le\n", *("a\t" + "\t".join(row) + "\n" for row in rows)]
    path.write_bytes("".join(lines).encode("utf-16"))
    assert cells_of(path) == rows


@pytest.mark.parametrize("damage", [b"\x41", b"\x00\xd8"], ids=["half a character", "half of a pair"])
def test_unicode_text_that_was_cut_off_is_refused(path: Path, damage: bytes) -> None:
    path.write_bytes(WIDE.encode("utf-16") + damage)
    assert "it is damaged" in refused(path)


def test_unicode_text_may_not_grow_beyond_the_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(WIDE.encode("utf-16"))
    monkeypatch.setattr(workbooks, "UNPACKED_BYTES_MAX", len(WIDE.encode()) - 1)
    assert "larger than" in refused(path)
