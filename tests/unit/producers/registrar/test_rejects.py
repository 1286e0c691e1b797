"""The rejects file may be opened by anybody, in any spreadsheet."""

from __future__ import annotations

import contextvars
import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.registrar.faults import Fault, Rejection, UnusableFile
from producers.registrar.sheets import REJECTS, reject_cells
from sesame.cli.languages import speak


def rejection(value: str, line: int = 2) -> Rejection:
    return Rejection(line, "22600017", "LIB_PR1_IND", Fault.TOO_LONG, value, "too long")


def written(path: Path, *values: str) -> list[dict[str, str]]:
    REJECTS.write(
        path, map(reject_cells, [rejection(value, line) for line, value in enumerate(values, start=2)])
    )
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rejects.csv"


def test_it_tells_line_student_column_fault_value_detail_and_remedy(path: Path) -> None:
    (row,) = written(path, "Zoé")
    assert tuple(row) == REJECTS.columns
    assert (row["line"], row["student number"], row["column"]) == ("2", "22600017", "LIB_PR1_IND")
    assert (row["sesame-fault"], row["value"], row["detail"]) == ("too_long", "Zoé", "too long")
    assert row["remedy"].startswith("Shorten")


@pytest.mark.parametrize(
    "value",
    [
        "=cmd|' /C calc'!A0",
        "+33 6 12",
        "-2+3",
        "@SUM(A1)",
        "  =1+1",
        "\uff1d1+1",
        "\u00a0=1",
        pytest.param("00123", id="a number with zeros before it"),
        pytest.param("1234567890123456", id="a number of sixteen digits"),
        pytest.param("2.61E7", id="a number in scientific form"),
        pytest.param("1/2", id="a day"),
    ],
)
def test_what_a_spreadsheet_would_run_or_rewrite_is_text(path: Path, value: str) -> None:
    (row,) = written(path, value)
    assert row["value"] == f"'{value}"


@given(values=st.lists(st.text(st.characters(), max_size=120), min_size=1, max_size=5))
def test_whatever_was_refused_is_one_harmless_row(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    path = tmp_path_factory.mktemp("any") / "rejects.csv"
    rows = written(path, *values)
    assert [row["line"] for row in rows] == [str(line) for line in range(2, 2 + len(values))]
    assert len(path.read_bytes().splitlines()) == 1 + len(values)
    for row in rows:
        assert not row["value"].strip().startswith(tuple("=+-@\t\r\n"))
        assert not set(map(ord, row["value"])) & {*range(32), 127, 0x2028, 0x2029, 0x202E}


@pytest.mark.parametrize("value", ["22600017", "31/02/2005", "L1INFO", "0", "12 rue du Lac", "E5", "2026"])
def test_a_value_that_a_spreadsheet_shows_as_it_is_has_no_apostrophe(path: Path, value: str) -> None:
    (row,) = written(path, value)
    assert row["value"] == value


def test_a_french_excel_opens_it_by_a_double_click(path: Path) -> None:
    written(path, "Zoé")
    raw = path.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert raw.count(b"\r\n") == raw.count(b"\n") == 2
    header, row, end = raw.decode("utf-8-sig").split("\r\n")
    assert header == '"line";"student number";"column";"value";"detail";"remedy";"sesame-fault"'
    assert row.startswith('2;"22600017";"LIB_PR1_IND";"Zoé";')
    assert end == ""


def test_in_french_header_and_remedy_are_french_and_the_fault_s_token_stays(path: Path) -> None:
    def write() -> None:
        speak("fr")
        written(path, "Zoé")

    contextvars.copy_context().run(write)
    header, row = path.read_text(encoding="utf-8-sig").splitlines()
    assert header == '"ligne";"numéro d\'étudiant";"colonne";"valeur";"détail";"que faire";"sesame-fault"'
    assert row.endswith(
        '"Raccourcissez la valeur ; vérifiez qu\'aucun autre texte n\'y a été collé.";"too_long"'
    )


def test_of_a_whole_line_the_column_says_so(path: Path) -> None:
    REJECTS.write(path, [reject_cells(Rejection(2, "", "", Fault.BROKEN_QUOTES, 'x;"y', "open"))])
    assert '"(the whole line)";"x;""y"' in path.read_text(encoding="utf-8-sig")


def test_line_breaks_and_hidden_marks_are_spelled_out(path: Path) -> None:
    (row,) = written(path, "Zoé\r\n3;22600018\x00\u202eéoZ\udce9")
    assert row["value"] == r"Zoé\x0d\x0a3;22600018\x00\u202eéoZ\xe9"


def test_long_values_are_shortened_and_their_length_is_told(path: Path) -> None:
    (row,) = written(path, "x" * 10_000)
    assert row["value"] == "x" * 80 + "… (10000 characters)"


def test_only_its_owner_reads_it(path: Path) -> None:
    written(path, "Zoé")
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_replaces_an_earlier_one_and_leaves_nothing_else_behind(path: Path) -> None:
    written(path, "first", "second")
    (row,) = written(path, "third")
    assert row["value"] == "third"
    assert list(path.parent.iterdir()) == [path]


def test_one_of_another_language_or_of_an_earlier_version_is_replaced_and_removed(path: Path) -> None:
    for header in ('"ligne";"numéro d\'étudiant";"sesame-fault"', '"line","student","column","fault"'):
        path.write_text(f"{header}\n", encoding="utf-8-sig" if "sesame" in header else "utf-8")
        REJECTS.remove(path)
        assert not path.exists()


def test_another_file_is_never_replaced_nor_removed(path: Path) -> None:
    path.write_text("my thesis")
    with pytest.raises(UnusableFile, match="something else than a rejects file"):
        REJECTS.write(path, map(reject_cells, [rejection("x")]))
    with pytest.raises(UnusableFile, match="something else than a rejects file"):
        REJECTS.remove(path)
    assert path.read_text() == "my thesis"


def test_a_folder_is_not_a_place_for_it(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="something else"):
        REJECTS.write(tmp_path, map(reject_cells, [rejection("x")]))


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="cannot be written: No such file"):
        REJECTS.write(tmp_path / "nowhere" / "rejects.csv", map(reject_cells, [rejection("x")]))


def test_an_empty_file_or_an_earlier_one_is_removed_when_nothing_was_rejected(path: Path) -> None:
    path.touch()
    REJECTS.remove(path)
    assert not path.exists()
    written(path, "Zoé")
    REJECTS.remove(path)
    assert not path.exists()
    REJECTS.remove(path)
