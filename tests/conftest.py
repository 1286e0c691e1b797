"""What every test may use: real servers on loopback, started once per worker and ended with it."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from sandbox.apereo import Apereo
from sandbox.dovecot import Dovecot, LookupDirectory
from sandbox.kafka import Kafka
from sandbox.pegase import Pegase
from sandbox.postgres import Postgres
from sandbox.samba import Samba
from sandbox.slapd import Slapd
from schemas.language import keep_time
from sesame.testing.servers import brokers, require_service, stores
from sesame.testing.servers.cas_kit import SERVICES, LoginServer, login_server_of

KAFKA_USERS = (
    "registry",
    "propagation",
    "webhooks",
    "console",
    "directory",
    "mailbox",
    "moodle",
    "timetable",
    "producers",
    "monitor",
)

IN_MEMORY, ROOM_BYTES = Path("/dev/shm"), 4 * 2**30  # noqa: S108 (all that is made in it is by mkdtemp)
"""Where temporary files are if there is so much room, and programs may be started there."""

SPREAD = ("tests/simulation/test_histories.py",)
"""Files whose tests share nothing and take minutes: `--dist loadfile` gives them out one by one."""

TOGETHER = {
    "Apereo": re.compile(r"/test_apereo\.py$"),
    "Kafka": re.compile(r"^tests/conformance/|/test_kafka_\w+\.py$"),
    "Samba": re.compile(r"/test_(\w*active_directory\w*|diagnosis_connectors|drift|rename|\w+_samba)\.py$"),
}
"""Files that use a server that costs seconds to start, by the server: one worker has them all."""

# A property holds or not, however slow the machine is; in CI the same examples are tried each time.
settings.register_profile(
    "project",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.register_profile(  # for a mutation run: thousands of times, and which example fails is no matter
    "mutation",
    settings.get_profile("project"),
    max_examples=12,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    report_multiple_bugs=False,
)
settings.load_profile("project")


def pytest_configure() -> None:
    """Databases, logs and servers' files are in memory: the tests waited for the disk most of their time.

    What survives kill -9 is as it is on a disk; a power cut is tested nowhere. Commands, which speak
    the locale's language, speak English unless a test says otherwise.
    """
    for name in ("LC_ALL", "LC_MESSAGES"):  # commands speak the locale's language
        os.environ.pop(name, None)
    os.environ["LANG"] = "C.UTF-8"
    with contextlib.suppress(OSError):
        place = os.statvfs(IN_MEMORY)
        roomy = place.f_bavail * place.f_frsize >= ROOM_BYTES and not place.f_flag & os.ST_NOEXEC
        if roomy and "TMPDIR" not in os.environ:
            os.environ["TMPDIR"] = tempfile.tempdir = str(IN_MEMORY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's name is the same in each worker, or they do not agree on what there is to run."""
    if addresses := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"an address in memory is part of a test's name, give it ids: {addresses[0]}")


def pytest_collection_finish() -> None:
    """What is there by now, 600,000 objects, stays: no search for garbage goes through it again, which holds
    all threads of a worker up, on a busy machine for seconds."""
    gc.collect()
    gc.freeze()


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """A file's tests run on one worker, those of a file in SPREAD on all, those of files TOGETHER on one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        if file in SPREAD:
            return nodeid
        return next((server for server, files in TOGETHER.items() if files.search(file)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """With `--dist loadfile`: the same, files in SPREAD and TOGETHER apart."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """What a command has set (a level, a stream, a zone) is not left to the tests that come after."""
    yield
    structlog.reset_defaults()
    keep_time(None)


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the environment of whoever runs the tests."""
    for name in [name for name in os.environ if name.upper().startswith("SESAME_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def command_folder(no_variables: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which commands are typed: its settings say where the data is, and no more."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "sesame.toml").write_text('data_dir = "data"\n', encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="session")
def slapd() -> Iterator[Slapd]:
    """A directory shared by the tests of one worker: use a student of your own, and do not stop it."""
    with require_service(lambda: Slapd(fsync=False)) as server:
        yield server


@pytest.fixture(scope="module")
def counted_slapd() -> Iterator[Slapd]:
    """A directory for one file of tests, in which a comparison counts every entry."""
    with require_service(lambda: Slapd(fsync=False)) as server:
        yield server


@pytest.fixture
def own_slapd() -> Iterator[Slapd]:
    """A directory for one test, which may freeze, kill and restart it."""
    with require_service(Slapd) as server:
        yield server


@pytest.fixture(scope="session")
def samba() -> Iterator[Samba]:
    """An Active Directory shared by the tests of one worker: use students of your own, do not stop it."""
    with require_service(Samba) as server:
        yield server


@pytest.fixture(scope="session")
def dovecot(slapd: Slapd) -> Iterator[Dovecot]:
    """A mail server for the users of the shared directory: use a student of your own, and do not stop it."""
    with require_service(lambda: Dovecot(LookupDirectory.of(slapd))) as server:
        yield server


@pytest.fixture(scope="session")
def apereo(slapd: Slapd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginServer]:
    """An Apereo CAS shared by the tests of one worker; portals on loopback are registered as documented."""
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "connect-cas.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    definition = json.loads(text)
    host = r"compte\.univ-exemple\.fr"
    assert host in definition["serviceId"]
    definition["serviceId"] = definition["serviceId"].replace(host, "localhost:[0-9]+")
    program = partial(Apereo, definitions=[definition])
    with login_server_of(slapd, tmp_path_factory.mktemp("services"), program, SERVICES) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[stores.Server]:
    """A PostgreSQL server shared by the tests of one worker: use a database of your own."""
    serving = stores.server()
    server = require_service(serving.__enter__)
    try:
        yield server
    finally:
        serving.__exit__(None, None, None)


@pytest.fixture(scope="module")
def pegase_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pegase]:
    """Pégase's stand-in for all tests of a file."""
    with Pegase(tmp_path_factory.mktemp("pegase")) as server:
        yield server


@pytest.fixture
def pegase(pegase_server: Pegase) -> Pegase:
    """It, with nothing in it."""
    pegase_server.clear()
    return pegase_server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for one test, which may kill and restart it."""
    with require_service(Postgres) as server:
        yield server


@pytest.fixture(scope="session")
def shelf(postgres: stores.Server) -> Iterator[stores.Shelf]:
    """What `store_url` hands out on PostgreSQL."""
    shelf = stores.Shelf(postgres)
    yield shelf
    shelf.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without rows, in the form that this version wants. Whoever tests state runs on each kind."""
    if request.param == "sqlite":
        return stores.sqlite_store(tmp_path)
    shelf: stores.Shelf = request.getfixturevalue("shelf")
    return shelf.empty()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def module_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`store_url` for all tests of a file, which keep to students of their own."""
    if request.param == "sqlite":
        yield stores.sqlite_store(tmp_path_factory.mktemp("store"))
        return
    shelf = stores.Shelf(request.getfixturevalue("postgres"))
    yield shelf.empty()
    shelf.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables, of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with stores.empty_database(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def kafka_servers() -> Iterator[list[str]]:
    """A Kafka in clear shared by the tests of one worker: use topics and groups of your own."""
    serving = brokers.servers()
    addresses = require_service(serving.__enter__)
    try:
        yield addresses
    finally:
        serving.__exit__(None, None, None)


@pytest.fixture(scope="session")
def secure_kafka() -> Iterator[Kafka]:
    """A Kafka with TLS, SCRAM, rights by ACL, and listeners with bad certificates; do not stop it.

    Its users `sesame-…` have the password `password`, and no right but those that a test gives them.
    """
    users = dict.fromkeys([*(f"sesame-{name}" for name in KAFKA_USERS), "sesame-nobody"], "password")
    with require_service(lambda: Kafka(users=users, acls=True, faults=True)) as kafka:
        yield kafka
