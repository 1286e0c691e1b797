"""Configuration of a Kafka node (server.properties, log4j2.properties).

The clients' listener is in clear, or TLS with SCRAM-SHA-512. Nodes speak to one another in clear on separate
ports, as a super user: nothing of this is fit for anything but 127.0.0.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ADMIN = "admin"

LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c{1})%n
rootLogger.level = WARN
rootLogger.appenderRefs = out
rootLogger.appenderRef.out.ref = OUT
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = INFO
"""

STARTED = "Kafka Server started"
"""The log line of a node that serves."""


@dataclass(frozen=True, slots=True)
class Ports:
    """One node's ports: for clients (also by name), other nodes and controllers."""

    client: int
    internal: int
    controller: int
    others: Mapping[str, int]


_FEW_THREADS = {"num.network.threads": 1, "num.io.threads": 2}
"""The first for each listener. Each thread wakes three times a second, with nothing to do."""


def server_properties(
    node: int,
    ports: Sequence[Ports],
    *,
    data: Path,
    keystores: Mapping[str, Path],
    acls: bool,
    quick: bool,
) -> str:
    """The configuration of node number `node` (from 1) of `len(ports)`.

    `keystores`: the PEM file (key, then chain) of each listener that has TLS, by the listener's name: CLIENT,
    and those of `Ports.others`. Without one for CLIENT, that listener is in clear.
    """
    own = ports[node - 1]
    listeners = {"CLIENT": own.client, "INTERNAL": own.internal, "CONTROLLER": own.controller, **own.others}
    addresses = [f"{name}://127.0.0.1:{port}" for name, port in listeners.items()]
    protocols = {name: "SASL_SSL" if name in keystores else "PLAINTEXT" for name in listeners}
    values = {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.bootstrap.servers": ",".join(f"127.0.0.1:{each.controller}" for each in ports),
        "listeners": ",".join(addresses),
        "advertised.listeners": ",".join(addresses),
        "listener.security.protocol.map": ",".join(f"{name}:{each}" for name, each in protocols.items()),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INTERNAL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "log.dirs": data,
        **_common(nodes=len(ports)),
        **(_FEW_THREADS if quick else {}),
    }
    for name, keystore in keystores.items():
        values[f"listener.name.{name.lower()}.ssl.keystore.type"] = "PEM"
        values[f"listener.name.{name.lower()}.ssl.keystore.location"] = keystore
        values[f"listener.name.{name.lower()}.scram-sha-512.sasl.jaas.config"] = (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        )
    if acls:
        values["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
        values["super.users"] = f"User:ANONYMOUS;User:{ADMIN}"  # anonymous: the nodes among themselves
    return "".join(f"{name}={value}\n" for name, value in values.items())


def single_node(address: str) -> dict[str, str | int]:
    """A container's node, whose port 9092 clients reach at `address`."""
    listeners = {"CLIENT": "9092", "INTERNAL": "9094", "CONTROLLER": "9093"}
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": ",".join(f"{name}://:{port}" for name, port in listeners.items()),
        "advertised.listeners": f"CLIENT://{address},INTERNAL://localhost:9094",
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INTERNAL",
        "log.dirs": "/var/lib/kafka/data",
        **_common(nodes=1),
    }


def _common(nodes: int) -> dict[str, str | int]:
    """The part that does not depend on where a node is."""
    replicas = min(3, nodes)
    return {
        "num.partitions": 1,
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": max(1, replicas - 1),
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": max(1, replicas - 1),
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": max(1, replicas - 1),
        "share.coordinator.state.topic.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 500,
        "broker.heartbeat.interval.ms": 500,  # a node that was killed may come back after this and
        "broker.session.timeout.ms": 3_000,  # that
        "log.cleaner.dedupe.buffer.size": 16_777_216,
        "metadata.max.idle.interval.ms": 0,  # else it writes twice a second that nothing was written
        "controlled.shutdown.enable": str(nodes > 1).lower(),
    }
