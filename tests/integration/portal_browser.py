"""A real Chromium for the students' pages, and what is looked at on each page."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect, sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-background-networking"]
PHONE = {"width": 390, "height": 844}
ZOOMED = {"width": 320, "height": 256}  # 1280 by 1024 at 400 % (WCAG 2.2, 1.4.10)

expect.set_options(timeout=30_000)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium. Where it is missing: skip on a laptop, fail when CI=true."""
    program = shutil.which("chromium")
    if program is None:
        message = "Chromium is not installed: apt-get install chromium"
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
    """A page in a context of its own; afterwards: nothing was asked of any other site, no script failed.

    Args:
        known: beginnings of the addresses that may be asked.
        options: of the context.
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


def violations(page: Page) -> list[str]:
    """What axe finds, each with the element."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{page.url} {one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


def overflows(page: Page) -> bool:
    """Whether a reader would have to scroll sideways."""
    return bool(page.evaluate("document.scrollingElement.scrollWidth > window.innerWidth"))
