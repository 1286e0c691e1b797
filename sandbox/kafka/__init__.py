"""A real Apache Kafka on loopback: KRaft mode, one or three nodes, from the jars of Maven Central."""

from sandbox.kafka.cluster import Kafka
from sandbox.kafka.jars import fetch_jars

__all__ = ["Kafka", "fetch_jars"]
