"""Kafka guarded by TLS, SCRAM and ops/kafka/acls.toml: each real process is a user of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.error
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from consumers.propagation.rows import propagation
from pipeline.eventlog.kafka import Access, Security
from pipeline.eventlog.kafka.rights import Granting, Right, read_rights
from pipeline.status import statuses
from pipeline.target_states import target_states
from sandbox.demo.pipeline import SesameProcess
from sandbox.demo.program import CommandFailed
from sandbox.dovecot import Dovecot, LookupDirectory
from sandbox.kafka import Kafka
from sandbox.process import wait_until
from sandbox.slapd import Slapd
from sandbox.timetable import Timetable
from schemas import catalogue
from sesame.testing.servers import require_service, stores
from sesame.testing.servers.brokers import PATIENT
from sesame.testing.servers.processes import MOODLE, PROPAGATION, REGISTRY
from tests.acceptance.guarded import ADMIN, PASSWORD, GuardedSite, sections
from tests.conftest import KAFKA_USERS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "ops" / "kafka" / "acls.toml"
RIGHTS = read_rights(FILE)
PAGE = ROOT / "docs" / "how-to" / "consume-completion-events.md"
STUDENTS = 6
READER = "my-portal"  # whoever consumes completions, in another program: the page's example
MONITOR = "monitor"
TARGETS = ("directory", "mailbox", MOODLE, "timetable")
CONSUMERS = (REGISTRY, PROPAGATION, *TARGETS)
MOODLE_STOPPED = re.compile(
    r"moodle is stopped \(\S+\): Kafka does not allow this to the user 'sesame-moodle'"
)


def users() -> list[str]:
    return [*(f"sesame-{name}" for name in KAFKA_USERS), READER]


@pytest.fixture(scope="module")
def kafka() -> Iterator[Kafka]:
    with require_service(lambda: Kafka(users=dict.fromkeys(users(), PASSWORD), acls=True)) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def granting(kafka: Kafka) -> Iterator[Granting]:
    access = Access(
        tuple(kafka.servers), "tests", Security.SASL_SSL, kafka.ca_file, ADMIN, kafka.admin_password, PATIENT
    )
    with closing(Granting(access)) as granting:
        yield granting


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, ...]]]:
    """A directory, a mail server and a timetable that know nobody else; the sections of their settings."""
    with (
        require_service(lambda: Slapd(fsync=False)) as slapd,
        require_service(lambda: Dovecot(LookupDirectory.of(slapd))) as dovecot,
        Timetable(tmp_path_factory.mktemp("timetable"), everybody=True) as timetable,
    ):
        yield sections(slapd, dovecot, timetable)


@pytest.fixture(scope="module")
def site(
    kafka: Kafka,
    postgres: stores.Server,
    targets: dict[str, tuple[str, ...]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GuardedSite]:
    """Topics and rights made by the commands."""
    url = postgres.create("guarded")
    with closing(GuardedSite(tmp_path_factory.mktemp("guarded"), url, kafka, targets, users())) as site:
        site.sesame.run("topics", "apply", "--yes")
        site.sesame.run("rights", "apply", str(FILE), "--yes")
        yield site
    postgres.drop("guarded")


@pytest.fixture(scope="module")
def processes(site: GuardedSite) -> dict[str, SesameProcess]:
    """Every consumer and `serve`, each under its own name."""
    return site.start_each({**{name: ("consume", name) for name in CONSUMERS}, MONITOR: ("serve",)})


def get_through(site: GuardedSite, students: int) -> None:
    """Enrol and activate so many, and wait until nobody is under way any more."""
    site.become("sesame-producers").enrol(students)
    wait_until(lambda: site.accounts() == students, "accounts")
    site.activate()
    wait_until(lambda: site.settled() == site.accounts(), "everybody to be complete or waiting")
    assert site.dead_letters() == 0


def test_under_the_rights_of_the_file_students_get_through_and_another_program_hears_of_it(
    site: GuardedSite, processes: dict[str, SesameProcess], granting: Granting, kafka: Kafka
) -> None:
    get_through(site, STUDENTS)
    processes[MONITOR].get("/readyz")
    assert [
        name for name, process in processes.items() if "does not allow" in process.log_file.read_text()
    ] == []

    granting.grant(
        [Right(READER, "READ", "TOPIC", catalogue.PROPAGATION), Right(READER, "READ", "GROUP", READER)]
    )
    done = select(propagation.c.student_number).where(propagation.c.state == "completed")
    applied = select(target_states.c.target, target_states.c.student_number).where(
        target_states.c.applied_version > 0
    )
    with site.database.read() as connection:
        complete = set(connection.scalars(done))
        reached = connection.execute(applied).all()
    assert complete
    assert {(target, number) for target in TARGETS for number in complete} <= set(map(tuple, reached))
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
    environment = {**os.environ, "KAFKA_PASSWORD": PASSWORD, "PYTHONUNBUFFERED": "1"}
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


class Ear:
    """Hears what each process says of its rights from now on."""

    def __init__(self, processes: dict[str, SesameProcess]) -> None:
        self._logs = {f"sesame-{name}": process.log_file for name, process in processes.items()}
        self._since = {user: log.stat().st_size for user, log in self._logs.items()}

    def told(self, right: Right) -> bool:
        """Whether the process has named this right as what it misses."""
        said = self._logs[right.user].read_bytes()[self._since[right.user] :].decode()
        whole = re.compile(rf"(?<![\w.]){re.escape(right.name)}(?![\w.])")
        misses = f"does not allow this to the user {right.user!r}"
        return any(misses in line and whole.search(line) for line in said.splitlines())

    def wait_for(self, rights: Iterable[Right]) -> None:
        """Wait until each right was named by the process that misses it."""
        for right in rights:
            wait_until(partial(self.told, right), f"{right} to be missed")


def all_run(site: GuardedSite) -> bool:
    with site.database.read() as connection:
        return {each.state for each in statuses(connection)} == {"running"}


def of(names: Iterable[str], operation: str, kind: str, of_what: str | None = None) -> list[Right]:
    """Each one's right to do this with that; default: with its own group."""
    return [Right(f"sesame-{name}", operation, kind, of_what or f"sesame.{name}") for name in names]


def test_a_process_that_may_not_read_names_what_it_misses_and_goes_on_once_it_may(
    site: GuardedSite, processes: dict[str, SesameProcess], granting: Granting
) -> None:
    reads = [
        Right("sesame-registry", "READ", "TOPIC", catalogue.ENROLMENTS),
        Right("sesame-propagation", "READ", "TOPIC", catalogue.OUTCOMES + catalogue.BULK),
        Right("sesame-directory", "READ", "TOPIC", catalogue.ACCOUNTS),
        Right("sesame-mailbox", "READ", "TOPIC", catalogue.OUTCOMES),
        Right("sesame-moodle", "READ", "TOPIC", catalogue.ACTIVATIONS),
        Right("sesame-timetable", "READ", "TOPIC", catalogue.ACTIVATIONS + catalogue.BULK),
    ]
    sees = Right("sesame-monitor", "DESCRIBE", "TOPIC", catalogue.ACCOUNTS)
    for lost in ([*reads, sees], of(CONSUMERS, "READ", "GROUP")):
        assert set(lost) <= RIGHTS
        ear = Ear(processes)
        granting.revoke(lost)
        ear.wait_for(right for right in lost if right is not sees)
        if sees in lost:
            wait_until(lambda: sees.name in refused(processes[MONITOR], "/readyz"), "serve to say so")
        site.become("sesame-monitor")
        wait_until(lambda: bool(MOODLE_STOPPED.search(site.sesame.run("overview").out)), "overview to say so")
        granting.grant(lost)
        wait_until(lambda: all_run(site), "everybody to run again")
    processes[MONITOR].get("/readyz")


def test_a_process_that_may_not_write_names_what_it_misses_and_nothing_is_lost(
    site: GuardedSite, processes: dict[str, SesameProcess], granting: Granting
) -> None:
    writes = Right("sesame-producers", "WRITE", "TOPIC", catalogue.ENROLMENTS)
    granting.revoke([writes])
    site.become("sesame-producers")
    with pytest.raises(CommandFailed, match=rf"does not allow.*'sesame-producers'.*{catalogue.ENROLMENTS}"):
        site.enrol(STUDENTS + 2)

    bulk = catalogue.BULK
    accounts = of(CONSUMERS, "WRITE", "TOPIC", catalogue.ACCOUNTS + bulk)
    outcomes = of(TARGETS, "WRITE", "TOPIC", catalogue.OUTCOMES + bulk)
    completions = of(CONSUMERS, "WRITE", "TOPIC", catalogue.PROPAGATION)
    ear = Ear(processes)
    granting.revoke([*accounts, *outcomes, *completions])
    granting.grant([writes])
    site.enrol(STUDENTS + 2)
    wait_until(lambda: site.accounts() == STUDENTS + 2, "accounts")
    site.activate()
    follows = [right for right in outcomes if right.user == "sesame-mailbox"]  # what the directory says
    others = [right for right in outcomes if right not in follows]
    for lost in (accounts, others, follows, completions):
        assert set(lost) <= RIGHTS
        ear.wait_for(lost)
        granting.grant(lost)
    wait_until(lambda: site.settled() == STUDENTS + 2, "everybody to be complete or waiting")
    wait_until(lambda: all_run(site), "everybody to run again")
    assert site.dead_letters() == 0
    processes[MONITOR].get("/readyz")


def refused(process: SesameProcess, path: str) -> str:
    """What a port says that does not answer well; nothing if it does."""
    try:
        process.get(path)
    except urllib.error.HTTPError as error:
        return str(error.read().decode())
    return ""
