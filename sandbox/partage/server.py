"""Start and steer the stand-in, a separate process, from a test or a demo."""

from __future__ import annotations

import json
import ssl
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from sandbox.partage.web import CONTROL, PREFIX
from sandbox.server import WebService, secret_file
from sandbox.tls import Certificate

_TIMEOUT_S: Final = 15.0


class Partage(WebService):
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
        super().__init__(folder, certificate=certificate)
        self.domain = domain
        self.key_file = secret_file(folder / "preauth-key")
        self._control_key = secret_file(folder / "control-key").read_text(encoding="utf-8")
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if certificate is not None:
            trust = ssl.create_default_context(cafile=str(certificate.ca_file))
            handlers.append(urllib.request.HTTPSHandler(context=trust))
        self._opener = urllib.request.build_opener(*handlers)
        options = ("--domain", domain, "--token-s", str(token_s), "--latency-s", str(latency_s))
        self._process = self._runs(
            "partage",
            *options,
            name="the Partage stand-in",
            outlives_parent=outlives_parent,
            ready=self._is_ready,
        )

    @property
    def url(self) -> str:
        """The address of BSS, to which a client adds `/Auth`."""
        return f"{self.origin}{PREFIX}"

    @property
    def key(self) -> str:
        """The domain's pre-authentication key."""
        return self.key_file.read_text(encoding="utf-8")

    def control(self, **wish: Any) -> dict[str, Any]:
        """Send a wish to `/_control` (see `sandbox.partage.web`). Return the state after it."""
        request = urllib.request.Request(  # noqa: S310  (the address is ours)
            self.origin + CONTROL,
            data=json.dumps(wish).encode(),
            headers={"X-Control-Key": self._control_key},
        )
        with self._opener.open(request, timeout=_TIMEOUT_S) as reply:
            state: dict[str, Any] = json.loads(reply.read())
        return state

    def set(self, **conditions: Any) -> None:
        """Change conditions by name (`conditions.Conditions`)."""
        self.control(set=conditions)

    def fault(self, message: str = "", **details: Any) -> None:
        """Let the next call meet a fault (`conditions.Fault`)."""
        self.control(faults=[{"message": message, **details}])

    def give(self, name: str, **account: Any) -> None:
        """Make an account that was there before: its attributes, and `aliases`."""
        self.control(create=[{"name": name, "sn": "Inconnu", **account}])

    def accounts(self) -> dict[str, dict[str, Any]]:
        """All accounts, by name."""
        found: dict[str, dict[str, Any]] = self.control()["accounts"]
        return found

    def calls(self) -> list[dict[str, str]]:
        """BSS's calls: `method` and `name`, in order."""
        found: list[dict[str, str]] = self.control()["calls"]
        return found

    def clear(self) -> None:
        """Remove every account."""
        self.control(clear=True)

    def reset(self) -> None:
        """Restore the conditions of the start. Faults and calls are forgotten, data and tokens stay."""
        self.control(reset=True)

    def _is_ready(self) -> bool:
        request = urllib.request.Request(  # noqa: S310  (the address is ours)
            self.origin + CONTROL, headers={"X-Control-Key": self._control_key}
        )
        with self._opener.open(request, timeout=_TIMEOUT_S) as reply:
            return bool(reply.status == HTTPStatus.OK)
