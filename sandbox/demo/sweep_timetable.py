"""The timetable: each calendar is fetched over HTTPS, without Sésame."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from sandbox.demo.finding import PROVISIONED, Announced, Disagreement

_TIMEOUT_S = 120.0


def compare(address: str, ca_file: Path, announced: Mapping[str, Announced]) -> Iterator[Disagreement]:
    """Differences of the timetable from its announcement (by number)."""
    trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(ca_file)))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trust)
    for number, said in announced.items():
        if said.targets["timetable"]["state"] != PROVISIONED:
            continue
        try:
            with opener.open(f"{address}/ical/{quote(said.login)}.ics", timeout=_TIMEOUT_S) as answer:
                found = answer.read(len(b"BEGIN:VCALENDAR")) == b"BEGIN:VCALENDAR"
        except urllib.error.HTTPError as error:
            error.close()
            found = False
        if not found:
            yield Disagreement(number, "timetable", "provisioned, and the service has no calendar")
