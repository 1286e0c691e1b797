"""`python -m sandbox.scim`: serve SCIM in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sandbox.http_server import add_arguments, context_of, serve_until_told
from sandbox.scim.serving import Application, Server


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped."""
    options = _parser().parse_args(arguments)
    token = (options.folder / "token").read_text(encoding="utf-8")
    application = Application(options.folder, token, record=options.record)
    server = Server(options.port, application, context_of(options))
    serve_until_told(server)
    application.save()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.scim", description=__doc__)
    add_arguments(parser)
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="folder with the token; what is held is kept there")
    add("--record", action="store_true", help="note what is asked in requests.jsonl")
    return parser


if __name__ == "__main__":
    sys.exit(main())
