"""Servers in containers (testcontainers), with TEST_CONTAINERS=1 or as a fallback.

Images are parameters: POSTGRES_IMAGE and KAFKA_IMAGE, by default those of docker-compose.yml. What an image
must understand is in sandbox/images/README.md, with images for hosts that can pull none. Ports are published
on loopback only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.kafka.properties import STARTED, single_node
from sandbox.ports import free_port

ASKED = "TEST_CONTAINERS"
_COMPOSE = Path(__file__).parents[3] / "docker-compose.yml"
_START_S_MAX = 120
_CLUSTER_ID = "c2VzYW1lLXRlc3RzLTAwMQ"  # any 16 bytes


class NoDocker(Exception):
    """There is no Docker that answers."""


def asked() -> bool:
    """Whether containers are wanted although the programs may be installed."""
    return os.environ.get(ASKED, "0") not in {"", "0", "no", "false"}


def image(variable: str) -> str:
    """The image that the environment names, else the compose file's."""
    default = re.search(rf"\$\{{{variable}:-([^}}]+)\}}", _COMPOSE.read_text(encoding="utf-8"))
    if default is None:
        raise KeyError(variable)
    return os.environ.get(variable, default[1])


@contextmanager
def postgres() -> Iterator[str]:
    """PostgreSQL; its administrator's address. Raises `NoDocker`."""
    from testcontainers.community.postgres import PostgresContainer

    with _docker():
        container = PostgresContainer(image("POSTGRES_IMAGE"), username="admin", driver=None)
    _publish(container, 5432, free_port())
    with container as running:
        yield running.get_connection_url(host="127.0.0.1")


@contextmanager
def kafka() -> Iterator[list[str]]:
    """Apache Kafka, one node in clear; its address. Raises `NoDocker`.

    The port is chosen before: Kafka tells it to clients.
    """
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    port = free_port()
    with _docker():
        container = DockerContainer(image("KAFKA_IMAGE"))
    _publish(container, 9092, port)
    for name, value in single_node(f"127.0.0.1:{port}").items():
        container.with_env(f"KAFKA_{name.upper().replace('.', '_')}", str(value))
    container.with_env("CLUSTER_ID", _CLUSTER_ID)
    container.waiting_for(LogMessageWaitStrategy(STARTED).with_startup_timeout(_START_S_MAX))
    with container:
        yield [f"127.0.0.1:{port}"]


@contextmanager
def _docker() -> Iterator[None]:
    from docker.errors import DockerException

    try:
        yield
    except DockerException as error:
        raise NoDocker(str(error)) from error


def _publish(container: Any, inside: int, outside: int) -> None:
    container.ports = {f"{inside}/tcp": ("127.0.0.1", outside)}
