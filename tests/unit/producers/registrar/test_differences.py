"""What a file makes of each academic year: people and enrolments that are new, gone or changed."""

from __future__ import annotations

import pytest

from pipeline.threshold import Threshold
from producers.registrar import spool
from producers.registrar.report import Difference, ImportReport, YearDifference
from sesame.testing.servers.registrar_kit import MAMADOU, ZOE, Registrar

ALL = Threshold(share=1.0, people=1_000)
MASTER = {"COD_ETP": "M1MATH", "LIB_ETP": "Master 1 Mathématiques", "TEM_IAE_PRM": "N"}
LAST_YEAR = {"COD_ANU": "2025"}


@pytest.fixture
def registrar(stored_registrar: Registrar) -> Registrar:
    return stored_registrar


def only(report: ImportReport) -> YearDifference:
    assert report.differences is not None
    (year,) = report.differences
    return year


def test_the_first_file_has_new_people_and_the_same_again_no_difference(registrar: Registrar) -> None:
    first = only(registrar.import_rows(ZOE, ZOE | MASTER, MAMADOU))
    assert first == YearDifference(
        year=2026,
        people=Difference(new=2),
        programmes={"L1INFO": Difference(new=2), "M1MATH": Difference(new=1)},
    )
    assert registrar.import_rows(ZOE, ZOE | MASTER, MAMADOU).differences == ()
    assert registrar.import_rows(ZOE, MAMADOU, republish=True).differences == ()


def test_who_loses_one_of_two_enrolments_is_changed_and_who_loses_all_is_gone(registrar: Registrar) -> None:
    registrar.import_rows(ZOE, ZOE | MASTER, MAMADOU)
    second = only(registrar.import_rows(ZOE, full_year=2026, threshold=ALL))
    assert second.people == Difference(changed=1, gone=1)
    assert second.programmes == {"L1INFO": Difference(gone=1), "M1MATH": Difference(gone=1)}
    back = only(registrar.import_rows(ZOE, MAMADOU | {"ETA_IAE": "A"}, ZOE | MASTER, threshold=ALL))
    assert back.people == Difference(changed=1), "a cancellation of what was gone already is none"
    assert back.programmes == {"M1MATH": Difference(new=1)}


def test_who_changes_the_programme_is_changed_and_next_year_s_are_new(registrar: Registrar) -> None:
    registrar.import_rows(ZOE | LAST_YEAR, MAMADOU)
    report = registrar.import_rows(
        ZOE, MAMADOU | {"ETA_IAE": "A"}, MAMADOU | MASTER, ZOE | LAST_YEAR, threshold=ALL
    )
    assert only(report).people == Difference(new=1, changed=1)
    assert only(report).programmes == {"L1INFO": Difference(new=1, gone=1), "M1MATH": Difference(new=1)}
    moved = only(registrar.import_rows(ZOE | {"COD_CMP": "DROIT"}))
    assert (moved.people, moved.programmes) == (Difference(changed=1), {"L1INFO": Difference(changed=1)})


def test_a_look_says_it_too_and_nothing_is_taken_for_done(registrar: Registrar) -> None:
    looked = registrar.import_rows(ZOE, dry_run=True)
    assert only(looked).people == only(registrar.import_rows(ZOE)).people == Difference(new=1)


def test_the_programmes_in_which_most_differs_are_kept(
    registrar: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "PROGRAMMES_MAX", 1)
    found = only(registrar.import_rows(ZOE | MASTER, MAMADOU, ZOE))
    assert (found.programmes, found.others) == ({"L1INFO": Difference(new=2)}, 1)
