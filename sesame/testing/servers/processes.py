"""A site in many processes: `sesame consume` for each, with Moodle's stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import func, select

from consumers.propagation.rows import propagation
from pipeline.accounts import accounts
from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.dead_letters.rows import unresolved
from pipeline.vault import new_key
from sandbox.demo.credentials import write_private
from sandbox.demo.pipeline import SesameProcess
from sandbox.demo.program import DONE, PARTLY, Sesame
from sandbox.moodle import MoodleStandIn

ROOT = Path(__file__).resolve().parents[3]
REGISTRY, PROPAGATION, MOODLE = "registry", "propagation", "moodle"


class ManySite:
    """Settings, Moodle's stand-in and people; the test starts its processes.

    Args:
        folder: where everything lives.
        store_url: the database's address.
        log: lines of the settings' section `[log]`.
        others: lines of the sections of the other targets, by target; their servers run.
    """

    def __init__(
        self,
        folder: Path,
        store_url: str,
        *,
        log: Sequence[str] = (),
        others: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.settings_file = folder / "sesame.toml"
        self.moodle = MoodleStandIn(folder / "moodle")
        self.moodle.start()
        self.sesame = Sesame(self.settings_file, cwd=folder)
        self.database = Database(store_url)
        self._started: list[SesameProcess] = []
        secret = folder / "store-url"
        secret.touch(mode=0o600)
        secret.write_text(store_url, encoding="utf-8")
        lines = (
            f'data_dir = "{folder / "data"}"',
            f"targets = {json.dumps([*others, MOODLE])}",
            "[store]",
            f'url_file = "{secret}"',
            "[log]",
            *log,
            "[moodle]",
            f'base_url = "{self.moodle.url}"',
            f'token_file = "{self.moodle.token_file}"',
            "batch_size = 5",  # many calls, so that a burst can be disturbed in its middle
            "connect_timeout_s = 1",  # the leases of a killed process are over soon
            "timeout_s = 3",
            "call_s_max = 15",
            "execution_s_max = 2",
            "[engine]",
            "shutdown_s_max = 10",
            "[observability]",
            'log_format = "json"',
            *(line for target, section in others.items() for line in (f"[{target}]", *section)),
        )
        self.settings_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        # What `sesame migrate` and `sesame vault init` do, without the time that two commands take.
        migrate.upgrade(self.database)
        (folder / "data").mkdir(mode=0o700, exist_ok=True)
        write_private(folder / "data" / "vault.key", new_key())

    def start(self, *arguments: str) -> SesameProcess:
        """Start `sesame` with these arguments, and return once it is ready."""
        process = SesameProcess(self.settings_file, *arguments)
        self._started.append(process)
        process.start()
        return process

    def registrar_file(self, students: int, *, seed: int = 1) -> Path:
        file = self.folder / f"registrar-{seed}.csv"
        generate = [sys.executable, "-m", "examples.generate", "--students", str(students)]
        subprocess.run(
            [*generate, "--seed", str(seed), "--out", str(file)], cwd=ROOT, env=os.environ, check=True
        )
        return file

    def enrol(self, students: int, *, seed: int = 1) -> None:
        self.sesame.run("import", self.registrar_file(students, seed=seed), allowed=(DONE, PARTLY))

    def activate(self) -> None:
        """Activate all accounts."""
        self.sesame.run("activate", "--all", "--yes")

    def numbers(self) -> list[str]:
        """The student numbers of all accounts."""
        with self.database.read() as connection:
            return list(connection.execute(select(accounts.c.student_number)).scalars())

    def accounts(self) -> int:
        """The number of accounts. From the store: a command each time would be the greater load."""
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(accounts)).scalar_one()

    def settled(self) -> int:
        """Number of students who are complete, or wait for an enrolment."""
        at_rest = propagation.c.state.in_(["completed", "waiting"])
        with self.database.read() as connection:
            return connection.execute(
                select(func.count()).select_from(propagation).where(at_rest)
            ).scalar_one()

    def dead_letters(self) -> int:
        """The number of unresolved dead letters."""
        with self.database.read() as connection:
            return len(unresolved(connection))

    def close(self) -> None:
        for process in self._started:
            process.kill()
        self.moodle.stop()
        self.database.close()


def kafka_settings(servers: Sequence[str], partitions: int, *, replication: int = 1) -> tuple[str, ...]:
    """The lines of `[log]` for these Kafka servers. All replicas but one must be in sync."""
    return (
        'kind = "kafka"',
        'security = "PLAINTEXT"',
        f"servers = {json.dumps(list(servers))}",
        f"partitions = {partitions}",
        f"replication = {replication}",
        "session_timeout_s = 6",
    )
