"""Adopt a population on slapd, Dovecot and the Moodle stand-in, and time it.

python -m bench.adopt_population --entries 20000 --conflicts 50

Every planted conflict must be found, and no other question asked; not a byte of a target may change.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.command import Run, measured
from bench.population import Expected, Population, population
from consumers.registry.ledger import MINTED, SqlLedger
from pipeline.db import migrate
from pipeline.db.database import Database
from sandbox.demo.sweep_directory import search
from sandbox.demo.world import World
from sandbox.moodle.storage import insert_user, new_user
from sandbox.process import find_program, wait_until
from sandbox.slapd import Slapd
from sesame.operations.questions.adoption.questions import QuestionKind

ROLES = ("directory", "mailbox", "moodle")
_PATIENCE_S = 1800.0


@contextmanager
def inhabited(records: Path, made: Population) -> Iterator[World]:
    """Servers with this population, only observed, and `sesame run`."""
    with World(records) as world:
        world.start()
        load_directory(world.slapd, made.ldif(world.slapd.people_dn))
        world.moodle.stop()
        load_moodle(world.moodle.data_file, made)
        world.start_server("moodle")
        modes(world, dict.fromkeys(ROLES, "observe"))
        world.sesame.run("vault", "init")
        world.sesame.run("migrate")
        with closing(Database(f"sqlite:///{world.private / 'data' / 'sesame.db'}")) as database:
            migrate.check(database)
            hold_names(database, made)
        world.start_pipeline()
        file = world.private / "registrar.csv"
        write_rows(file, made)
        world.sesame.run("import", file, "--json")
        accounts = len(made.rows)
        wait_until(lambda: int(world.sesame.overview()["accounts"]) >= accounts, "every account", _PATIENCE_S)
        yield world


def load_directory(slapd: Slapd, ldif: Iterable[str]) -> None:
    """Load entries offline. Slapadd, unlike the server, lets two of them share what is unique."""
    slapd.stop()
    slapd_tool(slapd, "add", "-q", stdin="".join(ldif))
    slapd.start()


def slapd_tool(slapd: Slapd, tool: str, *words: str, stdin: str = "") -> str:
    """Run a slapd tool on the database of a stopped server; return its output. Raises RuntimeError."""
    argv = [find_program("slapd", "slapd"), "-T", tool, "-f", slapd.folder / "conf" / "slapd.conf", *words]
    owner = (slapd.folder / "data").owner() if os.geteuid() == 0 else None
    done = subprocess.run(
        [str(word) for word in argv],
        input=stdin.encode(),
        capture_output=True,
        check=False,
        cwd=slapd.folder,
        user=owner,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return done.stdout.decode()


def load_moodle(data_file: Path, made: Population) -> None:
    """Write the users into the database of a stopped site."""
    with closing(sqlite3.connect(data_file)) as db, db:
        for user in made.users.values():
            row = new_user(
                username=user.username,
                firstname=user.given,
                lastname=user.family,
                email=user.email,
                idnumber=user.idnumber,
                auth=user.auth,
            )
            insert_user(db, row)


def hold_names(database: Database, made: Population) -> None:
    """Let the registry have given some students logins that are others'."""
    with database.write() as connection:
        ledger = SqlLedger(connection, database, database.now(connection))
        for login, student in made.minted.items():
            ledger.take_note("login", login, holder=student, origin=MINTED)


def write_rows(file: Path, made: Population) -> None:
    """Write the registrar's file."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(made.rows[0]), delimiter=";", lineterminator="\n")
        writer.writeheader()
        writer.writerows(made.rows)


def modes(world: World, wanted: Mapping[str, str]) -> None:
    """Set the modes of targets; `sesame run` takes them at its next start."""
    lines = [
        line
        for line in world.settings_file.read_text(encoding="utf-8").splitlines()
        if not line.startswith("mode = ")
    ]
    for target, mode in wanted.items():
        lines.insert(lines.index(f"[{target}]") + 1, f'mode = "{mode}"')
    world.settings_file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def adopt(world: World, *words: str | Path) -> Run:
    """Run `sesame adopt`, and measure it."""
    return measured(world, "adopt", *words, "--json")


def asked(world: World) -> Counter[Expected]:
    """Count open questions, but those about entries without an owner.

    `sesame run` asks those half a minute after its start.
    """
    found = world.sesame.run("adopt", "questions", "--json").json()
    return Counter(
        (each["target"], each["kind"], each["student_number"] or "")
        for each in found
        if each["kind"] != QuestionKind.NUMBER_OF_NOBODY
    )


def reported(report: Path) -> Counter[Expected]:
    """Count the questions of a report."""
    with report.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.DictReader(stream, delimiter=";")
        return Counter((row["target"], row["kind"], row["student"]) for row in rows if row["question"])


def bytes_of(world: World) -> dict[str, str]:
    """A digest of each target, without the probe's entry and Dovecot's indexes."""
    slapd = world.slapd
    people = search(slapd, slapd.people_dn, f"(!(uid={slapd.probe_uid}))", "*", "+")
    groups = search(slapd, slapd.groups_dn, "(objectClass=*)", "*", "+")
    with closing(sqlite3.connect(f"file:{world.moodle.data_file}?mode=ro", uri=True)) as db:
        moodle = "\n".join(db.iterdump())
    root = world.dovecot.folder / "mail"
    mail = sorted(
        f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith("dovecot")
    )
    texts = {"directory": people + groups, "moodle": moodle, "mailbox": "\n".join(mail)}
    return {target: hashlib.sha256(text.encode()).hexdigest() for target, text in texts.items()}


def main() -> None:
    """Measure, and fail if anything is missed, or asked without a reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--conflicts", type=int, default=50)
    options = parser.parse_args()
    made = population(options.entries, options.conflicts)
    expected = Counter(made.expected)
    with TemporaryDirectory() as records, inhabited(Path(records), made) as world:
        before = bytes_of(world)
        report = world.private / "report.csv"
        dry = adopt(world, "--dry-run", "--report", report)
        _say("dry run", dry)
        found = reported(report)
        real = adopt(world)
        _say("adoption", real)
        again = adopt(world)
        _say("again", again)
        kept = asked(world)
        unchanged = bytes_of(world) == before
    document = {
        "entries": len(made.entries),
        "users": len(made.users),
        "planted": sum(expected.values()),
        "missed": [list(each) for each in (expected - found)],
        "false": [list(each) for each in (found - expected)],
        "questions_kept": kept == expected,
        "targets_byte_equal": unchanged,
        "kinds": real.document["questions"],
        "seconds": {"dry_run": dry.seconds, "adoption": real.seconds, "again": again.seconds},
        "peak_mib": max(dry.peak_mib, real.peak_mib, again.peak_mib),
    }
    print(json.dumps(document, indent=2))
    sound = found == expected == kept and unchanged and again.document["written"]["names"] == 0
    sys.exit(0 if sound else 1)


def _say(what: str, run: Run) -> None:
    print(f"{what}: {run.seconds:.1f} s, {run.peak_mib:.0f} MiB, {json.dumps(run.document)}", file=sys.stderr)


if __name__ == "__main__":
    main()
