"""The live part of the account's page, on real sockets: what changes comes, who takes nothing goes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from sandbox.process import wait_until
from tests.integration.portal_kit import Portal, enter, put, running
from tests.integration.portal_reader import Browser

WINDOW_BYTES = 2048
"""What a stalled reader's machine takes before it says that it is full: less than one change of the page."""


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal that keeps two pages live, and lets go after a second who takes nothing."""
    wish = {"live_max": 2, "stalled_s_max": 1.0, "address_burst": 10_000}
    with Portal(tmp_path_factory.mktemp("portal"), wish=wish) as portal:
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


def next_change(lines: Iterator[str]) -> str:
    """The next change that the page is told of."""
    for line in lines:
        if line == "event: etat":
            return next(lines)
    raise AssertionError("the stream has ended")


@contextmanager
def stalled(portal: Portal, browser: Browser) -> Iterator[ssl.SSLSocket]:
    """A live page on a telephone that takes nothing more once it has asked."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    plain.settimeout(20.0)
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


def rest(telephone: ssl.SSLSocket) -> bytes:
    """What had come until the connection ended."""
    got = b""
    with suppress(ConnectionResetError):
        while part := telephone.recv(65_536):
            got += part
    return got
