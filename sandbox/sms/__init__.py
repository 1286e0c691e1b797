"""A gateway for text messages on loopback, with faults on request.

It takes a POST of `from`, `to` and `text` in JSON, wants a token, and sends once per `Idempotency-Key`. What
it sent is kept in `sent.jsonl`; the faults of the next requests are in `faults.json`, one each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from sandbox.server import WebService, secret_file

SENT: Final = "sent.jsonl"
REQUESTS: Final = "requests.jsonl"
FAULTS: Final = "faults.json"
TOKEN: Final = "token"


class SmsStandIn(WebService):
    """One gateway. `charges_twice`: it disregards `Idempotency-Key`."""

    def __init__(self, folder: Path, *, charges_twice: bool = False, outlives_parent: bool = False) -> None:
        super().__init__(folder, certificate=None)
        self.token_file = secret_file(folder / TOKEN)
        self._process = self._runs(
            "sms",
            *(["--charges-twice"] if charges_twice else []),
            name="the SMS gateway",
            outlives_parent=outlives_parent,
        )

    @property
    def url(self) -> str:
        """Where it takes messages."""
        return f"{self.origin}/messages"

    def meet(self, *faults: dict[str, Any]) -> None:
        """Set the answers to the next requests, in order; then it answers as usual.

        Each of `status` (nothing is sent), `headers`, and `hang_up`: it sends, and does not answer.
        """
        new = self.folder / f"{FAULTS}.new"
        new.write_text(json.dumps(faults), encoding="utf-8")
        new.replace(self.folder / FAULTS)

    def sent(self, to: str | None = None) -> list[dict[str, str]]:
        """The messages that it sent, to all or to one number, in order."""
        return [each for each in self._lines(SENT) if to in (None, each["to"])]

    def requests(self) -> list[dict[str, Any]]:
        """Its requests: `headers` and `body`, in order."""
        return self._lines(REQUESTS)

    def _lines(self, name: str) -> list[dict[str, Any]]:
        file = self.folder / name
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]
