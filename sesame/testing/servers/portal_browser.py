"""A real Chromium for the students' pages, and the checks of each page."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sandbox.process import PATIENCE_S
from sesame.testing.servers.portal_kit import Portal

ARGUMENTS = ["--no-sandbox", "--disable-background-networking"]
PHONE = {"width": 390, "height": 844}
AXE_RUN = """axe.run(document, {resultTypes: ["violations"]})
    .then(found => found.violations.map(one => [one.id, one.nodes[0].html]))"""  # what passed stays there
ZOOMED = {"width": 320, "height": 256}  # 1280 by 1024 at 400 % (WCAG 2.2, 1.4.10)

expect.set_options(timeout=1000 * PATIENCE_S)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, or its headless shell: same pages in half the time.

    Where both are missing: skip on a laptop, fail when CI=true.
    """
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if program is None:
        message = "Chromium is not installed: apt-get install chromium-headless-shell"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def page_of(browser: Browser, *known: str, **options: Any) -> Iterator[Page]:
    """A page in a new context. Fail if it requested another site or a script of it failed.

    `known`: beginnings of the addresses that it may request; `options`: of the context.
    """
    context = browser.new_context(
        ignore_https_errors=True, **{"locale": "fr-FR", "viewport": PHONE, **options}
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("request", lambda request: None if request.url.startswith(known) else wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    try:
        yield page
        assert wrong == []
    finally:
        context.close()


def send(page: Page, action: str) -> None:
    with page.expect_navigation():
        page.click(f"form[action='{action}'] button[type=submit]")


def session_cookie(portal: Portal, number: str) -> dict[str, Any]:
    value = portal.context.open_session(number, "mail")
    return {"name": "__Host-session", "value": value, "url": portal.url, "secure": True, "httpOnly": True}


def violations(page: Page) -> list[str]:
    """Axe's findings, each with the element."""
    page.evaluate(AXE_SCRIPT)
    found = page.evaluate(AXE_RUN)
    return [f"{page.url} {rule}: {element[:200]}" for rule, element in found]


def overflows(page: Page) -> bool:
    """Whether a reader would have to scroll sideways."""
    return bool(page.evaluate("document.scrollingElement.scrollWidth > window.innerWidth"))


@dataclass(frozen=True)
class Heard:
    """One element as Chromium gives it to a screen reader.

    Attributes:
        description: what is read after the name: a hint, what is wrong.
        live: how urgently a change is read out: `polite`, `assertive` or "".
        level: a heading's.
    """

    role: str
    name: str
    description: str = ""
    live: str = ""
    level: int = 0
    invalid: bool = False
    required: bool = False


OPERATED = frozenset({"button", "link", "textbox", "checkbox", "meter", "region", "alert"})
"""Roles that are useless to a listener without a name."""


def heard(page: Page) -> list[Heard]:
    """The page's accessibility tree (Chromium's, as screen readers get it), in order."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    found = []
    for node in nodes:
        if node["ignored"]:
            continue
        said = {one["name"]: one["value"].get("value") for one in node.get("properties", ())}
        found.append(
            Heard(
                node["role"]["value"],
                node.get("name", {}).get("value", ""),
                node.get("description", {}).get("value", ""),
                live=said.get("live", ""),
                level=said.get("level", 0),
                invalid=said.get("invalid", "false") != "false",
                required=bool(said.get("required", False)),
            )
        )
    return found


def unheard(page: Page) -> list[str]:
    """Faults for a listener: missing names, heading levels, or main part of the page."""
    tree = heard(page)
    found = [f"a {one.role} without a name" for one in tree if one.role in OPERATED and not one.name.strip()]
    levels = [one.level for one in tree if one.role == "heading"]
    if levels[:1] != [1] or any(after > before + 1 for before, after in pairwise(levels)):
        found.append(f"headings of levels {levels}")
    if [one.role for one in tree].count("main") != 1:
        found.append("no main part, or several")
    return found
