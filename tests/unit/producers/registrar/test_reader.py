"""Reading exports: whatever the layout, the cells and the line numbers are those of the file."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.registrar.faults import Fault, UnusableFile
from producers.registrar.physical import LINE_BYTES_MAX, Line, Source
from producers.registrar.profile import Column, FeedProfile
from producers.registrar.reader import examine, read

COLUMNS = ("COD_ETU", "LIB_NOM_PAT_IND", "LIB_ETP")
HEADER = "COD_ETU;LIB_NOM_PAT_IND;LIB_ETP"
PROFILE = FeedProfile("test", tuple(Column(name, name) for name in COLUMNS))


def lines_of(path: Path, content: bytes) -> list[Line]:
    path.write_bytes(content)
    return list(read(Source(path), examine(Source(path), PROFILE), PROFILE))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export.csv"


cells = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=30
).filter(lambda text: text == text.strip())


@given(
    rows=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=20),
    separator=st.sampled_from([";", ",", "\t"]),
    with_mark=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_was_written_in_utf_8_is_read_cell_by_cell_with_its_line_number(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    rows: list[tuple[str, str, str]],
    separator: str,
    with_mark: bool,
    line_end: str,
    quoting: int,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    content = (codecs.BOM_UTF8 if with_mark else b"") + text.getvalue().encode()

    read_back = lines_of(tmp_path_factory.mktemp("round") / "export.csv", content)

    assert read_back == [Line(number, row) for number, row in enumerate(rows, start=2)]


@given(names=st.lists(st.text("éèàçôÉÀabc", min_size=1, max_size=12), min_size=1, max_size=10))
def test_windows_1252_is_recognised_and_read(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("windows") / "export.csv"
    body = "".join(f"1;{name};Économie\n" for name in names)
    path.write_bytes(f"{HEADER}\n{body}".encode("windows-1252"))
    layout = examine(Source(path), PROFILE)
    assert layout.encoding == "windows-1252"
    assert [line.cells for line in read(Source(path), layout, PROFILE)] == [
        ("1", name, "Économie") for name in names
    ]


def test_what_windows_1252_has_and_latin_1_has_not_is_read_too(path: Path) -> None:
    (line,) = lines_of(path, f"{HEADER}\n1;Lebœuf d’Éon;Économie – 1re année\n".encode("windows-1252"))
    assert line.cells == ("1", "Lebœuf d’Éon", "Économie – 1re année")


def test_one_line_in_another_encoding_is_marked_and_the_rest_is_utf_8(path: Path) -> None:
    content = f"{HEADER}\n1;Lefèvre;Économie\n2;Bérénice;Théâtre\n".encode()
    first, second, third = lines_of(path, content + "3;Éloïse;Droit\n".encode("windows-1252"))
    assert first.cells == ("1", "Lefèvre", "Économie")
    assert second.cells == ("2", "Bérénice", "Théâtre")
    assert third.cells == ("3", "\udcc9lo\udcefse", "Droit")


def test_a_character_cut_in_two_by_the_end_of_a_chunk_is_one_character(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.registrar.physical._CHUNK_BYTES", 1)
    path.write_bytes(f"{HEADER}\n1;Nguyễn Đặng;Lettres\n".encode())
    assert examine(Source(path), PROFILE).encoding == "utf-8"


def test_columns_may_stand_in_any_order_among_others_and_in_any_case(path: Path) -> None:
    (line,) = lines_of(path, b"lib_etp,Autre, cod_etu ,LIB_NOM_PAT_IND\nDroit,x,22600001,Roux\n")
    assert line.cells == ("22600001", "Roux", "Droit")


@pytest.mark.parametrize(("header", "cell"), [(HEADER, ""), (f"Portable;{HEADER}", "0612345678")])
def test_a_column_may_be_missing_where_the_profile_says_so(path: Path, header: str, cell: str) -> None:
    profile = replace(PROFILE, columns=(*PROFILE.columns, Column("mobile", "PORTABLE", optional=True)))
    path.write_text(f"{header}\n{cell};1;Roux;Droit\n".replace("\n;", "\n"))
    (line,) = read(Source(path), examine(Source(path), profile), profile)
    assert line.cells == ("1", "Roux", "Droit", cell)


def test_a_quote_left_open_harms_its_own_line_only(path: Path) -> None:
    first, second, third = lines_of(path, f'{HEADER}\n1;Roux;Droit\n2;"Roux;Droit\n3;Roux;Droit'.encode())
    assert (first.fault, third.fault) == (None, None)
    assert (second.number, second.fault) == (3, Fault.BROKEN_QUOTES)


def test_a_line_break_inside_quotes_is_refused_where_it_stands(path: Path) -> None:
    lines = lines_of(path, f'{HEADER}\n1;"Ro\nux";Droit\n2;Roux;Droit\n'.encode())
    assert [(line.number, line.fault) for line in lines] == [
        (2, Fault.BROKEN_QUOTES),
        (3, Fault.WRONG_FIELD_COUNT),
        (4, None),
    ]


def test_a_short_line_and_a_long_one_say_how_many_fields_they_have(path: Path) -> None:
    short, long = lines_of(path, f"{HEADER}\n1;Roux\n2;Roux;Droit;x\n".encode())
    assert (short.fault, short.detail) == (Fault.WRONG_FIELD_COUNT, "2 fields where the header has 3")
    assert (long.fault, long.detail) == (Fault.WRONG_FIELD_COUNT, "4 fields where the header has 3")


@pytest.mark.parametrize("beyond", [2, 10_000_000])
def test_a_line_beyond_the_limit_is_one_fault_and_the_next_line_is_read(path: Path, beyond: int) -> None:
    huge = b"1;" + b"x" * (LINE_BYTES_MAX - 2 + beyond)
    first, second = lines_of(path, HEADER.encode() + b"\n" + huge + b"\n2;Roux;Droit\n")
    assert (first.number, first.fault) == (2, Fault.LINE_TOO_LONG)
    assert len(first.raw) <= 200
    assert (second.number, second.cells) == (3, ("2", "Roux", "Droit"))


def test_a_line_at_the_limit_is_taken(path: Path) -> None:
    name = "x" * (LINE_BYTES_MAX - len("1;;Droit"))
    (line,) = lines_of(path, f"{HEADER}\n1;{name};Droit\n".encode())
    assert line.cells == ("1", name, "Droit")


def test_a_carriage_return_inside_a_line_is_a_control_character(path: Path) -> None:
    (line,) = lines_of(path, f"{HEADER}\n1;Ro\rux;Droit\n".encode())
    assert line.fault is Fault.CONTROL_CHARACTER


def test_blank_lines_are_skipped_and_counted_in_line_numbers(path: Path) -> None:
    (line,) = lines_of(path, f"\n  \n{HEADER}\n\n1;Roux;Droit\n\n".encode())
    assert line.number == 5


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"\n \n\r\n", "the file is empty", id="blank"),
        pytest.param(codecs.BOM_UTF8, "the file is empty", id="only a mark"),
        pytest.param(b"\xd0\xcf\x11\xe0rest", "a spreadsheet", id="xls"),
        pytest.param(HEADER.encode("utf-16-le"), "zero bytes", id="utf-16 without a mark"),
        pytest.param(b"\x00\x01\x02\xff", "zero bytes", id="binary"),
        pytest.param(b"1;Roux;Droit\n", "line 1: no header", id="no header"),
        pytest.param(HEADER.replace(";", "~").encode(), "no header", id="unknown separator"),
        pytest.param(b"COD_ETU;LIB_ETP\n", "the header lacks LIB_NOM_PAT_IND", id="column missing"),
        pytest.param(f"\n{HEADER};COD_ETU\n".encode(), "line 2: the header names COD_ETU more", id="twice"),
        pytest.param(b"x" * (LINE_BYTES_MAX + 9), "line 1: the header is longer", id="no line breaks"),
    ],
)
def test_a_file_that_is_no_export_is_refused_with_place_and_remedy(
    path: Path, content: bytes, says: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(UnusableFile, match=says) as refused:
        examine(Source(path), PROFILE)
    assert str(path) in str(refused.value)
    assert refused.value.remedy


def test_a_file_that_is_not_there_is_refused_by_name(path: Path) -> None:
    with pytest.raises(UnusableFile, match=r"export\.csv: cannot be read: No such file"):
        examine(Source(path), PROFILE)


def test_a_digest_is_of_every_byte_also_of_a_line_that_is_too_long(path: Path) -> None:
    content = f"{HEADER}\n1;{'x' * 3 * LINE_BYTES_MAX};L\n2;Noir;L\n".encode()
    path.write_bytes(content)
    digest = sha256()
    assert len(list(read(Source(path), examine(Source(path), PROFILE), PROFILE, digest=digest.update))) == 2
    assert digest.digest() == sha256(content).digest()
