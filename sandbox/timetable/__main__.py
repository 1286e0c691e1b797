"""`python -m sandbox.timetable`: serve calendars until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sandbox.http_server import add_arguments, context_of, serve_until_told
from sandbox.timetable.serving import Folder, Server


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped."""
    options = _parser().parse_args(arguments)
    server = Server(options.port, Folder(options.folder, everybody=options.everybody), context_of(options))
    serve_until_told(server)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.timetable", description=__doc__)
    add_arguments(parser)
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="folder with calendars/, behaviours.json")
    add("--everybody", action="store_true", help="give a calendar to every name that has none")
    return parser


if __name__ == "__main__":
    sys.exit(main())
