"""One demo's world, in a folder: real servers, Sésame's settings, `sesame run`.

    with World() as world:
        world.start()
        world.pipeline.start()
        world.sesame.run("import", …)

Closing it leaves nothing: no process, no folder.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from sandbox.apereo import Apereo
from sandbox.cas import CasDirectory, CasServer, Service
from sandbox.demo import record, settings
from sandbox.demo.credentials import write_private
from sandbox.demo.pages import OperatorsConsole, StudentsPages
from sandbox.demo.pipeline import Pipeline
from sandbox.demo.program import Sesame
from sandbox.dovecot import Dovecot, LookupDirectory
from sandbox.kafka import Kafka
from sandbox.ldap import connected
from sandbox.moodle import MoodleStandIn
from sandbox.partage import Partage
from sandbox.pegase import Pegase
from sandbox.ports import free_port
from sandbox.postgres import Postgres
from sandbox.process import SandboxError
from sandbox.samba import Samba
from sandbox.scim import ScimServer
from sandbox.slapd import Layout, Slapd
from sandbox.timetable import Timetable
from sandbox.tls import ThrowawayCA

FACT_CONSUMERS = ("registry", "propagation")
_FOLDER_BYTES_MAX = 40
"""Of the world's folder: below it, Unix sockets' paths must stay under 108 bytes."""


class Server(Protocol):
    """A server that can be stopped and started again on the same data and ports."""

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""

    def start(self) -> object:
        """Start it; return once it answers."""

    def stop(self) -> None:
        """End it politely."""

    def kill(self) -> None:
        """End it at once, as a crash would."""


OPERATOR = "operateur"
"""The login of an operator of the console."""


class World:
    """Everything one demo runs. Nothing runs before `start`.

    Args:
        records: the folder of the record of what runs; default: the checkout's `.demo`.
        keep: let the servers outlive this process if it ends without closing the world.
        timetable: a timetable service too, as a fourth target, with a calendar for each student.
        scim: a service that speaks SCIM too, as a target.
        partage: RENATER Partage's stand-in too, as a further target next to the mail server.
        pegase: fed by the stand-in for Pégase's APIs, not by a file.
        canary: the canary goes its way, every five minutes.
        active_directory: a Samba domain controller too, as a target; it needs root.
        brokers: run on Apache Kafka with so many nodes, one or three, over TLS with SCRAM; 0: on the embedded
            log.
        processes: so many `sesame consume` for each consumer, on PostgreSQL; 0: one `sesame run`.
        postgres: on PostgreSQL in any case; otherwise one `sesame run` is on SQLite.
        apereo: log in through an Apereo CAS; otherwise django-cas-server, which starts in a second.

    Raises:
        MissingServer: slapd, Dovecot, or what Kafka, Apereo CAS or Active Directory needs is not installed.
    """

    def __init__(
        self,
        records: Path | None = None,
        *,
        keep: bool = False,
        timetable: bool = False,
        scim: bool = False,
        partage: bool = False,
        pegase: bool = False,
        canary: bool = False,
        active_directory: bool = False,
        brokers: int = 0,
        processes: int = 0,
        postgres: bool = False,
        apereo: bool = False,
    ) -> None:
        self.folder = _new_folder()
        self.record = record.create(record.place(records), self.folder)
        self.private = self.folder / "sesame"
        self.private.mkdir(mode=0o700)
        self.settings_file = self.private / "sesame.toml"
        self.timetable: Timetable | None = None
        self.scim: ScimServer | None = None
        self.partage: Partage | None = None
        self.pegase: Pegase | None = None
        self.canary = canary
        self.samba: Samba | None = None
        self.kafka: Kafka | None = None
        self.postgres: Postgres | None = None
        self.shown: tuple[str, str] | None = None
        """Login and password of the student who is looked at."""
        try:
            self._prepare_servers(keep=keep)
            self.cas = self._cas(Apereo if apereo else CasServer, keep=keep)
            if timetable:
                self.timetable = self._timetable(keep=keep)
            if scim:
                self.scim = self._scim(keep=keep)
            if partage:
                self.partage = self._partage(keep=keep)
            if pegase:
                self.pegase = Pegase(self.folder / "pegase", outlives_parent=keep)
            if active_directory:
                self.samba = Samba(self.folder / "samba", keep_running=keep)
            if brokers:
                self.kafka = self._prepare_kafka(brokers, keep=keep)
            if processes or postgres:
                self.postgres = Postgres(self.folder / "postgres", keep_running=keep)
            self.pipeline = self._pipeline(processes, keep=keep)
        except BaseException:
            self.close()
            raise

    def _prepare_servers(self, *, keep: bool) -> None:
        self.slapd = Slapd(self.folder / "slapd", layout=Layout(domain="univ-exemple.fr"), keep_running=keep)
        lookup = LookupDirectory(
            uri=self.slapd.ldap_uri,
            base_dn=self.slapd.people_dn,
            ca_file=self.slapd.ca_file,
            bind_dn=self.slapd.dovecot_dn,
            bind_password_file=self.slapd.dovecot_password_file,
        )
        self.dovecot = Dovecot(lookup, self.folder / "dovecot", keep_running=keep)
        self.moodle = MoodleStandIn(self.folder / "moodle", outlives_parent=keep)
        self.pages = StudentsPages(self.folder, self.settings_file, keep=keep)
        self.console = OperatorsConsole(self.settings_file, keep=keep)
        self.http_port = free_port()
        self.sesame = Sesame(self.settings_file, cwd=self.private)

    def _cas(self, program: type[CasServer], *, keep: bool) -> CasServer:
        services = [Service("portail", r"^https?://127[.]0[.]0[.]1:[0-9]+/")]
        directory = CasDirectory.of(self.slapd)
        forgotten = self.pages.url
        return program(directory, services, self.folder / "cas", forgotten_url=forgotten, keep_running=keep)

    def _pipeline(self, processes: int, *, keep: bool) -> Pipeline:
        if not processes:
            return Pipeline.whole(self.settings_file, self.http_port, keep=keep)
        consumers = (*FACT_CONSUMERS, *self.servers)
        return Pipeline.apart(self.settings_file, self.http_port, consumers, processes, keep=keep)

    def _timetable(self, *, keep: bool) -> Timetable:
        folder = self.folder / "timetable"
        folder.mkdir()
        certificate = ThrowawayCA(folder).issue("timetable")
        return Timetable(folder, certificate=certificate, everybody=True, outlives_parent=keep)

    def _scim(self, *, keep: bool) -> ScimServer:
        folder = self.folder / "scim"
        folder.mkdir()
        return ScimServer(folder, certificate=ThrowawayCA(folder).issue("scim"), outlives_parent=keep)

    def _partage(self, *, keep: bool) -> Partage:
        folder = self.folder / "partage"
        folder.mkdir()
        return Partage(folder, certificate=ThrowawayCA(folder).issue("partage"), outlives_parent=keep)

    def _prepare_kafka(self, brokers: int, *, keep: bool) -> Kafka:
        password = secrets.token_urlsafe(18)
        write_private(self.private / settings.KAFKA_PASSWORD, password)
        return Kafka(self.folder / "kafka", nodes=brokers, users={"sesame": password}, keep_running=keep)

    @property
    def servers(self) -> dict[str, Server]:
        """The targets' servers, by target, in the order in which they are started."""
        servers: dict[str, Server] = {
            "directory": self.slapd,
            "mailbox": self.dovecot,
            "moodle": self.moodle,
        }
        further: dict[str, Server | None] = {
            "timetable": self.timetable,
            "scim": self.scim,
            "partage": self.partage,
            "pegase_mail": self.pegase,
            "active_directory": self.samba,
        }
        return servers | {name: server for name, server in further.items() if server is not None}

    def start(self) -> None:
        """Start the servers and write the settings. Raises `StartFailed`: one did not come up."""
        for name in self.servers:
            self.start_server(name)
        self.cas.start()
        self.record.add("cas", self.cas.pid)
        self.pages.mail.start()
        self.record.add("mail sink", self.pages.mail.pid)
        settings.write(self)
        self.start_kafka()
        self.start_postgres()
        if self.kafka is not None:
            self.sesame.run("topics", "apply", "--yes")
        if self.postgres is not None:
            self.sesame.run("migrate")

    def start_server(self, target: str) -> None:
        """Start or restart a target's server."""
        server = self.servers[target]
        server.start()
        self.record.add(target, server.pid)

    def start_kafka(self) -> None:
        """Start Kafka's nodes that do not run, if this world has Kafka."""
        if self.kafka is not None:
            self.kafka.start()
            for number, pid in enumerate(self.kafka.pids, start=1):
                self.record.add(f"kafka {number}", pid)

    def start_postgres(self) -> None:
        """Start or restart PostgreSQL, if this world has it. Its address is kept for Sésame."""
        if self.postgres is not None:
            self.postgres.start()
            self.record.add("postgres", self.postgres.pid)
            write_private(self.private / settings.STORE_URL, self.postgres.url())

    def start_pipeline(self) -> None:
        """Start those of Sésame's own processes that do not run."""
        self.pipeline.start()
        for name, part in self.pipeline.parts.items():
            self.record.add(name, part.pid)

    def start_pages(self) -> None:
        """Start `sesame web`, the students' pages, and the page that shows their messages."""
        self.pages.web.start()
        self.record.add("sesame web", self.pages.web.pid)
        self.pages.messages.start()
        self.record.add("messages", self.pages.messages.pid)

    def start_console(self) -> None:
        """Start `sesame console`, the operators' console and the API. Let an operator and a program in."""
        self._let_operator_in()
        self.console.server.start()
        self.record.add("sesame console", self.console.server.pid)
        made = self.sesame.run("token", "create", "--scope", "operator", "--days", "7", "--name", "demo")
        write_private(self.token_file, made.out)

    def _let_operator_in(self) -> None:
        """Make a member of staff, whom the settings make an operator. The password is in a file."""
        password = write_private(self.operator_password_file, secrets.token_urlsafe(12)).read_text("ascii")
        slapd = self.slapd
        who, theirs = slapd.provisioner_dn, slapd.provisioner_password_file.read_text("utf-8")
        entry = {
            "uid": OPERATOR,
            "cn": OPERATOR,
            "sn": OPERATOR,
            "eduPersonAffiliation": "staff",
            "userPassword": password,
        }
        classes = ["inetOrgPerson", "supannPerson", "eduPerson"]
        with connected(slapd.ldaps_uri, slapd.ca_file, who, theirs) as directory:
            directory.add(f"uid={OPERATOR},{slapd.people_dn}", classes, entry)

    @property
    def operator_password_file(self) -> Path:
        """The password of the operator whose login is `OPERATOR`."""
        return self.private / "operator.password"

    @property
    def token_file(self) -> Path:
        """The token of a program that may do what operators may."""
        return self.private / "api.token"

    def keep(self, words: str) -> None:
        """Leave everything as it is, until `stop`. `words`: for a second demo, which shows them."""
        write_private(self.private / record.WORDS, words)
        self.record.kept = True
        self.record.save()

    def close(self) -> None:
        """End everything and remove the folder."""
        for name in (
            "console",
            "pages",
            "pipeline",
            "cas",
            "timetable",
            "scim",
            "partage",
            "pegase",
            "samba",
            "moodle",
            "dovecot",
            "slapd",
            "kafka",
            "postgres",
        ):
            process = self.__dict__.get(name)  # it may have ended before all of them were made
            if process is not None:
                process.stop()
        self.record.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.record.kept:
            self.close()


def _new_folder() -> Path:
    """A new folder with a short path. An unprivileged server can pass through but not list it."""
    for parent in dict.fromkeys((Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))):  # noqa: S108
        if _suits(parent):
            folder = Path(tempfile.mkdtemp(prefix=record.FOLDER_PREFIX, dir=parent)).resolve()
            folder.chmod(0o711)
            return folder
    raise SandboxError(
        "no folder for temporary files that is short, writable and open to servers: set TMPDIR"
    )


def _suits(parent: Path) -> bool:
    where = parent.resolve()
    if not where.is_dir() or not os.access(where, os.W_OK | os.X_OK):
        return False
    if len(os.fsencode(where)) + len(f"/{record.FOLDER_PREFIX}12345678") > _FOLDER_BYTES_MAX:
        return False
    if not re.fullmatch(r"[A-Za-z0-9./_-]+", str(where)):  # the servers' configuration takes it literally
        return False
    closed = os.geteuid() == 0 and any(not p.stat().st_mode & 0o001 for p in (where, *where.parents))
    return not closed and shutil.disk_usage(where).free > 0
