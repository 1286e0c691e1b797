"""`python -m sandbox.scim`: serve SCIM in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
import threading
from pathlib import Path

from sandbox.scim.serving import Application, Server


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop."""
    options = _parser().parse_args(arguments)
    context = None
    if options.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    token = (options.folder / "token").read_text(encoding="utf-8")
    application = Application(options.folder, token, record=options.record)
    server = Server(options.port, application, context)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    stop.wait()
    server.shutdown()
    server.server_close()
    application.save()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.scim", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    add("--folder", type=Path, required=True, help="folder with the token; what is held is kept there")
    add("--certificate", type=Path, help="serve HTTPS with this certificate (PEM)")
    add("--key", type=Path, help="the certificate's private key (PEM)")
    add("--record", action="store_true", help="note what is asked in requests.jsonl")
    return parser


if __name__ == "__main__":
    sys.exit(main())
