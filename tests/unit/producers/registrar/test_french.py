"""What an import says in French: every sentence, no English one, and no word of a library."""

from __future__ import annotations

import contextvars
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from examples import hostile, hostile_groups
from producers.registrar.damage import damage
from producers.registrar.faults import Fault, UnusableFile
from producers.registrar.mapping import MappingUnusable, read_mapping
from producers.registrar.profiles import apogee
from sesame.cli.languages import speak
from sesame.testing.servers.registrar_kit import COLUMNS, MAMADOU, ZOE, Registrar
from tests.unit.producers.registrar.test_mapping import WHOLE

Result = TypeVar("Result")
OF_LIBRARIES = re.compile(
    r"should|Input|pattern|match|Traceback|delimiter|expected after|\[0-9|\\Z|\(\?|\^\["
)
"""Words of pydantic, of Python's csv and json, and of regular expressions."""


def in_french(act: Callable[[], Result]) -> Result:
    def french() -> Result:
        speak("fr")
        return act()

    return contextvars.copy_context().run(french)


def faults_of(registrar: Registrar, do: Callable[[], object]) -> list[dict[str, str]]:
    do()
    return registrar.rejected()


@pytest.mark.parametrize("kind", ["enrolments", "groups"])
def test_every_fault_is_told_in_french_and_has_the_same_place_and_token(
    registrar: Registrar, kind: str
) -> None:
    """The hostile examples have every fault. What is told of each in French is judged beside the English."""

    def found() -> list[dict[str, str]]:
        if kind == "groups":
            registrar.groups.write_bytes(hostile_groups.export())
            return faults_of(registrar, lambda: registrar.import_groups(path=registrar.groups))
        registrar.export.write_bytes(hostile.export())
        return faults_of(registrar, lambda: registrar.import_(registrar.export))

    english, french = found(), in_french(found)
    assert len(english) > 10
    assert [row["ligne"] for row in french] == [row["line"] for row in english]
    for one, other in zip(english, french, strict=True):
        assert other["fault"] == one["fault"]
        assert other["valeur"] == one["value"] or "caractères)" in other["valeur"]
        assert other["détail"] != one["detail"], one
        assert other["que faire"] != one["remedy"], one
        assert other["colonne"], one
        assert not OF_LIBRARIES.search(one["detail"] + other["détail"]), (one, other)
    if kind == "enrolments":
        assert {row["fault"] for row in french} >= {fault.value for fault in Fault} - {
            "broken_json",
            "too_many_teachings",
        }


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"COD_ETU": "22600017/A"}, "contient « / », qui n'est pas admis"),
        ({"COD_ETU": "2260\u00a0001"}, "contient un espace, qui n'est pas admis"),
        ({"COD_ETU": "2260 001"}, "contient un espace, qui n'est pas admis"),
        ({"COD_ETU": "2260\u200d001"}, "contient « U+200D », qui n'est pas admis"),
        ({"COD_ETU": "-1"}, "ne commence ni par une lettre ni par un chiffre"),
        ({"COD_ETU": "1" * 33}, "plus de 32 caractères"),
        ({"COD_ETP": "L1;INFO#"}, "contient « ; », qui n'est pas admis"),
        ({"ETA_IAE": "X"}, "valeurs connues : C, E, A, R"),
        ({"DATE_NAI_IND": "31/02/2005"}, "ce jour n'existe pas dans le calendrier"),
        ({"LIB_PR1_IND": "ZoÃ©"}, "UTF-8 lu comme un autre encodage ; vouliez-vous écrire Zoé ?"),
        (
            {"LIB_PR1_IND": "H?l?ne"},
            "des lettres ont été perdues (position 2, 4) ; vouliez-vous écrire Hélène ?",
        ),
    ],
)
def test_a_detail_says_what_is_wrong_with_the_value(
    registrar: Registrar, change: dict[str, str], detail: str
) -> None:
    (row,) = in_french(lambda: faults_of(registrar, lambda: registrar.import_rows(ZOE | change, MAMADOU)))
    said, _, code = row["détail"].partition(" (--accept 22600017:")
    assert (said, bool(code)) == (detail, row["fault"] == Fault.DAMAGED_TEXT)


def test_what_is_known_of_a_damaged_name_is_kept_in_no_language() -> None:
    english = damage("ZoÃ©")
    french = in_french(lambda: getattr(damage("ZoÃ©"), "what", ""))
    assert english is not None
    assert english.what == "UTF-8 that was read as something else; did you mean Zoé?"
    assert french == "UTF-8 lu comme un autre encodage ; vouliez-vous écrire Zoé ?"


# --- of a line that cannot be read ------------------------------------------------------------------------

SOUND = ";".join(ZOE[column] for column in COLUMNS)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (f"{SOUND};more", Fault.WRONG_FIELD_COUNT),
        (SOUND.replace("Zoé", '"Zoé'), Fault.BROKEN_QUOTES),
        (SOUND.replace("Zoé", "x" * 70_000), Fault.LINE_TOO_LONG),
        (SOUND.replace("Zoé", "Z\roé"), Fault.CONTROL_CHARACTER),
    ],
    ids=lambda value: value.value if isinstance(value, Fault) else "",
)
def test_whose_line_it_seems_to_be_is_told_and_counts_for_nothing(
    registrar: Registrar, line: str, fault: Fault
) -> None:
    registrar.import_rows(ZOE, MAMADOU, ZOE | {"COD_ETU": "22600019", "COD_NNE_IND": ""})
    registrar.export.write_bytes(f"{';'.join(COLUMNS)}\n{line}\n".encode() + lines_of(MAMADOU).encode())
    report = registrar.import_(registrar.export, full_year=2026)
    (row,) = registrar.rejected()
    assert (row["student"], row["column"], row["fault"]) == ("22600017", "(the whole line)", fault.value)
    assert (report.unattributed, report.absence_unknown, report.gone) == (1, True, 0)


def test_a_line_of_which_nobody_can_tell_whose_it_is_names_nobody(registrar: Registrar) -> None:
    registrar.export.write_text(f"{';'.join(COLUMNS)}\nDupont;Jea\n{lines_of(MAMADOU)}x;y;z\n{lines_of(ZOE)}")
    registrar.import_(registrar.export)
    assert [row["student"] for row in registrar.rejected()] == ["", ""]


def lines_of(*rows: dict[str, str]) -> str:
    return "".join(";".join(row[column] for column in COLUMNS) + "\n" for row in rows)


# --- a file about an export, imported by mistake ----------------------------------------------------------


@pytest.mark.parametrize("kept", ["as it is", "saved as CSV by an English Excel", "saved in tabs"])
@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_rejects_file_is_no_export(registrar: Registrar, language: str, kept: str) -> None:
    def refuse() -> object:
        return registrar.import_rows(ZOE | {"ETA_IAE": "X"}, MAMADOU)

    in_french(refuse) if language == "fr" else refuse()
    wrong = registrar.folder / "rejets.csv"
    text = registrar.rejects.read_text(encoding="utf-8-sig")
    if kept == "as it is":
        wrong.write_bytes(registrar.rejects.read_bytes())
    else:
        separator = "," if "English" in kept else "\t"
        wrong.write_text(text.replace('"', "").replace(";", separator), encoding="windows-1252")
    with pytest.raises(UnusableFile, match="the refused lines of an earlier import") as refused:
        registrar.import_(wrong)
    assert "import that export" in refused.value.remedy
    with pytest.raises(UnusableFile, match="les lignes refusées d'un import précédent"):
        in_french(lambda: registrar.import_(wrong))


def test_a_file_of_affected_people_is_no_export(registrar: Registrar) -> None:
    registrar.import_rows(ZOE, MAMADOU)
    registrar.import_rows(ZOE | {"ETA_IAE": "A"}, MAMADOU)
    with pytest.raises(UnusableFile, match="the people whom an earlier import affects"):
        registrar.import_(registrar.affected.rename(registrar.folder / "copy.csv"))


# --- files as a whole, and mappings -----------------------------------------------------------------------


def test_a_header_that_does_not_fit_is_told_in_french(registrar: Registrar) -> None:
    registrar.export.write_text(
        lines_of(dict(zip(COLUMNS, COLUMNS, strict=True))).replace("COD_ETP", "COD_ETAPE")
    )
    with pytest.raises(UnusableFile) as refused:
        in_french(lambda: registrar.import_(registrar.export))
    assert str(refused.value).splitlines() == [
        f"{registrar.export}, ligne 1 : colonnes absentes de l'en-tête : COD_ETP",
        "  COD_ETP attendu : trouvé COD_ETAPE",
        "  l'en-tête contient aussi : INE_PROVISOIRE, NUM_TEL_PORT, COD_ETAPE",
    ]
    assert refused.value.remedy.startswith("Ajoutez ces colonnes à l'export")


def test_what_the_system_refuses_is_told_in_french(registrar: Registrar) -> None:
    with pytest.raises(UnusableFile, match=r"lecture impossible : fichier ou dossier introuvable$"):
        in_french(lambda: registrar.import_(registrar.folder / "absent.csv"))


@pytest.mark.parametrize(
    ("form", "detail"),
    [
        ("[0-9]{8}", "n'a pas la forme des numéros de l'établissement : 8 chiffres"),
        (r"\d{8}", "n'a pas la forme des numéros de l'établissement : 8 chiffres"),
        ("[A-Z]{2}[0-9]+", "n'a pas la forme des numéros d'étudiant de l'établissement"),
    ],
)
def test_the_site_s_form_of_a_number_is_told_in_words(registrar: Registrar, form: str, detail: str) -> None:
    profile = replace(apogee(), student_number=form)
    path = registrar.write([ZOE | {"COD_ETU": "123"}])
    (row,) = in_french(lambda: faults_of(registrar, lambda: registrar.import_(path, profile=profile)))
    said, _, code = row["détail"].partition(" (--accept 22600017:")
    assert (said, bool(code)) == (detail, row["fault"] == Fault.DAMAGED_TEXT)


def test_a_mapping_s_faults_are_told_in_french(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(WHOLE.replace('name = "', 'nane = "', 1), encoding="utf-8")
    with pytest.raises(MappingUnusable) as refused:
        in_french(lambda: read_mapping(path))
    head, *faults = str(refused.value).splitlines()
    assert head == f"{path} :"
    assert "  nane : inconnu ; vouliez-vous écrire name ?" in faults
    assert any(fault.startswith("  name : obligatoire : des minuscules") for fault in faults)
    path.write_text("name = \n", encoding="utf-8")
    with pytest.raises(MappingUnusable, match=r"ligne 1, colonne 8 : ce n'est pas du TOML$"):
        in_french(lambda: read_mapping(path))
