"""`python -m sandbox.smtp --port P --messages FOLDER --cert FILE --key FILE [--host H] [--ascii]`.

See `MailSink`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
import ssl
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class _Keep:
    """Writes each message to a file, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    async def handle_RCPT(  # noqa: N802 (the library's name)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address.startswith("refuse"):
            return "550 5.1.1 no such user here"
        if address.startswith("later"):
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        for address in envelope.rcpt_tos:
            name = f"{time.time_ns():020d}-{next(self._numbers):05d}"
            draft = self._folder / f"{name}.part"
            draft.write_bytes(f"X-Envelope-To: {address}\r\n".encode() + content)
            draft.rename(self._folder / f"{name}.eml")
        return "250 2.0.0 kept"


async def _serve(options: argparse.Namespace) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.cert, options.key)
    keep = _Keep(options.messages)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = await loop.create_server(
        lambda: SMTP(
            keep,
            hostname="localhost",
            tls_context=context,
            require_starttls=True,
            enable_SMTPUTF8=not options.ascii,
        ),
        options.host,
        options.port,
    )
    async with server:
        await stopping.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.smtp", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ascii", action="store_true", help="do not offer SMTPUTF8 (RFC 6531)")
    for name in ("messages", "cert", "key"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(_serve(_options()))
