"""The wait of a person who activates alone: from the click until the page says that all is ready.

A demo's world: real slapd, Dovecot and SMTP servers, the Moodle stand-in, `sesame run` and `web`. One student
after the other goes the whole way over HTTP, with the message's code, then watches the account's page by
server-sent events, as a browser does, and logs in by CAS, as the page suggests. Measured from the form with
the password: until the page shows directory, mail and Moodle ready, and until it shows all ready, with the
login, which a robot types in no time.
"""

from __future__ import annotations

import csv
import os
import re
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

import httpx

from bench.rows import Row
from sandbox.demo import play
from sandbox.demo.play import Cast
from sandbox.demo.world import World
from sesame.testing.servers import cas_kit
from sesame.testing.servers.portal_reader import GOOD, Browser

TARGETS = ("directory", "mailbox", "moodle")
PERSONS, P50_S_MAX, P99_S_MAX = 300, 0.8, 2.0
WAIT_S_MAX = 300.0


def rows(_runs: int, persons: int = PERSONS) -> Sequence[Row]:
    """Measure once, whatever `runs`: it is a few minutes, and each person is a measurement."""
    with TemporaryDirectory() as records, World(Path(records)) as world:
        play.prepare(world)
        cast = play.enrol(world, persons * 2)  # some have no address, or wait for an enrolment
        world.start_pages()
        took = [activate(world, *one) for one in reachable(cast)[:persons]]
        load = os.getloadavg()[1]
    ready, green = (quantiles(each, n=100) for each in zip(*took, strict=True))
    note = f"{len(took)} persons, one by one, load {load:.1f} over five minutes; with the login by CAS"
    return [
        Row(
            name,
            "s",
            ready[percent - 1],
            limit=limit,
            compared="at most",
            note=f"{note} {green[percent - 1]:.2f} s",
        )
        for name, percent, limit in (("person-alone", 50, P50_S_MAX), ("person-alone-p99", 99, P99_S_MAX))
    ]


def reachable(cast: Cast) -> list[tuple[str, str]]:
    """Number and personal address of those whose account can be complete."""
    with cast.file.open(encoding="utf-8", newline="") as lines:
        mails = {row["COD_ETU"]: row["MAIL_PERSO"] for row in csv.DictReader(lines, delimiter=";")}
    return [
        (number, mails[number]) for number, one in cast.students.items() if one.complete and mails.get(number)
    ]


def activate(world: World, number: str, mail: str) -> tuple[float, float]:
    """Seconds from the click until every target is ready, and until all is green."""
    with httpx.Client(
        base_url=world.pages.url, follow_redirects=True, timeout=30.0, trust_env=False
    ) as client:
        browser = Browser(client)
        browser.ask(number, mail)
        browser.send("/code", code=code_of(world, mail))
        begun = time.perf_counter()
        browser.choose(GOOD)
        watch_until_ready(client, number)
        ready_s = time.perf_counter() - begun
        log_in(world, browser)
        assert "Tout est prêt." in browser.page.text, number
        return ready_s, time.perf_counter() - begun


def watch_until_ready(client: httpx.Client, number: str) -> None:
    """Watch the page until every target is ready."""
    with client.stream("GET", "/compte/flux", timeout=WAIT_S_MAX) as stream:
        ready: set[str] = set()
        for line in stream.iter_lines():
            found = re.search(r'data-service="(\w+)" data-state="(\w+)"', line)
            if found is not None and found[2] == "ready":
                ready.add(found[1])
            if ready >= set(TARGETS):
                return
    raise AssertionError(f"the page of {number} ended early")


def log_in(world: World, browser: Browser) -> None:
    """'Se connecter': to the CAS server with the new password, and back."""
    login = re.search(r"<dd><strong>([^<]+)</strong>", browser.page.text)
    assert login is not None
    leave = browser.client.get("/connexion", follow_redirects=False)
    with closing(cas_kit.Browser(world.cas)) as other:
        ticket = other.ticket(leave.headers["Location"], login[1], GOOD)
    browser.get(f"/cas?ticket={ticket}")


def code_of(world: World, mail: str) -> str:
    """The code of the message to this address."""
    give_up_at = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < give_up_at:
        messages = world.pages.mail.messages(mail)
        if messages:
            body = messages[-1].get_body(("plain",))
            code = re.search(r"^(\d{3} \d{3})\s*$", str(body.get_content()) if body else "", re.MULTILINE)
            assert code is not None
            return code[1]
        time.sleep(0.1)
    raise AssertionError("no message came")
