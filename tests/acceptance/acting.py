"""What the acceptance tests share: a world with its registrar's file imported, and all of it as bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sandbox.demo import play, sweep_directory, sweep_mail, sweep_moodle
from sandbox.demo.finding import Announced
from sandbox.demo.pipeline import RUN
from sandbox.demo.play import Cast
from sandbox.demo.program import DONE, PARTLY
from sandbox.demo.sweep import sweep
from sandbox.demo.world import World
from sandbox.process import PATIENCE_S, wait_until
from sesame.testing.servers import require_service

STUDENTS = int(os.environ.get("ACCEPTANCE_STUDENTS", "40"))
"""How many students take part: few in `make test`; ACCEPTANCE_STUDENTS=500 is the size of the demo."""

OUTAGE_S = float(os.environ.get("ACCEPTANCE_OUTAGE_S", "0"))
"""How long a server is away at least, beyond what it takes the others to go on."""


class Silent:
    """A view that shows nothing."""

    def show(self, overview: Mapping[str, Any]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to close."""


@contextmanager
def world_with_accounts(records: Path, students: int = STUDENTS) -> Iterator[tuple[World, Cast]]:
    """Servers, `sesame run` and a registrar's file imported; nobody has activated yet."""
    with require_service(lambda: World(records)) as world:
        play.prepare(world)
        yield world, play.enrol(world, students)


def give_other_number(world: World, cast: Cast, number: str) -> str:
    """Let the registrar enrol this student a second time, under another number, and an operator merge both.

    The file that is imported from now on has both. Whose account is complete has it complete again.
    """
    header, *lines = cast.file.read_text(encoding="utf-8").splitlines(keepends=True)
    taken = {line.partition(";")[0] for line in lines}
    other = next(one for one in map(str, range(int(number), 10**8)) if one not in taken)
    taken_again = [line.replace(number, other, 1) for line in lines if line.startswith(f"{number};")]
    assert taken_again
    cast.file = world.private / f"registrar-{other}.csv"
    cast.file.write_text("".join([header, *lines, *taken_again]), encoding="utf-8")
    rejects = world.private / f"rejects-{other}.csv"
    world.sesame.run("import", cast.file, "--rejects", rejects, allowed=(DONE, PARTLY))

    def doubted() -> bool:
        doubts = world.sesame.run("identities", "list", "--json").json()
        return any(other in (each["student_number"], each["other"]) for each in doubts)

    wait_until(doubted, "the doubt", PATIENCE_S)
    words = ("--keep", number, "--reason", "papers seen", "--yes")
    world.sesame.run("identities", "merge", other, number, *words)

    def merged() -> bool:
        said = play.announced(world)
        return other not in said and said[number].state == "completed" and not doubted()

    wait_until(merged, f"{number} and {other} one person", PATIENCE_S)
    return other


def settle(world: World, students: int) -> Mapping[str, Any]:
    """Wait until so many students are complete, waiting or failed."""
    return play.follow(world, students, view=Silent())


def metric(world: World, name: str, **labels: str) -> float:
    """What `/metrics` of `sesame run` says now; 0 before it was ever counted."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(world.pipeline.parts[RUN].get("/metrics"))
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    )


def state_of(world: World, numbers: list[str], target: str) -> list[str]:
    """The states in which the overview shows a target for these students."""
    people = play.announced(world)
    return [people[number].targets[target]["state"] for number in numbers if number in people]


def disagreements(world: World, cast: Cast, numbers: list[str] | None = None) -> list[str]:
    """What the sweep finds; `numbers`: of those who have activated, if not everybody has."""
    chosen = list(cast.students) if numbers is None else numbers
    said = play.announced(world)
    students = {number: cast.students[number] for number in chosen}
    return [str(one) for one in sweep(world, students, said, cast.passwords).disagreements]


@dataclass(frozen=True)
class Targets:
    """All that the targets hold: LDIF with operational attributes, Moodle's answers, and every inbox."""

    people: str
    groups: str
    moodle: str
    mail: Mapping[str, list[str]]


def everything(world: World, cast: Cast, said: Mapping[str, Announced]) -> Targets:
    """Read it all. The directory's own entry for probes is left out: probing writes to it."""
    slapd = world.slapd
    site = sweep_moodle.dump(world.moodle)
    opened = [student for student in cast.students.values() if student.opened]
    return Targets(
        people=sweep_directory.search(slapd, slapd.people_dn, "(supannEtuId=*)", "*", "+"),
        groups=sweep_directory.search(slapd, slapd.groups_dn, "(objectClass=*)", "*", "entryCSN"),
        moodle=json.dumps(asdict(_sorted(site)), indent=1, sort_keys=True),
        mail={
            one.number: sweep_mail.inbox(world.dovecot, said[one.number].mail, cast.passwords[one.number])
            for one in opened
        },
    )


@dataclass(frozen=True)
class _Site:
    users: dict[str, Mapping[str, Any]]
    cohorts: dict[str, list[int]]


def _sorted(site: sweep_moodle.Site) -> _Site:
    cohorts = {f"{id_} {name}": sorted(members) for id_, (name, members) in site.cohorts.items()}
    return _Site({str(id_): user for id_, user in site.users.items()}, cohorts)
