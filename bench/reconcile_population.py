"""Compare a whole university with its targets: findings, speed, memory.

    python -m bench.reconcile_population --accounts 40000

One student goes the usual way, on real slapd and Dovecot servers and the Moodle stand-in; the rows in the
store and at each target are then copied for all the others, under other names, without our code. 137
differences are planted by hand: every one must be found, and no other.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.adopt_population import load_directory
from bench.command import measured
from bench.copies import Copies, entry_of, fill_store, insertion, ldif
from bench.rows import Row
from sandbox.demo import play
from sandbox.demo.world import World

ACCOUNTS: Final = 40_000
SECONDS_MAX: Final = 300.0
TARGETS: Final = ("directory", "mailbox", "moodle")
KINDS: Final = ("missing", "different", "extra", "orphaned")

Found = dict[str, dict[str, list[str]]]
"""Student numbers or objects, by target and kind."""


@dataclass
class Planted:
    """Planted differences: places in the population, by target and kind."""

    directory: dict[str, range] = field(
        default_factory=lambda: {
            "missing": range(10, 30),
            "different": range(100, 130),
            "extra": range(200, 207),
            "orphaned": range(300, 320),
        }
    )
    moodle: dict[str, range] = field(
        default_factory=lambda: {
            "missing": range(400, 420),
            "different": range(500, 520),
            "extra": range(600, 605),
            "orphaned": range(700, 715),
        }
    )

    @property
    def count(self) -> int:
        """The number of planted differences."""
        return sum(len(some) for each in (self.directory, self.moodle) for some in each.values())


@contextmanager
def inhabited(records: Path, accounts: int, planted: Planted) -> Iterator[tuple[World, Copies]]:
    """A site with so many provisioned accounts, and the differences planted since."""
    with World(records) as world:
        play.prepare(world)
        cast = play.enrol(world, 1)
        [student] = cast.students.values()
        play.activate(world, cast)
        play.follow(world, 1)
        world.pipeline.stop()
        status = world.sesame.run("status", student.number, "--json").json()
        copies = Copies(student.number, _login(status))
        fill_store(world.private / "data" / "sesame.db", copies, accounts)
        _fill_directory(world, copies, accounts, planted.directory)
        _fill_moodle(world, copies, accounts, planted.moodle)
        yield world, copies


def expected(world: World, copies: Copies, planted: Planted) -> Found:
    """A comparison's expected findings. A student gone from the directory has no mailbox either."""
    directory = {
        "missing": [copies.number(at) for at in planted.directory["missing"]],
        "different": [copies.number(at) for at in planted.directory["different"]],
        "extra": [
            f"uid={login},{world.slapd.people_dn}"
            for at in planted.directory["extra"]
            for login in (copies.login(at), f"jumeau.{at}")
        ],
        "orphaned": [f"uid=reste.{at},{world.slapd.people_dn}" for at in planted.directory["orphaned"]],
    }
    with closing(sqlite3.connect(f"file:{world.moodle.data_file}?mode=ro", uri=True)) as db:
        ids = dict(db.execute("SELECT username, id FROM users"))
    moodle = {
        "missing": [copies.number(at) for at in planted.moodle["missing"]],
        "different": [copies.number(at) for at in planted.moodle["different"]],
        "extra": [
            str(ids[name]) for at in planted.moodle["extra"] for name in (copies.login(at), f"jumeau.{at}")
        ],
        "orphaned": [str(ids[f"reste.{at}"]) for at in planted.moodle["orphaned"]],
    }
    mailbox = {"missing": directory["missing"], "different": [], "extra": [], "orphaned": []}
    return {"directory": directory, "mailbox": mailbox, "moodle": moodle}


def rows(runs: int, accounts: int = ACCOUNTS) -> Sequence[Row]:
    """The row `reconcile-40000`: one comparison, since it takes minutes to prepare."""
    del runs
    planted = Planted()
    with TemporaryDirectory() as records, inhabited(Path(records), accounts, planted) as (world, copies):
        wanted = expected(world, copies, planted)
        run = measured(world, "reconcile", "--json")
    targets = run.document["targets"]
    found = {name: {kind: each[kind] for kind in KINDS} for name, each in targets.items()}
    wrong = difference(wanted, found)
    if wrong:
        raise RuntimeError(f"not what was planted: {json.dumps(wrong)[:2000]}")
    took = ", ".join(f"{name} {each['objects']} objects" for name, each in targets.items())
    return [
        Row(
            f"reconcile-{accounts}",
            "s",
            run.seconds,
            limit=SECONDS_MAX,
            compared="at most",
            note=f"one comparison of {accounts} accounts with three targets ({took}); the {planted.count} "
            f"planted differences found, none invented; {run.peak_mib:.0f} MiB at most",
        )
    ]


def difference(wanted: Found, found: Found) -> list[tuple[str, str, str, list[str]]]:
    """Target, kind, and what was missed or invented."""
    wrong = []
    for target in TARGETS:
        for kind in KINDS:
            due, got = ({each.lower() for each in some[target][kind]} for some in (wanted, found))
            if due - got:
                wrong.append((target, kind, "missed", sorted(due - got)))
            if got - due:
                wrong.append((target, kind, "invented", sorted(got - due)))
    return wrong


# --- copying ------------------------------------------------------------------------------------------


def _login(status: Mapping[str, Any]) -> str:
    return str(status["login"])


def _fill_directory(world: World, copies: Copies, accounts: int, planted: Mapping[str, range]) -> None:
    world.slapd.stop()
    entry = entry_of(world.slapd, copies)

    def entries() -> Iterator[str]:
        for at in range(1, accounts):
            if at in planted["missing"]:
                continue
            lines = [copies.of(line, at) for line in entry]
            if at in planted["different"]:
                lines = ["sn: Changé à la main" if line.startswith("sn: ") else line for line in lines]
            yield ldif(lines)
            if at in planted["extra"]:
                yield ldif(_other(lines, copies.login(at), f"jumeau.{at}"))
        for at in planted["orphaned"]:
            lines = [copies.of(line, accounts + at) for line in entry]
            yield ldif(_other(lines, copies.login(accounts + at), f"reste.{at}"))

    load_directory(world.slapd, entries())


def _other(lines: Sequence[str], login: str, name: str) -> list[str]:
    """An entry with the number of these lines, and with other names."""
    return [line.replace(login, name) for line in lines]


def _fill_moodle(world: World, copies: Copies, accounts: int, planted: Mapping[str, range]) -> None:
    """Write the users into the database of a stopped site."""
    world.moodle.stop()
    with closing(sqlite3.connect(world.moodle.data_file)) as db, db:
        insert = insertion(db, copies)
        for at in range(1, accounts):
            if at in planted["missing"]:
                continue
            insert(at, **({"firstname": "Changé"} if at in planted["different"] else {}))
            if at in planted["extra"]:
                insert(at, username=f"jumeau.{at}", email=f"jumeau.{at}@ailleurs.example")
        for at in planted["orphaned"]:
            insert(accounts + at, username=f"reste.{at}", email=f"reste.{at}@ailleurs.example")
    world.start_server("moodle")


def main() -> None:
    """Measure, and fail if anything is missed or invented."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    options = parser.parse_args()
    [row] = rows(1, options.accounts)
    print(json.dumps(row.as_json(), indent=2))
    sys.exit(0 if row.wanted else 1)


if __name__ == "__main__":
    main()
