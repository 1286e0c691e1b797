"""A PostgreSQL server that goes away, hangs up, only reads or is not who it says: nothing is lost."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, insert, make_url, text, update
from sqlalchemy.exc import OperationalError

from pipeline.db import forms, migrate
from pipeline.db.database import CONFLICTS_MAX, Database, StoreUnavailable
from pipeline.facts import Fact
from pipeline.timers import timers
from sandbox.postgres import ADMIN, Postgres
from sandbox.process import PATIENCE_S, wait_until
from sandbox.tls import ThrowawayCA
from sesame.app.doctor.checks import checks_for
from sesame.app.doctor.findings import CheckState, examine
from sesame.settings import LiveSecret, Settings, StoreSettings
from sesame.testing.servers import require_service, stores
from sesame.testing.servers.database_kit import kept, put
from tests.unit.pipeline import facts_kit


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server for these tests, which do to it what others must not meet."""
    with require_service(lambda: Postgres(fsync=False, settings={"timezone": "Asia/Kolkata"})) as running:
        yield running


@pytest.fixture
def name(server: Postgres) -> Iterator[str]:
    """A migrated database of a test's own."""
    name = f"test_{secrets.token_hex(4)}"
    with closing(Database(server.create(name))) as database:
        migrate.upgrade(database)
    yield name
    server.drop(name)


@pytest.fixture
def database(server: Postgres, name: str) -> Iterator[Database]:
    with closing(Database(server.url(name))) as database:
        yield database


def test_a_password_that_was_changed_is_read_again_for_the_next_connection(
    server: Postgres, name: str, tmp_path: Path
) -> None:
    user = f"user_{secrets.token_hex(4)}"
    with psycopg.connect(server.url(name, user=ADMIN), autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'premier'")
    file = tmp_path / "password"
    file.write_text("premier", encoding="utf-8")
    file.chmod(0o600)
    url = make_url(server.url(name)).set(username=user, password="premier").render_as_string(False)
    read = LiveSecret(StoreSettings(password_file=file), "password")
    with closing(Database(url, password=read)) as database:
        with database.read() as connection:
            assert connection.execute(text("SELECT current_user")).scalar_one() == user
        with psycopg.connect(server.url(name, user=ADMIN), autocommit=True) as owner:
            owner.execute(f"ALTER ROLE {user} PASSWORD 'second'")
        file.write_text("second", encoding="utf-8")
        os.utime(file, (1, 1))  # long ago: nobody is writing it any more
        database.engine.dispose()  # as when the server restarts
        with database.read() as connection:
            assert connection.execute(text("SELECT current_user")).scalar_one() == user


# --- a connection that drops --------------------------------------------------------------------------


def test_a_connection_that_drops_in_the_middle_is_a_transient_error_and_leaves_nothing_behind(
    server: Postgres, name: str, database: Database
) -> None:
    def cut_off() -> None:
        with database.write() as connection:
            connection.execute(insert(timers).values(kind="test", student_number="A", due_at=1.0))
            assert server.hang_up(name) == 1
            connection.execute(insert(timers).values(kind="test", student_number="B", due_at=1.0))

    with pytest.raises(StoreUnavailable, match="the connection was lost: terminating connection"):
        cut_off()
    put(database, "C")
    assert kept(database) == ["C"]


def test_a_connection_that_drops_before_the_commit_is_a_transient_error_too(
    server: Postgres, name: str, database: Database
) -> None:
    def cut_off() -> None:
        with database.write() as connection:
            connection.execute(insert(timers).values(kind="test", student_number="A", due_at=1.0))
            server.hang_up(name)

    with pytest.raises(StoreUnavailable):
        cut_off()
    assert kept(database) == []


def test_connections_that_dropped_while_nobody_used_them_are_not_noticed(
    server: Postgres, name: str, database: Database
) -> None:
    put(database, "A")
    assert server.hang_up(name) >= 1
    put(database, "B")
    assert kept(database) == ["A", "B"]


def test_facts_are_applied_once_and_in_order_however_often_the_server_hangs_up(
    server: Postgres, name: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.facts.PAUSE_S", 0.02)
    desk = facts_kit.FactLoopHarness(tmp_path, database)
    numbers = [f"{number:04}" for number in range(600)]
    with closing(desk):
        for number in numbers:
            desk.say(number)
        desk.start()
        for _ in range(6):
            server.hang_up(name)
            before = len(desk.handler.seen)
            desk.until(lambda before=before: len(desk.handler.seen) > before or len(desk.kept()) == 600)  # type: ignore[misc]
        desk.until(lambda: len(desk.kept()) == 600)
        desk.stop()
        assert desk.kept() == numbers
        assert desk.letters() == []
        assert desk.lag() == 0
        assert all("connection" in each or "database" in each for each in desk.observer.troubles)


def test_a_server_that_is_killed_and_comes_back_has_all_that_was_acknowledged(own_postgres: Postgres) -> None:
    with closing(Database(own_postgres.url())) as database:
        migrate.upgrade(database)
        acknowledged: list[str] = []
        stop = threading.Event()

        def write() -> None:
            for number in range(10_000):
                if stop.is_set():
                    return
                with suppress(StoreUnavailable):
                    put(database, f"{number:05}")
                    acknowledged.append(f"{number:05}")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            wait_until(lambda: len(acknowledged) > 50, "some writes")
            own_postgres.kill()
            before = len(acknowledged)
            with pytest.raises(StoreUnavailable, match=r"refused|lost|closed|failed"):
                kept(database)
            own_postgres.start()
            wait_until(lambda: len(acknowledged) > before + 20, "writes after the crash")
        finally:
            stop.set()
            writer.join(PATIENCE_S)
        assert set(acknowledged) <= set(kept(database))


# --- a deadlock ----------------------------------------------------------------------------------------


def test_a_deadlock_is_a_retry_and_no_outage_of_the_registry(
    server: Postgres, name: str, database: Database, tmp_path: Path
) -> None:
    """Two transactions that each want what the other has: the server ends one of them."""
    admin = make_url(server.url(name, user="admin")).set(drivername="postgresql")
    with psycopg.connect(admin.render_as_string(hide_password=False)) as granting:
        granting.execute("GRANT SET ON PARAMETER deadlock_timeout TO sesame")
    for number in "AB":
        put(database, number)
    desk = facts_kit.FactLoopHarness(tmp_path, database)
    desk.handler = Crossing(database, server.url(name))
    with closing(desk), closing(desk.handler):
        desk.say("A")
        desk.start()
        desk.until(lambda: desk.handler.seen.count("A") >= 2 and desk.kept().count("A") == 2)
        desk.until(lambda: "running" in desk.observer.states)
        desk.stop()
        assert desk.handler.deadlocks == 1
        assert "down" not in desk.observer.states
        assert desk.observer.troubles == []
        assert desk.letters() == []
        assert desk.lag() == 0


def test_a_lock_that_is_never_to_be_had_is_an_outage_after_a_bounded_number_of_attempts(
    server: Postgres, name: str, database: Database
) -> None:
    put(database, "A")
    impatient = make_url(server.url(name)).update_query_dict({"options": "-c lock_timeout=20"})
    attempts = []

    def work(connection: Connection) -> None:
        attempts.append(1)
        connection.execute(update(timers).values(due_at=2.0))

    with (
        closing(Database(impatient.render_as_string(hide_password=False))) as waiting,
        database.write() as held,
    ):
        held.execute(update(timers).values(due_at=3.0))
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            waiting.transact(work)
    assert 1 < len(attempts) <= CONFLICTS_MAX


class Crossing(facts_kit.Handler):
    """Locks A then B, while somebody else, the first time, has B and then wants A."""

    def __init__(self, database: Database, url: str) -> None:
        super().__init__(database)
        self.deadlocks = 0
        self._address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._other = psycopg.connect(self._address)
        self._waiting: threading.Thread | None = None

    def handle(self, connection: Connection, facts: Sequence[Fact]) -> None:
        super().handle(connection, facts)
        connection.execute(_LOCK, {"number": "A"})
        if self._waiting is None:
            connection.exec_driver_sql("SET LOCAL deadlock_timeout = '50ms'")  # it is the one who is ended
            self._other.execute("SET LOCAL deadlock_timeout = '60s'")
            self._other.execute("SELECT 1 FROM timers WHERE student_number = 'B' FOR UPDATE")
            self._waiting = threading.Thread(target=self._want_a)
            self._waiting.start()
            wait_until(self._waits, "the other to wait for A")
        try:
            connection.execute(_LOCK, {"number": "B"})
        except OperationalError:
            self.deadlocks += 1
            raise

    def _want_a(self) -> None:
        self._other.execute("SELECT 1 FROM timers WHERE student_number = 'A' FOR UPDATE")
        self._other.commit()

    def _waits(self) -> bool:
        with psycopg.connect(self._address) as looking:
            return looking.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,)

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.join(PATIENCE_S)
        self._other.close()


_LOCK = text("SELECT 1 FROM timers WHERE student_number = :number AND kind = 'test' FOR UPDATE")


# --- a server that only reads --------------------------------------------------------------------------


def test_a_database_that_only_reads_stops_the_facts_and_buries_none(
    server: Postgres, name: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.facts.PAUSE_S", 0.02)
    desk = facts_kit.FactLoopHarness(tmp_path, database)
    with closing(desk):
        server.make_read_only(name)
        desk.say("A")
        desk.start()
        desk.until(lambda: any("read-only transaction" in each for each in desk.observer.troubles))
        assert desk.observer.states[-1] == "down"
        server.make_read_only(name, read_only=False)
        desk.until(lambda: desk.kept() == ["A"])
        desk.stop()
        assert desk.letters() == []


def test_a_database_that_only_reads_is_told_with_its_remedy(
    server: Postgres, name: str, database: Database
) -> None:
    server.make_read_only(name)
    with pytest.raises(StoreUnavailable, match="read-only transaction") as refused:
        put(database, "A")
    assert "primary" in refused.value.remedy
    assert kept(database) == []


def test_a_connection_that_has_read_writes_no_more_than_the_server_lets_it(
    server: Postgres, name: str, database: Database
) -> None:
    server.make_read_only(name)
    assert kept(database) == []
    with pytest.raises(StoreUnavailable, match="read-only transaction"):
        put(database, "A")
    server.make_read_only(name, read_only=False)
    put(database, "A")
    assert kept(database) == ["A"]


def test_a_database_that_was_never_migrated_is_no_fault_of_the_facts(server: Postgres) -> None:
    bare = f"test_{secrets.token_hex(4)}"
    with (
        closing(Database(server.create(bare))) as database,
        pytest.raises(StoreUnavailable, match="does not exist") as refused,
    ):
        put(database, "A")
    assert "sesame migrate" in refused.value.remedy
    server.drop(bare)


# --- who it is, and who we are -------------------------------------------------------------------------


def test_the_servers_certificate_is_verified_and_another_ca_s_is_refused(
    server: Postgres, name: str, tmp_path: Path
) -> None:
    verified = server.url(name, sslmode="verify-full", sslrootcert=str(server.ca_file))
    with closing(Database(verified)) as database, database.read() as connection:
        row = connection.exec_driver_sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").one()
        assert row == (True,)
    stranger = server.url(name, sslmode="verify-full", sslrootcert=str(ThrowawayCA(tmp_path).ca_file))
    for refused in (stranger, server.url(name, sslmode="verify-full")):
        with closing(Database(refused)) as database, pytest.raises(StoreUnavailable, match="certificate"):
            kept(database)


def test_a_wrong_password_is_told_without_telling_it(server: Postgres, name: str) -> None:
    wrong = make_url(server.url(name)).set(password="not-the-pa55word")
    with (
        closing(Database(wrong.render_as_string(hide_password=False))) as database,
        pytest.raises(StoreUnavailable, match="password authentication failed") as refused,
    ):
        kept(database)
    assert "pa55word" not in str(refused.value)


def test_the_server_s_time_zone_does_not_move_the_time(database: Database) -> None:
    with database.read() as connection:
        row = connection.exec_driver_sql("SHOW timezone").one()
        assert row == ("UTC",)
        assert database.now(connection) == pytest.approx(time.time(), abs=60)


def test_the_doctor_says_what_is_wrong_with_the_server(server: Postgres, name: str, tmp_path: Path) -> None:
    def finding(database: str) -> tuple[CheckState, str, bool]:
        password = tmp_path / "password"
        password.touch(mode=0o600)
        password.write_text(server.password(), encoding="ascii")
        url = SecretStr(f"postgresql://sesame@127.0.0.1:{server.port}/{database}")
        settings = Settings(data_dir=tmp_path, store=StoreSettings(url=url, password_file=password))
        found = examine(next(check for check in checks_for(settings) if check.name == "store"))
        assert server.password() not in found.text
        return found.state, found.text, found.down

    ok = f"postgresql+psycopg://sesame:***@127.0.0.1:{server.port}/{name} is at revision {forms.head()}"
    assert finding(name)[:2] == (CheckState.OK, ok)
    server.make_read_only(name)
    assert finding(name) == (CheckState.FAIL, "the database is set read-only", True)
    assert finding("nowhere")[0] is CheckState.FAIL


def test_the_address_in_the_environment_wins(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stores.ADDRESS, server.url("postgres", user="admin"))
    with stores.server() as elsewhere:
        assert isinstance(elsewhere, stores.Elsewhere)
        shelf = stores.Shelf(elsewhere)
        with closing(Database(shelf.empty())) as database:
            put(database, "A")
        with closing(Database(shelf.empty())) as database:
            assert kept(database) == []
        shelf.close()
