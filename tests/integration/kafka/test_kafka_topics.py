"""`sesame topics` on a real Kafka: what is missing is made, what differs set, what would harm refused."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import Result
from kafka import KafkaAdminClient

from pipeline.eventlog.kafka import Access, Security
from pipeline.eventlog.kafka.plan import ChangeKind, Planner, TopicChange, TopicPlan
from pipeline.eventlog.port import LogError
from sandbox.kafka import Kafka
from sandbox.process import PATIENCE_S
from schemas import catalogue
from sesame.cli.errors import ExitCode
from sesame.testing.servers import command
from sesame.testing.servers.brokers import PATIENT


@pytest.fixture
def planner(kafka_servers: list[str]) -> Planner:
    return Planner(Access(tuple(kafka_servers), client_id="tests", timing=PATIENT))


def plan(name: str, **changes: str) -> TopicPlan:
    return TopicPlan(name, 3, 1, {"retention.ms": "60000", "cleanup.policy": "delete"} | changes)


def test_what_is_missing_is_created_and_then_nothing_differs(planner: Planner) -> None:
    plans = [plan(f"t-{uuid4().hex}"), plan(f"t-{uuid4().hex}")]
    changes = planner.compare(plans)
    assert [(change.kind, change.topic) for change in changes] == [
        (ChangeKind.CREATE, each.name) for each in plans
    ]
    planner.apply(plans, changes)
    assert planner.compare(plans) == []
    planner.close()


def test_what_differs_is_set_and_what_is_not_planned_is_left_alone(planner: Planner) -> None:
    name = f"t-{uuid4().hex}"
    before, after = plan(name, **{"segment.ms": "3600000"}), plan(name, **{"retention.ms": "120000"})
    planner.apply([before], planner.compare([before]))
    changes = planner.compare([after])
    assert changes == [TopicChange(ChangeKind.SET, name, "retention.ms", "60000", "120000")]
    planner.apply([after], changes)
    assert planner.compare([after]) == []
    assert planner.compare([plan(name, **{"retention.ms": "120000", "segment.ms": "3600000"})]) == []
    planner.close()


def test_another_number_of_partitions_is_refused_for_the_order_of_each_student(planner: Planner) -> None:
    before = plan(f"t-{uuid4().hex}")
    planner.apply([before], planner.compare([before]))
    wider = TopicPlan(before.name, 6, 1, before.configuration)
    (change,) = planner.compare([wider])
    assert (change.kind, change.key, change.present, change.wanted) == (
        ChangeKind.REFUSED,
        "partitions",
        "3",
        "6",
    )
    assert "behind the older ones" in change.why
    planner.apply([wider], [change])
    assert planner.compare([before]) == []
    planner.close()


def test_more_replicas_than_servers_are_explained(planner: Planner) -> None:
    impossible = TopicPlan(f"t-{uuid4().hex}", 1, 9)
    with pytest.raises(LogError, match="fewer servers") as refused:
        planner.apply([impossible], planner.compare([impossible]))
    assert "log.replication" in refused.value.remedy
    planner.close()


def sesame(folder: Path, *arguments: str) -> Result:
    return command.sesame("--config", str(folder / "sesame.toml"), *arguments)


@pytest.fixture
def bare_kafka(secure_kafka: Kafka) -> Kafka:
    """A Kafka without our topics: others' tests may have made them, with other partitions."""
    access = Access(
        tuple(secure_kafka.servers),
        "tests",
        Security.SASL_SSL,
        secure_kafka.ca_file,
        "admin",
        secure_kafka.admin_password,
        PATIENT,
    )
    with closing(KafkaAdminClient(**access.configuration())) as admin:
        if there := catalogue.TOPICS.keys() & set(admin.list_topics()):
            admin.delete_topics(sorted(there))
        deadline = time.monotonic() + PATIENCE_S
        while catalogue.TOPICS.keys() & set(admin.list_topics()):
            assert time.monotonic() < deadline, "the topics are still there"
    return secure_kafka


def test_the_command_makes_all_topics_once_says_what_it_would_do_and_refuses_other_partitions(
    bare_kafka: Kafka, tmp_path: Path, no_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text(bare_kafka.admin_password)
    (tmp_path / "password").chmod(0o600)
    settings = (
        'data_dir = "."\n[log]\nkind = "kafka"\nusername = "admin"\n'
        f'servers = ["{bare_kafka.servers[0]}"]\n'
        f'ca_file = "{bare_kafka.ca_file}"\npassword_file = "password"\nreplication = 1\n'
    )
    (tmp_path / "sesame.toml").write_text(settings + "partitions = 2\n", encoding="utf-8")

    first = sesame(tmp_path, "topics", "diff", "--json")
    assert first.exit_code == ExitCode.FAILED
    assert {change["topic"] for change in json.loads(first.stdout)} == set(catalogue.TOPICS)
    assert sesame(tmp_path, "topics", "apply", "--dry-run").exit_code == ExitCode.DONE
    assert sesame(tmp_path, "topics", "diff").exit_code == ExitCode.FAILED
    made = sesame(tmp_path, "topics", "apply", "--yes")
    assert made.exit_code == ExitCode.DONE, made.output
    assert sesame(tmp_path, "topics", "diff").exit_code == ExitCode.DONE
    assert sesame(tmp_path, "doctor", "--only", "log").exit_code == ExitCode.DONE

    (tmp_path / "sesame.toml").write_text(settings + "partitions = 4\n", encoding="utf-8")
    monkeypatch.setattr("sesame.app.event_log._SEGMENT_BYTES", 50_000_000)
    assert sesame(tmp_path, "topics", "apply", "--dry-run").exit_code == ExitCode.PARTLY
    refused = sesame(tmp_path, "topics", "apply", "--yes", "--json")
    assert refused.exit_code == ExitCode.PARTLY
    kinds = {(change["kind"], change["key"]) for change in json.loads(refused.stdout)}
    assert kinds == {("refused", "partitions"), ("set", "segment.bytes")}
    left = json.loads(sesame(tmp_path, "topics", "diff", "--json").stdout)
    assert {change["key"] for change in left} == {"partitions"}
    assert sesame(tmp_path, "doctor", "--only", "log").exit_code == ExitCode.FAILED
