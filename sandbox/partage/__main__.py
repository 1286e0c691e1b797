"""`python -m sandbox.partage`: run the stand-in in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
import threading
from pathlib import Path

from sandbox.partage.accounts import Accounts
from sandbox.partage.conditions import Conditions, State
from sandbox.partage.service import Service
from sandbox.partage.web import WebServer


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop."""
    options = _parser().parse_args(arguments)
    context = None
    if options.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    accounts = Accounts(options.folder / "partage.sqlite")
    state = State(Conditions(token_s=options.token_s, latency_s=options.latency_s))
    service = Service(accounts, state, domain=options.domain, key=_secret(options.folder / "preauth-key"))
    control_key = _secret(options.folder / "control-key")
    server = WebServer(options.port, service, accounts, state, control_key=control_key, context=context)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    stop.wait()
    server.shutdown()
    server.server_close()
    with accounts.lock:
        accounts.close()
    return 0


def _secret(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.partage", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    add(
        "--folder",
        type=Path,
        required=True,
        help="folder with preauth-key and control-key; the data goes there",
    )
    add("--domain", required=True, help="the mail domain that the key is for")
    add("--token-s", type=float, default=300.0, help="how long a token is good for")
    add("--latency-s", type=float, default=0.0, help="before each answer")
    add("--certificate", type=Path, help="serve HTTPS with this certificate (PEM)")
    add("--key", type=Path, help="the certificate's private key (PEM)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
