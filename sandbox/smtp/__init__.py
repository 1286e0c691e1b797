"""A mail server on loopback: STARTTLS only, each message kept as a file."""

from __future__ import annotations

import sys
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from sandbox.ports import free_port
from sandbox.process import ManagedProcess, accepts_tcp
from sandbox.server import Server
from sandbox.tls import ThrowawayCA

_ROOT = Path(__file__).resolve().parents[2]


class MailSink(Server):
    """The server. The port, the certificate and the messages stay from one start to the next.

    Recipients whose local part begins with `refuse` are refused for good (550), with `later` for now (451).
    `accents`: whether addresses with accents before the @ are taken (SMTPUTF8, RFC 6531).
    """

    def __init__(self, folder: Path, *, accents: bool = True, outlives_parent: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder / "messages"
        self.folder.mkdir(exist_ok=True)
        self.port = free_port()
        certificate = ThrowawayCA(folder).issue("smtp")
        self.ca_file = certificate.ca_file
        self._process = ManagedProcess(
            "the mail sink",
            [
                sys.executable,
                "-m",
                "sandbox.smtp",
                *("--port", str(self.port), "--messages", self.folder),
                *("--cert", certificate.cert_file, "--key", certificate.key_file),
                *([] if accents else ["--ascii"]),
            ],
            log_file=folder / "smtp.log",
            ready=lambda: accepts_tcp(self.port),
            cwd=_ROOT,
            outlives_parent=outlives_parent,
        )

    def messages(self, recipient: str | None = None) -> list[EmailMessage]:
        """Messages in the order of arrival, of all or of one envelope's recipient."""
        found = []
        for path in sorted(self.folder.glob("*.eml")):
            message = message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=default)
            if recipient in (None, message["X-Envelope-To"]):
                found.append(message)
        return found
