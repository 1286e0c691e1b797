"""The demo, act by act. Each act is a function of the world, so that the tests play the same acts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.demo import credentials, live, machine, progress, roll, twin
from sandbox.demo.finding import COMPLETED, Announced
from sandbox.demo.looks import answers, looks_at
from sandbox.demo.program import DONE, FAILED, PARTLY, CommandFailed, Running
from sandbox.demo.roll import Student
from sandbox.demo.stage import complain, say, stage
from sandbox.demo.sweep import Report, sweep
from sandbox.demo.table import Result, result_of
from sandbox.demo.world import World
from sandbox.process import SandboxError, wait_until

_ROOT = Path(__file__).resolve().parents[2]
_EXAMPLES, _EXAMPLE_STUDENTS = _ROOT / "examples", 500
_DISAGREEMENTS_SHOWN = 20


@dataclass(slots=True)
class Cast:
    """The registrar's file, its implications, passwords, and rejected rows."""

    file: Path
    students: dict[str, Student]
    passwords: dict[str, str] = field(default_factory=dict)
    rejected_rows: int = 0


def prepare(world: World) -> str:
    """Start the servers, make the vault's key, start `sesame run`. Return `sesame doctor`'s output.

    Raises:
        StartFailed, CommandFailed: one of them does not work.
    """
    world.start()
    world.sesame.run("vault", "init")
    world.start_pipeline()
    return world.sesame.run("doctor").out


def enrol(world: World, students: int, *, files: tuple[Path, Path] | None = None) -> Cast:
    """Import a registrar's files, or feed Pégase with them; wait for their accounts.

    `files`: the export and the groups; None: examples of so many students.

    The file of groups comes first: a list counts from its student's enrolment on, and each account has all of
    its cohorts from the start.

    Raises:
        CommandFailed: the import failed; rejected rows are no failure.
    """
    file, groups = files or registrar_files(world, students)
    if world.pegase is not None:
        file, groups = live.narrow(file, groups, world.private)
        live.feed(world.pegase, file, groups)
        cast = Cast(file, roll.read(file, groups))
        wait_for_accounts(world, len(cast.students))
        return cast
    cast = Cast(file, roll.read(file, groups))
    world.sesame.run("import", "--groups", groups, "--rejects", world.private / "rejected-groups.csv")
    rejects = world.private / "rejects.csv"
    answer = world.sesame.run("import", file, "--rejects", rejects, "--json", allowed=(DONE, PARTLY))
    report = answer.json()
    cast.rejected_rows = int(report["rejected"])
    wait_for_accounts(world, len(cast.students))
    return cast


def registrar_files(world: World, students: int) -> tuple[Path, Path]:
    """The examples of 500 students, or generated files in the world's folder.

    They have enrolments, and teaching units with their groups.
    """
    if students == _EXAMPLE_STUDENTS:
        return _EXAMPLES / "registrar-2026.csv", _EXAMPLES / "groups-2026.csv"
    file = world.private / f"registrar-{students}.csv"
    groups = world.private / f"groups-{students}.csv"
    _make("examples.generate", "--students", str(students), "--out", str(file))
    _make("examples.groups", str(file), "--out", str(groups))
    return file, groups


def _make(module: str, *arguments: str) -> None:
    generate = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        generate, cwd=_ROOT, capture_output=True, encoding="utf-8", timeout=600, check=False
    )
    if done.returncode != 0:
        raise CommandFailed(f"python -m {module} ended with {done.returncode}: {done.stderr.strip()}")


def begin_activation(world: World, cast: Cast, numbers: Sequence[str] | None = None) -> Running:
    """Set passwords and request accounts, as persons: by a list, `--from`.

    Args:
        cast: all students; gets the passwords, each made once.
        numbers: of those who activate now; default: all.

    Returns:
        The running command: accounts are made while it still hashes passwords.
    """
    if not cast.passwords:
        cast.passwords = credentials.make(cast.students)
    chosen = list(cast.students) if numbers is None else numbers
    listed = world.private / "students.txt"
    listed.write_text("".join(f"{number}\n" for number in chosen), encoding="utf-8")
    mine = {number: cast.passwords[number] for number in chosen}
    words = credentials.write_passwords(world.private / "passwords", mine)
    return world.sesame.begin("activate", "--from", listed, "--password-file", words, "--json")


def activate(world: World, cast: Cast, numbers: Sequence[str] | None = None) -> dict[str, Any]:
    """As `begin_activation`, to the command's end; return its report. Raises `CommandFailed`: it failed."""
    with begin_activation(world, cast, numbers) as command:
        report: dict[str, Any] = command.answer().json()
    return report


def follow(
    world: World,
    students: int,
    *,
    command: Running | None = None,
    view: progress.View | None = None,
) -> Mapping[str, Any]:
    """Show how far each target is until so many students are settled. Return the last overview.

    Args:
        students: how many have been activated, or are being activated by `command`.
        command: if it fails there is nothing to wait for.
        view: where it is shown.

    Raises:
        NotSettled: not in time, or `sesame run` or the command has failed.
    """

    def trouble() -> str | None:
        if not world.pipeline.running:
            return f"a process of Sésame has ended:\n{world.pipeline.log_tail()}"
        return command.trouble() if command is not None else None

    return progress.watch(
        world.sesame.overview,
        students=students,
        deadline_s=deadline_s(students),
        trouble=trouble,
        view=view,
    )


def deadline_s(students: int) -> float:
    """Time limit for all together, in seconds: many times what it takes."""
    return 600.0 + 1.0 * students


def announced(world: World) -> dict[str, Announced]:
    """The announcements about all activated students, by student number."""
    people = world.sesame.overview(people=True)["people"]
    return {person["student_number"]: Announced.of(person) for person in people}


def result(world: World, cast: Cast, overview: Mapping[str, Any], said: Mapping[str, Announced]) -> Result:
    """The numbers. A student in no state with a reason is counted as unaccounted."""
    letters = {one["student_number"] for one in world.sesame.run("dead-letters", "list", "--json").json()}
    given_up = [number for number in cast.students if number not in said and number in letters]
    silent = [number for number in cast.students if number not in said or not said[number].settled]
    lost = len(set(silent) - set(given_up))
    return result_of(
        overview,
        students=len(cast.students),
        rejected_rows=cast.rejected_rows,
        lost=lost,
        given_up=len(given_up),
    )


def perform(world: World, *, students: int, json_file: Path | None, keep: bool, folder: Path | None) -> int:
    """Play everything, with a twin's students if there is a `folder`. Return the exit code."""
    with stage("servers"):
        say("   " + prepare(world).rstrip().replace("\n", "\n   "))
    with stage("import"):
        cast = enrol(world, students, files=twin.files(folder) if folder else None)
        _say_import(world, cast, keep=keep)
    in_time = True
    try:
        with stage("activate"):
            overview = _activate_all(world, cast) if folder is None else _let_come(world, cast, folder)
    except progress.NotSettled as late:
        complain(str(late))
        overview, in_time = world.sesame.overview(), False
    with stage("sweep"):
        said = announced(world)
        swept = sweep(world, cast.students, said, cast.passwords, lambda what: say(f"   {what}"))
    found = result(world, cast, overview, said)
    say(f"\n{found.text()}\n")
    if json_file is not None:
        json_file.write_text(json.dumps(found.document(), indent=2) + "\n", encoding="utf-8")
    good = _verdict(found, swept)
    canary_is_back = not world.canary or _send_canary(world)
    _look_at_one(world, cast, said, keep=keep)
    return 0 if good and in_time and canary_is_back else 1


def _activate_all(world: World, cast: Cast) -> Mapping[str, Any]:
    say(f"   sesame activate --from …: {len(cast.students)} students, each with a password of its own")
    with begin_activation(world, cast) as command:
        overview = follow(world, len(cast.students), command=command)
        report = command.answer().json()
    say(f"   {report['requested']} accounts asked for")
    return overview


def _let_come(world: World, cast: Cast, folder: Path) -> Mapping[str, Any]:
    began = twin.come(folder, lambda numbers: activate(world, cast, numbers))
    overview = follow(world, len(cast.students))
    twin.compare(folder, time.monotonic() - began)
    return overview


def wait_for_accounts(world: World, students: int) -> None:
    """Wait until the registry has made so many accounts. Raises `SandboxError`: not in time."""
    try:
        wait_until(
            lambda: int(world.sesame.overview()["accounts"]) >= students,
            "the registry to make the accounts",
            120.0 + students / 4,
        )
    except TimeoutError as late:
        raise SandboxError(str(late)) from late


def _say_import(world: World, cast: Cast, *, keep: bool) -> None:
    where = world.private / "rejects.csv"
    say(f"   {cast.file}: {len(cast.students)} students, {cast.rejected_rows} rows rejected")
    if cast.rejected_rows and keep:
        say(f"   rejected rows, with line, column, fault and remedy: {where}")
    elif cast.rejected_rows:
        example = where.read_text(encoding="utf-8").splitlines()[1]
        say(f"   rejected rows are in a file with line, column, fault and remedy, as\n     {example}")


def _verdict(found: Result, swept: Report) -> bool:
    width = max([10, *map(len, swept.looked)])
    for target, text in swept.looked.items():
        say(f"sweep  {target:<{width}} {text}")
    wrong = swept.disagreements
    say(f"sweep  {len(wrong)} disagreements" if wrong else "sweep  agrees with what was announced")
    for one in wrong[:_DISAGREEMENTS_SHOWN]:
        complain(f"  {one}")
    if len(wrong) > _DISAGREEMENTS_SHOWN:
        complain(f"  and {len(wrong) - _DISAGREEMENTS_SHOWN} more")
    if found.unaccounted:
        complain(
            f"{found.unaccounted} students are neither complete, nor waiting, nor dead-lettered with a reason"
        )
    return not wrong and not found.unaccounted


def _send_canary(world: World) -> bool:
    """Send the canary its way; return whether each step came to its end."""
    with stage("canary"):
        world.start_pages()
        answer = world.sesame.run("canary", "run", allowed=(DONE, FAILED))
        say("   " + answer.out.rstrip().replace("\n", "\n   "))
    return answer.code == DONE


def _look_at_one(world: World, cast: Cast, said: Mapping[str, Announced], *, keep: bool) -> None:
    one = next((student for student in said.values() if student.state == COMPLETED), None)
    if one is None:
        return
    looks = looks_at(world, one, cast.passwords[one.number])
    say(f"\n{looks.commands()}\n")
    say(answers(world, looks, cast.passwords[one.number]))
    if not keep:
        say("\nEverything is ended and removed now; `make demo KEEP=1` leaves it, to try these commands.")


def keep_logs(world: World) -> list[Path]:
    """Save the logs of Sésame's processes next to the demo's record."""
    kept = []
    for file in world.pipeline.log_files:
        kept.append(world.record.path.parent / f"last-{file.name}")
        shutil.copyfile(file, kept[-1])
    return kept


def check_machine() -> None:
    """Show the findings about this machine. Raises `MachineUnfit`: something is missing."""
    for line in machine.check():
        say(f"   {line}")
