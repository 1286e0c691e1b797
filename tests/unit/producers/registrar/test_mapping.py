"""Mapping files: any export can be read; what is wrong in the file is said by file, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

import examples
from producers.registrar.explanation import explain
from producers.registrar.mapping import FIELDS, MappingUnusable, read_mapping
from producers.registrar.profile import FeedProfile, FileForm
from producers.registrar.profiles import UnknownProfile, choose
from schemas.account import Administrative, Pedagogical
from schemas.events import EnrolmentCancelled, EnrolmentRecorded
from sesame.testing.servers.narrowing import expect
from sesame.testing.servers.registrar_kit import Registrar

FOLDER = Path(examples.__file__).parent
WHOLE = """
name = "scolarite"
[fields]
student_number = "Numéro"
year = { constant = 2026 }
step = { join = "{Diplôme}{Niveau}" }
step_version = { column = "Version", default = "1" }
state = { column = "Etat", values = { oui = "in_force", non = "cancelled" } }
step_label = "Libellé"
component = "UFR"
primary = { constant = true }
pedagogical = { constant = "pending" }
birth_name = "Nom"
given_name = "Prénom"
birth_date = "Né le"
"""
HEADER = "Numéro;Nom;Prénom;Né le;Diplôme;Niveau;Version;Libellé;UFR;Etat\n"
LINE = "22600017;Roux;Zoé;07/03/2007;LINFO;1;;Licence 1;SCI;oui\n"


def mapped(tmp_path: Path, text: str) -> FeedProfile:
    path = tmp_path / "mapping.toml"
    path.write_text(text, encoding="utf-8")
    return read_mapping(path)


def faults(tmp_path: Path, text: str) -> list[str]:
    """What is said about a mapping file: the lines below the file's name."""
    with pytest.raises(MappingUnusable) as refused:
        mapped(tmp_path, text)
    first, *rest = str(refused.value).splitlines()
    assert first == f"{tmp_path / 'mapping.toml'}:"
    assert "docs/reference/mapping.md" in refused.value.remedy
    return [line.strip() for line in rest]


def test_columns_constants_joins_defaults_and_words_make_an_event(
    registrar: Registrar, tmp_path: Path
) -> None:
    registrar.export.write_text(HEADER + LINE, encoding="utf-8")
    registrar.import_(registrar.export, profile=mapped(tmp_path, WHOLE))
    (message,) = registrar.log.messages
    assert isinstance(message.event, EnrolmentRecorded)
    event = message.event
    assert (event.source, event.student_number, event.year) == ("scolarite", "22600017", 2026)
    assert (event.step, event.step_version, event.primary) == ("LINFO1", "1", True)
    assert (event.administrative, event.pedagogical) == (Administrative.IN_FORCE, Pedagogical.PENDING)


def test_a_value_that_the_export_has_wins_over_the_default(registrar: Registrar, tmp_path: Path) -> None:
    registrar.export.write_text(HEADER + LINE.replace("1;;", "1;B;"), encoding="utf-8")
    registrar.import_(registrar.export, profile=mapped(tmp_path, WHOLE))
    assert expect(EnrolmentRecorded, registrar.log.messages[0].event).step_version == "B"


def test_a_join_without_one_of_its_values_has_none(registrar: Registrar, tmp_path: Path) -> None:
    registrar.export.write_text(HEADER + LINE.replace(";1;;", ";;;"), encoding="utf-8")
    report = registrar.import_(registrar.export, profile=mapped(tmp_path, WHOLE))
    (row,) = registrar.rejected()
    assert (report.rejected, row["column"], row["fault"]) == (1, "Diplôme + Niveau", "missing_value")


def test_a_word_that_the_mapping_does_not_know_is_refused_with_those_that_it_knows(
    registrar: Registrar, tmp_path: Path
) -> None:
    registrar.export.write_text(HEADER + LINE.replace(";oui", ";peut-être"), encoding="utf-8")
    registrar.import_(registrar.export, profile=mapped(tmp_path, WHOLE))
    (row,) = registrar.rejected()
    assert (row["column"], row["fault"], row["detail"]) == ("Etat", "unknown_value", "known values: oui, non")


def test_a_control_character_is_found_in_the_column_that_it_stands_in(
    registrar: Registrar, tmp_path: Path
) -> None:
    registrar.export.write_text(HEADER + LINE.replace("Zoé", "Zo\x07é"), encoding="utf-8")
    registrar.import_(registrar.export, profile=mapped(tmp_path, WHOLE))
    assert registrar.rejected()[0]["column"] == "Prénom"


def test_a_mapping_reads_json_lines_too(registrar: Registrar, tmp_path: Path) -> None:
    names, values = HEADER.strip().split(";"), LINE.strip().split(";")
    pairs = ", ".join(f'"{name}": "{value}"' for name, value in zip(names, values, strict=True))
    registrar.export.write_text(f"{{{pairs}}}\n", encoding="utf-8")
    profile = mapped(tmp_path, 'form = "json_lines"\n' + WHOLE)
    assert profile.form is FileForm.JSON_LINES
    assert registrar.import_(registrar.export, profile=profile).recorded == 1


def test_payment_counts_only_if_the_mapping_says_so(registrar: Registrar, tmp_path: Path) -> None:
    registrar.export.write_text(HEADER + LINE, encoding="utf-8")
    text = "payment_required = true\n" + WHOLE + 'payment = { constant = "awaiting" }\n'
    registrar.import_(registrar.export, profile=mapped(tmp_path, text))
    event = expect(EnrolmentRecorded, registrar.log.messages[0].event)
    assert event.administrative is Administrative.AWAITING_PAYMENT


def test_a_mapping_may_have_one_column_for_the_name_and_say_so(registrar: Registrar, tmp_path: Path) -> None:
    registrar.export.write_text(HEADER + LINE, encoding="utf-8")
    [given] = [line for line in WHOLE.splitlines() if line.startswith("given_name")]
    report = registrar.import_(
        registrar.export, profile=mapped(tmp_path, "one_name = true\n" + WHOLE.replace(given, ""))
    )
    assert (report.recorded, report.rejected) == (1, 0)
    event = expect(EnrolmentRecorded, registrar.log.messages[0].event)
    assert event.birth_name
    assert event.given_name is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "scolarite"', "", "name: required"),
        ('name = "scolarite"', 'name = "Scolarité"', "name: required"),
        ('name = "scolarite"', 'name = "apogee"', "name: apogee is the name of another profile"),
        ("[fields]", 'forme = "x"\n[fields]', "forme: unknown; did you mean form?"),
        ("[fields]", 'form = "xml"\n[fields]', "form: one of delimited, json_lines"),
        ("[fields]", "payment_required = 1\n[fields]", "payment_required: true or false"),
        ("[fields]", "payment_required = true\n[fields]", "fields.payment: required"),
        ("[fields]", 'one_name = "yes"\n[fields]', "one_name: true or false"),
        ("[fields]", "[champs]", "fields: a table [fields] is required"),
        ('birth_name = "Nom"', "", "fields.birth_name: required"),
        ('birth_name = "Nom"', 'birthname = "Nom"', "fields.birthname: unknown; did you mean birth_name?"),
        ('birth_name = "Nom"', "birth_name = 3", "fields.birth_name: a column's name"),
        ('birth_name = "Nom"', 'birth_name = ""', "fields.birth_name.column: a text that is not empty"),
        ('birth_name = "Nom"', "birth_name = {}", "fields.birth_name: exactly one of column, join"),
        (
            'birth_name = "Nom"',
            'birth_name = { column = "Nom", constant = "x" }',
            "fields.birth_name: exactly one of",
        ),
        ('birth_name = "Nom"', 'birth_name = { colum = "Nom" }', "did you mean column?"),
        ('"{Diplôme}{Niveau}"', '"LINFO"', "fields.step.join: names columns in braces"),
        ('"{Diplôme}{Niveau}"', '"{Diplôme}{"', "fields.step.join: names columns in braces"),
        ('default = "1"', "default = []", "fields.step_version.default: a text"),
        ('non = "cancelled"', 'non = "annulé"', "fields.state.values.'non': means 'annulé'; it must be"),
        ('non = "cancelled"', "non = []", "fields.state.values.'non'"),
        ('values = { oui = "in_force", non = "cancelled" }', "values = {}", "fields.state.values: a table"),
        ('constant = "pending"', 'constant = "maybe"', "fields.pedagogical.constant: one of"),
        (
            'constant = "pending"',
            'constant = "pending", default = "pending"',
            "fields.pedagogical: a constant takes neither",
        ),
    ],
)
def test_a_fault_is_named_by_its_key_with_what_would_be_right(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in WHOLE
    told = faults(tmp_path, WHOLE.replace(old, new))
    assert [line for line in told if line.startswith(says) or says in line], told


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = (
        WHOLE.replace('birth_name = "Nom"', "").replace('name = "scolarite"', "").replace("oui =", "oui.x =")
    )
    assert len(faults(tmp_path, text)) == 3


def test_what_is_no_toml_or_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "mapping.toml").write_bytes(b"name = \xff")
    with pytest.raises(MappingUnusable, match=r"mapping\.toml: this is not UTF-8, as TOML is"):
        read_mapping(tmp_path / "mapping.toml")
    with pytest.raises(MappingUnusable, match=r"nowhere\.toml: cannot be read: No such file"):
        choose(str(tmp_path / "nowhere.toml"))


@pytest.mark.parametrize("which", ["apoge", "mapping.json", ""])
def test_an_unknown_profile_names_those_there_are(which: str) -> None:
    with pytest.raises(UnknownProfile) as refused:
        choose(which)
    assert "apogee, pegase" in refused.value.remedy
    assert refused.value.exit_code == 2


def test_the_fields_are_those_of_an_enrolment_without_what_the_feed_adds() -> None:
    made = {"administrative", "language", "sponsor", "source", "source_sequence"}
    assert set(FIELDS) - {"state", "payment"} == set(EnrolmentRecorded.model_fields) - made


def test_the_example_reads_its_export_whole(registrar: Registrar) -> None:
    report = registrar.import_(FOLDER / "scolarite-2026.csv", profile=choose(str(FOLDER / "mapping.toml")))
    assert (report.lines, report.rejected) == (4, 0)
    first, second, third, last = (message.event for message in registrar.log.messages)
    assert isinstance(first, EnrolmentRecorded)
    assert (first.step, first.step_label, first.year) == ("LINFO-1", "Licence d'informatique 1", 2026)
    assert isinstance(second, EnrolmentRecorded)
    assert isinstance(third, EnrolmentRecorded)
    assert third.administrative is Administrative.PENDING
    assert isinstance(last, EnrolmentCancelled)
    assert last.reason == "terminated"


def test_an_explanation_shows_columns_fields_and_faults_of_the_first_lines(tmp_path: Path) -> None:
    export = tmp_path / "export.csv"
    export.write_text(
        HEADER.replace("UFR", "UFR;Sexe").replace("Etat", "Etat")
        + LINE.replace("SCI", "SCI;F")
        + LINE.replace("SCI", "SCI;F").replace("07/03/2007", "=1+1"),
        encoding="utf-8",
    )
    explanation = explain(export, mapped(tmp_path, WHOLE), 1)
    (line,) = explanation.lines
    shown = {each.field: (each.value, each.source) for each in line.fields}
    assert shown["step"] == ("LINFO1", "Diplôme = LINFO, Niveau = 1")
    assert shown["step_version"] == ("1", "Version is empty; default")
    assert shown["birth_date"] == ("2007-03-07", "Né le = 07/03/2007")
    assert shown["year"] == ("2026", "constant")
    assert (explanation.ignored, explanation.layout.lines) == (("SEXE",), 3)
    _, bad = explain(export, mapped(tmp_path, WHOLE), 5).lines
    assert bad.fact is None
    (told,) = bad.to_json()["faults"]
    assert (told["column"], told["fault"], told["value"]) == ("Né le", "bad_date", "'=1+1")
