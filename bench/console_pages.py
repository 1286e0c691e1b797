"""Time the console's pages with a million accounts, and with years of records.

python -m bench.console_pages --accounts 1000000
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from bench.history import SHARES, Sort, fill, number_of
from bench.rows import Row, middle
from pipeline.db import migrate
from pipeline.db.database import Database
from sandbox.postgres import Postgres
from sesame.acts.acts import Actor, Role
from sesame.operations.people.diagnosis import overview
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.console_scene import morning

ACCOUNTS: Final = 1_000_000
OUTCOMES: Final = ("propagation", "propagation_targets", "target_states", "attempts")
ROUNDS: Final = 4
"""How often each student has lived through the scene's attempts: three, mostly."""

SECONDS_MAX: Final = 0.1
BYTES_MAX: Final = 50_000
PAGES: Final = {
    "now": "/console/",
    "person": "/console/personnes/{complete}",
    "persons-by-login": "/console/personnes?q=copie99",
    "persons-by-name": "/console/personnes?q=Keller%2017",
    "persons-by-cause": "/console/personnes?q=cause:pedagogical_enrolment_pending",
    "failures": "/console/echecs",
    "failure": "/console/echecs/moodle/moodle_email_taken",
    "replays": "/console/relances",
    "waiting": "/console/attente",
    "waiting-for": "/console/attente?cause=pedagogical_enrolment_pending",
    "waiting-by-cohort": "/console/attente/cohortes",
    "targets": "/console/cibles",
    "target": "/console/cibles/moodle",
    "erasures": "/console/effacements",
    "plans": "/console/plans",
    "audit": "/console/journal",
    "questions": "/console/questions",
    "imports": "/console/imports",
}
"""By name; `{complete}`: a complete student's number."""

_ADA: Final = Actor("ada", frozenset(Role))


@contextmanager
def filled(folder: Path, accounts: int) -> Iterator[tuple[ConsoleDesk, Mapping[str, int]]]:
    """A console on PostgreSQL with so many accounts, and its rows by table."""
    with Postgres() as postgres:
        url = postgres.url(sslrootcert=str(postgres.ca_file))
        database = Database(url)
        migrate.upgrade(database)
        database.close()
        with ConsoleDesk(folder, store=url) as desk:
            students = morning(desk)
            sorts = [Sort(students[name], share) for name, share in SHARES.items()]
            rows = fill(url, sorts, accounts, rounds=ROUNDS)
            yield desk, rows


def rows(runs: int, accounts: int = ACCOUNTS) -> Sequence[Row]:
    """A row for each page, and one for the overview, which pages take from memory."""
    with TemporaryDirectory() as folder, filled(Path(folder), accounts) as (desk, made):
        overview_s = middle(lambda: _seconds(lambda: overview.show(desk.application, _ADA)), runs)
        with desk.browser("operator", "support", "viewer") as browser:
            pages = [_page(browser.client, name, path, runs) for name, path in PAGES.items()]
    outcomes = sum(made[table] for table in OUTCOMES)
    return [
        Row(
            "console-overview-made",
            "s",
            overview_s,
            note=f"counted from {made['accounts']} accounts and {outcomes} rows of outcomes; pages take "
            "it from memory, where it is made anew every minute, or when somebody looks",
        ),
        *pages,
    ]


def _page(client: httpx.Client, name: str, path: str, runs: int) -> Row:
    address = path.format(complete=number_of(1))
    size = len(client.get(address).raise_for_status().content)  # and what is made once is made
    if size > BYTES_MAX:
        raise RuntimeError(f"{address} has {size} bytes")
    seconds = middle(lambda: _seconds(lambda: client.get(address)), max(5, runs))
    note = f"over HTTPS, {round(size / 1000)} kB"
    return Row(f"console-{name}", "s", seconds, limit=SECONDS_MAX, compared="at most", note=note)


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def main() -> None:
    """Measure, and fail where a page takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    options = parser.parse_args()
    found = rows(3, options.accounts)
    for row in found:
        print(json.dumps(row.as_json()))
    sys.exit(0 if all(row.wanted for row in found) else 1)


if __name__ == "__main__":
    main()
