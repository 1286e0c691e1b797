"""The second file: units and groups, one list per student and year; nothing is taken away by accident."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.threshold import Threshold
from producers.registrar.explanation import explain
from producers.registrar.faults import REMEDIES, Fault, UnusableFile
from producers.registrar.feed import FactRow
from producers.registrar.feed_memory import SqlTeachingMemory
from producers.registrar.guard import OutlineChange
from producers.registrar.import_runs import ImportSuperseded
from producers.registrar.profile import FeedProfile
from producers.registrar.profiles import UnknownProfile, choose_groups
from producers.registrar.report import ImportKind
from producers.registrar.sheets import MEANINGS
from producers.registrar.teachings import parse
from schemas.catalogue import ENROLMENTS
from schemas.events import TEACHINGS_MAX, TeachingsRecorded
from sesame.testing.servers.narrowing import expect
from sesame.testing.servers.registrar_kit import MAMADOU, ZOE, Registrar

Z, M = ZOE["COD_ETU"], MAMADOU["COD_ETU"]


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def lists(registrar: Registrar) -> dict[tuple[str, int], set[str]]:
    """What was published since the last look, by student and year; `UE1/TD1` is a group, `UE1` a unit."""
    found = {}
    for message in registrar.log.take():
        event = expect(TeachingsRecorded, message.event)
        keys = {"/".join(filter(None, each.key)) for each in event.teachings}
        assert len(keys) == len(event.teachings)
        found[event.student_number, event.year] = keys
    return found


def test_a_students_year_is_one_fact_with_the_whole_list(registrar: Registrar) -> None:
    report = registrar.import_groups(
        f"{Z} UE1 TD1 2026 Algèbre", f"{M} UE1 TD2", f"{Z} UE2 -", f"{Z} UE1 TP3 2026 Algèbre"
    )
    assert (report.kind, report.lines, report.students, report.recorded) == (ImportKind.TEACHINGS, 4, 2, 2)
    assert [(record.topic, record.key) for record in registrar.log.records] == [
        (ENROLMENTS, Z),
        (ENROLMENTS, M),
    ]
    event = expect(TeachingsRecorded, registrar.log.messages[0].event)
    assert (event.source, event.year, event.teachings[0].label) == ("apogee_groups", 2026, "Algèbre")
    assert lists(registrar) == {(Z, 2026): {"UE1/TD1", "UE1/TP3", "UE2"}, (M, 2026): {"UE1/TD2"}}


def test_the_same_file_again_in_any_order_says_nothing(registrar: Registrar) -> None:
    lines = [f"{Z} UE1 TD1", f"{M} UE1 TD2", f"{Z} UE2 -", f"{Z} UE2 -"]
    first = registrar.import_groups(*lines)
    assert (first.recorded, first.duplicates) == (2, 1)
    registrar.log.take()
    for again in (lines, lines[::-1]):
        report = registrar.import_groups(*again, full_year=2026)
        assert (report.published, report.unchanged, report.held) == (0, 2, False)
    assert lists(registrar) == {}


def test_without_being_complete_a_file_only_adds(registrar: Registrar) -> None:
    registrar.import_groups(f"{Z} UE1 TD1", f"{M} UE1 TD2")
    registrar.log.take()
    report = registrar.import_groups(f"{Z} UE2 TD5")
    assert (report.recorded, report.years) == (1, ())
    assert lists(registrar) == {(Z, 2026): {"UE1/TD1", "UE2/TD5"}}


def test_a_unit_that_gets_groups_is_followed_in_these(registrar: Registrar) -> None:
    registrar.import_groups(f"{Z} UE1 -", f"{Z} UE2 -")
    registrar.log.take()
    report = registrar.import_groups(f"{Z} UE1 TD1")
    assert lists(registrar) == {(Z, 2026): {"UE1/TD1", "UE2"}}
    assert report.years == ()


def test_a_complete_file_takes_away_what_it_does_not_have_and_says_so(registrar: Registrar) -> None:
    registrar.import_groups(f"{Z} UE1 TD1", f"{Z} UE1 TP1", f"{Z} UE2 TD1", f"{M} UE1 TD2")
    registrar.log.take()
    lines = f"{Z} UE1 TD2", f"{Z} UE1 TP1"
    report = registrar.import_groups(*lines, full_year=2026, threshold=Threshold(share=1))
    assert (report.recorded, report.gone) == (1, 1)
    assert lists(registrar) == {(Z, 2026): {"UE1/TD2", "UE1/TP1"}, (M, 2026): set()}
    assert [
        (row["student"], row["unit"], row["group"], row["change"]) for row in registrar.affected_rows()
    ] == [(Z, "UE1", "TD1", "group"), (Z, "UE2", "TD1", "teaching"), (M, "UE1", "TD2", "gone")]
    assert [row["groups left"] for row in registrar.affected_rows()] == ["TD2, TP1", "", ""]
    assert {row["meaning"] for row in registrar.affected_rows()} == {
        MEANINGS[change] for change in (OutlineChange.GROUP, OutlineChange.TEACHING, OutlineChange.GONE)
    }
    [year] = report.years
    assert (year.known, year.affected, year.losing) == (2, 2, 2)


def test_who_is_gone_may_come_back(registrar: Registrar) -> None:
    registrar.import_groups(f"{Z} UE1 TD1", f"{M} UE1 TD2")
    registrar.import_groups(f"{M} UE1 TD2", full_year=2026)
    registrar.log.take()
    report = registrar.import_groups(f"{Z} UE1 TD1", f"{M} UE1 TD2", full_year=2026)
    assert lists(registrar) == {(Z, 2026): {"UE1/TD1"}}
    assert report.recorded == 1
    ids = {message.id for message in registrar.log.messages}
    assert len(ids) == len(registrar.log.messages)


def test_a_complete_file_of_one_year_leaves_the_others_alone(registrar: Registrar) -> None:
    registrar.import_groups(f"{Z} UE1 TD1 2026", f"{M} UE1 TD2 2026")
    registrar.log.take()
    report = registrar.import_groups(f"{Z} UE9 TD1 2027", full_year=2027)
    assert (report.gone, report.years) == (0, ())
    assert lists(registrar) == {(Z, 2027): {"UE9/TD1"}}


def crowd(count: int, group: str = "TD1") -> list[str]:
    return [f"{22_600_000 + number} UE1 {group}" for number in range(count)]


def test_a_truncated_complete_file_strips_nobody_until_it_is_approved(registrar: Registrar) -> None:
    registrar.import_groups(*crowd(201))
    registrar.log.take()
    cut = crowd(133)
    held = registrar.import_groups(*cut, full_year=2026)
    assert (held.held, held.gone) == (True, 68)
    assert lists(registrar) == {}
    assert len(registrar.affected_rows()) == 68
    assert held.approval is not None
    other = registrar.import_groups(*cut[:-1], full_year=2026, approval=held.approval)
    assert other.held
    assert lists(registrar) == {}
    approved = registrar.import_groups(*cut, full_year=2026, approval=held.approval)
    assert not approved.held
    assert len(lists(registrar)) == 68


def test_a_column_sorted_alone_is_held_although_nobody_loses_a_unit(registrar: Registrar) -> None:
    registrar.import_groups(*crowd(201))
    registrar.log.take()
    held = registrar.import_groups(*crowd(201, "TD2"), full_year=2026)
    [year] = held.years
    assert (held.held, year.affected, year.losing) == (True, 201, 0)
    assert lists(registrar) == {}


def test_who_has_a_refused_line_loses_nothing(registrar: Registrar) -> None:
    registrar.import_groups(f"{Z} UE1 TD1", f"{Z} UE2 TD1", f"{M} UE1 TD2")
    registrar.log.take()
    report = registrar.import_groups(f"{Z} UE3 TD1", f"{Z} *)(uid=* TD1", f"{M} UE1 TD2", full_year=2026)
    assert (report.rejected, report.spared, report.years) == (1, 1, ())
    assert lists(registrar) == {(Z, 2026): {"UE1/TD1", "UE2/TD1", "UE3/TD1"}}
    [row] = registrar.rejected()
    assert (row["student"], row["column"], row["fault"]) == (Z, "COD_ELP", "bad_code")
    assert row["remedy"] == REMEDIES[Fault.BAD_CODE]


def test_who_has_only_refused_lines_loses_nothing_either(registrar: Registrar) -> None:
    registrar.import_groups(f"{Z} UE1 TD1", f"{M} UE1 TD2")
    registrar.log.take()
    report = registrar.import_groups(f"{Z} UE1 TD1", f"{M} UE1 T*2", full_year=2026)
    assert (report.spared, report.gone, lists(registrar)) == (1, 0, {})


def test_a_refused_line_that_names_no_student_makes_the_file_incomplete(registrar: Registrar) -> None:
    registrar.import_groups(f"{Z} UE1 TD1", f"{M} UE1 TD2")
    registrar.log.take()
    report = registrar.import_groups(f"{Z} UE2 TD1", "*)(uid=* UE1 TD2", full_year=2026)
    assert (report.absence_unknown, report.gone) == (True, 0)
    assert lists(registrar) == {(Z, 2026): {"UE1/TD1", "UE2/TD1"}}


def test_lines_that_contradict_one_another_are_refused(registrar: Registrar) -> None:
    registrar.import_groups(f"{Z} UE1 TD1")
    registrar.log.take()
    report = registrar.import_groups(
        f"{Z} UE1 TD1 2026 Algèbre", f"{Z} UE1 TD1 2026 Analyse", f"{M} UE1 TD1", full_year=2026
    )
    assert (report.rejected, report.faults) == (2, {Fault.CONFLICTING_LINES: 2})
    assert lists(registrar) == {(M, 2026): {"UE1/TD1"}}
    assert {row["line"] for row in registrar.rejected()} == {"2", "3"}


def test_nobody_follows_hundreds_of_units(registrar: Registrar) -> None:
    lines = [f"{Z} UE{number} -" for number in range(TEACHINGS_MAX + 1)]
    report = registrar.import_groups(*lines, f"{M} UE1 -")
    assert report.faults == {Fault.TOO_MANY_TEACHINGS: TEACHINGS_MAX + 1}
    assert lists(registrar) == {(M, 2026): {"UE1"}}
    registrar.import_groups(*lines[:-1])
    registrar.log.take()
    grown = registrar.import_groups(*(f"{Z} NEW{number} -" for number in range(300)))
    assert len(lists(registrar)[Z, 2026]) == 300, "an event can say no more: the newest file counts"
    [year] = grown.years
    assert year.losing == 1


@pytest.mark.parametrize(("separator", "encoding"), [(",", "utf-8-sig"), ("\t", "utf-8"), (";", "cp1252")])
def test_separator_and_encoding_are_found_out(registrar: Registrar, separator: str, encoding: str) -> None:
    path = registrar.write_groups(f"{Z} UE1 TD1 2026 Algèbre", separator=separator, encoding=encoding)
    report = registrar.import_groups(path=path)
    assert (report.recorded, report.separator) == (1, separator)
    assert expect(TeachingsRecorded, registrar.log.messages[0].event).teachings[0].label == "Algèbre"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        ("COD_ETU;COD_ANU;COD_ELP;LIB_ELP;COD_GPE\n", "a header, and no line below it"),
        ("COD_ETU;COD_ANU;COD_ELP;COD_GPE\n1;2026;UE1;TD1\n", "the header lacks LIB_ELP"),
        ("COD_ETU~COD_ANU~COD_ELP~LIB_ELP~COD_GPE\n", "no header"),
    ],
)
def test_a_file_that_is_no_such_export_is_refused_as_a_whole(
    registrar: Registrar, content: str, says: str
) -> None:
    registrar.groups.write_text(content, encoding="utf-8")
    with pytest.raises(UnusableFile, match=says):
        registrar.import_groups(path=registrar.groups)
    assert registrar.log.records == []


def test_a_complete_file_of_a_year_that_it_does_not_have_is_refused(registrar: Registrar) -> None:
    with pytest.raises(UnusableFile, match="complete for 2027, and holds nothing of that year"):
        registrar.import_groups(f"{Z} UE1 TD1", full_year=2027)


def test_who_is_not_enrolled_that_year_is_counted_and_published_all_the_same(registrar: Registrar) -> None:
    registrar.import_rows(ZOE)
    registrar.log.take()
    report = registrar.import_groups(f"{Z} UE1 TD1", f"{Z} UE1 TD1 2027", f"{M} UE1 TD1")
    assert (report.recorded, report.not_enrolled) == (3, 2)
    assert set(lists(registrar)) == {(Z, 2026), (Z, 2027), (M, 2026)}
    registrar.import_rows(MAMADOU)
    assert registrar.import_groups(f"{M} UE1 TD1").not_enrolled == 0


def test_the_two_feeds_know_nothing_of_each_others_lines(registrar: Registrar) -> None:
    registrar.import_rows(ZOE, MAMADOU)
    registrar.import_groups(f"{Z} UE1 TD1", f"{M} UE1 TD1")
    registrar.log.take()
    assert registrar.import_rows(ZOE, MAMADOU, full_year=2026).published == 0
    assert registrar.import_groups(f"{Z} UE1 TD1", f"{M} UE1 TD1", full_year=2026).published == 0


def test_a_dry_run_counts_and_publishes_nothing(registrar: Registrar) -> None:
    dry = registrar.import_groups(f"{Z} UE1 TD1", dry_run=True)
    assert (dry.recorded, dry.import_id, registrar.log.records) == (1, None, [])
    assert registrar.import_groups(f"{Z} UE1 TD1").recorded == 1


def test_a_log_that_was_lost_is_given_everything_again_under_the_same_ids(registrar: Registrar) -> None:
    registrar.import_groups(f"{Z} UE1 TD1")
    [before] = registrar.log.take()
    report = registrar.import_groups(f"{Z} UE1 TD1", republish=True)
    [after] = registrar.log.take()
    assert (report.recorded, before.id) == (1, after.id)


def test_after_a_crash_what_is_in_doubt_is_published_again_under_the_same_id(registrar: Registrar) -> None:
    class Dies(SqlTeachingMemory):
        def finish(self, import_id: int, **_ended: object) -> None:
            raise Killed

    registrar.teachings = Dies(registrar.database)
    with pytest.raises(Killed):
        registrar.import_groups(f"{Z} UE1 TD1")
    [before] = registrar.log.take()
    registrar.teachings = SqlTeachingMemory(registrar.database)
    assert registrar.import_groups(f"{Z} UE1 TD1").recorded == 1
    [after] = registrar.log.take()
    assert before.id == after.id
    assert registrar.import_groups(f"{Z} UE1 TD1").unchanged == 1


def test_of_two_imports_at_once_the_newer_one_goes_on_alone(registrar: Registrar) -> None:
    class Overtaken(SqlTeachingMemory):
        def intend(self, import_id: int, source: str, rows: Sequence[FactRow], *, confirmed: int = 0) -> None:
            registrar.teachings = SqlTeachingMemory(registrar.database)
            registrar.import_groups(f"{Z} UE2 TD2", full_year=2026)
            super().intend(import_id, source, rows, confirmed=confirmed)

    registrar.teachings = Overtaken(registrar.database)
    with pytest.raises(ImportSuperseded):
        registrar.import_groups(f"{Z} UE1 TD1", full_year=2026)
    assert lists(registrar) == {(Z, 2026): {"UE2/TD2"}}


def test_pegase_says_it_in_json_lines_and_may_cancel(registrar: Registrar) -> None:
    def write(*states: str) -> Path:
        registrar.groups.write_text(
            "".join(
                f'{{"codeApprenant": "{Z}", "codePeriode": "2026-2027", "codeObjet": "UE{number}", '
                f'"codeGroupe": "TD1"{state}}}\n'
                for number, state in enumerate(states, 1)
            ),
            encoding="utf-8",
        )
        return registrar.groups

    profile = choose_groups("pegase")
    registrar.import_groups(path=write("", ', "statutInscription": "valide"'), profile=profile)
    assert lists(registrar) == {(Z, 2026): {"UE1/TD1", "UE2/TD1"}}
    report = registrar.import_groups(path=write(', "statutInscription": "annulee"'), profile=profile)
    assert lists(registrar) == {(Z, 2026): {"UE2/TD1"}}
    [year] = report.years
    assert year.changes == {OutlineChange.TEACHING: 1}
    cancelled = ', "statutInscription": "annulee"'
    report = registrar.import_groups(path=write(cancelled, cancelled), profile=profile)
    assert (report.cancelled, lists(registrar)) == (1, {(Z, 2026): set()})


MAPPING = """
name = "ade"
[groups]
[groups.fields]
student_number = "Etudiant"
year = { constant = 2026 }
element = "Matière"
group = { column = "Groupe", values = { "A" = "TD1", "B" = "TD2" } }
state = { column = "Etat", values = { oui = "in_force", non = "cancelled" }, default = "in_force" }
"""


def mapped(folder: Path, text: str = MAPPING) -> FeedProfile:
    path = folder / "mapping.toml"
    path.write_text(text, encoding="utf-8")
    return choose_groups(str(path))


def test_a_mapping_reads_any_other_file_and_explains_itself(registrar: Registrar, tmp_path: Path) -> None:
    profile = mapped(tmp_path)
    registrar.groups.write_text(f"Etudiant,Matière,Groupe,Etat\n{Z},UE1,A,\n{Z},UE2,C,\n", encoding="utf-8")
    report = registrar.import_groups(path=registrar.groups, profile=profile)
    assert (report.source, report.recorded, report.faults) == ("ade_groups", 1, {Fault.UNKNOWN_VALUE: 1})
    assert lists(registrar) == {(Z, 2026): {"UE1/TD1"}}
    first, second = explain(registrar.groups, profile, 5, parse=parse).lines
    assert {each.field: each.value for each in first.fields}["group"] == "TD1"
    assert first.fact is not None
    assert [each.fault for each in second.rejections] == [Fault.UNKNOWN_VALUE]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[groups]\n[groups.fields]", "[fields]", "groups: a table [groups] is required"),
        ("[groups.fields]", "[groups.champs]", "groups.fields: a table [groups.fields] is required"),
        ("[groups]", '[groups]\nform = "xml"', "groups.form: one of delimited, json_lines"),
        ('element = "Matière"', "", "groups.fields.element: required"),
        (
            'element = "Matière"',
            'elements = "Matière"',
            "groups.fields.elements: unknown; did you mean element?",
        ),
        ('oui = "in_force"', 'oui = "pending"', "it must be one of in_force, cancelled"),
    ],
)
def test_a_fault_of_the_mapping_is_told_by_its_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in MAPPING
    with pytest.raises(Exception, match=r"mapping\.toml") as refused:
        mapped(tmp_path, MAPPING.replace(old, new))
    assert says in str(refused.value)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(UnknownProfile):
        choose_groups("scolarix")


KEYS = st.tuples(st.sampled_from([Z, M]), st.sampled_from(["UE1", "UE2"]), st.sampled_from(["TD1", "TD2"]))


@given(files=st.lists(st.tuples(st.sets(KEYS, min_size=1), st.booleans()), min_size=1, max_size=5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_files_come_the_last_list_of_each_student_is_what_they_add_up_to(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[set[tuple[str, str, str]], bool]]
) -> None:
    registrar = Registrar(tmp_path_factory.mktemp("teachings"))
    said: dict[str, set[str]] = {}
    wanted: dict[str, set[str]] = {}
    for keys, complete in files:
        by_student: dict[str, set[str]] = {}
        for student, element, group in keys:
            by_student.setdefault(student, set()).add(f"{element}/{group}")
        for student in (Z, M):
            kept = set() if complete else wanted.get(student, set())
            wanted[student] = kept | by_student.get(student, set())
        lines = [" ".join(key) for key in sorted(keys)]
        registrar.import_groups(*lines, full_year=2026 if complete else None, threshold=Threshold(share=1))
        said |= {student: found for (student, _), found in lists(registrar).items()}
    registrar.close()
    assert {student: found for student, found in wanted.items() if found} == {
        student: found for student, found in said.items() if found
    }
