"""Pégase's JSON lines: each object is an enrolment, and what is no object harms its own line only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import examples.pegase
from examples.pegase import NAMES, main
from producers.registrar.faults import Fault, UnusableFile
from producers.registrar.physical import LINE_BYTES_MAX
from producers.registrar.profiles import academic_year, choose, path_code, pegase
from schemas.account import Administrative, Pedagogical
from schemas.events import EnrolmentCancelled, EnrolmentRecorded
from sesame.testing.servers.registrar_kit import Registrar

EXAMPLE = Path(examples.pegase.__file__).parent / "pegase-2026.jsonl"

HA: dict[str, Any] = {
    "codeApprenant": "22600017",
    "ine": "060904317KT",
    "etatIneMaitre": None,
    "nomFamille": "Đặng",
    "nomUsage": None,
    "prenom": "Thị Hà",
    "prenomUsage": "Camille",
    "dateNaissance": "2008-03-07",
    "mailPersonnel": "ha.dang@example.org",
    "telephonePortable": "06 12 34 56 78",
    "codePeriode": "2026",
    "codeFormation": "L1INFO",
    "codeChemin": "L1INFO>PARC-A",
    "codeStructure": "SCI",
    "libelleFormation": "Licence 1 Informatique",
    "inscriptionPrincipale": "oui",
    "statutInscription": "valide",
    "statutInscriptionPedagogique": "valide",
}


def write(registrar: Registrar, *lines: dict[str, Any] | str | bytes) -> Path:
    """An export of these lines; objects are written as JSON."""

    def encoded(line: dict[str, Any] | str | bytes) -> bytes:
        if isinstance(line, bytes):
            return line
        return (json.dumps(line, ensure_ascii=False) if isinstance(line, dict) else line).encode()

    registrar.export.write_bytes(b"".join(encoded(line) + b"\n" for line in lines))
    return registrar.export


def recorded(registrar: Registrar, **changes: Any) -> EnrolmentRecorded:
    report = registrar.import_(write(registrar, HA | changes), profile=pegase())
    assert report.rejected == 0, registrar.rejected()
    (message,) = registrar.log.take()
    assert isinstance(message.event, EnrolmentRecorded)
    return message.event


def fault(registrar: Registrar, line: dict[str, Any] | str | bytes) -> dict[str, str]:
    """The one rejection of this line, after which a sound line is taken."""
    report = registrar.import_(write(registrar, HA | {"codeApprenant": "1"}, line, HA), profile=pegase())
    assert (report.recorded, report.rejected) == (2, 1)
    (row,) = registrar.rejected()
    assert row["line"] == "2"
    return row


def test_an_object_becomes_the_data_of_an_event(registrar: Registrar) -> None:
    event = recorded(registrar)
    assert (event.source, event.student_number, event.ine) == ("pegase", "22600017", "060904317KT")
    assert (event.birth_name, event.usage_name) == ("Đặng", None)
    assert (event.given_name, event.preferred_given_name) == ("Thị Hà", "Camille")
    assert (event.birth_date.isoformat(), event.personal_mail) == ("2008-03-07", "ha.dang@example.org")
    assert event.mobile == "+33612345678"
    assert (event.year, event.step, event.step_version) == (2026, "L1INFO", "L1INFO/PARC-A")
    assert (event.component, event.step_label, event.primary) == ("SCI", "Licence 1 Informatique", True)
    assert (event.administrative, event.pedagogical) == (Administrative.IN_FORCE, Pedagogical.VALIDATED)


def test_the_profile_reads_the_names_of_pegase_and_no_others() -> None:
    assert choose("pegase").column_names == tuple(HA)
    unknown = ("etatIneMaitre", "telephonePortable", "inscriptionPrincipale")  # optional, not in the example
    assert [each for each in HA if each not in unknown] == list(NAMES)


@pytest.mark.parametrize(
    ("state", "provisional"),
    [("CONFIRME", False), ("A_VERIFIER", True), ("LITIGE", True), ("une valeur de 2027", True), (None, None)],
)
def test_only_a_confirmed_ine_is_definitive(
    registrar: Registrar, state: str | None, provisional: bool | None
) -> None:
    assert recorded(registrar, etatIneMaitre=state).ine_provisional is provisional


def test_a_second_enrolment_is_none_that_is_primary_only_if_it_says_so(registrar: Registrar) -> None:
    assert recorded(registrar).primary
    assert not recorded(registrar, codeFormation="L2", inscriptionPrincipale="non").primary
    assert recorded(registrar, codeFormation="L3", inscriptionPrincipale=None).primary
    two = [HA | {"codeApprenant": "22600018", "ine": None, "codeFormation": step} for step in ("L1", "L2")]
    assert registrar.import_(write(registrar, *two), profile=pegase()).rejected == 0, "as Pégase has it"


@pytest.mark.parametrize(
    ("state", "administrative"), [("valide", Administrative.IN_FORCE), ("en_attente", Administrative.PENDING)]
)
def test_the_states_of_an_enrolment(registrar: Registrar, state: str, administrative: Administrative) -> None:
    assert recorded(registrar, statutInscription=state).administrative is administrative


def test_a_cancelled_enrolment_is_a_cancellation_whatever_else_is_missing(registrar: Registrar) -> None:
    named = ("codeApprenant", "codePeriode", "codeFormation", "codeChemin")
    line = {name: HA[name] for name in named} | {"statutInscription": "annulee"}
    registrar.import_(write(registrar, line), profile=pegase())
    (message,) = registrar.log.messages
    assert isinstance(message.event, EnrolmentCancelled)
    assert message.event.reason == "cancelled"


@pytest.mark.parametrize(
    ("state", "pedagogical"),
    [
        ("valide", Pedagogical.VALIDATED),
        ("en_attente", Pedagogical.PENDING),
        ("annulee", Pedagogical.PENDING),
        (None, Pedagogical.PENDING),
        ("", Pedagogical.PENDING),
    ],
)
def test_courses_open_only_by_a_validated_pedagogical_enrolment(
    registrar: Registrar, state: str | None, pedagogical: Pedagogical
) -> None:
    assert recorded(registrar, statutInscriptionPedagogique=state).pedagogical is pedagogical


def test_a_student_number_may_be_a_number(registrar: Registrar) -> None:
    assert recorded(registrar, codeApprenant=22600017).student_number == "22600017"


def test_a_mark_before_the_first_object_and_names_that_nobody_asked_for_do_no_harm(
    registrar: Registrar,
) -> None:
    line = b"\xef\xbb\xbf" + json.dumps(HA | {"nationalite": {"code": 100}}).encode()
    report = registrar.import_(write(registrar, line), profile=pegase())
    assert (report.recorded, report.encoding, report.separator) == (1, "utf-8-sig", "")


@pytest.mark.parametrize(
    ("period", "year"),
    [
        ("2026", "2026"),
        ("PER-2026", "2026"),
        ("2026-2027", "2026"),
        ("2026/27", "2026"),
        ("2026-S1", "2026"),
        ("S2_2026-2027", "2026"),
        ("2026-2028", "2026-2028"),
        ("20262027", "20262027"),
        ("26", "26"),
        ("", ""),
    ],
)
def test_a_period_names_its_year_or_nothing(period: str, year: str) -> None:
    assert academic_year(period) == year


@given(text=st.text(max_size=20))
def test_whatever_a_period_is_called_it_is_a_year_or_left_alone(text: str) -> None:
    found = academic_year(text)
    assert found == text or (len(found) == 4 and found in text)


def test_a_path_is_a_code() -> None:
    assert path_code("L1-INFO > PARC-A>OPT-2") == "L1-INFO/PARC-A/OPT-2"


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        ('{"codeApprenant": "2",', Fault.BROKEN_JSON, "character 23"),
        ("2;Roux;Luc", Fault.BROKEN_JSON, "no JSON from character 2 on"),
        ("null", Fault.BROKEN_JSON, "not an object"),
        ('["2"]', Fault.BROKEN_JSON, "not an object"),
        ('{"codeApprenant": "2", "codeApprenant": "3"}', Fault.BROKEN_JSON, "twice"),
        ("[" * 50_000, Fault.BROKEN_JSON, "nested too deeply"),
        ('{"codeApprenant": ' + "9" * 5_000 + "}", Fault.BROKEN_JSON, "digits"),
        (HA | {"mailPersonnel": ["a@example.org"]}, Fault.BROKEN_JSON, "mailPersonnel holds a list"),
        (HA | {"prenom": True}, Fault.BROKEN_JSON, "prenom holds true or false"),
        (HA | {"codePeriode": 2026.5}, Fault.BROKEN_JSON, "codePeriode holds a number"),
        (HA | {"prenom": {}}, Fault.BROKEN_JSON, "prenom holds an object"),
        (HA | {"prenom": "Thị\nHà"}, Fault.CONTROL_CHARACTER, "control"),
        (HA | {"prenom": "Thị\x00Hà"}, Fault.CONTROL_CHARACTER, "control"),
        (HA | {"prenom": ""}, Fault.MISSING_VALUE, "missing"),
        (HA | {"statutInscription": "VALIDE"}, Fault.UNKNOWN_VALUE, "valide, en_attente, annulee"),
        (HA | {"codePeriode": "PER"}, Fault.BAD_YEAR, "not a year"),
        (HA | {"libelleFormation": "x" * LINE_BYTES_MAX}, Fault.LINE_TOO_LONG, "longer than"),
        (b'{"codeApprenant": "2", "prenom": "Zo\xe9"}', Fault.UNDECODABLE, "bytes"),
        (b'{"prenom": "\\ud800"}', Fault.UNDECODABLE, "bytes"),
    ],
)
def test_a_bad_line_is_refused_by_itself(
    registrar: Registrar, line: dict[str, Any] | str | bytes, kind: Fault, says: str
) -> None:
    if kind is Fault.UNDECODABLE:
        report = registrar.import_(write(registrar, HA, line, HA | {"codeApprenant": "1"}), profile=pegase())
        assert (report.recorded, report.rejected) == (2, 1)
        assert kind.value in {row["fault"] for row in registrar.rejected()}
        return
    row = fault(registrar, line)
    assert row["fault"] == kind.value
    assert says in row["detail"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b'[\n{"codeApprenant": "2"}\n]\n', "line 1: a JSON list"),
        (b'{\n  "codeApprenant": "2"\n}\n', "line 1: an object over several lines"),
        (b"COD_ETU;LIB_NOM_PAT_IND\n", "line 1: this is not JSON lines"),
        (b'\n{"COD_ETU": "2"}\n', "line 2: none of the expected names"),
        (b"\xd0\xcf\x11\xe0", "not JSON lines"),
        (b"PK\x03\x04", "damaged, or packed in an unknown way"),
    ],
)
def test_a_file_that_is_no_such_export_is_refused_with_place_and_remedy(
    registrar: Registrar, content: bytes, says: str
) -> None:
    registrar.export.write_bytes(content)
    with pytest.raises(UnusableFile, match=says) as refused:
        registrar.import_(registrar.export, profile=pegase())
    assert refused.value.remedy
    assert registrar.log.records == []


def test_the_rejects_of_json_lines_are_a_csv(registrar: Registrar) -> None:
    assert fault(registrar, HA | {"dateNaissance": "31/02/2005"})["column"] == "dateNaissance"


def test_a_feed_of_pegase_knows_nothing_of_apogees(registrar: Registrar) -> None:
    registrar.import_(write(registrar, HA), profile=pegase())
    assert registrar.memory.people("pegase") == {2026: 1}
    assert registrar.memory.people("apogee") == {}


def test_the_committed_example_is_what_its_generator_writes_and_is_imported_whole(
    registrar: Registrar, tmp_path: Path
) -> None:
    assert main(["--out", str(tmp_path / "again.jsonl")]) == 0
    assert (tmp_path / "again.jsonl").read_bytes() == EXAMPLE.read_bytes()
    report = registrar.import_(EXAMPLE, profile=pegase())
    assert (report.students, report.rejected, report.duplicates) == (60, 0, 0)
    events = [message.event for message in registrar.log.messages]
    assert any(isinstance(event, EnrolmentRecorded) and event.preferred_given_name for event in events)
