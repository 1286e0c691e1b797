"""Kafka over TLS with SCRAM: who is who is checked on both sides, and a refusal says what to mend."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from pipeline.eventlog.kafka import Access, KafkaEventLog, Security
from pipeline.eventlog.port import LogRefused, LogUnavailable, NewRecord, NotAllowed, UnknownTopic
from sandbox.kafka import Kafka
from sandbox.ports import free_port
from sandbox.tls import ThrowawayCA
from sesame.cli.errors import ExitCode
from sesame.testing.relay import Cut, Relay
from sesame.testing.servers.command import sesame


def access(kafka: Kafka, *, listener: str = "", **others: str | Path | None) -> Access:
    """The administrator's, or another's."""
    given = {"username": "admin", "password": kafka.admin_password, "ca_file": kafka.ca_file, **others}
    servers = [kafka.listener(listener)] if listener else kafka.servers
    return Access(tuple(servers), client_id="tests", security=Security.SASL_SSL, **given)  # type: ignore[arg-type]


def another_authority(folder: Path) -> Path:
    return ThrowawayCA(folder, name="Another").ca_file


def test_a_user_with_the_right_password_over_tls_reads_what_was_appended(secure_kafka: Kafka) -> None:
    log = KafkaEventLog(access(secure_kafka))
    log.ensure_topics({"tls": 2})
    producer, consumer = log.producer(), log.consumer("tls", ["tls"], member="one")
    producer.append([NewRecord("tls", "22600001", b"{}")])
    records = []
    for _ in range(100):
        records += consumer.poll(10, 0.2)
        if records:
            break
    assert [record.key for record in records] == ["22600001"]
    consumer.close()
    producer.close()
    log.close()


@pytest.mark.parametrize(
    ("listener", "said", "remedy"),
    [
        ("EXPIRED", "certificate has expired", "Renew"),
        ("ELSEWHERE", "is not accepted: .* mismatch", "as its certificate does"),
    ],
)
def test_a_certificate_that_is_expired_or_another_s_is_refused(
    listener: str, said: str, remedy: str, secure_kafka: Kafka
) -> None:
    with pytest.raises(LogRefused, match=said) as refused:
        KafkaEventLog(access(secure_kafka, listener=listener))
    assert remedy in refused.value.remedy


def test_a_certificate_of_an_authority_that_is_not_known_is_refused(
    secure_kafka: Kafka, tmp_path: Path
) -> None:
    with pytest.raises(LogRefused, match="not accepted") as refused:
        KafkaEventLog(access(secure_kafka, ca_file=another_authority(tmp_path)))
    assert "log.ca_file" in refused.value.remedy


def test_a_file_without_a_certificate_is_named(secure_kafka: Kafka, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(LogRefused, match=r"log\.ca_file"):
        KafkaEventLog(access(secure_kafka, ca_file=tmp_path / "ca.pem"))


def test_a_wrong_password_is_refused_and_never_shown(secure_kafka: Kafka) -> None:
    wrong = access(secure_kafka, password="not-the-password")
    assert "not-the-password" not in repr(wrong)
    with pytest.raises(LogRefused, match=r"'admin'.*name or password is wrong") as refused:
        KafkaEventLog(wrong)
    assert "not-the-password" not in str(refused.value)


class Dying:
    """Lets the server die when a client begins to speak for the n-th time on one connection."""

    def __init__(self, relay: Relay, at: int, dead: threading.Event) -> None:
        self._relay, self._at, self._dead = relay, at, dead
        self._turns, self._clients_turn = 0, False

    def asked(self, piece: bytes) -> bytes:
        self._turns += not self._clients_turn
        self._clients_turn = True
        if self._turns == self._at:
            self._dead.set()
            self._relay.die()
            raise Cut
        return piece

    def answered(self, piece: bytes) -> bytes:
        self._clients_turn = False
        return piece


@contextmanager
def dying(kafka: Kafka, at: int) -> Iterator[str]:
    """The address of a server that is killed then; it must have been when the block ends, but for 0."""
    dead = threading.Event()
    with Relay(kafka.servers[0], lambda relay: Dying(relay, at, dead)) as relay:
        yield relay.address
    assert dead.is_set() == bool(at)


@pytest.mark.parametrize("at", range(1, 6), ids=lambda at: f"turn-{at}")
def test_a_server_that_is_killed_during_the_handshake_refuses_nobody(at: int, secure_kafka: Kafka) -> None:
    with dying(secure_kafka, at) as server:
        alone = replace(access(secure_kafka), servers=(server,))
        with pytest.raises(LogUnavailable, match="no Kafka server answers") as silent:
            alone.check()
    assert type(silent.value) is LogUnavailable, "nothing says that the password is wrong"
    with dying(secure_kafka, at) as server:
        one_of_two = replace(access(secure_kafka), servers=(server, *secure_kafka.servers))
        one_of_two.check()


def test_what_a_server_says_before_it_hangs_up_is_heard_each_time(secure_kafka: Kafka) -> None:
    with dying(secure_kafka, 0) as server:
        replace(access(secure_kafka), servers=(server,)).check()
        wrong = replace(access(secure_kafka, password="not-the-password"), servers=(server,))
        for _ in range(5):
            with pytest.raises(LogRefused, match="name or password is wrong"):
                wrong.check()


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    server = f"127.0.0.1:{free_port()}"
    with pytest.raises(LogUnavailable, match=f"{server}: Connection refused"):
        KafkaEventLog(Access((server,), client_id="tests"))


def test_tls_to_a_port_without_tls_is_said(kafka_servers: list[str]) -> None:
    with pytest.raises(LogRefused, match="does not speak TLS"):
        KafkaEventLog(Access(tuple(kafka_servers), client_id="tests", security=Security.SSL))


def test_who_has_no_right_is_told_which(secure_kafka: Kafka) -> None:
    KafkaEventLog(access(secure_kafka)).ensure_topics({"secret": 1})
    log = KafkaEventLog(access(secure_kafka, username="sesame-nobody", password="password"))
    producer = log.producer()
    with pytest.raises((NotAllowed, UnknownTopic), match="secret"):
        producer.append([NewRecord("secret", "22600001", b"{}")])
    with pytest.raises((NotAllowed, UnknownTopic), match="secret"):
        log.consumer("nobody", ["secret"], member="one")
    producer.close()
    log.close()


def doctor(folder: Path, kafka: Kafka, **settings: str) -> Result:
    (folder / "password").write_text(settings.pop("password", kafka.admin_password))
    (folder / "password").chmod(0o600)
    given = {"servers": f'["{kafka.servers[0]}"]', "ca_file": f'"{kafka.ca_file}"', **settings}
    lines = "".join(f"log.{name} = {value}\n" for name, value in given.items())
    (folder / "sesame.toml").write_text(
        f'data_dir = "."\nlog.kind = "kafka"\nlog.username = "admin"\nlog.password_file = "password"\n{lines}'
    )
    return sesame("--config", str(folder / "sesame.toml"), "doctor", "--only", "log")


def test_the_doctor_names_each_refusal_and_ends_as_for_a_dependency_that_is_down(
    secure_kafka: Kafka, tmp_path: Path, no_variables: None
) -> None:
    cases = {
        "certificate has expired": {"servers": f'["{secure_kafka.listener("EXPIRED")}"]'},
        "not accepted": {"ca_file": f'"{another_authority(tmp_path)}"'},
        "name or password is wrong": {"password": "not-the-password"},
        "no Kafka server answers": {"servers": f'["127.0.0.1:{free_port()}"]'},
    }
    for said, settings in cases.items():
        result = doctor(tmp_path, secure_kafka, **settings)
        assert result.exit_code == ExitCode.DEPENDENCY_DOWN, result.output
        assert said in result.stdout
        assert "not-the-password" not in result.output
