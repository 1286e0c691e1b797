#!/usr/bin/env python3
"""Check the repository's text: links of Markdown files, and no machine's places.

Prints one line per fault (file, line, what) and ends with status 1 if there is any. Wrong are:

- a Markdown link to a file, folder or heading that is not there;
- a path of a home folder, of the folder that this checkout lies in, or above the repository;
- the host name of a package registry: where locked packages come from is a site's own choice;
- a merge conflict's marker.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_COMMON = {"/", "/etc", "/home", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/usr", "/var"}  # noqa: S108
_HOME = re.compile(r"(?<![\w.~-])/(?:home|Users)/[a-z][\w.-]*/|(?<![\w.~-])/root/[\w.]")
_UPWARDS = re.compile(r"(?<![\w./])(?:\.\./)+[\w.-]+")
_REGISTRY = re.compile(
    r"\b(?:pypi|pythonhosted|npmjs|crates|rubygems|yarnpkg)\.(?:org|com|io)\b|\bdeb\.debian\."
)
_CONFLICT = re.compile(r"^(?:<{7}|>{7}) ")
_LINK = re.compile(
    r"(?<!!)\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s*<?(\S+?)>?\s*$"
)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$")
_ANCHOR = re.compile(r'<a id="([^"]+)"></a>')
_FENCE = re.compile(r"^\s*(```|~~~)")


def tracked(root: Path) -> list[Path]:
    """The repository's text files: git's, or all of them outside a git checkout."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            check=True,
            capture_output=True,
        ).stdout.decode()
        paths = [root / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in root.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


def faults_of(path: Path, root: Path) -> Iterator[str]:
    """The faults of one file, as `file:line: what`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return
    name = path.relative_to(root)
    for number, line in enumerate(lines, start=1):
        for what in line_faults(line, name, root):
            yield f"{name}:{number}: {what}"
    if path.suffix == ".md":
        for number, target in links(lines):
            if fault := link_fault(target, path, root):
                yield f"{name}:{number}: {fault}"


def line_faults(line: str, name: Path, root: Path) -> Iterator[str]:
    """The faults of a line of the file `name` (relative to `root`)."""
    around = str(root.parent)
    if around not in _COMMON and re.search(rf"(?<![\w.~-]){re.escape(around)}(?![\w-])", line):
        yield f"names the folder that this checkout lies in, {around}"
    if home := _HOME.search(line):
        yield f"names a home folder, {home[0]}"
    if registry := _REGISTRY.search(line):
        yield f"names a package registry's host, {registry[0]}"
    if _CONFLICT.match(line):
        yield "is a merge conflict's marker"
    if name.parts[0] != "tests":
        for found in _UPWARDS.finditer(line):
            if found[0].count("../") > len(name.parts) - 1:
                yield f"points above the repository, {found[0]}"


def links(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Each link of a Markdown text with its line, code blocks left out."""
    for number, line in _prose(lines):
        for found in _LINK.finditer(re.sub(r"`[^`]*`", "", line)):
            yield number, found[1] or found[2]


def link_fault(target: str, path: Path, root: Path) -> str | None:
    """The fault of a link in the file `path`; None if it leads somewhere, or outside."""
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return None
    file, _, anchor = target.partition("#")
    goal = (path.parent / file).resolve() if file else path
    if not goal.is_relative_to(root) or not goal.exists():
        return f"links to {target}, which is not there"
    if (
        anchor
        and goal.suffix == ".md"
        and anchor not in anchors(goal.read_text(encoding="utf-8").splitlines())
    ):
        return f"links to {target}, which has no such heading"
    return None


def anchors(lines: Iterable[str]) -> set[str]:
    """The anchors of a Markdown text: headings' as forges make them, and `<a id="…">`."""
    found: dict[str, int] = {}
    for _number, line in _prose(lines):
        found |= dict.fromkeys(_ANCHOR.findall(line), 0)
        if heading := _HEADING.match(line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "")
            slug = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
            if found[slug]:
                found[f"{slug}-{found[slug]}"] = 0
    return set(found)


def _prose(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    fence = ""
    for number, line in enumerate(lines, start=1):
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or str(mark[1])
        elif not fence:
            yield number, line


def main(root: Path = ROOT) -> int:
    """Check every file; return the exit code."""
    faults = [fault for path in tracked(root) for fault in faults_of(path, root)]
    for fault in faults:
        sys.stderr.write(fault + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
