"""A real Apache Kafka on loopback, in KRaft mode, from Maven Central's jars."""

from sandbox.kafka.cluster import Kafka
from sandbox.kafka.jars import fetch_jars

__all__ = ["Kafka", "fetch_jars"]
