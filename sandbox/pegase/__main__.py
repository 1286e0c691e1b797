"""`python -m sandbox.pegase`: answer until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sandbox.http_server import add_arguments, context_of, serve_until_told
from sandbox.pegase.serving import Server
from sandbox.pegase.state import State


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.pegase", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--folder", type=Path, required=True, help="folder with password and control-key")
    options = parser.parse_args(arguments)
    password, key = (
        (options.folder / name).read_text(encoding="utf-8") for name in ("password", "control-key")
    )
    serve_until_told(Server(options.port, State(password), key, context_of(options)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
