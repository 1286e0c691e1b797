"""`python -m tests.behind_proxy --pages URL --name HOST --messages FOLDER NUMBER MAIL`: activate by pages.

A browser without scripts, and the reverse proxy that ends TLS before it, in one: what students' pages in a
container are tried with. The folder is where a mail server keeps the messages that it was given.
"""

from __future__ import annotations

import argparse
import sys
import time
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import httpx

from sesame.testing.servers.portal_reader import Browser, Letter

WAIT_S_MAX = 60.0


class Proxy(httpx.BaseTransport):
    """Takes what is for `https://HOST`, and hands it on in the clear with the name unchanged."""

    def __init__(self, pages: str) -> None:
        self._pages = httpx.URL(pages)
        self._onward = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request: the header `Host` stays as the browser wrote it."""
        pages = self._pages
        onward = httpx.Request(
            request.method,
            request.url.copy_with(scheme=pages.scheme, host=pages.host, port=pages.port),
            headers={**request.headers, "X-Forwarded-For": "192.0.2.7"},
            stream=request.stream,
            extensions=request.extensions,
        )
        return self._onward.handle_request(onward)


def letter_for(mail: str, folder: Path) -> Letter:
    """The message to this address, as soon as it is there."""
    until = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < until:
        for path in sorted(folder.glob("*.eml")):
            message = message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=default)
            if message["X-Envelope-To"] == mail:
                return Letter(message)
        time.sleep(0.2)
    raise SystemExit(f"no message within {WAIT_S_MAX:g} s")


def activate(pages: str, name: str, messages: Path, number: str, mail: str) -> None:
    """Go the whole way, and say what each page was."""
    with httpx.Client(base_url=f"https://{name}", transport=Proxy(pages), follow_redirects=True) as client:
        browser = Browser(client)
        steps = [
            browser.ask(number, mail),
            browser.send("/code", code=letter_for(mail, messages).code),
            browser.choose(),
        ]
    for page in steps:
        sys.stdout.write(f"{page.status_code} {page.url}\n")
    if steps[-1].url.path != "/compte":
        raise SystemExit("the account's page was not reached")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.behind_proxy", description=__doc__)
    for option in ("--pages", "--name"):
        parser.add_argument(option, required=True)
    parser.add_argument("--messages", type=Path, required=True)
    parser.add_argument("number")
    parser.add_argument("mail")
    activate(**vars(parser.parse_args()))
