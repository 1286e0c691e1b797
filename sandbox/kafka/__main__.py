"""`python -m sandbox.kafka`: fetch the jars, so that the first test need not."""

from __future__ import annotations

import sys

from sandbox.kafka.jars import fetch_jars
from sandbox.process import SandboxError

if __name__ == "__main__":
    try:
        fetch_jars()
    except SandboxError as error:
        sys.exit(f"Apache Kafka: {error}")
