"""The live part of the account's page, on real sockets: what changes comes, who takes nothing goes."""

from __future__ import annotations

import io
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import takewhile

import httpx
import pytest

from pipeline.errors import DependencyDown
from sandbox.process import PATIENCE_S, wait_until
from schemas.account import Hold
from sesame.acts.acts import Actor, Role
from sesame.app.observability.logs import configure_logs
from sesame.operations.access import holds
from sesame.operations.access.holds import HoldChangeRequest
from sesame.testing.servers.portal_kit import BEHIND_A_PROXY, Portal, enter, put, running
from sesame.testing.servers.portal_reader import Browser
from sesame.web.students import live as live_pages
from sesame.web.students import portal_context

WINDOW_BYTES = 2048
"""What a stalled reader's machine takes before it says that it is full: less than one change of the page."""


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal that keeps two pages live, and lets go after a second who takes nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_pages, "LIVE_MAX", 2)
        patch.setattr(live_pages, "STALLED_S_MAX", 1.0)
        made = Portal(tmp_path_factory.mktemp("portal"), wish={"address_burst": 10_000})
    with made as portal:
        yield portal


@contextmanager
def entered(portal: Portal) -> Iterator[tuple[str, Browser]]:
    """A student's session."""
    number = portal.active()
    with portal.browser() as browser:
        enter(portal, browser, number)
        yield number, browser


def status(browser: Browser) -> int:
    """How a further live page is answered."""
    with browser.client.stream("GET", "/compte/flux") as answer:
        return answer.status_code


READY = re.compile(r"\d+ services? sur \d+")


def next_change(lines: Iterator[str]) -> str:
    """The next change that the page is told of."""
    for line in lines:
        if line == "event: etat":
            return "\n".join(takewhile(bool, lines))
    raise AssertionError("the stream has ended")


def told(lines: Iterator[str], what: str) -> None:
    """Wait until the page is told this; a change that came before may be told by itself."""
    while what not in next_change(lines):
        pass


@contextmanager
def stalled(portal: Portal, browser: Browser) -> Iterator[ssl.SSLSocket]:
    """A live page on a telephone that takes nothing more once it has asked."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    plain.settimeout(PATIENCE_S)
    plain.connect(("localhost", portal.port))
    context = ssl.create_default_context(cafile=str(portal.ca.ca_file))
    cookies = "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())
    with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
        head = f"GET /compte/flux HTTP/1.1\r\nHost: localhost:{portal.port}\r\nCookie: {cookies}\r\n\r\n"
        wrapped.sendall(head.encode())
        yield wrapped


def test_who_takes_nothing_is_hung_up_on_and_the_place_is_another_s(portal: Portal) -> None:
    with entered(portal) as (number, browser), browser.client.stream("GET", "/compte/flux") as well:
        lines = well.iter_lines()
        first = next_change(lines)
        with stalled(portal, browser) as telephone:
            wait_until(lambda: status(browser) == httpx.codes.SERVICE_UNAVAILABLE, "both places to be taken")
            wait_until(lambda: status(browser) == httpx.codes.OK, "the place to be free again")
            assert not rest(telephone).endswith(b"\r\n0\r\n\r\n")  # the end of a whole answer
        running(portal, directory="running", mailbox="running", moodle="running")
        put(portal, number, "directory", "provisioned", None)  # a page without changes was not let go
        assert next_change(lines) != first


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal with room for many pages, of an address for three, of a hall for six."""
    wish = {**BEHIND_A_PROXY, "shared_networks": ("203.0.113.0/24",)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_pages, "LIVE_ADDRESS_MAX", 3)
        patch.setattr(portal_context, "SHARED_FACTOR", 2)
        with Portal(tmp_path_factory.mktemp("portal"), wish=wish) as portal:
            yield portal


@contextmanager
def live(portal: Portal, number: str, address: str) -> Iterator[tuple[int, Iterator[str]]]:
    """A live page: its status, and its lines."""
    with portal.browser(**{"X-Forwarded-For": address}) as browser:
        enter(portal, browser, number)
        with browser.client.stream("GET", "/compte/flux") as answer:
            yield answer.status_code, answer.iter_lines()


def test_a_fifth_page_of_one_student_ends_the_first_and_no_other(bounded: Portal) -> None:
    number, other = bounded.active(), bounded.active()
    with ExitStack() as open_pages:
        pages = [open_pages.enter_context(live(bounded, number, f"198.51.100.{n}"))[1] for n in range(1, 5)]
        beside = open_pages.enter_context(live(bounded, other, "198.51.100.9"))[1]
        for page in (*pages, beside):
            next_change(page)
        fifth = open_pages.enter_context(live(bounded, number, "198.51.100.5"))[1]
        next_change(fifth)
        assert "event: fin" in list(pages[0])  # its script asks no more
        running(bounded, directory="running", mailbox="running", moodle="running")
        put(bounded, number, "directory", "provisioned", None)
        for page in (*pages[1:], fifth):
            told(page, "services sur 4")
    wait_until(lambda: bounded.server.watch.taken == 0, "every place to be given back")


@pytest.mark.parametrize(("address", "places"), [("198.51.100.77", 3), ("203.0.113.7", 6), ("2001:db8::", 3)])
def test_an_address_has_so_many_live_pages_and_a_shared_one_more(
    bounded: Portal, address: str, places: int
) -> None:
    with ExitStack() as open_pages:
        found = []
        for n in range(places + 2):
            here = f"{address}{n}" if ":" in address else address  # of IPv6 a /64 is one address
            found.append(open_pages.enter_context(live(bounded, bounded.active(), here))[0])
        assert found == [200] * places + [503] * 2
        elsewhere = open_pages.enter_context(live(bounded, bounded.active(), "198.51.100.78"))
        assert elsewhere[0] == 200
    wait_until(lambda: bounded.server.watch.taken == 0, "every place to be given back")


def test_at_the_bound_each_is_answered_wholly_or_refused(portal: Portal) -> None:
    """Two places, and sixteen who ask at once: nobody is let in, and then turned out."""
    lines = io.StringIO()
    configure_logs(stream=lines)
    wait_until(lambda: portal.server.watch.taken == 0, "no place to be taken")
    barrier = threading.Barrier(16)

    def ask(number: str) -> tuple[int, bool]:
        with portal.browser() as browser:
            enter(portal, browser, number)
            barrier.wait(60.0)
            with browser.client.stream("GET", "/compte/flux") as answer:
                if answer.status_code != httpx.codes.OK:
                    return answer.status_code, False
                return answer.status_code, bool(next_change(answer.iter_lines()))

    with ThreadPoolExecutor(16) as many:
        found = list(many.map(ask, [portal.active() for _ in range(16)]))
    assert set(found) <= {(200, True), (503, False)}
    assert (200, True) in found
    assert "xception" not in lines.getvalue()


def test_a_fault_while_a_page_is_live_ends_it_and_is_logged(
    bounded: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = io.StringIO()
    configure_logs(stream=lines)
    number = bounded.active()

    def broken(*_given: object) -> None:
        raise RuntimeError("something about Léa")

    with live(bounded, number, "198.51.100.20") as (_, page):
        next_change(page)
        monkeypatch.setattr("sesame.web.students.live.account_page", broken)
        put(bounded, number, "directory", "failed", "identity_collision")
        assert list(page)[-1:] in ([], [""])  # the end of a whole answer, and no protocol error
    wait_until(lambda: "live_page_failed" in lines.getvalue(), "the log's line")
    assert "ASGI" not in lines.getvalue()
    assert "Léa" not in lines.getvalue()
    wait_until(lambda: bounded.server.watch.taken == 0, "the place to be given back")


def test_a_database_that_is_away_for_a_moment_does_not_empty_the_page(
    bounded: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, asked = bounded.active(), threading.Event()

    def away(*_given: object) -> None:
        asked.set()
        raise DependencyDown("the database is away")

    with live(bounded, number, "198.51.100.21") as (_, page):
        assert "sur 4" in next_change(page)
        with monkeypatch.context() as patched:
            patched.setattr("sesame.web.students.live.account_page", away)
            put(bounded, number, "directory", "failed", "identity_collision")
            assert asked.wait(60.0)
        put(bounded, number, "directory", "waiting", "group_not_ours")
        assert "sur 4" in next_change(page)


def rest(telephone: ssl.SSLSocket) -> bytes:
    """What had come until the connection ended."""
    got = b""
    with suppress(ConnectionResetError):
        while part := telephone.recv(65_536):
            got += part
    return got


def next_event(lines: Iterator[str]) -> str:
    """The kind of the next event."""
    return next(line for line in lines if line.startswith("event: ")).removeprefix("event: ")


def by_log_out(_portal: Portal, _number: str, browser: Browser) -> None:
    browser.get("/compte")
    browser.send("/deconnexion")


def by_hold(portal: Portal, number: str, _browser: Browser) -> None:
    request = HoldChangeRequest(student_number=number, kind=Hold.STOLEN_PASSWORDS, reason="stolen")
    holds.place(portal.application, Actor("camille", frozenset({Role.OPERATOR})), request)


def by_password(portal: Portal, number: str, _browser: Browser) -> None:
    with portal.browser() as telephone:
        portal.prove(telephone, number)
        telephone.choose("Marguerite-77-Zébu!")


@pytest.mark.parametrize("how", [by_log_out, by_hold, by_password])
@pytest.mark.parametrize("changes", [True, False], ids=["while it changes", "while it rests"])
def test_a_live_page_ends_with_its_session_and_the_others_go_on(
    how: Callable[[Portal, str, Browser], None],
    portal: Portal,
    monkeypatch: pytest.MonkeyPatch,
    *,
    changes: bool,
) -> None:
    monkeypatch.setattr(live_pages, "SHOWN_AGAIN_S", 3_600.0)
    with (
        entered(portal) as (number, browser),
        entered(portal) as (other, neighbour),
        browser.client.stream("GET", "/compte/flux") as mine,
        neighbour.client.stream("GET", "/compte/flux") as theirs,
        portal.browser() as asking,
    ):
        lines, others = mine.iter_lines(), theirs.iter_lines()
        seen = ""
        for each, page in ((other, others), (number, lines)):
            next_change(page)
            put(portal, each, "mailbox", "provisioned", None)
            seen = next_change(page)  # so it was looked at
        asking.client.cookies.update(browser.client.cookies)
        how(portal, number, asking)
        if changes:
            put(portal, number, "moodle", "provisioned", None)
        until_its_end = "\n".join(takewhile(lambda line: line != "event: fin", lines))
        assert set(READY.findall(until_its_end)) <= set(READY.findall(seen)), "it shows nothing of after"
        assert not [line for line in lines if line.startswith("event")]
        put(portal, other, "directory", "provisioned", None)
        assert next_event(others) == "etat"
