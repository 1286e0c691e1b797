"""`sesame import` as an operator types it: exit codes, files beside the export, and who approved what."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from examples.generate import write
from sesame.testing.servers.command import sesame
from sesame.testing.servers.registrar_kit import COLUMNS, MAMADOU, ZOE

STUDENTS = 120


@pytest.fixture(autouse=True)
def site(command_folder: Path) -> Path:
    """A folder with settings, and an export of some students."""
    with Path("export.csv").open("w", encoding="utf-8", newline="") as file:
        write(file, students=STUDENTS, year=2026)
    return command_folder


def told_command(result: Result) -> list[str]:
    """The command that the import says to give, as a shell reads it, without the program's name."""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("  sesame ")]
    return shlex.split(line)[1:]


def change(edit: Callable[[str], str]) -> None:
    path = Path("export.csv")
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")


def test_a_file_that_cancels_most_people_ends_with_5_and_goes_on_once_approved(site: Path) -> None:
    assert sesame("import", "export.csv").exit_code == 3  # the example has bad lines
    change(lambda text: text.replace(";E;P;O\n", ";A;P;O\n"))

    result = sesame("import", "export.csv")
    assert result.exit_code == 5
    assert "nothing was published" in result.stderr
    assert str(Path("export.affected.csv")) in result.stderr
    *words, approval = told_command(result)

    wrong = sesame(*words, "0" * len(approval))
    assert wrong.exit_code == 5
    assert "for another file" in wrong.stderr
    approved = sesame(*words, approval, "--json")
    assert approved.exit_code == 3
    told = json.loads(approved.stdout)
    assert (told["held"], told["approval"]) == (False, approval)
    assert told["cancelled"] > STUDENTS / 2
    with sqlite3.connect(site / "data" / "sesame.db") as database:
        rows = database.execute("SELECT actor, action FROM audit ORDER BY id").fetchall()
    database.close()
    me = pwd.getpwuid(os.getuid()).pw_name
    assert rows == [(me, "import")] * 4 + [(me, "import.approve")]


def test_the_command_that_is_told_says_all_that_the_import_said(site: Path) -> None:
    settings = site / "my settings.toml"
    settings.write_text('data_dir = "data"\n', encoding="utf-8")
    Path("it's.csv").write_text(Path("export.csv").read_text(encoding="utf-8"), encoding="utf-8")
    with_settings = ("--config", str(settings), "import", "it's.csv", "--profile", "apogee")
    sesame(*with_settings)
    lines = Path("it's.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    Path("it's.csv").write_text("".join(lines[:3]), encoding="utf-8")
    options = ("--full", "--year", "2026", "--rejects", "r e.csv", "--affected", "who.csv", "--republish")
    dry = sesame(*with_settings, *options, "--dry-run")
    assert dry.exit_code == 5
    assert told_command(dry)[-2] == "--approve"
    approved = sesame(*told_command(dry))
    assert approved.exit_code == 0, approved.output
    published = "published: 2 enrolments, 0 cancellations, 127 cancellations of absent ones;"
    assert published in approved.stdout
    assert Path("who.csv").exists()


def test_unicode_text_of_excel_says_what_it_is_and_gives_what_the_file_in_utf_8_does() -> None:
    plain = sesame("import", "export.csv")
    text = Path("export.csv").read_text(encoding="utf-8").replace(";", "\t")
    Path("texte.txt").write_text(text, encoding="utf-16", newline="\r\n")
    wide = sesame("import", "texte.txt")
    assert (plain.exit_code, wide.exit_code) == (3, 3)
    assert "(UTF-16, separated by tabs" in wide.stdout
    assert ": 0 enrolments, 0 cancellations; " in wide.stdout


def test_the_thresholds_are_settings(site: Path) -> None:
    sesame("import", "export.csv")
    change(lambda text: text.replace(";E;P;O\n", ";A;P;O\n"))
    (site / "sesame.toml").write_text('data_dir = "data"\n[registrar]\nguard_share = 1.0\n', encoding="utf-8")
    assert sesame("import", "export.csv", "--dry-run").exit_code == 3


def test_a_truncated_file_cancels_nobody_unless_it_is_said_to_be_complete() -> None:
    sesame("import", "export.csv")
    change(lambda text: text[: len(text) // 3].rpartition("\n")[0] + "\n")
    plain = sesame("import", "export.csv", "--json")
    assert plain.exit_code == 3
    assert json.loads(plain.stdout)["cancelled"] == 0
    full = sesame("import", "export.csv", "--full", "--year", "2026")
    assert full.exit_code == 5
    assert "over the threshold" in full.stdout


@pytest.mark.parametrize("options", [["--full"], ["--year", "2026"], ["--full", "--year", "26"]])
def test_a_full_file_is_full_for_one_year(options: list[str]) -> None:
    assert sesame("import", "export.csv", *options).exit_code == 2


def test_an_approval_that_was_not_needed_is_said_to_have_changed_nothing() -> None:
    result = sesame("import", "export.csv", "--approve", "0123456789abcdef0123")
    assert result.exit_code == 3
    assert "No approval was needed" in result.stderr


@pytest.mark.parametrize("options", [["--explain"], ["--explain", "5"], ["--explain=5"]])
@pytest.mark.parametrize("first", [True, False], ids=["options first", "file first"])
def test_an_explanation_shows_five_lines_and_touches_nothing(
    site: Path, options: list[str], first: bool
) -> None:
    words = [*options, "export.csv"] if first else ["export.csv", *options]
    result = sesame("import", *words)
    assert result.exit_code == 0, result.stderr
    assert "UTF-8, separated by semicolons), profile apogee" in result.stdout
    assert "COD_ETU = 22600001" in result.stdout
    assert result.stdout.count("\nline ") == 5
    assert sorted(path.name for path in site.iterdir()) == ["data", "export.csv", "sesame.toml"]
    assert list((site / "data").iterdir()) == []


def test_an_explanation_names_faults_and_remedies_and_is_json_for_programs() -> None:
    path = Path("export.csv")
    text = path.read_text(encoding="utf-8").replace(";", "\t").replace("\tE\tP\t", "\tX\tP\t", 1)
    path.write_bytes(text.encode("windows-1252", "replace"))
    plain = sesame("import", "export.csv", "--explain", "1")
    assert "Windows-1252, separated by tabs" in plain.stdout
    assert "refused: ETA_IAE: unknown_value, known values: C, E, A, R. Use one of" in plain.stdout
    told = json.loads(sesame("import", "export.csv", "--explain", "1", "--json").stdout)
    assert (told["encoding"], told["separator"], told["profile"]) == ("windows-1252", "\t", "apogee")
    assert told["read"][0]["faults"][0]["fault"] == "unknown_value"
    assert told["read"][0]["fields"]["student_number"]["source"] == "COD_ETU = 22600001"


def test_the_profile_is_an_option_or_a_setting(site: Path) -> None:
    examples = Path(__file__).parents[3] / "examples"
    for name in ("mapping.toml", "scolarite-2026.csv", "pegase-2026.jsonl"):
        (site / name).write_bytes((examples / name).read_bytes())
    assert sesame("import", "pegase-2026.jsonl", "--profile", "pegase").exit_code == 0
    assert sesame("import", "scolarite-2026.csv", "--profile", "mapping.toml").exit_code == 0
    assert sesame("import", "scolarite-2026.csv").exit_code == 1
    settings = 'data_dir = "data"\n[registrar]\nmapping = "mapping.toml"\n'
    (site / "sesame.toml").write_text(settings, encoding="utf-8")
    result = sesame("import", "scolarite-2026.csv", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["unchanged"] == 4
    assert sesame("import", "export.csv", "--profile", "apogee", "--explain").exit_code == 0


def test_a_profile_that_cannot_be_used_ends_with_2_and_says_why(site: Path) -> None:
    mapping = 'name = "mine"\n[fields]\nstep = "ETAPE"\nyeer = "ANNEE"\n'
    (site / "mine.toml").write_text(mapping, encoding="utf-8")
    wrong = sesame("import", "export.csv", "--profile", "mine.toml")
    assert wrong.exit_code == 2
    assert "mine.toml:" in wrong.stderr
    assert "fields.yeer: unknown; did you mean year?" in wrong.stderr
    unknown = sesame("import", "export.csv", "--profile", "apoge")
    assert unknown.exit_code == 2
    assert "Choose apogee, pegase" in unknown.stderr


GROUPS = "COD_ETU;COD_ANU;COD_ELP;LIB_ELP;COD_GPE\n"


def groups(units: int = 1, students: int = STUDENTS) -> str:
    """A file of groups of the same students."""
    numbers = range(22_600_001, 22_600_001 + students)
    return GROUPS + "".join(f"{each};2026;UE{unit};;TD1\n" for each in numbers for unit in range(units))


def test_a_second_file_of_groups_is_imported_with_the_first_one_or_alone(site: Path) -> None:
    Path("groups.csv").write_text(groups(2), encoding="utf-8")
    both = sesame("import", "export.csv", "--groups", "groups.csv", "--json")
    assert both.exit_code == 3, both.output
    told = json.loads(both.stdout)
    assert (told["kind"], told["groups"]["kind"]) == ("enrolments", "teachings")
    assert (told["groups"]["recorded"], told["groups"]["rejected"]) == (STUDENTS, 0)
    alone = sesame("import", "--groups", "groups.csv", "--full", "--year", "2026")
    assert alone.exit_code == 0
    assert "0 lists of teaching units, 0 empty lists, 0 empty lists of absent students;" in alone.stdout
    assert f"{STUDENTS} lists unchanged" in alone.stdout


def test_a_truncated_file_of_groups_is_held_and_the_other_file_is_not(site: Path) -> None:
    Path("groups.csv").write_text(groups(), encoding="utf-8")
    sesame("import", "--groups", "groups.csv")
    Path("groups.csv").write_text(groups(students=40), encoding="utf-8")
    result = sesame("import", "export.csv", "--groups", "groups.csv", "--full", "--year", "2026")
    assert result.exit_code == 5
    assert "(absent from the file: 80)" in result.stdout
    assert str(Path("groups.affected.csv")) in result.stderr
    complete = ("--full", "--year", "2026", "--approve", "0123456789abcdef0123")
    assert sesame("import", "export.csv", "--groups", "groups.csv", *complete).exit_code == 2
    assert sesame(*told_command(result)).exit_code == 0
    with sqlite3.connect(site / "data" / "sesame.db") as database:
        assert database.execute("SELECT COUNT(*) FROM teaching_rows WHERE listed = '[]'").fetchone() == (80,)
    database.close()


def test_explain_shows_how_both_files_are_read() -> None:
    Path("groups.csv").write_text(groups() + "x y;2026;UE1;;TD1\n", encoding="utf-8")
    result = sesame("import", "export.csv", "--groups", "groups.csv", "--explain", "1")
    assert result.exit_code == 0
    assert "gives an enrolment" in result.stdout
    assert "gives a group of a teaching unit" in result.stdout
    document = json.loads(sesame("import", "--groups", "groups.csv", "--explain", "500", "--json").stdout)
    assert document["profile"] == "apogee_groups"
    assert [each["fault"] for each in document["read"][-1]["faults"]] == ["bad_student_number"]


def test_groups_may_come_from_other_software_by_a_mapping_of_their_own(site: Path) -> None:
    (site / "ade.toml").write_text(
        'name = "ade"\n[groups.fields]\nstudent_number = "Etudiant"\nyear = { constant = 2026 }\n'
        'element = "Matiere"\n',
        encoding="utf-8",
    )
    settings = 'data_dir = "data"\n[registrar]\ngroups_mapping = "ade.toml"\n'
    (site / "sesame.toml").write_text(settings, encoding="utf-8")
    Path("ade.csv").write_text("Etudiant,Matiere\n22600001,UE1\n", encoding="utf-8")
    told = json.loads(sesame("import", "--groups", "ade.csv", "--json").stdout)
    assert (told["source"], told["recorded"]) == ("ade_groups", 1)
    assert sesame("import", "export.csv").exit_code == 3, "the main file is read as before"


def test_what_is_accepted_is_what_the_rejects_file_showed_and_no_older_file_s() -> None:
    def written(name: str, birth_name: str) -> str:
        rows = [ZOE | {"LIB_NOM_PAT_IND": birth_name}, MAMADOU]
        lines = [";".join(row[column] for column in COLUMNS) for row in rows]
        Path(name).write_text("\n".join((";".join(COLUMNS), *lines, "")), encoding="utf-8")
        return name

    older, newer = written("older.csv", "Lef?vre"), written("newer.csv", "Null")
    refused = sesame("import", newer, "--dry-run")
    assert refused.exit_code == 3
    assert told_command(refused)[-2:] == ["--accept", "NUMBER:CODE"]
    shown = re.search(r"--accept (\S+)\)", Path("newer.rejects.csv").read_text(encoding="utf-8"))
    assert shown is not None
    code = shown[1]

    for line, says in (
        (("import", older, "--accept", code), "another value than this file has of the student"),
        (("import", "export.csv", "--accept", f"99999999:{code[-8:]}"), "no line is of this student"),
        (("import", newer, "--accept", code.partition(":")[0]), "is not NUMBER:CODE"),
        (("import", newer, "--accept", code.partition(":")[0], "--lang", "fr"), "la forme NUMÉRO:CODE"),
    ):
        wrong = sesame(*line)
        assert (wrong.exit_code, wrong.stdout) == (2, "")
        assert says in wrong.stderr
    assert sesame("import", newer, "--accept", code).exit_code == 0
    again = json.loads(sesame("import", newer, "--accept", code, "--json").stdout)
    assert (again["unchanged"], again["accepted"]) == (2, 0)
    assert sesame("import", older).exit_code == 3
