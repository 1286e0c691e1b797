"""What is told of a line that cannot be read, and of a file that is no text: to the last field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from producers.registrar.faults import Fault, UnusableFile
from producers.registrar.physical import Line, Source
from producers.registrar.profile import Column, FeedProfile, FileForm
from producers.registrar.reader import examine, read

COLUMNS = ("COD_ETU", "LIB_NOM_PAT_IND", "LIB_ETP")
HEADER = "COD_ETU;LIB_NOM_PAT_IND;LIB_ETP"
PROFILE = FeedProfile("test", tuple(Column(name, name) for name in COLUMNS))
LINES = replace(PROFILE, form=FileForm.JSON_LINES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export.csv"


@pytest.mark.parametrize(
    ("line", "fault", "detail"),
    [
        ("1;Ro\rux;", Fault.CONTROL_CHARACTER, "a carriage return inside the line"),
        ('1;"Roux;', Fault.BROKEN_QUOTES, "a double quote is not closed"),
        ('1;"Ro"ux;', Fault.BROKEN_QUOTES, "text behind a closing double quote"),
        ("1;", Fault.WRONG_FIELD_COUNT, "2 fields where the header has 3"),
    ],
)
def test_a_line_that_cannot_be_read_keeps_its_number_its_fault_and_its_beginning(
    path: Path, line: str, fault: Fault, detail: str
) -> None:
    whole = line + "é" * 300
    path.write_bytes(f"{HEADER}\n\n{whole}\n2;Roux;Droit\n".encode())
    assert list(read(Source(path), examine(Source(path), PROFILE), PROFILE)) == [
        Line(3, (), fault, detail, whole[:200]),
        Line(4, ("2", "Roux", "Droit")),
    ]


@pytest.mark.parametrize(
    "content",
    [HEADER.encode("utf-16-le"), b"\x00C\x00O", b"C\x00O\x00\nD"],
    ids=["utf-16 without a mark", "the high byte first", "zero bytes"],
)
def test_what_is_no_text_is_to_be_exported_as_text(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UnusableFile) as refused:
        examine(Source(path), PROFILE)
    assert refused.value.remedy == "Export it as CSV in UTF-8."


def test_an_old_workbook_is_to_be_saved_in_the_new_form(path: Path) -> None:
    path.write_bytes(b"\xd0\xcf\x11\xe0rest")
    with pytest.raises(UnusableFile) as refused:
        examine(Source(path), PROFILE)
    assert refused.value.remedy == "Save it as .xlsx, without a password, or as CSV."


def test_a_zero_byte_below_the_header_is_a_line_s_fault_and_not_the_file_s(path: Path) -> None:
    path.write_bytes(f"{HEADER}\n1;Ro\0ux;Droit\n".encode())
    assert [line.number for line in read(Source(path), examine(Source(path), PROFILE), PROFILE)] == [2]


BY_MAPPING = "Or name the export's own columns in a mapping file (docs/reference/mapping.md)."


@pytest.mark.parametrize(
    ("header", "says", "remedy"),
    [
        (
            "Salle;Bâtiment  A",
            "line 2: this does not look like an export of students; its header is: Salle, Bâtiment A",
            (
                f"Check that it is the right file: its header must name {', '.join(COLUMNS)}. A mapping file "
                "may say what they are called in it (docs/reference/mapping.md)."
            ),
        ),
        (
            "Cod. etu.;Prénom",
            (
                "line 2: no header: none of the expected columns is there, be they separated by semicolons, "
                "commas, tabs or |\n"
                "  expected COD_ETU: found Cod. etu.\n"
                "  expected LIB_NOM_PAT_IND: found nothing like it\n"
                "  expected LIB_ETP: found nothing like it\n"
                "  the header has, besides: Cod. etu., Prénom"
            ),
            f"Export with a header line that names the columns: {', '.join(COLUMNS)}. {BY_MAPPING}",
        ),
        (
            "LIB_ETP,Nom",
            (
                "line 2: the header lacks COD_ETU, LIB_NOM_PAT_IND\n"
                "  expected COD_ETU: found nothing like it\n"
                "  expected LIB_NOM_PAT_IND: found nothing like it\n"
                "  the header has, besides: Nom"
            ),
            f"Add the columns to the export, under exactly these names. {BY_MAPPING}",
        ),
        (
            f"{HEADER};cod_etu; lib_etp",
            "line 2: the header names COD_ETU, LIB_ETP more than once",
            "Name each column once.",
        ),
    ],
)
def test_a_header_that_will_not_do_is_told_with_what_to_add(
    path: Path, header: str, says: str, remedy: str
) -> None:
    path.write_bytes(f"\n{header}\n".encode())
    with pytest.raises(UnusableFile) as refused:
        examine(Source(path), PROFILE)
    assert (str(refused.value), refused.value.remedy) == (f"{path}, {says}", remedy)


def test_the_separator_is_the_one_that_finds_most_columns(path: Path) -> None:
    path.write_bytes(b"COD_ETU,LIB_NOM_PAT_IND,LIB_ETP,a;b\n1,Roux,Droit,x;y\n")
    layout = examine(Source(path), PROFILE)
    assert (layout.separator, layout.header) == (",", ("COD_ETU", "LIB_NOM_PAT_IND", "LIB_ETP", "A;B"))


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ('{"a": "x", "a": "y"}', "a name stands in the object twice"),
        ('{"COD_ETU": true}', "COD_ETU holds true or false, not a text"),
        ('{"COD_ETU": ["1"]}', "COD_ETU holds a list, not a text"),
        ('["1"]', "not an object"),
        ('{"COD_ETU" "1"}', "no JSON from character 12 on"),
        ("[" * 50_000, "nested too deeply"),
    ],
)
def test_a_line_that_is_no_plain_json_object_keeps_its_fault_and_its_beginning(
    path: Path, line: str, detail: str
) -> None:
    whole = line + " " * 300
    path.write_text(f'{{"COD_ETU": "1"}}\n{whole}\n{{"COD_ETU": 2}}\n', encoding="utf-8")
    assert list(read(Source(path), examine(Source(path), LINES), LINES)) == [
        Line(1, ("1", "", "")),
        Line(2, (), Fault.BROKEN_JSON, detail, whole[:200]),
        Line(3, ("2", "", "")),
    ]
