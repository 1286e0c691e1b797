"""Time the way from 'activate' to all green.

By hand: `python -m bench.activate_by_pages [--students 100]`.

It starts a demo's world: real slapd, Dovecot and SMTP servers, the Moodle stand-in, `sesame run` and `web`.
Each student goes the whole way over HTTP, with the message's code, then watches the account's page by
server-sent events, as a browser does, and logs in by CAS, as the page suggests. Measured from the form with
the password: until the page shows directory, mail and Moodle ready, and until it shows all ready, with the
login, which a robot types in no time.
"""

from __future__ import annotations

import argparse
import csv
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from sandbox.demo import play
from sandbox.demo.play import Cast
from sandbox.demo.world import World
from sesame.testing.servers import cas_kit
from sesame.testing.servers.portal_reader import GOOD, Browser

TARGETS = ("directory", "mailbox", "moodle")
WAIT_S_MAX = 300.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.activate_by_pages", description=__doc__)
    parser.add_argument("--students", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=4, help="students who are at it at the same time")
    options = parser.parse_args()
    with TemporaryDirectory() as records, World(Path(records)) as world:
        play.prepare(world)
        cast = play.enrol(world, options.students * 2)  # some have no address, or wait for an enrolment
        world.start_pages()
        students = reachable(cast)[: options.students]
        with ThreadPoolExecutor(options.at_once) as pool:
            took = list(pool.map(lambda one: activate(world, *one), students))
    print(f"{len(took)} students, {options.at_once} at once")
    print(f"  directory, mail and Moodle ready  {percentiles(sorted(ready for ready, _ in took))}")
    print(f"  all green, logged in by CAS       {percentiles(sorted(green for _, green in took))}")


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


_turn = threading.Lock()


def code_of(world: World, mail: str) -> str:
    """The code of the message to this address."""
    give_up_at = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < give_up_at:
        with _turn:
            messages = world.pages.mail.messages(mail)
        if messages:
            body = messages[-1].get_body(("plain",))
            code = re.search(r"^(\d{3} \d{3})\s*$", str(body.get_content()) if body else "", re.MULTILINE)
            assert code is not None
            return code[1]
        time.sleep(0.1)
    raise AssertionError("no message came")


def percentiles(took: Sequence[float]) -> str:
    """Nearest-rank percentiles of sorted seconds."""
    shown = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    return "  ".join(
        f"{name} {took[max(1, -(-percent * len(took) // 100)) - 1]:.1f} s" for name, percent in shown.items()
    )


if __name__ == "__main__":
    main()
