"""The audit leaves the store as it happens: in order, each entry at least once, by real sockets."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from pipeline import audit
from pipeline.audit import trail
from pipeline.audit.chain import digests_in
from pipeline.db.database import Database
from pipeline.db.persons import Forgetting
from pipeline.locks import SiteLocks
from sandbox.process import PATIENCE_S
from sandbox.tls import ThrowawayCA
from sesame.app import audit_export
from sesame.app.audit_export import AuditExport, JsonLines, Pseudonyms, Receiver, behind
from sesame.app.syslog import DATAGRAM_BYTES_MAX, Syslog
from sesame.settings.audit import AuditSettings
from sesame.testing.servers.database_kit import Clock

NEVER = threading.Event()


def note(database: Database, **detail: object) -> None:
    with database.write() as connection:
        audit.note(connection, database, actor="camille", action="hold.place", detail=detail)


def documents(count: int = 3, **more: object) -> list[dict[str, Any]]:
    return [
        {"id": n, "at": "2026-11-28T00:00:00.000000+00:00", "action": "hold.place", "hash": "f" * 64, **more}
        for n in range(count)
    ]


class Server:
    """A syslog server on TCP, TLS if it has a certificate: it reads each connection to its end, and closes.

    Args:
        hears: False: it takes connections, and resets them.
    """

    def __init__(self, context: ssl.SSLContext | None = None, *, hears: bool = True) -> None:
        self.frames: list[bytes] = []
        self.hears = hears
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_S)
            if not self.hears:
                connection.recv(1)
                connection.close()  # with something unread: a reset
                continue
            try:
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
                data = b""
                while more := connection.recv(65_536):
                    data += more
                self._take(data)  # before the end is told
                if isinstance(connection, ssl.SSLSocket):
                    connection = connection.unwrap()
            except OSError:
                continue
            finally:
                connection.close()

    def _take(self, data: bytes) -> None:
        while data:
            length, _, data = data.partition(b" ")
            self.frames.append(data[: int(length)])
            data = data[int(length) :]

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as server:
        yield server


FORM = re.compile(rb"<109>1 (\S+) srv1 sesame - (\S+) - (\{.*\})")


def said(frames: Sequence[bytes]) -> list[dict[str, Any]]:
    """What syslog lines say; each has RFC 5424's form."""
    found = []
    for frame in frames:
        match = FORM.fullmatch(frame)
        assert match is not None, frame
        found.append(json.loads(match[3]))
        assert match[1].decode() == found[-1]["at"]
        assert match[2].decode() == found[-1]["action"]
    return found


# --- the receivers --------------------------------------------------------------------------------


def test_a_batch_arrives_by_tcp_and_is_acknowledged_by_its_end(server: Server) -> None:
    wanted = documents(400, actor="élève")
    Syslog(f"tcp://127.0.0.1:{server.port}", host="srv1").send(wanted)
    assert said(server.frames) == wanted


def test_a_batch_arrives_by_tls_from_a_verified_server_alone(tmp_path: Path) -> None:
    ca = ThrowawayCA(tmp_path)
    certificate = ca.issue("siem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    with closing(Server(context)) as server:
        address = f"tls://127.0.0.1:{server.port}"
        Syslog(address, ca_file=ca.ca_file, host="srv1").send(documents())
        assert said(server.frames) == documents()
        with pytest.raises(OSError, match="certificate"):
            Syslog(address, host="srv1").send(documents())


def test_a_receiver_that_dies_before_it_has_read_all_has_got_nothing() -> None:
    with closing(Server(hears=False)) as server, pytest.raises(OSError, match="Errno"):
        Syslog(f"tcp://127.0.0.1:{server.port}").send(documents(2_000))


@pytest.mark.parametrize("kind", ["udp", "unix"])
def test_datagrams_are_sent_and_one_that_is_too_long_is_cut(kind: str, tmp_path: Path) -> None:
    family = socket.AF_INET if kind == "udp" else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_DGRAM) as listening:
        listening.settimeout(PATIENCE_S)
        listening.bind(("127.0.0.1", 0) if kind == "udp" else str(tmp_path / "log"))
        place = (
            f"udp://127.0.0.1:{listening.getsockname()[1]}" if kind == "udp" else f"unix:{tmp_path / 'log'}"
        )
        long = documents(1, detail="x" * DATAGRAM_BYTES_MAX)
        Syslog(place, host="srv1").send([*documents(1), *long])
        found = said([listening.recv(65_536) for _ in range(2)])
    assert found == [*documents(1), documents(1)[0] | {"cut": True}]


def test_a_file_is_appended_to_and_may_be_moved_away(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    JsonLines(file).send(documents(2, actor="élève"))
    file.rename(tmp_path / "old.jsonl")
    JsonLines(file).send(documents(1))
    lines = (tmp_path / "old.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == documents(2, actor="élève")
    assert len(file.read_text("utf-8").splitlines()) == 1
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("address", ["siem:514", "http://siem:514", "tcp://siem", "unix:log", "tcp://a b:1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        AuditSettings(syslog=address)


# --- from the store -------------------------------------------------------------------------------


class Memory:
    """A receiver that keeps what it gets, and is away when told so."""

    def __init__(self) -> None:
        self.got: list[Mapping[str, Any]] = []
        self.away = False
        self.dies_after = False

    def send(self, documents: Sequence[Mapping[str, Any]]) -> None:
        if self.away:
            raise ConnectionRefusedError(111, "Connection refused")
        self.got += documents
        if self.dies_after:
            raise ConnectionResetError(104, "Connection reset by peer")

    @property
    def ids(self) -> list[int]:
        return [each["id"] for each in self.got]


class Export:
    """An export to one receiver, and what it complained of."""

    def __init__(self, database: Database, receiver: Receiver) -> None:
        self.troubles: list[str] = []
        self.export = AuditExport(
            database, {"syslog": receiver}, on_trouble=lambda _about, what: self.troubles.append(what)
        )

    def run(self) -> bool:
        return self.export.send_due("syslog", NEVER)


def test_entries_go_out_in_order_from_where_they_stopped_and_prove_the_chain(
    database: Database, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(audit_export, "ENTRIES_PER_BATCH", 2)
    memory = Memory()
    export = Export(database, memory)
    for index in range(5):
        note(database, student_number="22001234", index=index)
    assert export.run()
    memory.away = True
    note(database)
    assert not export.run()
    assert export.troubles == ["syslog: not sent: [Errno 111] Connection refused"]
    clock.now += 60.0
    note(database)
    with database.read() as connection:
        late = behind(connection, "syslog", clock.now)
    assert (late.entries, late.oldest_s) == (2, 60.0)
    memory.away = False
    assert Export(database, memory).run(), "another process goes on"
    assert memory.ids == [1, 2, 3, 4, 5, 6, 7]
    with database.read() as connection:
        assert behind(connection, "syslog", clock.now).entries == 0
    previous = "0" * 64
    for one in map(dict, memory.got):
        own, _ = one.pop("hash"), one.pop("persons", None)
        canonical = json.dumps(one, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert (one["previous"], own) == (previous, hashlib.sha256(canonical.encode()).hexdigest())
        previous = own


def test_what_may_not_have_arrived_is_sent_again(database: Database) -> None:
    memory = Memory()
    note(database)
    memory.dies_after = True
    export = Export(database, memory)
    assert not export.run()
    memory.dies_after = False
    assert export.run()
    assert memory.ids == [1, 1]
    assert export.run()
    assert memory.ids == [1, 1]


def test_of_several_processes_one_sends(database: Database) -> None:
    note(database)
    memory = Memory()
    export = Export(database, memory)
    with SiteLocks(database).hold("audit syslog", ttl_s=60.0):
        assert export.run()
        assert (memory.ids, export.troubles) == ([], [])
    assert export.run()
    assert memory.ids == [1]


def test_a_store_that_went_back_is_told_and_all_that_it_has_is_sent(database: Database) -> None:
    memory = Memory()
    export = Export(database, memory)
    for _ in range(3):
        note(database)
    export.run()
    with database.read() as connection:
        second = trail.documents(connection, after=1, limit=1)[0].mark
    with database.write() as connection:  # as the backup had it
        guard = (
            "DROP TRIGGER audit_no_delete" if database.is_sqlite else "ALTER TABLE audit DISABLE TRIGGER USER"
        )
        connection.execute(text(guard))
        connection.execute(text("DELETE FROM audit WHERE id = 3"))
        if not database.is_sqlite:
            connection.execute(text("ALTER TABLE audit ENABLE TRIGGER USER"))
        trail.set_mark(connection, database, trail.HEAD, second)
    note(database, another="one")
    memory.got.clear()
    assert export.run()
    (trouble,) = export.troubles
    assert "entry 3 of the audit is not the one that was sent" in trouble
    assert memory.ids == [1, 2, 3]
    assert export.run()
    assert memory.ids == [1, 2, 3]


def test_what_retention_has_removed_is_no_trouble(database: Database) -> None:
    memory = Memory()
    export = Export(database, memory)
    for _ in range(3):
        note(database)
    with database.read() as connection:
        second = trail.documents(connection, after=1, limit=1)[0].mark
    with database.write() as connection:
        trail.remove(connection, database, second)
    assert export.run()
    assert (memory.ids, export.troubles) == ([3], [])


def test_two_acts_about_one_student_can_be_joined_for_so_many_days_and_name_nobody(
    database: Database, clock: Clock
) -> None:
    keys, numbers = ["bmV3", "b2xk"], ("22001234", "22005678")
    memory = Memory()
    pseudonyms = Pseudonyms(keys, days=30)
    export = AuditExport(database, {"syslog": memory}, as_sent=pseudonyms, on_trouble=print)
    clock.now = 30 * 86_400.0 * 700  # where a period begins
    note(database, student_number=numbers[0])
    clock.now += 29 * 86_400.0
    note(database, student_number=numbers[1], other=numbers[0])
    clock.now += 2 * 86_400.0
    note(database, students=list(numbers))
    note(database)
    assert export.send_due("syslog", NEVER)
    sent = json.dumps(memory.got)
    assert not [each for each in (*numbers, '"salt"') if each in sent]
    told = [{person["pseudonym"] for person in each.get("persons", {}).values()} for each in memory.got]
    [lea] = told[0]
    assert len(told[1]) == 2
    assert lea in told[1], "within the days it is the same"
    assert len(told[2]) == 2
    assert not told[2] & told[1], "afterwards it is another"
    assert told[3] == set()
    for each in memory.got:
        assert digests_in(each["detail"]) == set(each.get("persons", {}))
    before = {**memory.got[0]}
    with database.read() as connection:
        [line] = trail.documents(connection, after=0, limit=1)
    assert pseudonyms(line) == before, "what is sent again is the same"
    assert Pseudonyms(["b3RoZXI="], days=30)(line)["persons"] != before["persons"]
    with database.write() as connection:
        trail.forget(connection, database, Forgetting(numbers[0], "erased-a", (), str))
        [line] = trail.documents(connection, after=0, limit=1)
    assert [*pseudonyms(line)["persons"].values()] == [{"pseudonym": "erased-a"}]
