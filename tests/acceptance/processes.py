"""A site in many processes: `sesame consume` for each consumer, with Moodle's stand-in as the one target."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from sqlalchemy import func, select

from pipeline.store.database import Database
from pipeline.store.dead_letters import unresolved
from pipeline.store.tables import accounts, propagation
from sandbox.demo.machine import sesame_program
from sandbox.demo.program import DONE, PARTLY, Sesame, environment
from sandbox.moodle import MoodleStandIn
from sandbox.process import ManagedProcess, free_port

ROOT = Path(__file__).resolve().parents[2]
REGISTRY, PROPAGATION, MOODLE = "registry", "propagation", "moodle"


class ConsumerProcess(ManagedProcess):
    """`sesame consume NAME…` or `sesame serve`, ready when its port says so."""

    def __init__(self, site: ManySite, *arguments: str) -> None:
        self.port = free_port()
        self.arguments = arguments
        super().__init__(
            f"sesame {' '.join(arguments)}",
            [sesame_program(), "--config", site.settings_file, *arguments],
            log_file=site.folder / f"{'-'.join(arguments)}-{self.port}.log",
            ready=self._is_ready,
            env={**environment(), "SESAME_HTTP__PORT": str(self.port)},
            cwd=site.folder,
            start_timeout_s=60.0,
            stop_timeout_s=30.0,
        )

    def get(self, path: str) -> str:
        """What its port answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=5.0) as answer:
            if answer.status != HTTPStatus.OK:
                raise OSError(answer.status)
            return str(answer.read().decode())

    def log_lines(self) -> list[dict[str, object]]:
        """Its log, read."""
        lines = self.log_file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _is_ready(self) -> bool:
        self.get("/readyz")
        return True


class ManySite:
    """Settings, Moodle's stand-in and people; its processes are started by the test.

    Args:
        folder: where everything lives.
        store_url: the database's address.
        log: lines of the settings' section `[log]`.
    """

    def __init__(self, folder: Path, store_url: str, *, log: Sequence[str] = ()) -> None:
        self.folder = folder
        self.settings_file = folder / "sesame.toml"
        self.moodle = MoodleStandIn(folder / "moodle")
        self.moodle.start()
        self.sesame = Sesame(self.settings_file, cwd=folder)
        self.database = Database(store_url)
        self._started: list[ConsumerProcess] = []
        secret = folder / "store-url"
        secret.touch(mode=0o600)
        secret.write_text(store_url, encoding="utf-8")
        lines = (
            f'data_dir = "{folder / "data"}"',
            'targets = ["moodle"]',
            "[store]",
            f'url_file = "{secret}"',
            "[log]",
            *log,
            "[moodle]",
            f'base_url = "{self.moodle.url}"',
            f'token_file = "{self.moodle.token_file}"',
            "user_batch = 5",  # many calls, so that a burst can be disturbed in its middle
            "read_timeout_s = 10",
            "call_s_max = 15",  # so that the leases of a killed process are over soon
            "execution_s_max = 5",
            "[engine]",
            "lease_margin_s = 2",
            "shutdown_s_max = 10",
            "[observability]",
            'log_format = "json"',
        )
        self.settings_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.sesame.run("migrate")
        self.sesame.run("vault", "init")

    def start(self, *arguments: str) -> ConsumerProcess:
        """Start `sesame` with these arguments, and return once it is ready."""
        process = ConsumerProcess(self, *arguments)
        self._started.append(process)
        process.start()
        return process

    def enrol(self, students: int, *, seed: int = 1) -> None:
        """Import a registrar's file of so many students."""
        file = self.folder / f"registrar-{seed}.csv"
        generate = [sys.executable, "-m", "examples.generate", "--students", str(students)]
        subprocess.run(
            [*generate, "--seed", str(seed), "--out", str(file)], cwd=ROOT, env=os.environ, check=True
        )
        self.sesame.run("import", file, allowed=(DONE, PARTLY))

    def activate(self) -> None:
        """Ask for everybody's account."""
        self.sesame.run("activate", "--all", "--yes")

    def accounts(self) -> int:
        """How many have an account. Read from the store: a command each time would be the greater load."""
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(accounts)).scalar_one()

    def settled(self) -> int:
        """How many are complete, or wait for an enrolment."""
        at_rest = propagation.c.state.in_(["completed", "waiting"])
        with self.database.read() as connection:
            return connection.execute(
                select(func.count()).select_from(propagation).where(at_rest)
            ).scalar_one()

    def dead_letters(self) -> int:
        """How many nobody has resolved."""
        with self.database.read() as connection:
            return len(unresolved(connection))

    def close(self) -> None:
        """End everything."""
        for process in self._started:
            process.kill()
        self.moodle.stop()
        self.database.close()


def kafka_settings(servers: Sequence[str], partitions: int) -> tuple[str, ...]:
    """The lines of `[log]` for these Kafka servers."""
    return (
        'kind = "kafka"',
        'security = "PLAINTEXT"',
        f"servers = {json.dumps(list(servers))}",
        f"partitions = {partitions}",
        "replication = 1",
        "min_insync_replicas = 1",
        "session_timeout_s = 6",
    )
