"""A real PostgreSQL server on loopback, with TLS, from Debian's programs.

    with Postgres() as postgres:
        postgres.url()            # postgresql://sesame:…@127.0.0.1:…/sesame: the owner of an empty database
        postgres.create("other")  # one more database, empty or a copy; its URL
        postgres.ca_file          # verify the server with this

It is durable as the other servers are: a new `Postgres` on the same folder is the same cluster. Started by
root, it runs as an unprivileged user, since PostgreSQL refuses root. The administrator is `admin`, on the
Unix socket or on TCP as any user, with another password.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from sandbox.ports import free_port
from sandbox.process import PATIENCE_S, ManagedProcess, MissingServer, run_command
from sandbox.server import Server
from sandbox.tls import ThrowawayCA

ADMIN, OWNER, DATABASE = "admin", "sesame", "sesame"

_PACKAGE = "postgresql"
_DEBIAN = Path("/usr/lib/postgresql")
_UNPRIVILEGED = ("postgres", "nobody")
_WITHOUT_FSYNC = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class Postgres(Server):
    """One PostgreSQL cluster. Nothing runs before `start` (or `with`).

    `folder`: where everything lives (default: a new short temporary folder, removed by `close`).
    `fsync`: whether a commit is on disk before it is acknowledged; False is for tests that only need speed.
    `settings`: more of the server's parameters, e.g. `{"timezone": "Asia/Kolkata"}`.
    `keep_running`: leave the server up when the interpreter exits.

    Raises MissingServer when PostgreSQL is not installed, StartFailed when it does not come up.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
        keep_running: bool = False,
    ) -> None:
        self._programs = _find_programs()
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="pg-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._user = _unprivileged_user()
        self._settings = [f"{name}={value}" for name, value in (settings or {}).items()]
        self._settings += [] if fsync else _WITHOUT_FSYNC
        self.port = self._port()
        self.ca_file = self.folder / "tls" / "ca.pem"
        self._process = self._server(keep_running=keep_running)

    # --- what a client needs ---------------------------------------------------------------------------

    def url(self, database: str = DATABASE, *, user: str = OWNER, **query: str) -> str:
        """The address of a database, over TCP, with the user's password in it."""
        password = quote(self.password(user), safe="")
        tail = f"?{urlencode(query)}" if query else ""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}{tail}"

    def password(self, user: str = OWNER) -> str:
        """A user's password."""
        return self.password_file(user).read_text(encoding="ascii")

    def password_file(self, user: str = OWNER) -> Path:
        """A file (mode 0600, no line end) with a user's password."""
        return self.folder / "secrets" / f"{user}.password"

    @property
    def socket_folder(self) -> Path:
        """The folder of the Unix socket: libpq's `host`."""
        return self.folder / "run"

    def create(self, database: str, *, template: str = "template0") -> str:
        """Create a database as a copy of `template`, and return its address."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
        self._admin(
            statement.format(sql.Identifier(database), sql.Identifier(template), sql.Identifier(OWNER))
        )
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, even with open connections."""
        self._admin(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    # --- trouble ---------------------------------------------------------------------------------------

    def hang_up(self, database: str = DATABASE) -> int:
        """End every connection to a database (`pg_terminate_backend`). Return how many there were."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [database]
            ).fetchall()
        return len(rows)

    def make_read_only(self, database: str = DATABASE, *, read_only: bool = True) -> None:
        """Let new connections only read, or write again; present ones are ended."""
        word = "on" if read_only else "off"
        statement = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = " + word)
        self._admin(statement.format(sql.Identifier(database)))
        self.hang_up(database)

    # --- life ------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Make the cluster if new, start the server and return once it answers."""
        new = not (self.folder / "data" / "PG_VERSION").exists()
        if new:
            self._prepare()
        super().start()
        if new:
            self._populate()
        return self

    # --- preparation -----------------------------------------------------------------------------------

    def _server(self, *, keep_running: bool) -> ManagedProcess:
        tls = self.folder / "tls"
        settings = (
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            f"unix_socket_directories={self.socket_folder}",
            "dynamic_shared_memory_type=mmap",  # in the folder, so that a kill leaves nothing in /dev/shm
            "ssl=on",
            f"ssl_cert_file={tls / 'server.pem'}",
            f"ssl_key_file={tls / 'server.key'}",
            "password_encryption=scram-sha-256",
            *self._settings,
        )
        flags = [part for each in settings for part in ("-c", each)]
        return ManagedProcess(
            "postgres",
            [self._programs / "postgres", "-D", self.folder / "data", *flags],
            log_file=self.folder / "postgres.log",
            ready=self._answers,
            cwd=self.folder,
            user=self._user,
            stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait for every client to go
            outlives_parent=keep_running,
        )

    def _answers(self) -> bool:
        try:
            self._connected().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            self.url("postgres", user=ADMIN), autocommit=True, connect_timeout=int(PATIENCE_S)
        )

    def _admin(self, statement: sql.Composed) -> None:
        with self._connected() as connection:
            connection.execute(statement)

    def _port(self) -> int:
        state = self.folder / "port.json"
        if not state.exists():
            state.write_text(json.dumps(free_port()), encoding="ascii")
        return int(json.loads(state.read_text(encoding="ascii")))

    def _prepare(self) -> None:
        """Make passwords, certificates and an empty cluster (`initdb`)."""
        self.folder.chmod(0o755)  # mkdtemp's 0700 would shut out the unprivileged user
        for name in ("data", "run", "secrets", "tls"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "secrets").chmod(0o700)
        for user in (ADMIN, OWNER):
            path = self.password_file(user)
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24), encoding="ascii")
        ThrowawayCA(self.ca_file.parent).issue("server")
        owned = [self.folder / "data", self.folder / "run", self.ca_file.parent / "server.key"]
        with tempfile.NamedTemporaryFile("w", dir=self.folder, encoding="ascii") as password:
            password.write(self.password(ADMIN))
            password.flush()
            for path in (*owned, Path(password.name)):
                if self._user is not None:
                    shutil.chown(path, self._user)
            self._initdb(password.name)

    def _initdb(self, password_file: str) -> None:
        run_command(
            "initdb",
            [
                self._programs / "initdb",
                f"--pgdata={self.folder / 'data'}",
                f"--username={ADMIN}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            cwd=self.folder,
            user=self._user,
        )

    def _populate(self) -> None:
        """Make the role that owns the project's databases. It may create others, and nothing else."""
        owner, password = sql.Identifier(OWNER), sql.Literal(self.password(OWNER))
        self._admin(sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(owner, password))
        self.create(DATABASE)


def _find_programs() -> Path:
    """The folder of PostgreSQL's programs: the newest of Debian's, else the PATH's."""
    debian = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which("initdb")
    if found is None:
        raise MissingServer("initdb", _PACKAGE)
    return Path(found).resolve().parent


def _unprivileged_user() -> str | None:
    """The user that the server runs as when we are root; None: ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((user for user in _UNPRIVILEGED if user in known), None)
