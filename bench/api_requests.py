"""The rows `api-…`: processor time of the API's requests, and a former release's.

Both are measured in the same run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from bench.rows import Row
from sandbox.process import stat_fields

BEFORE: Final = "4d8bd209"
"""The release to compare with."""

PEOPLE: Final = 400
BULK: Final = 10
AT_ONCE: Final = 8


class Measured(NamedTuple):
    """A kind of request: numbers of requests and callers, limit, and description."""

    rounds: int
    callers: int
    wanted: float
    note: str


COSTS: Final = {
    "student": Measured(200, 1, 0.5, "GET /v1/students/N"),
    "page": Measured(4, 1, 0.2, "GET /scim/v2/Users?count=100"),
    "enrolment": Measured(30, 1, 0.2, "POST /v1/enrolments of one, one after the other"),
}
RATES: Final = {
    "enrolments-at-once": Measured(160, AT_ONCE, 5.0, f"POST /v1/enrolments of one, {AT_ONCE} callers"),
    "bulk": Measured(2, 1, 5.0, f"POST /scim/v2/Bulk of {BULK} persons"),
}
_CALLER: Final = threading.local()
_ROOT: Final = Path(__file__).resolve().parents[1]
_TICKS_S: Final = os.sysconf("SC_CLK_TCK")
_USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
_STUDENT: Final = "urn:sesame:params:scim:schemas:1.0:Student"
_BULK: Final = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"


@dataclass
class Served:
    """An API that one release's code serves, with persons in it."""

    process: subprocess.Popen[str]
    port: int
    token: str
    count: Iterator[int] = field(default_factory=partial(count, 1))
    taken: dict[str, list[float]] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: str | None = None, kind: str = "application/json") -> Any:
        """Send a request; return the answer."""
        headers = {"Host": "127.0.0.1", "Authorization": f"Bearer {self.token}"}
        headers |= {} if body is None else {"Content-Type": kind}
        if (connection := getattr(_CALLER, "connection", None)) is None or connection.port != self.port:
            connection = _CALLER.connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, body=body, headers=headers)
        answered = connection.getresponse()
        content = answered.read()
        if answered.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise RuntimeError(f"{path}: {answered.status} {content[:300]!r}")
        return json.loads(content)

    def next(self) -> int:
        """A number that was not used yet."""
        return next(self.count)

    def measure(self, name: str) -> None:
        """Note the processor time of one request, in ms, or the answers per second."""
        what, request = {**COSTS, **RATES}[name], _REQUESTS[name]
        with ThreadPoolExecutor(what.callers) as callers:
            before, begun = self._processor_s(), time.monotonic()
            list(callers.map(request, [self] * what.rounds))
            spent, took = self._processor_s() - before, time.monotonic() - begun
        found = spent * 1000 / what.rounds if name in COSTS else what.rounds / took
        self.taken.setdefault(name, []).append(found)

    def _processor_s(self) -> float:
        fields = stat_fields(Path(f"/proc/{self.process.pid}/stat"))
        return (int(fields[11]) + int(fields[12])) / _TICKS_S


def _line(number: int) -> str:
    day = f"2006-{number % 12 + 1:02}-{number % 28 + 1:02}"
    line = {"codeApprenant": f"{20_000_000 + number}", "nomFamille": f"Nom{number}", "prenom": "Alix"}
    line |= {"dateNaissance": day, "codePeriode": "PER-2026", "codeFormation": "L3PC", "codeStructure": "SCI"}
    line |= {
        "codeChemin": "L3PC>PARCOURS-261",
        "libelleFormation": "L3",
        "statutInscription": "valide",
    }
    return json.dumps(line)


def _user(number: int) -> dict[str, Any]:
    step = {
        "year": 2026,
        "step": "L1INFO",
        "stepVersion": "261",
        "stepLabel": "L1",
        "component": "SCI",
    }
    step |= {"main": True, "administrative": "in_force", "pedagogical": "pending"}
    day = f"2005-{number % 12 + 1:02}-{number % 28 + 1:02}"
    student = {"studentNumber": f"{30_000_000 + number}", "birthDate": day, "enrolments": [step]}
    name = {"familyName": f"Nom{number}", "givenName": "Alix"}
    return {"schemas": [_USER, _STUDENT], "name": name, "active": True, _STUDENT: student}


def _bulk(api: Served) -> None:
    made = [{"method": "POST", "path": "/Users", "bulkId": f"{n}"} for n in range(BULK)]
    operations = [each | {"data": _user(api.next())} for each in made]
    body = json.dumps({"schemas": [_BULK], "Operations": operations})
    answered = api.ask("POST", "/scim/v2/Bulk", body)
    if {each["status"] for each in answered["Operations"]} != {"201"}:
        raise RuntimeError(f"Bulk: {answered}")


def _enrolment(api: Served) -> None:
    api.ask("POST", "/v1/enrolments", _line(PEOPLE + api.next()))


_REQUESTS: Final[Mapping[str, Callable[[Served], object]]] = {
    "student": lambda api: api.ask("GET", f"/v1/students/{20_000_000 + api.next() % PEOPLE}"),
    "enrolment": _enrolment,
    "enrolments-at-once": _enrolment,
    "page": lambda api: api.ask("GET", "/scim/v2/Users?count=100"),
    "bulk": _bulk,
}


@contextmanager
def _process(tree: Path, what: str, folder: str) -> Iterator[subprocess.Popen[str]]:
    program = [sys.executable, "-P", str(_ROOT / "bench" / "api_server.py"), what, folder]
    with subprocess.Popen(
        program,
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


@contextmanager
def served(tree: Path) -> Iterator[Served]:
    """The API of the code in this folder, and its registry."""
    with TemporaryDirectory() as folder, _process(tree, "serve", folder) as api:
        port, token = str(api.stdout and api.stdout.readline()).split()
        with _process(tree, "apply", folder):
            made = Served(api, int(port), token)
            lines = "\n".join(map(_line, range(PEOPLE)))
            made.ask("POST", "/v1/enrolments", lines, "application/x-ndjson")
            while made.ask("GET", "/scim/v2/Users?count=0")["totalResults"] < PEOPLE:
                time.sleep(0.5)
            yield made


def rows(runs: int) -> Sequence[Row]:
    """A row for each kind of request."""
    with ExitStack() as open_:
        tree = Path(open_.enter_context(TemporaryDirectory()))
        archive = subprocess.run(["git", "archive", BEFORE], cwd=_ROOT, capture_output=True, check=True)
        subprocess.run(["tar", "x", "-C", str(tree)], input=archive.stdout, check=True)
        ours, before = open_.enter_context(served(_ROOT)), open_.enter_context(served(tree))
        for _ in range(runs):
            for name in (*COSTS, *RATES):
                ours.measure(name)
                before.measure(name)
    return [
        Row(
            f"api-{name}",
            "ms of processor time" if name in COSTS else "a second",
            median(ours.taken[name]),
            limit=what.wanted,
            compared="at most" if name in COSTS else "at least",
            ratio=median(ours.taken[name]) / median(before.taken[name]),
            peers={BEFORE: median(before.taken[name])},
            note=f"{what.note}, {PEOPLE} people",
        )
        for name, what in {**COSTS, **RATES}.items()
    ]
