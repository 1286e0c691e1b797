"""Start and steer the stand-in from a test or a demo: it runs as a process of its own."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import sys
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from sandbox.partage.web import CONTROL, PREFIX
from sandbox.ports import free_port
from sandbox.process import ManagedProcess
from sandbox.server import Server
from sandbox.tls import Certificate

_TIMEOUT_S: Final = 15.0
_ROOT: Final = Path(__file__).resolve().parents[2]


class Partage(Server):
    """BSS of one domain on a loopback port, with its data and keys in `folder`.

    Port, keys and data stay the same from one start to the next. With `certificate` it speaks HTTPS.
    """

    def __init__(
        self,
        folder: Path,
        *,
        domain: str = "etu.univ-exemple.fr",
        token_s: float = 300.0,
        latency_s: float = 0.0,
        certificate: Certificate | None = None,
        outlives_parent: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.domain = domain
        self.port = free_port()
        self.key_file = _secret_file(folder / "preauth-key")
        self._control_key = _secret_file(folder / "control-key").read_text(encoding="utf-8")
        self._certificate = certificate
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        program = [sys.executable, "-m", "sandbox.partage", "--port", str(self.port), "--folder", str(folder)]
        program += ["--domain", domain, "--token-s", str(token_s), "--latency-s", str(latency_s)]
        if certificate is not None:
            program += ["--certificate", str(certificate.cert_file), "--key", str(certificate.key_file)]
            trust = ssl.create_default_context(cafile=str(certificate.ca_file))
            handlers.append(urllib.request.HTTPSHandler(context=trust))
        self._opener = urllib.request.build_opener(*handlers)
        self._process = ManagedProcess(
            "the Partage stand-in",
            program,
            log_file=folder / "partage.log",
            ready=self._is_ready,
            cwd=_ROOT,
            outlives_parent=outlives_parent,
        )

    @property
    def url(self) -> str:
        """The address of BSS, to which a client adds `/Auth`."""
        return f"{self._server}{PREFIX}"

    @property
    def key(self) -> str:
        """The domain's pre-authentication key."""
        return self.key_file.read_text(encoding="utf-8")

    @property
    def ca_file(self) -> Path:
        """What its certificate is verified with. Only of one that speaks HTTPS."""
        assert self._certificate is not None  # noqa: S101
        return self._certificate.ca_file

    def control(self, **wish: Any) -> dict[str, Any]:
        """Send a wish to `/_control` (see `sandbox.partage.web`); the state after it."""
        request = urllib.request.Request(  # noqa: S310  (the address is ours)
            self._server + CONTROL,
            data=json.dumps(wish).encode(),
            headers={"X-Control-Key": self._control_key},
        )
        with self._opener.open(request, timeout=_TIMEOUT_S) as reply:
            state: dict[str, Any] = json.loads(reply.read())
        return state

    def set(self, **conditions: Any) -> None:
        """Change conditions by name (`conditions.Conditions`) until they are changed again."""
        self.control(set=conditions)

    def fault(self, message: str = "", **details: Any) -> None:
        """Let the next call meet a fault (`conditions.Fault`)."""
        self.control(faults=[{"message": message, **details}])

    def give(self, name: str, **account: Any) -> None:
        """An account that was there before anybody asked: its attributes, and `aliases`."""
        self.control(create=[{"name": name, "sn": "Inconnu", **account}])

    def accounts(self) -> dict[str, dict[str, Any]]:
        """All that there is, by name."""
        found: dict[str, dict[str, Any]] = self.control()["accounts"]
        return found

    def calls(self) -> list[dict[str, str]]:
        """What was asked of BSS: `method` and `name`, in order."""
        found: list[dict[str, str]] = self.control()["calls"]
        return found

    def clear(self) -> None:
        """Remove every account."""
        self.control(clear=True)

    def reset(self) -> None:
        """Go back to the conditions of the start; faults and calls are forgotten, data and tokens stay."""
        self.control(reset=True)

    @property
    def _server(self) -> str:
        return f"http{'' if self._certificate is None else 's'}://127.0.0.1:{self.port}"

    def _is_ready(self) -> bool:
        request = urllib.request.Request(  # noqa: S310  (the address is ours)
            self._server + CONTROL, headers={"X-Control-Key": self._control_key}
        )
        with self._opener.open(request, timeout=_TIMEOUT_S) as reply:
            return bool(reply.status == HTTPStatus.OK)


def _secret_file(path: Path) -> Path:
    """The file, with a fresh secret in it (readable by its owner only) unless it exists."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32))
    return path
