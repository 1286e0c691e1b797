"""Start and steer the iCalendar server from a test or a demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sandbox.server import WebService
from sandbox.timetable.serving import BEHAVIOURS, CALENDAR, CALENDARS, EVERYBODY, REQUESTS
from sandbox.tls import Certificate


def calendar(name: str = "sandbox") -> str:
    """A calendar of one lecture."""
    return CALENDAR.replace("{uid}", name)


class Timetable(WebService):
    """One timetable service on a loopback port, with its calendars in `folder`.

    With `certificate` it speaks HTTPS. The port stays the same from one start to the next. `everybody`: names
    without a calendar have one all the same.
    """

    def __init__(
        self,
        folder: Path,
        *,
        certificate: Certificate | None = None,
        everybody: bool = False,
        outlives_parent: bool = False,
    ) -> None:
        super().__init__(folder, certificate=certificate)
        (folder / CALENDARS).mkdir(exist_ok=True)
        self._process = self._runs(
            "timetable",
            *(["--everybody"] if everybody else []),
            name="the timetable service",
            outlives_parent=outlives_parent,
        )

    @property
    def url(self) -> str:
        """The service's address; a calendar is at `/ical/NAME.ics`."""
        return self.origin

    def give(self, name: str, text: str | None = None) -> None:
        """Give this name this calendar (default: one lecture)."""
        file = self.folder / CALENDARS / f"{name}.ics"
        file.write_bytes((calendar(name) if text is None else text).encode())

    def meet(self, name: str = EVERYBODY, **how: Any) -> None:
        """Set the answer to requests for this name; nothing: as usual.

        Of `status`, `headers`, `body` (latin-1), `content_type`, `padding_bytes`, `delay_s`, `drip`,
        `hang_up`.
        """
        file = self.folder / BEHAVIOURS
        said = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        said[name] = how
        if not how:
            del said[name]
        new = file.with_suffix(".new")
        new.write_text(json.dumps(said), encoding="utf-8")
        new.replace(file)

    def requests(self) -> list[dict[str, Any]]:
        """Its requests: `path` and `headers`, in order."""
        file = self.folder / REQUESTS
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def reset(self) -> None:
        """Forget calendars, behaviours and requests."""
        for name in (BEHAVIOURS, REQUESTS):
            (self.folder / name).unlink(missing_ok=True)
        for file in (self.folder / CALENDARS).iterdir():
            file.unlink()
