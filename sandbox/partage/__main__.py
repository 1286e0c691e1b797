"""`python -m sandbox.partage`: run the stand-in until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sandbox.http_server import add_arguments, context_of, serve_until_told
from sandbox.partage.accounts import Accounts
from sandbox.partage.conditions import Conditions, State
from sandbox.partage.service import Service
from sandbox.partage.web import WebServer


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped."""
    options = _parser().parse_args(arguments)
    accounts = Accounts(options.folder / "partage.sqlite")
    state = State(Conditions(token_s=options.token_s, latency_s=options.latency_s))
    service = Service(accounts, state, domain=options.domain, key=_secret(options.folder / "preauth-key"))
    control_key = _secret(options.folder / "control-key")
    context = context_of(options)
    server = WebServer(options.port, service, accounts, state, control_key=control_key, context=context)
    serve_until_told(server)
    with accounts.lock:
        accounts.close()
    return 0


def _secret(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.partage", description=__doc__)
    add_arguments(parser)
    add = parser.add_argument
    add(
        "--folder",
        type=Path,
        required=True,
        help="folder with preauth-key and control-key; the data goes there",
    )
    add("--domain", required=True, help="the mail domain that the key is for")
    add("--token-s", type=float, default=300.0, help="how long a token is good for")
    add("--latency-s", type=float, default=0.0, help="before each answer")
    return parser


if __name__ == "__main__":
    sys.exit(main())
