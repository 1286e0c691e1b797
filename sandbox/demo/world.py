"""One demo's world: real servers, Sésame's settings, and `sesame run`, all in one temporary folder.

    with World() as world:
        world.start()
        world.pipeline.start()
        world.sesame.run("import", …)

Nothing is left when it is closed: no process, no folder.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
import urllib.request
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from sandbox.cas import CasDirectory, CasServer, Service
from sandbox.demo import record
from sandbox.demo.machine import sesame_program
from sandbox.demo.pages import StudentsPages
from sandbox.demo.program import Sesame, environment
from sandbox.dovecot import Dovecot, LookupDirectory
from sandbox.kafka import Kafka
from sandbox.moodle import MoodleStandIn
from sandbox.process import ManagedProcess, SandboxError, free_port
from sandbox.slapd import Layout, Slapd
from sandbox.timetable import Timetable
from sandbox.tls import ThrowawayCA

_TEMPLATE = Path(__file__).with_name("settings.toml")
_TIMETABLE = """
[timetable]
calendar_url = "@timetable_url@/ical/{login}.ics"
probe_url = "@timetable_url@/ical/salle-a101.ics"
ca_file = "@timetable_ca_file@"
timeout_s = 5.0
"""
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


class World:
    """Everything one demo runs. Nothing runs before `start`.

    Args:
        records: where the record of what runs is written; default: the checkout's `.demo`.
        keep: let the servers outlive this process if it ends without closing the world.
        timetable: a timetable service too, as a fourth target; it has a calendar for everybody.
        kafka: run on Apache Kafka, over TLS with SCRAM, rather than on the embedded log.

    Raises:
        MissingServer: slapd, Dovecot or what Kafka needs is not installed.
    """

    def __init__(
        self,
        records: Path | None = None,
        *,
        keep: bool = False,
        timetable: bool = False,
        kafka: bool = False,
    ) -> None:
        self.folder = _new_folder()
        self.record = record.create(record.place(records), self.folder)
        self.private = self.folder / "sesame"
        self.private.mkdir(mode=0o700)
        self.settings_file = self.private / "sesame.toml"
        self.log_file = self.private / "run.log"
        try:
            self._prepare_servers(keep=keep)
            self.timetable = self._timetable(keep=keep) if timetable else None
            self.kafka = self._prepare_kafka(keep=keep) if kafka else None
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
        self.cas = CasServer(
            CasDirectory.of(self.slapd),
            [Service("portail", r"^https?://127[.]0[.]0[.]1:[0-9]+/")],
            self.folder / "cas",
            keep_running=keep,
        )
        self.pages = StudentsPages(self.folder, self.settings_file, keep=keep)
        self._http_port = free_port()
        self.sesame = Sesame(self.settings_file, cwd=self.private)
        self.pipeline = ManagedProcess(
            "sesame run",
            [sesame_program(), "--config", self.settings_file, "run"],
            log_file=self.log_file,
            ready=self._pipeline_is_ready,
            env=environment(),
            cwd=self.private,
            start_timeout_s=120.0,
            stop_timeout_s=20.0,
            outlives_parent=keep,
        )

    def _timetable(self, *, keep: bool) -> Timetable:
        folder = self.folder / "timetable"
        folder.mkdir()
        certificate = ThrowawayCA(folder).issue("timetable")
        return Timetable(folder, certificate=certificate, everybody=True, outlives_parent=keep)

    def _prepare_kafka(self, *, keep: bool) -> Kafka:
        password = self.private / "kafka.password"
        with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(secrets.token_urlsafe(18))
        users = {"sesame": password.read_text(encoding="ascii")}
        return Kafka(self.folder / "kafka", users=users, keep_running=keep)

    @property
    def servers(self) -> dict[str, Server]:
        """The targets' servers, by target, in the order in which they are started."""
        servers: dict[str, Server] = {
            "directory": self.slapd,
            "mailbox": self.dovecot,
            "moodle": self.moodle,
        }
        return servers | ({"timetable": self.timetable} if self.timetable is not None else {})

    @property
    def http_url(self) -> str:
        """Where `sesame run` shows its metrics and health."""
        return f"http://127.0.0.1:{self._http_port}"

    def start(self) -> None:
        """Start the servers and write the settings.

        Raises:
            StartFailed: one did not come up.
        """
        for name in self.servers:
            self.start_server(name)
        self.cas.start()
        self.record.add("cas", self.cas.pid)
        self.pages.mail.start()
        self.record.add("mail sink", self.pages.mail.pid)
        if self.kafka is not None:
            self.kafka.start()
            for pid in self.kafka.pids:
                self.record.add("kafka", pid)
        self._write_settings()
        if self.kafka is not None:
            self.sesame.run("topics", "apply", "--yes")

    def start_server(self, target: str) -> None:
        """Start a target's server, or start it again."""
        server = self.servers[target]
        server.start()
        self.record.add(target, server.pid)

    def start_pipeline(self) -> None:
        """Start `sesame run`, or start it again."""
        self.pipeline.start()
        self.record.add("sesame run", self.pipeline.pid)

    def start_pages(self) -> None:
        """Start `sesame web`, the students' pages."""
        self.pages.web.start()
        self.record.add("sesame web", self.pages.web.pid)

    def keep(self) -> None:
        """Leave everything as it is, until `stop`."""
        self.record.kept = True
        self.record.save()

    def close(self) -> None:
        """End everything and remove the folder."""
        for name in ("pages", "pipeline", "cas", "timetable", "moodle", "dovecot", "slapd", "kafka"):
            process = self.__dict__.get(name)
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

    def _pipeline_is_ready(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.http_url}/readyz", timeout=5.0) as answer:
            return bool(answer.status == HTTPStatus.OK)

    def _write_settings(self) -> None:
        slapd, dovecot, moodle = self.slapd, self.dovecot, self.moodle
        values = {
            "data_dir": self.private / "data",
            "targets": json.dumps(list(self.servers)),
            "ldap_uri": slapd.ldap_uri,
            "ldap_ca_file": slapd.ca_file,
            "provisioner_dn": slapd.provisioner_dn,
            "provisioner_password_file": slapd.provisioner_password_file,
            "people_dn": slapd.people_dn,
            "groups_dn": slapd.groups_dn,
            "probe_dn": slapd.probe_dn,
            "policy_dn": slapd.policy_dn,
            "organisation_dn": slapd.base_dn,
            "doveadm_url": dovecot.doveadm_url,
            "dovecot_ca_file": dovecot.ca_file,
            "doveadm_key_file": dovecot.api_key_file,
            "lmtp_port": dovecot.ports.lmtp,
            "probe_mail": slapd.probe_mail,
            "cas_url": self.cas.url,
            "cas_ca_file": self.cas.ca_file,
            "probe_login": slapd.probe_uid,
            "probe_password_file": slapd.probe_password_file,
            "moodle_url": moodle.url,
            "moodle_token_file": moodle.token_file,
            "portal_url": self.pages.url,
            "portal_port": self.pages.port,
            "smtp_port": self.pages.mail.port,
            "smtp_ca_file": self.pages.mail.ca_file,
            "http_port": self._http_port,
            "log": "" if self.kafka is None else self._kafka_settings(self.kafka),
        }
        text = _TEMPLATE.read_text(encoding="utf-8")
        if self.timetable is not None:
            text += _TIMETABLE
            values |= {"timetable_url": self.timetable.url, "timetable_ca_file": self.timetable.ca_file}
        self.settings_file.write_text(
            re.sub(r"@([a-z_]+)@", lambda word: str(values.get(word[1], word[0])), text), encoding="utf-8"
        )

    def _kafka_settings(self, kafka: Kafka) -> str:
        return (
            f'[log]\nkind = "kafka"\nservers = ["{kafka.servers[0]}"]\nca_file = "{kafka.ca_file}"\n'
            f'username = "sesame"\npassword_file = "{self.private / "kafka.password"}"\n'
            "replication = 1\nmin_insync_replicas = 1\n"
        )


def _new_folder() -> Path:
    """A new folder with a short path, which an unprivileged server can pass through but not list."""
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
