#!/usr/bin/env python3
"""Check the pages that `make site` has built: scripts/check_site.py FOLDER.

Prints one line per fault (page, what) and ends with status 1 if there is any. Wrong are:

- a link to a page, file or place in a page that is not there;
- anything that a page or a style sheet would load from elsewhere: script, style, picture, font, frame;
- a page without the policy that lets the browser refuse the same.

What lies above the folder is not looked at: the list of the versions, which every page names.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

LOADS: Final = {"action", "background", "data", "formaction", "poster", "src", "srcset"}
"""Attributes by which a page loads something or sends something off; also `href`, but of `a`."""

_OUTSIDE: Final = re.compile(r"(?:https?|mailto):")

ABOVE: Final = frozenset({"../versions.html", "../versions.js"})
"""Files beside the versions, as a path from the site's folder."""


class Page(HTMLParser):
    """What a page has (`places`), leads to (`links`) and loads (`loads`); whether it has a policy."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.has_policy = False
        self.feed(text)
        self.loads += styled(" ".join(re.findall(r"<style.*?</style>|style=\"[^\"]*\"", text, re.DOTALL)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element has, leads to or loads."""
        for name, value in attrs:
            if name == "id" or (name, tag) == ("name", "a"):
                self.places.add(value or "")
            elif (name, tag) == ("href", "a"):
                self.links.append(value or "")
            elif name in LOADS or name in {"href", "xlink:href"}:
                self.loads.append(value or "")
            elif (name, value) == ("http-equiv", "Content-Security-Policy"):
                self.has_policy = True


def styled(css: str) -> list[str]:
    """What a style sheet loads."""
    found = re.findall(r"url\(\s*[\"']?([^\"')]*)|@import\s+[\"']([^\"']*)", css)
    return [one or other for one, other in found]


def faults(folder: Path) -> Iterator[str]:
    """The faults of every page and style sheet below the folder, as `page: what`."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    if not pages:
        yield f"{folder}: there is no page"
    named: list[tuple[Path, str, str]] = []
    for path, page in pages.items():
        if not page.has_policy:
            yield f"{path.relative_to(folder)}: has no Content-Security-Policy"
        named += [(path, "links to", each) for each in page.links if not _OUTSIDE.match(each)]
        named += [(path, "loads", each) for each in page.loads]
    for path in sorted(folder.rglob("*.css")):
        named += [(path, "loads", each) for each in styled(path.read_text(encoding="utf-8"))]
    for path, how, target in named:
        if fault := missing(target, path, folder, pages):
            yield f"{path.relative_to(folder)}: {how} {target}, {fault}"


def missing(target: str, path: Path, folder: Path, pages: dict[Path, Page]) -> str | None:
    """Why what the file `path` names is not in the folder; None if it is."""
    parts = urlsplit(target)
    if parts.scheme == "data":
        return None
    if parts.scheme or parts.netloc or parts.path.startswith("/"):
        return "which is elsewhere"
    goal = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
    if os.path.relpath(goal, folder) in ABOVE:
        return None
    if not goal.is_relative_to(folder) or not goal.is_file():
        return "which is not there"
    if parts.fragment and goal in pages and unquote(parts.fragment) not in pages[goal].places:
        return "which has no such place"
    return None


def main(folder: Path) -> int:
    """Check the folder; return the exit code."""
    found = list(faults(folder))
    for fault in found:
        sys.stderr.write(fault + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
