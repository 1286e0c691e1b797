"""Start and steer the SCIM server from a test or a demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from sandbox.scim.quirks import QUIRKS
from sandbox.server import WebService, secret_file
from sandbox.tls import Certificate

PREFIX: Final = "/v2"
QUIRKS_FILE: Final = "quirks.json"
REQUESTS: Final = "requests.jsonl"
REFUSED: Final = "@refused.invalid"
"""The end of refused addresses."""


class ScimServer(WebService):
    """One SCIM service on a loopback port, with its token and data in `folder`.

    With `certificate` it speaks HTTPS. Port, token and data stay the same from one polite end to the next
    start; after `kill` it is empty. `record`: note requests; see `requests`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        certificate: Certificate | None = None,
        record: bool = False,
        outlives_parent: bool = False,
    ) -> None:
        super().__init__(folder, certificate=certificate)
        self.token_file = secret_file(folder / "token")
        options = ["--record"] if record else []
        self._process = self._runs("scim", *options, name="the SCIM service", outlives_parent=outlives_parent)

    @property
    def url(self) -> str:
        """The service's SCIM address."""
        return f"{self.origin}{PREFIX}"

    @property
    def token(self) -> str:
        """The token of each call."""
        return self.token_file.read_text(encoding="utf-8")

    def behave(self, *quirks: str) -> None:
        """Set these quirks, and no others."""
        if unknown := set(quirks) - QUIRKS.keys():
            raise ValueError(f"no such quirk: {min(unknown)}")
        new = self.folder / f"{QUIRKS_FILE}.new"
        new.write_text(json.dumps(quirks), encoding="utf-8")
        new.replace(self.folder / QUIRKS_FILE)

    def quirks(self) -> tuple[str, ...]:
        """Its quirks."""
        file = self.folder / QUIRKS_FILE
        return tuple(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else ()

    def requests(self) -> list[dict[str, Any]]:
        """Its requests in order: `method`, `path`, the query, `body`, `status`."""
        file = self.folder / REQUESTS
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def forget(self) -> None:
        """Clear the record of requests."""
        (self.folder / REQUESTS).unlink(missing_ok=True)
