"""Start and steer the SCIM server from a test or a demo."""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any, Final

from sandbox.ports import free_port
from sandbox.process import ManagedProcess, accepts_tcp
from sandbox.scim.quirks import QUIRKS
from sandbox.server import Server
from sandbox.tls import Certificate

PREFIX: Final = "/v2"
QUIRKS_FILE: Final = "quirks.json"
REQUESTS: Final = "requests.jsonl"
REFUSED: Final = "@refused.invalid"
"""Addresses that end so are refused."""

_ROOT: Final = Path(__file__).resolve().parents[2]


class ScimServer(Server):
    """One SCIM service on a loopback port, with its token and what it holds in `folder`.

    With `certificate` it speaks HTTPS. Port, token and data stay the same from one polite end to the next
    start; after `kill` it is empty.

    Args:
        record: note what is asked; see `requests`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        certificate: Certificate | None = None,
        record: bool = False,
        outlives_parent: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.token_file = folder / "token"
        if not self.token_file.exists():
            descriptor = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(secrets.token_urlsafe(24))
        self._certificate = certificate
        program = [sys.executable, "-m", "sandbox.scim", "--port", str(self.port), "--folder", str(folder)]
        if certificate is not None:
            program += ["--certificate", str(certificate.cert_file), "--key", str(certificate.key_file)]
        if record:
            program += ["--record"]
        self._process = ManagedProcess(
            "the SCIM service",
            program,
            log_file=folder / "scim.log",
            ready=lambda: accepts_tcp(self.port),
            cwd=_ROOT,
            outlives_parent=outlives_parent,
        )

    @property
    def url(self) -> str:
        """The service's SCIM address."""
        return f"{'http' if self._certificate is None else 'https'}://127.0.0.1:{self.port}{PREFIX}"

    @property
    def token(self) -> str:
        """What each call carries."""
        return self.token_file.read_text(encoding="utf-8")

    @property
    def ca_file(self) -> Path:
        """What its certificate is verified with. Only of one that speaks HTTPS."""
        assert self._certificate is not None  # noqa: S101
        return self._certificate.ca_file

    def behave(self, *quirks: str) -> None:
        """From now on it has these quirks, and no others."""
        if unknown := set(quirks) - QUIRKS.keys():
            raise ValueError(f"no such quirk: {min(unknown)}")
        new = self.folder / f"{QUIRKS_FILE}.new"
        new.write_text(json.dumps(quirks), encoding="utf-8")
        new.replace(self.folder / QUIRKS_FILE)

    def quirks(self) -> tuple[str, ...]:
        """Those that it has."""
        file = self.folder / QUIRKS_FILE
        return tuple(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else ()

    def requests(self) -> list[dict[str, Any]]:
        """What was asked, in order: `method`, `path`, the query's parameters, `body`, and the `status`."""
        file = self.folder / REQUESTS
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def forget(self) -> None:
        """Begin the record of requests anew."""
        (self.folder / REQUESTS).unlink(missing_ok=True)
