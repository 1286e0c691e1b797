"""CSV as a French office saves it: titles, `sep=`, other spellings of headers, footers, Excel's numbers."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.registrar.damage import whole_number
from producers.registrar.explanation import explain
from producers.registrar.faults import UnusableFile
from producers.registrar.mapping import MappingUnusable, read_mapping
from producers.registrar.physical import Source
from producers.registrar.profile import Column, FeedProfile, FileOptions
from producers.registrar.profiles import apogee
from producers.registrar.reader import examine, read
from sesame.testing.servers.registrar_kit import COLUMNS, MAMADOU, ZOE, Registrar
from tests.unit.producers.registrar.test_mapping import HEADER, LINE, WHOLE

NAMES = ("Numéro", "Nom d'usage", "Année")
PROFILE = FeedProfile(
    "test",
    tuple(Column(field, name) for field, name in zip(("student_number", "b", "c"), NAMES, strict=True)),
)
TOP = "Numéro;Nom d'usage;Année\n"


def cells(path: Path, text: str | bytes, profile: FeedProfile = PROFILE) -> list[tuple[int, tuple[str, ...]]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [(line.number, line.cells) for line in read(Source(path), examine(Source(path), profile), profile)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export.csv"


def lines_of(*rows: dict[str, str]) -> str:
    return "".join(";".join(row[column] for column in COLUMNS) + "\n" for row in rows)


HEAD = ";".join(COLUMNS) + "\n"


@pytest.mark.parametrize(
    "above",
    [
        pytest.param("Inscriptions 2026/2027;;\n\nÉdité le 01/09/2026;;\n", id="titles"),
        pytest.param("sep=;\n", id="sep"),
        pytest.param('"sep=;"\n', id="sep in quotes"),
        pytest.param("sep=;\nInscriptions, au 1er septembre, 2026;;\n;;\n", id="both"),
    ],
)
def test_what_stands_above_the_header_is_passed_over_and_line_numbers_stay(path: Path, above: str) -> None:
    (found,) = cells(path, f"{above}{TOP}1;Roux;2026\n")
    assert found == (above.count("\n") + 2, ("1", "Roux", "2026"))


def test_sep_names_a_separator_that_nobody_expects(path: Path) -> None:
    assert cells(path, "sep=^\n" + (TOP + "1;Roux;2026\n").replace(";", "^")) == [(3, ("1", "Roux", "2026"))]


def test_bars_separate(path: Path) -> None:
    assert cells(path, (TOP + "1;Roux;2026\n").replace(";", "|")) == [(2, ("1", "Roux", "2026"))]


@pytest.mark.parametrize(
    "header",
    [
        unicodedata.normalize("NFD", TOP),
        TOP.replace(" ", "\u00a0"),
        TOP.replace("Nom d'", " nom\u202fd'").replace("\u202fd", "  d"),
        TOP.upper(),
    ],
)
def test_a_header_is_found_in_each_spelling(path: Path, header: str) -> None:
    assert cells(path, header + "1;Roux;2026\n") == [(2, ("1", "Roux", "2026"))]


@pytest.mark.parametrize("encoding", ["cp850", "mac-roman", "windows-1252"])
def test_the_header_says_which_encoding_a_file_is_in(path: Path, encoding: str) -> None:
    content = (TOP + "1;Lefèvre;2026\n2;Noël;2026\n").encode(encoding)
    assert cells(path, content) == [(2, ("1", "Lefèvre", "2026")), (3, ("2", "Noël", "2026"))]
    assert examine(Source(path), PROFILE).encoding == encoding


@pytest.mark.parametrize(
    "footer",
    [
        ";;\n;;\n",
        "\n\n",
        "Total : 2 étudiants;;\n",
        "Total;2;\n",
        "2 lignes\n",
        "\nÉdité le 12/09/2026 par Mme Martin\n",
        ";;\nScolarité centrale;;\nPage 1/1;;\n",
    ],
)
def test_empty_rows_and_a_footer_are_no_lines(path: Path, footer: str) -> None:
    body = "1;Roux;2026\n;;\n2;Noël;2026\n"
    assert [number for number, _ in cells(path, TOP + body + footer)] == [2, 4]


@pytest.mark.parametrize(
    ("end", "number"),
    [
        pytest.param("3\n", 4, id="cut off in the number"),
        pytest.param("Dupont;Jea", 4, id="cut off in the names"),
        pytest.param("\n22600017;;\n", 5, id="a student with nothing else"),
        pytest.param("Total;3;2026\n", 4, id="three cells"),
        pytest.param("Scolarité centrale;;\n", 4, id="nothing says that it is a footer"),
    ],
)
def test_what_may_be_a_student_is_no_footer(path: Path, end: str, number: int) -> None:
    found = [number for number, _ in cells(path, f"{TOP}1;Roux;2026\n2;Noël;2026\n{end}")]
    assert found == [2, 3, number]


@pytest.mark.parametrize(
    ("above", "below", "passed_over"),
    [
        pytest.param("", "", (0, 0), id="nothing"),
        pytest.param("sep=;\n;;\n\n", ";;\n\n", (0, 0), id="nothing that states anything"),
        pytest.param("Inscriptions\n\nÉdité le 01/09/2026;;\n", "", (2, 0), id="titles"),
        pytest.param("", "Total;2;\n", (0, 1), id="a footer"),
        pytest.param("Inscriptions\n", ";;\nScolarité centrale;;\nPage 1/1;;\n", (1, 2), id="both"),
    ],
)
def test_titles_and_footers_are_counted(
    path: Path, above: str, below: str, passed_over: tuple[int, int]
) -> None:
    path.write_text(f"{above}{TOP}1;Roux;2026\n;;\n2;Noël;2026\n{below}", encoding="utf-8")
    layout = examine(Source(path), PROFILE)
    assert (layout.titles, layout.footers) == passed_over


def test_a_footer_in_the_middle_is_a_line(path: Path) -> None:
    found = [number for number, _ in cells(path, f"{TOP}1;Roux;2026\nTotal;1;\n2;Noël;2026\n")]
    assert found == [2, 3, 4]


def test_a_mapping_says_what_is_not_found(path: Path) -> None:
    text = f"{TOP}x;y;z\n{TOP}1;Roux;2026\nScolarité;;\n"
    profile = replace(PROFILE, file=FileOptions(header_line=3, footer_lines=1))
    assert cells(path, text, profile) == [(4, ("1", "Roux", "2026"))]
    layout = examine(Source(path), profile)
    assert (layout.titles, layout.footers) == (2, 1)


def test_what_was_found_stands_beside_what_was_expected_nearest_first(path: Path) -> None:
    path.write_text("Numero;Nom d'usages;Nom;Annee univ\n1;Roux;Zoé;2026\n", encoding="utf-8")
    with pytest.raises(UnusableFile) as refused:
        examine(Source(path), replace(PROFILE, columns=(*PROFILE.columns, Column("d", "Nom"))))
    assert str(refused.value).splitlines() == [
        f"{path}, line 1: the header lacks Numéro, Nom d'usage, Année",
        "  expected Numéro: found Numero",
        "  expected Nom d'usage: found Nom d'usages",
        "  expected Année: found Annee univ",
        "  the header has, besides: Numero, Nom d'usages, Annee univ",
    ]
    assert "mapping" in refused.value.remedy


def test_a_persons_line_is_not_repeated_in_a_message(path: Path) -> None:
    path.write_text("22600017;Roux;Zoé\n", encoding="utf-8")
    with pytest.raises(UnusableFile) as refused:
        examine(Source(path), PROFILE)
    assert "Roux" not in str(refused.value)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("26100001", "26100001"),
        ("26100001.0", "26100001"),
        ("26100001,00", "26100001"),
        ("2.6100001E7", "26100001"),
        ("2,6100001E+07", "26100001"),
        ("2.61000010E7", "26100001"),
        ("26 100 001", "26100001"),
        ("26\u00a0100\u202f001", "26100001"),
        ("E26100001", "E26100001"),
        ("26.100001", "26.100001"),
        ("2.61E7", None),
        ("2,61E+07", None),
        ("2.61000011E7", None),
        ("3E7", None),
        ("2.61E-7", None),
        ("2007-03-12", None),
    ],
)
def test_excels_numbers_are_whole_again_or_refused(written: str, number: str | None) -> None:
    assert whole_number(written) == number


@given(st.integers(10, 10**14))
def test_a_number_in_scientific_form_is_that_number_or_nothing(number: int) -> None:
    for decimals in range(16):
        short = f"{number:.{decimals}E}"
        assert whole_number(short) in (None, str(number))
    assert whole_number(f"{number:.15E}") == str(number)


@pytest.mark.parametrize(
    ("number", "published"),
    [('="00123"', "00123"), ("26100001.0", "26100001"), ("26\u00a0100\u00a0001", "26100001")],
)
def test_a_number_that_excel_rewrote_is_published_as_it_was(
    registrar: Registrar, number: str, published: str
) -> None:
    registrar.export.write_text(
        HEAD + lines_of(ZOE | {"COD_ETU": number, "COD_ANU": "2026,0"}), encoding="utf-8"
    )
    registrar.import_(registrar.export)
    assert [message.event.student_number for message in registrar.log.messages] == [published]


def test_a_number_that_lost_digits_is_refused_with_a_remedy(registrar: Registrar) -> None:
    registrar.import_rows(ZOE | {"COD_ETU": "2.61E7"}, MAMADOU)
    (row,) = registrar.rejected()
    assert (row["line"], row["column"], row["fault"]) == ("2", "COD_ETU", "lost_digits")
    assert row["detail"] == "a number rewritten by a spreadsheet, which has lost digits of it"
    assert row["remedy"].startswith("Give the column the format Text in the spreadsheet")
    assert [message.event.student_number for message in registrar.log.messages] == ["22600018"]


def test_the_sites_form_refuses_a_number_without_its_zeros(registrar: Registrar) -> None:
    profile = replace(apogee(), student_number="[0-9]{8}")
    path = registrar.write([ZOE | {"COD_ETU": "2600017"}, MAMADOU | {"COD_ETU": "22600018.0"}])
    report = registrar.import_(path, profile=profile)
    (row,) = registrar.rejected()
    assert (row["student"], row["fault"]) == ("2600017", "bad_student_number")
    assert row["detail"] == "not of this site's form: 8 digits"
    assert report.recorded == 1


def test_the_sites_form_may_be_one_that_excel_never_wrote(registrar: Registrar) -> None:
    path = registrar.write([ZOE | {"COD_ETU": "3E7"}])
    registrar.import_(path, profile=replace(apogee(), student_number="[0-9]E[0-9]"))
    assert [message.event.student_number for message in registrar.log.messages] == ["3E7"]


@pytest.mark.parametrize(
    ("written", "born"),
    [
        ("12/03/2007 00:00:00", "2007-03-12"),
        ("12/03/2007 0:00", "2007-03-12"),
        ("2007-03-12T00:00:00", "2007-03-12"),
        ("2007-03-12 00:00:00.000", "2007-03-12"),
        ("12/03/2007 23:00:00", ""),
        ("39153", ""),
        ("12/03/1907", ""),
    ],
)
def test_a_date_with_midnight_is_that_day_and_any_other_hour_is_refused(
    registrar: Registrar, written: str, born: str
) -> None:
    registrar.import_rows(ZOE | {"DATE_NAI_IND": written})
    found = [str(message.event.birth_date) for message in registrar.log.messages]  # type: ignore[attr-defined]
    assert found == ([born] if born else [])


def test_a_year_that_is_not_near_yet_is_refused(registrar: Registrar) -> None:
    path = registrar.write([ZOE | {"COD_ANU": "2062"}, MAMADOU | {"COD_ANU": "2027"}])
    report = registrar.import_(path, profile=replace(apogee(), year_max=2028))
    (row,) = registrar.rejected()
    assert (row["line"], row["fault"], report.recorded) == ("2", "bad_year", 1)


def test_a_mapping_describes_the_file(registrar: Registrar, tmp_path: Path) -> None:
    file = """[file]
        encoding = "mac-roman"
        separator = "|"
        header_line = 2
        footer_lines = 1
        number_pattern = "[0-9]{8}"
    """
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(WHOLE.replace("[fields]", f"{file}\n[fields]"), encoding="utf-8")
    text = f"Scolarité\n{HEADER}{LINE}{LINE.replace('22600017', '17')}fin du fichier\n".replace(";", "|")
    registrar.export.write_bytes(text.encode("mac-roman"))
    report = registrar.import_(registrar.export, profile=read_mapping(mapping))
    assert (report.recorded, report.rejected, report.encoding) == (1, 1, "mac-roman")


def test_what_is_wrong_under_file_is_said_by_key(tmp_path: Path) -> None:
    file = (
        '[file]\nencoding = "latin"\nseparator = "tab"\nheader_line = -1\nnumber_pattern = "["\nshet = "x"\n'
    )
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(WHOLE.replace("[fields]", f"{file}\n[fields]"), encoding="utf-8")
    with pytest.raises(MappingUnusable) as refused:
        read_mapping(mapping)
    keys = [line.split(":")[0].strip() for line in str(refused.value).splitlines()[1:]]
    assert keys == ["file.shet", "file.separator", "file.encoding", "file.number_pattern", "file.header_line"]


def test_titles_the_header_and_footers_are_no_lines_of_an_explanation(path: Path) -> None:
    path.write_text(f"Université\n\n{TOP}1;Roux;2026\n2;Noël;2026\n\nTotal : 2;;\n", encoding="utf-8")
    found = explain(path, PROFILE, 1, parse=lambda _line, _profile: [])
    assert (found.rows, len(found.lines)) == (2, 1)
    assert (found.layout.titles, found.layout.footers) == (1, 1)
