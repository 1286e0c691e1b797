"""What an import tells: the documents of `--json`, and refusals word for word: operators act on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from producers.registrar import enrolments as compared
from producers.registrar.explanation import explain
from producers.registrar.faults import REMEDIES, Fault, UnusableFile
from producers.registrar.guard import OutlineChange, YearFigures
from producers.registrar.mapping import BYTES_MAX, MappingUnusable, read_mapping
from producers.registrar.physical import LINE_BYTES_MAX, too_long
from producers.registrar.profiles import UnknownProfile, choose
from producers.registrar.report import ImportReport
from sesame.testing.servers.registrar_kit import MAMADOU, ZOE, Registrar

FIELDS = """
student_number = "Numero"
year = { constant = 2026 }
step = "Etape"
step_version = { constant = "1" }
state = { constant = "in_force" }
step_label = "Libelle"
component = "UFR"
primary = { column = "Principale", values = { O = true, N = false } }
pedagogical = { constant = "pending" }
birth_name = "Nom"
given_name = "Prenom"
birth_date = "Ne"
"""
HEADER = "Numero;Etape;Libelle;UFR;Principale;Nom;Prenom;Ne"


def mapping(tmp_path: Path, fields: str = FIELDS, top: str = 'name = "scolarite"') -> Path:
    path = tmp_path / "mapping.toml"
    path.write_text(f"{top}\n[fields]\n{fields}", encoding="utf-8")
    return path


def said(tmp_path: Path, *changes: tuple[str, str], top: str = 'name = "scolarite"') -> list[str]:
    """What is said about the mapping with some of its lines changed."""
    fields = FIELDS
    for before, after in changes:
        assert before in fields
        fields = fields.replace(before, after)
    with pytest.raises(MappingUnusable) as refused:
        read_mapping(mapping(tmp_path, fields, top))
    return [line.strip() for line in str(refused.value).splitlines()[1:]]


def report(**changes: Any) -> dict[str, Any]:
    values = {"source": "apogee", "dry_run": False, "digest": "00", "lines": 1, "students": 1}
    return ImportReport(**{**values, "duplicates": 0, "rejected": 0, **changes}).to_json()


# --- documents --------------------------------------------------------------------------------------------


def test_a_line_s_explanation_as_json_has_its_fields_its_fact_and_no_fault(tmp_path: Path) -> None:
    export = tmp_path / "export.csv"
    export.write_text(
        f"{HEADER}\n22600017;L1INFO;Licence 1;SCI;N;Roux;Zoé;07/03/2007\n;;;;;;;\n22600018;L1INFO\n",
        encoding="utf-8",
    )
    good, *_, short = explain(export, read_mapping(mapping(tmp_path)), 5).lines
    document = good.to_json()
    assert set(document) == {"line", "fields", "fact", "faults"}
    assert (document["line"], document["faults"]) == (2, [])
    assert document["fields"]["primary"] == {"value": "false", "source": "Principale = N"}
    assert document["fields"]["birth_date"] == {"value": "2007-03-07", "source": "Ne = 07/03/2007"}
    assert document["fields"]["year"] == {"value": "2026", "source": "constant"}
    assert document["fact"] == dict(good.fact or {})
    assert document["fact"]["birth_name"] == "Roux"
    told = short.to_json()
    assert (told["fields"], told["fact"], told["line"]) == ({}, None, short.number)
    [fault] = told["faults"]
    assert set(fault) == {"column", "fault", "value", "detail", "remedy"}
    assert (fault["remedy"], bool(fault["detail"])) == (REMEDIES[Fault(fault["fault"])], True)


def test_a_year_s_figures_as_json() -> None:
    figures = YearFigures(
        2026, 100, 7, 3, {OutlineChange.GONE: 2, OutlineChange.CANCELLED: 5}, over=True, lost=4
    )
    assert figures.to_json() == {
        "year": 2026,
        "known": 100,
        "affected": 7,
        "losing": 3,
        "changes": {"cancelled": 5, "gone": 2},
        "over_threshold": True,
        "lost_lately": 4,
    }


def test_a_report_as_json_names_its_files_where_there_are_some() -> None:
    assert (report()["rejects"], report()["affected"]) == (None, None)
    made = report(rejects_path=Path("rejects.csv"), affected_path=Path("affected.csv"))
    assert (made["rejects"], made["affected"]) == ("rejects.csv", "affected.csv")


# --- profiles ---------------------------------------------------------------------------------------------


def test_the_profiles_by_name_are_as_the_settings_want_them() -> None:
    assert [choose("apogee").payment_required, choose("apogee").one_name] == [True, False]
    assert not choose("apogee", payment_required=False).payment_required
    assert [choose(name, one_name=True).one_name for name in ("apogee", "pegase")] == [True, True]
    assert [choose(name).name for name in ("apogee", "pegase")] == ["apogee", "pegase"]
    with pytest.raises(UnknownProfile, match=r"^siscol: no such profile$") as refused:
        choose("siscol")
    assert refused.value.remedy == "Choose apogee, pegase, staff, or a mapping file whose name ends in .toml."


def test_a_truth_value_stands_for_the_export_s_word(tmp_path: Path) -> None:
    constant = FIELDS.replace(
        '{ column = "Principale", values = { O = true, N = false } }', "{ constant = false }"
    )
    column = {each.field: each for each in read_mapping(mapping(tmp_path, constant)).columns}["primary"]
    assert (column.names, column.default) == ((), "false")
    column = {each.field: each for each in read_mapping(mapping(tmp_path)).columns}["primary"]
    assert dict(column.values or {}) == {"O": "true", "N": "false"}


def test_a_join_keeps_its_values_and_its_default(tmp_path: Path) -> None:
    joined = FIELDS.replace(
        '"UFR"', '{ join = "{UFR}-{Etape}", values = { "SCI-L1" = "SCI" }, default = "X" }'
    )
    column = {each.field: each for each in read_mapping(mapping(tmp_path, joined)).columns}["component"]
    assert (column.template, dict(column.values or {}), column.default) == (
        "{UFR}-{Etape}",
        {"SCI-L1": "SCI"},
        "X",
    )


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("O = true", 'O = "yes"', "fields.primary.values.'O': means 'yes'; it must be one of true, false"),
        ("O = true", "O = [1]", "fields.primary.values.'O': means '[1]'; it must be one of true, false"),
        (
            'component = "UFR"',
            'component = { column = "UFR", values = { S = "" } }',
            "fields.component.values.'S': means ''; it must be a text",
        ),
        (
            'component = "UFR"',
            'component = { constant = "SCI", values = { S = "SCI" } }',
            "fields.component: a constant takes neither default nor values",
        ),
        (
            'component = "UFR"',
            'component = { column = "UFR", defualt = "SCI" }',
            "fields.component.defualt: unknown; did you mean default?",
        ),
        (
            'component = "UFR"',
            'component = { column = "UFR", x = "SCI" }',
            "fields.component.x: unknown; known are column, join, constant, values, default",
        ),
        (
            'pedagogical = { constant = "pending" }',
            'pedagogical = { constant = "maybe" }',
            "fields.pedagogical.constant: one of validated, pending",
        ),
        (
            'pedagogical = { constant = "pending" }',
            'pedagogical = { column = "IP", default = "maybe" }',
            "fields.pedagogical.default: one of validated, pending",
        ),
    ],
)
def test_each_fault_of_a_mapping_is_told_word_for_word(
    tmp_path: Path, before: str, after: str, told: str
) -> None:
    assert said(tmp_path, (before, after)) == [told]


def test_a_mapping_s_own_keys_are_told_word_for_word(tmp_path: Path) -> None:
    top = 'name = "Scol"\npayment_required = "no"\none_name = 1\nsepararor = ";"'
    assert said(tmp_path, top=top) == [
        "separaror: unknown; known are name, form, payment_required, one_name, file, fields, groups",
        "name: required: small letters, digits and _, a letter first, at most 64",
        "payment_required: true or false",
        "one_name: true or false",
    ]
    assert said(tmp_path, top='name = "scolarite"\npayment_required = true') == [
        "fields.payment: required with payment_required = true"
    ]
    path = tmp_path / "mapping.toml"
    path.write_text('name = "scolarite"\n', encoding="utf-8")
    with pytest.raises(MappingUnusable) as refused:
        read_mapping(path)
    assert "\n  fields: a table [fields] is required: one line per field" in str(refused.value)


def test_a_mapping_is_read_up_to_its_bound_and_no_further(tmp_path: Path) -> None:
    path = mapping(tmp_path)
    size = path.stat().st_size
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + "#" * (BYTES_MAX - size), encoding="utf-8")
    assert read_mapping(path).name == "scolarite"
    path.write_text(whole + "#" * (BYTES_MAX - size + 1), encoding="utf-8")
    with pytest.raises(MappingUnusable, match=f"larger than {BYTES_MAX} bytes"):
        read_mapping(path)


# --- refusals ---------------------------------------------------------------------------------------------


def test_a_line_that_is_too_long_keeps_its_beginning_for_the_rejects_file() -> None:
    line = too_long(7, "22600001;" + "x" * 1000)
    assert (line.number, line.cells, line.fault) == (7, (), Fault.LINE_TOO_LONG)
    assert line.detail == f"longer than {LINE_BYTES_MAX} bytes"
    assert line.raw == "22600001;" + "x" * 191


def test_a_year_without_lines_is_refused_with_what_to_check(registrar: Registrar) -> None:
    registrar.import_rows(ZOE)
    with pytest.raises(UnusableFile) as refused:
        registrar.import_rows(ZOE, full_year=2027)
    assert refused.value.remedy == "Check the year, and the export's selection."


def test_more_absent_people_than_a_sequence_can_number_are_refused(
    registrar: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    someone_else = MAMADOU | {"COD_ETU": "22600019", "COD_NNE_IND": "", "LIB_NOM_PAT_IND": "Sow"}
    registrar.import_rows(ZOE, MAMADOU, someone_else)
    monkeypatch.setattr(compared, "LINES_MAX", 3)
    with pytest.raises(UnusableFile, match="more than 3 lines and absent enrolments") as refused:
        registrar.import_rows(ZOE, full_year=2026)
    assert refused.value.remedy == "Split the export."
    monkeypatch.setattr(compared, "LINES_MAX", 4)
    assert registrar.import_rows(ZOE, full_year=2026).gone == 2
