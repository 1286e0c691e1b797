"""A browser and what it looks at, a post office: once for each file. A Moodle site for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from consumers.moodle import rest as moodle_rest
from consumers.scim import service as scim_service
from pipeline.target import Handler
from sandbox.cas import CasServer
from sandbox.moodle import MoodleStandIn
from sandbox.samba import Samba
from sandbox.scim import ScimServer
from sandbox.slapd import Slapd
from sandbox.tls import ThrowawayCA
from sesame.testing.servers import require_service, stores
from sesame.testing.servers.cas_kit import LoginServer, login_server_of
from sesame.testing.servers.directory_kit import Consumer
from sesame.testing.servers.mailbox_kit import DovecotHarness, desk_at
from sesame.testing.servers.moodle_kit import Handlers, Operator
from sesame.testing.servers.portal_browser import chromium
from sesame.testing.servers.portal_kit import Portal
from sesame.testing.servers.post_office import PostOffice
from tests.integration.active_directory.active_directory_kit import Domain
from tests.integration.api.api_kit import ApiWorld, api_world


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def module_world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiWorld]:
    """One API for a file, on the filled store of each kind."""
    folder = tmp_path_factory.mktemp("api")
    if request.param == "sqlite":
        with api_world(folder, f"sqlite:///{folder / 'store.db'}") as made:
            yield made
        return
    with stores.empty_database(request.getfixturevalue("postgres")) as url, api_world(folder, url) as made:
        yield made


@pytest.fixture
def world(empty_url: str, tmp_path: Path) -> Iterator[ApiWorld]:
    """An API for a test, on the filled store of each kind."""
    with api_world(tmp_path, empty_url) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a file; each test has a context of its own."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def login_server(slapd: Slapd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginServer]:
    """The CAS server of a file: django-cas-server; `test_apereo` has the same stories on Apereo's."""
    with login_server_of(slapd, tmp_path_factory.mktemp("services"), CasServer) as server:
        yield server


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One portal for a file, which slows nobody down: each test has students of its own."""
    with Portal(tmp_path_factory.mktemp("portal"), wish={"address_burst": 10_000}) as portal:
        yield portal


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ThrowawayCA:
    """An authority for the servers of a file."""
    return ThrowawayCA(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def scim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScimServer]:
    """One SCIM service for a file, which notes what it is asked, in small pages."""
    with (
        pytest.MonkeyPatch.context() as patch,
        ScimServer(tmp_path_factory.mktemp("scim"), record=True) as server,
    ):
        patch.setattr(scim_service, "PAGE_SIZE", 3)
        yield server


@pytest.fixture
def consumer(slapd: Slapd) -> Iterator[Consumer]:
    """The directory consumer at work."""
    made = Consumer(slapd)
    yield made
    made.handler.close()


@pytest.fixture
def domain(samba: Samba) -> Iterator[Domain]:
    """An Active Directory domain without students, before and after a test."""
    domain = Domain(samba)
    domain.empty()
    yield domain
    domain.empty()


@pytest.fixture
def moodle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MoodleStandIn]:
    """A Moodle site of the test's own, called again without a pause."""
    monkeypatch.setattr(moodle_rest, "RETRY_WAIT_S_MAX", 0.01)
    with MoodleStandIn(tmp_path / "moodle") as server:
        yield server


@pytest.fixture
def operator(moodle: MoodleStandIn) -> Operator:
    """Another pair of eyes on that site."""
    return Operator(moodle)


@pytest.fixture
def handlers(moodle: MoodleStandIn) -> Iterator[Handlers]:
    """Makes Moodle's handlers on that site."""
    made = Handlers(moodle)
    yield made
    made.close()


@pytest.fixture
def handler(handlers: Handlers) -> Handler:
    """One of them, with the settings as they are by default."""
    return handlers()


@pytest.fixture(scope="module")
def office() -> Iterator[PostOffice]:
    """A mail server and its directory, for a file."""
    with require_service(PostOffice) as office:
        yield office


@pytest.fixture
def desk(office: PostOffice, tmp_path: Path) -> Iterator[DovecotHarness]:
    """The mailbox consumer on them."""
    with desk_at(office, tmp_path) as desk:
        yield desk
