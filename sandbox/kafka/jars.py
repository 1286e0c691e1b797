"""Apache Kafka's jars: see `sandbox.maven` for downloads and upgrades."""

from __future__ import annotations

from pathlib import Path

from sandbox.maven import Artifacts

KAFKA_VERSION = "4.3.1"
_SLF4J_BINDING_VERSION = "2.25.4"  # as log4j-core, which Kafka brings; its slf4j-api is a 1.7

_JARS = Artifacts(
    "kafka",
    f"Apache Kafka {KAFKA_VERSION}",
    f"""
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>{_SLF4J_BINDING_VERSION}</version>
    </dependency>
  """,
    Path(__file__).with_name("jars.sha256"),
)


def fetch_jars() -> Path:
    """The folder of the jars; fetched now if missing. Raises as `Artifacts.fetch`."""
    return _JARS.fetch()
