"""`python -m sandbox.apereo`: fetch the server, so that the first test need not."""

from __future__ import annotations

import sys

from sandbox.apereo.war import fetch_war
from sandbox.process import SandboxError

if __name__ == "__main__":
    try:
        fetch_war()
    except SandboxError as error:
        sys.exit(f"Apereo CAS: {error}")
