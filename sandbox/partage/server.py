"""Start and steer the stand-in, a separate process, from a test or a demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sandbox.partage.web import PREFIX
from sandbox.server import Control, WebService, secret_file
from sandbox.tls import Certificate


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
        ca_file = None if certificate is None else certificate.ca_file
        self._control = Control(self.origin, secret_file(folder / "control-key"), ca_file)
        options = ("--domain", domain, "--token-s", str(token_s), "--latency-s", str(latency_s))
        self._process = self._runs(
            "partage",
            *options,
            name="the Partage stand-in",
            outlives_parent=outlives_parent,
            ready=self._control.is_ready,
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
        return self._control.ask(**wish)

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
