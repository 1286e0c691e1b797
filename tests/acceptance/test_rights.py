"""Kafka guarded by TLS, SCRAM and ops/kafka/acls.toml: each real process is a user of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import select

from pipeline.eventlog.kafka import Access, Security
from pipeline.eventlog.kafka.rights import Granting, Right
from pipeline.store.tables import propagation
from sandbox.demo.program import CommandFailed, Sesame
from sandbox.kafka import Kafka
from sandbox.process import wait_until
from schemas import catalogue
from tests import stores
from tests.acceptance.processes import MOODLE, PROPAGATION, REGISTRY, ManySite
from tests.conftest import KAFKA_USERS, require_service

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "consume-completion-events.md"
STUDENTS = 6
READER = "my-portal"  # whoever consumes completions, in another program: the page's example
ADMIN = "admin"


class GuardedSite(ManySite):
    """A site on a Kafka where nothing is allowed but what the file grants."""

    def __init__(self, folder: Path, store_url: str, kafka: Kafka) -> None:
        lines = (
            'kind = "kafka"',
            f"servers = {json.dumps(kafka.servers)}",
            f'ca_file = "{kafka.ca_file}"',
            f'username = "{ADMIN}"',
            f'password_file = "{folder / ADMIN}.password"',
            "partitions = 2",
            "replication = 1",
            "min_insync_replicas = 1",
            "session_timeout_s = 6",
        )
        for user, password in {**dict.fromkeys(users(), "password"), ADMIN: kafka.admin_password}.items():
            secret = folder / f"{user}.password"
            secret.touch(mode=0o600)
            secret.write_text(password, encoding="utf-8")
        super().__init__(folder, store_url, log=lines)
        self._text = self.settings_file.read_text(encoding="utf-8")

    def become(self, user: str) -> GuardedSite:
        """Let what is started from now on come to Kafka as this user."""
        self.settings_file = self.folder / f"{user}.toml"
        text = self._text.replace(f'username = "{ADMIN}"', f'username = "{user}"')
        text = text.replace(f"{ADMIN}.password", f"{user}.password")
        self.settings_file.write_text(text, encoding="utf-8")
        self.sesame = Sesame(self.settings_file, cwd=self.folder)
        return self


class Process(Protocol):
    """One of Sésame's, while it runs."""

    log_file: Path

    def get(self, path: str) -> str:
        """What its port answers."""


def users() -> list[str]:
    return [*(f"sesame-{name}" for name in KAFKA_USERS), READER]


@pytest.fixture(scope="module")
def kafka() -> Iterator[Kafka]:
    with require_service(lambda: Kafka(users=dict.fromkeys(users(), "password"), acls=True)) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def granting(kafka: Kafka) -> Iterator[Granting]:
    access = Access(
        tuple(kafka.servers), "tests", Security.SASL_SSL, kafka.ca_file, ADMIN, kafka.admin_password
    )
    with closing(Granting(access)) as granting:
        yield granting


@pytest.fixture(scope="module")
def site(
    kafka: Kafka, postgres: stores.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GuardedSite]:
    """Topics and rights made by the commands, the consumers running."""
    url = postgres.create("guarded")
    with closing(GuardedSite(tmp_path_factory.mktemp("guarded"), url, kafka)) as site:
        site.sesame.run("topics", "apply", "--yes")
        site.sesame.run("rights", "apply", str(ROOT / "ops" / "kafka" / "acls.toml"), "--yes")
        yield site
    postgres.drop("guarded")


@pytest.fixture(scope="module")
def processes(site: GuardedSite) -> dict[str, Process]:
    """The consumers and `serve`, each under its own name."""
    started: dict[str, Process] = {
        name: site.become(f"sesame-{name}").start("consume", name) for name in (REGISTRY, PROPAGATION, MOODLE)
    }
    started["monitor"] = site.become("sesame-monitor").start("serve")
    return started


def get_through(site: GuardedSite, students: int) -> None:
    """Enrol and activate so many, and wait until nobody is under way any more."""
    site.become("sesame-producers").enrol(students)
    wait_until(lambda: site.accounts() == students, "accounts", 60.0)
    site.activate()
    wait_until(lambda: site.settled() == site.accounts(), "everybody to be complete or waiting", 120.0)
    assert site.dead_letters() == 0


def test_under_the_rights_of_the_file_students_get_through_and_another_program_hears_of_it(
    site: GuardedSite, processes: dict[str, Process], granting: Granting, kafka: Kafka
) -> None:
    get_through(site, STUDENTS)
    processes["monitor"].get("/readyz")
    assert [
        name for name, process in processes.items() if "does not allow" in process.log_file.read_text()
    ] == []

    granting.grant(
        [
            Right(READER, "READ", "TOPIC", catalogue.PROPAGATION),
            Right(READER, "READ", "GROUP", READER),
        ]
    )
    done = select(propagation.c.student_number).where(propagation.c.state == "completed")
    with site.database.read() as connection:
        complete = set(connection.scalars(done))
    assert complete
    assert heard(kafka, len(complete)) == complete


def heard(kafka: Kafka, count: int) -> set[str]:
    """Whose completions the page's example prints, in a program of its own."""
    example, secured = re.findall(
        r"```(?:python|text)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    address = '    bootstrap_servers="kafka:9093",\n'
    assert example.count(address) == 1
    program = "import os\n" + example.replace(address, address + secured)
    program = program.replace("kafka:9093", kafka.servers[0])
    program = program.replace("/etc/ssl/certs/universite.pem", str(kafka.ca_file))
    environment = {**os.environ, "KAFKA_PASSWORD": "password", "PYTHONUNBUFFERED": "1"}
    numbers = set()
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        for line in reader.stdout:
            number, version, elapsed, unit = line.split()
            assert int(version) > 0
            assert float(elapsed) >= 0
            assert unit == "s"
            numbers.add(number)
            if len(numbers) == count:
                break
        reader.kill()
    return numbers


def test_a_process_that_misses_a_right_names_it_and_goes_on_once_it_has_it(
    site: GuardedSite, processes: dict[str, Process], granting: Granting
) -> None:
    missing = {
        REGISTRY: Right("sesame-registry", "READ", "TOPIC", catalogue.ENROLMENTS),
        PROPAGATION: Right("sesame-propagation", "READ", "TOPIC", catalogue.OUTCOMES + catalogue.BULK),
        MOODLE: Right("sesame-moodle", "READ", "GROUP", "sesame.moodle"),
        "monitor": Right("sesame-monitor", "DESCRIBE", "TOPIC", catalogue.ACCOUNTS),
    }
    granting.revoke(missing.values())

    def named(name: str) -> bool:
        right = missing[name]
        if name == "monitor":
            return right.name in refused(processes[name], "/readyz")
        return any(
            "does not allow" in line and right.user in line and right.name in line
            for line in processes[name].log_file.read_text(encoding="utf-8").splitlines()
        )

    for name in missing:
        wait_until(lambda name=name: named(name), f"{name} to name what it misses", 60.0)  # type: ignore[misc]
    overview = site.become("sesame-monitor").sesame.run("overview").out
    assert f"moodle is stopped: Kafka does not allow this to the user '{missing[MOODLE].user}'" in overview

    writes = Right("sesame-producers", "WRITE", "TOPIC", catalogue.ENROLMENTS)
    granting.revoke([writes])
    site.become("sesame-producers")
    with pytest.raises(CommandFailed, match=rf"does not allow.*'sesame-producers'.*{catalogue.ENROLMENTS}"):
        site.enrol(STUDENTS + 2)

    granting.grant([*missing.values(), writes])
    get_through(site, STUDENTS + 2)
    processes["monitor"].get("/readyz")


def refused(process: Process, path: str) -> str:
    """What a port says that does not answer well; nothing if it does."""
    try:
        process.get(path)
    except urllib.error.HTTPError as error:
        return str(error.read().decode())
    return ""
