"""`python -m sandbox.moodle`: run the stand-in until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from sandbox.http_server import serve_until_told
from sandbox.moodle.conditions import Conditions, SiteState
from sandbox.moodle.control import ControlEndpoint
from sandbox.moodle.gateway import ENDPOINT_PATH, Gateway
from sandbox.moodle.service import RestServer
from sandbox.moodle.storage import Storage
from sandbox.moodle.web import HttpServer

_GRACE_S: Final = 4.0


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped; running calls finish first, for a few seconds at most."""
    options = parser().parse_args(arguments)
    try:
        storage, server = site_of(options)
    except EmptySecret as error:
        print(error, file=sys.stderr)
        return 2
    ready = f"moodle stand-in ready {_address(server)}{ENDPOINT_PATH}"
    serve_until_told(server, started=lambda: print(ready, flush=True))
    finished = server.wait_until_idle(_GRACE_S)
    storage.close()
    return 0 if finished else 1


class EmptySecret(Exception):
    """The token file and the control key file must not be empty."""


def site_of(options: argparse.Namespace) -> tuple[Storage, HttpServer]:
    """The site's data, and its server, which listens but serves nothing yet.

    Raises `EmptySecret`: a secret's file is empty.
    """
    token = options.token_file.read_text(encoding="utf-8").strip()
    control_key = options.control_key_file.read_text(encoding="utf-8").strip()
    if not token or not control_key:
        raise EmptySecret(EmptySecret.__doc__)
    storage = Storage(options.data, connections=options.workers)
    storage.open(service_username=options.service_username, token=token)
    state = SiteState(Conditions())
    gateway = Gateway(
        RestServer(storage, state),
        ControlEndpoint(storage, state, control_key=control_key, token=token),
        state,
    )
    server = HttpServer(options.port, gateway.answer)
    state.start_with(_conditions(options, _address(server)))
    return storage, server


def _address(server: HttpServer) -> str:
    return f"http://127.0.0.1:{server.port}"


def _conditions(options: argparse.Namespace, address: str) -> Conditions:
    return Conditions(
        site_name=options.site_name,
        site_url=options.site_url or address,
        version=options.version,
        debug_display=options.debug_display,
        allow_accounts_same_email=options.allow_accounts_same_email,
        max_input_vars=options.max_input_vars,
        post_max_size_bytes=options.post_max_size,
        latency_per_call_s=options.latency_per_call,
        latency_per_row_s=options.latency_per_row,
        proxy_timeout_s=options.proxy_timeout,
    )


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    default = Conditions()
    parser = argparse.ArgumentParser(prog="python -m sandbox.moodle", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, required=True, help="TCP port on 127.0.0.1 (0: any free one)")
    add("--data", type=Path, required=True, help="SQLite file; made if it does not exist")
    add("--token-file", type=Path, required=True, help="file with the web service token")
    add("--control-key-file", type=Path, required=True, help="file with the key of /_control")
    add("--workers", type=int, default=8, help="calls served at once, like php-fpm's children")
    add("--service-username", default="wsprov", help="username of the service user of a new site")
    add("--site-name", default=default.site_name)
    add("--site-url", default=None, help="the site's own address, shown in answers")
    add("--version", default=default.version, help="the site's version number, shown in answers")
    add("--debug-display", action="store_true", help="show debuginfo in errors")
    add("--allow-accounts-same-email", action="store_true")
    add("--max-input-vars", type=int, default=default.max_input_vars)
    add("--post-max-size", type=int, default=default.post_max_size_bytes, metavar="BYTES")
    add("--latency-per-call", type=float, default=0.0, metavar="SECONDS")
    add("--latency-per-row", type=float, default=0.0, metavar="SECONDS")
    add("--proxy-timeout", type=float, default=None, metavar="SECONDS", help="answer 504 after so long")
    return parser


if __name__ == "__main__":
    sys.exit(main())
