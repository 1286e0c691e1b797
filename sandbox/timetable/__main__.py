"""`python -m sandbox.timetable`: serve calendars in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
import threading
from pathlib import Path

from sandbox.timetable.serving import Folder, Server


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop."""
    options = _parser().parse_args(arguments)
    context = None
    if options.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    server = Server(options.port, Folder(options.folder, everybody=options.everybody), context)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    stop.wait()
    server.shutdown()
    server.server_close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.timetable", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    add("--folder", type=Path, required=True, help="folder with calendars/, behaviours.json")
    add("--certificate", type=Path, help="serve HTTPS with this certificate (PEM)")
    add("--key", type=Path, help="the certificate's private key (PEM)")
    add("--everybody", action="store_true", help="give a calendar to every name that has none")
    return parser


if __name__ == "__main__":
    sys.exit(main())
