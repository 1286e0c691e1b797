"""The demo's reasoning: what a file implies, when everybody is settled, the table, whose a process is."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo import credentials, record, roll, table
from sandbox.demo.finding import Announced
from sandbox.demo.program import Running
from sandbox.demo.progress import NotSettled, settled, watch
from sandbox.demo.record import Process
from sandbox.process import PATIENCE_S

HEADER = (
    "COD_ETU;LIB_NOM_PAT_IND;LIB_NOM_USU_IND;LIB_PR1_IND;COD_ANU;COD_ETP;COD_VRS_VET;COD_CMP;LIB_ETP;"
    "ETA_IAE;ETA_PMT_IAE;IP_VALIDE\n"
)


def file_of(folder: Path, *rows: str) -> dict[str, roll.Student]:
    path = folder / "registrar.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return roll.read(path)


def test_a_student_in_force_belongs_to_both_cohorts_of_the_step(tmp_path: Path) -> None:
    (one,) = file_of(tmp_path, "1;Noël;;Zoé;2026;L1INFO;261;SCI;Licence 1 Informatique;E;P;O").values()
    assert (one.complete, one.steps) == (True, {"L1INFO-261"})
    assert one.cohorts == {"L1INFO-2026", "L1INFO-2026-cours"}
    assert one.groups == {"etape-L1INFO-2026", "composante-SCI-2026"}


def test_a_pending_pedagogical_enrolment_keeps_one_cohort_back_and_nothing_else(tmp_path: Path) -> None:
    (one,) = file_of(tmp_path, "1;Noël;;Zoé;2026;L1INFO;261;SCI;Licence 1 Informatique;E;P;N").values()
    assert (one.opened, one.complete, one.reason) == (True, False, roll.PEDAGOGICAL)
    assert one.cohorts == {"L1INFO-2026"}
    assert one.pending == {"Licence 1 Informatique 2026, cours"}


@pytest.mark.parametrize("state", ["C;;N", "E;A;O"])
def test_without_an_enrolment_in_force_nothing_is_opened(tmp_path: Path, state: str) -> None:
    (one,) = file_of(tmp_path, f"1;Noël;;Zoé;2026;L1INFO;261;SCI;Licence 1;{state}").values()
    assert (one.opened, one.reason) == (False, roll.ADMINISTRATIVE)


def test_cancelled_steps_and_bad_lines_count_for_nothing(tmp_path: Path) -> None:
    students = file_of(
        tmp_path,
        "1;Noël;Morel;Zoé;2026;L1INFO;261;SCI;Licence 1;E;P;O",
        "1;Noël;Morel;Zoé;2026;DUFLE;261;LSH;Diplôme;A;P;O",
        "99000001;;;Camille;2026;L1INFO;261;SCI;Licence 1;E;P;O",
    )
    assert list(students) == ["1"]
    assert (students["1"].family_name, students["1"].complete) == ("Morel", True)


def test_units_and_groups_open_with_the_pedagogical_enrolment(tmp_path: Path) -> None:
    path, groups = tmp_path / "registrar.csv", tmp_path / "groups.csv"
    rows = [
        f"{number};Noël;;Zoé;2026;L1INFO;261;SCI;Licence 1;E;P;{valid}\n" for number, valid in ("1O", "2N")
    ]
    path.write_text(HEADER + "".join(rows), encoding="utf-8")
    units = "".join(f"{number};2026;UE1;Algèbre;TD1\n{number};2026;UE2;Analyse;\n" for number in "12")
    groups.write_text("COD_ETU;COD_ANU;COD_ELP;LIB_ELP;COD_GPE\n" + units, encoding="utf-8")
    one, two = roll.read(path, groups).values()
    assert one.cohorts >= {"ue-UE1-2026", "ue-UE1-TD1-2026", "ue-UE2-2026"}
    assert (one.complete, two.cohorts) == (True, {"L1INFO-2026"})
    assert two.pending >= {"Algèbre 2026", "Algèbre 2026, TD1", "Analyse 2026"}


def overview(**changes: Any) -> dict[str, Any]:
    return {
        "students": 2,
        "in_progress": 0,
        "completed": 1,
        "waiting": 1,
        "failed": 0,
        "dead_letters_by_cause": {},
        "targets": {"directory": {"provisioned": 2}, "mailbox": {"provisioned": 2}},
        "consumers": {},
        **changes,
    }


def test_who_waits_at_one_target_and_is_on_the_way_to_another_is_not_settled() -> None:
    assert settled(overview(), 2)
    assert not settled(overview(targets={"mailbox": {"provisioned": 1, "outstanding": 1}}), 2)
    assert not settled(overview(in_progress=1, waiting=0), 2)
    assert not settled(overview(), 3)
    assert settled(overview(dead_letters_by_cause={"registry unknown_student": 1}), 3)


def test_a_mailbox_is_not_awaited_while_the_directory_waits_for_an_enrolment() -> None:
    waiting = {"directory": {"waiting": 1}, "mailbox": {"outstanding": 1}, "moodle": {"waiting": 1}}
    assert settled(overview(targets=waiting), 2)
    assert not settled(overview(targets=waiting | {"moodle": {"outstanding": 1}}), 2)


def test_what_a_failure_keeps_others_from_is_settled() -> None:
    assert settled(overview(failed=1, completed=0, targets={"mailbox": {"outstanding": 1}}), 2)


class Silent:
    def show(self, overview: Any) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to close."""


def test_waiting_ends_at_once_when_it_is_useless() -> None:
    with pytest.raises(NotSettled, match="1 students are not settled: sesame run has ended"):
        watch(
            lambda: overview(in_progress=1, completed=0),
            students=2,
            deadline_s=60.0,
            trouble=lambda: "sesame run has ended",
            view=Silent(),
        )


def said(state: str, **targets: tuple[str, str | None]) -> Announced:
    shown: dict[str, dict[str, Any]] = {
        name: {"state": each, "reason": why, "pending": []} for name, (each, why) in targets.items()
    }
    return Announced("1", "zoe.noel", "zoe.noel@etu.univ-exemple.fr", state, shown)


def test_what_a_failed_command_said_is_told() -> None:
    def ended(script: str) -> str | None:
        argv = [sys.executable, "-c", script]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        with Running(process, "sesame activate") as running:
            process.wait(PATIENCE_S)
            return running.trouble()

    assert ended("") is None
    assert ended("import sys; sys.exit('2 passwords are too weak')") == (
        "sesame activate ended with status 1:\n2 passwords are too weak"
    )


def test_no_made_password_holds_its_students_name_by_chance() -> None:
    made = credentials.make(str(number) for number in range(2_000))
    assert len(set(made.values())) == 2_000
    assert not set("".join(made.values()).casefold()) & set("aeiouy")


def test_a_student_without_a_reason_is_not_accounted_for() -> None:
    assert said("completed", moodle=("provisioned", None)).settled
    assert said("waiting", moodle=("waiting", roll.PEDAGOGICAL)).settled
    assert not said("waiting", moodle=("waiting", None)).settled
    assert not said("waiting", moodle=("waiting", roll.PEDAGOGICAL), mailbox=("outstanding", None)).settled
    closed = ("waiting", roll.ADMINISTRATIVE)
    assert said("waiting", directory=closed, mailbox=("outstanding", None), moodle=closed).settled
    assert not said("in_progress", moodle=("outstanding", None)).settled
    assert not said("failed", moodle=("failed", None)).settled


SECONDS = {name: {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0} for name in ("all", "directory", "moodle")}


def result(**changes: Any) -> table.Result:
    values: dict[str, Any] = {
        "students": 500,
        "rejected_rows": 8,
        "completed": 477,
        "waiting_students": 23,
        "waiting": {roll.ADMINISTRATIVE: 4, roll.PEDAGOGICAL: 19},
        "dead_students": 0,
        "dead_letters": {},
        "unaccounted": 0,
        "within_15_min": 477,
        "within_60_min": 0,
        "beyond": 0,
        "seconds": SECONDS,
    }
    return table.Result(**{**values, **changes})


def test_tables_of_two_runs_have_one_shape_whatever_their_numbers() -> None:
    small = result(students=40, completed=39, waiting_students=1, waiting={roll.PEDAGOGICAL: 1})
    assert table.shape(small.text()) == table.shape(result().text())
    assert table.shape(
        result(dead_students=1, dead_letters={"moodle name_missing": 1}).text()
    ) != table.shape(result().text())


def test_the_table_says_so_when_somebody_is_in_no_state() -> None:
    assert "NEITHER" in result(unaccounted=2).text()
    assert "NEITHER" not in result().text()


def test_a_process_is_ours_only_if_it_started_when_ours_did() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        ours = Process.of("python", running.pid)
        another = Process("python", running.pid, ours.started + 1)
        assert (ours.alive, another.alive) == (True, False)
        assert running.stdin is not None
        running.stdin.close()
    assert not ours.alive


def _waiting(folder: Path) -> subprocess.Popen[bytes]:
    """A process in `folder` that has begun: until its exec is over its command line is empty."""
    started = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd=folder,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"\n"
    return started


def test_a_server_that_was_not_recorded_yet_is_known_by_the_folder_it_runs_in(tmp_path: Path) -> None:
    folder = tmp_path / f"{record.FOLDER_PREFIX}killed"
    (folder / "samba").mkdir(parents=True)
    killed = record.create(tmp_path, folder)
    with _waiting(tmp_path) as bystander, _waiting(folder / "samba") as ours:
        killed.end()
        assert (bystander.poll(), ours.wait(timeout=PATIENCE_S)) == (None, -signal.SIGTERM)
        assert bystander.stdin is not None
        bystander.stdin.close()


def test_ending_a_demo_spares_a_process_that_was_given_an_old_id(tmp_path: Path) -> None:
    folder = tmp_path / f"{record.FOLDER_PREFIX}old"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    ) as bystander:
        old = record.create(tmp_path, folder)
        started = record.started_at(bystander.pid)
        assert started is not None
        old.processes.append(Process("directory", bystander.pid, started - 1))
        old.end()
        assert bystander.poll() is None
        assert not folder.exists()
        assert bystander.stdin is not None
        bystander.stdin.close()


def test_a_folder_goes_though_the_child_of_a_killed_server_still_writes_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / f"{record.FOLDER_PREFIX}killed"
    folder.mkdir()
    remove, written = shutil.rmtree, iter(["late", "later"])

    def written_meanwhile(path: Path, **options: Any) -> None:
        remove(path, **options)
        if (name := next(written, None)) is not None:
            path.mkdir()
            (path / name).touch()

    monkeypatch.setattr(shutil, "rmtree", written_meanwhile)
    record.create(tmp_path, folder).end()
    assert list(tmp_path.iterdir()) == []
