"""Plays `sesame` commands in process and writes down all that they say, and what they change.

What cannot stand still is written as one word (`_SAME`).
"""

from __future__ import annotations

import hashlib
import re
import shlex
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from click.testing import CliRunner

from sesame.cli import main
from tests import filled_store
from tests.cli.stillness import standing_still
from tests.cli.worlds import furnish

_PARTITION_BIT = 40  # of a record's id in the embedded log: from here on it names the partition

_PLACE = "/srv/sesame"


@dataclass(frozen=True)
class Case:
    """Command lines that follow one another in one world.

    Attributes:
        name: of its file in `corpus`.
        lines: what is typed, without `sesame`.
        world: one of `WORLDS`, or what a test furnishes.
        answer: what is typed when a command asks.
    """

    name: str
    lines: tuple[str, ...]
    world: str = "filled"
    answer: str = ""


def play(case: Case, folder: Path) -> str:
    """Everything that the commands say and change in `folder`, as it is written down."""
    furnish(case.world, folder)
    return say(case, folder)


def say(case: Case, folder: Path, words: Mapping[str, str] = MappingProxyType({})) -> str:
    """The same in a folder that is furnished already; `words` stand for texts that differ each time."""
    with standing_still(folder):
        return "\n".join(_told(line, case.answer, folder, words) for line in case.lines)


# --- what is said -------------------------------------------------------------------------------------

_SAME = (
    (re.compile(rf"{re.escape(metadata.version('sesame'))}(?=\n| \(Python|\",\n)"), "(version)"),
    (re.compile(r"(?<=Python )[0-9.]+(?=\)\n)|(?<=\"python\": \")[0-9.]+"), "(version)"),
    (re.compile(r"(?:(?<=at revision )|(?<=à la révision ))[0-9]{4}"), "(newest)"),
    (re.compile(r"^ *[0-9]+[.][0-9]{2} s  (?=[a-z]+ ?: )", re.MULTILINE), "  (time) s  "),
    (re.compile(r"(?<=\"seconds\": )[0-9.]+"), '"(time)"'),
    (re.compile(r"(?:(?<=\"hash\": \")|(?<=\"head\": \")|(?<=head )|(?<=tête ))[0-9a-f]{64}"), "(hash)"),
)
"""Patterns, and what stands for them: versions, the newest migration, how long `provision` took,
and what is computed of salts."""

_UNSEEN = re.compile(r"(?<=\"unseen\": \{\n)[^}]+(?=\n *\})|(?:^unseen  .*\n)+", re.MULTILINE)
"""Servers that are asked at once: whichever gives up first is said first. They are written in order."""


def _told(line: str, answer: str, folder: Path, words: Mapping[str, str]) -> str:
    before = _contents(folder)
    done = CliRunner().invoke(main, shlex.split(line), prog_name="sesame", input=answer)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    parts = [f"$ sesame {line}".rstrip(), f"exit: {done.exit_code}"]
    changed = _changes(before, _contents(folder))
    for title, text in (("stdout", done.stdout), ("stderr", done.stderr), ("changed", changed)):
        if text:
            parts.append(f"--- {title}\n{text.rstrip(chr(10))}")
            parts += ["(no newline at the end)"] if not text.endswith("\n") else []
    said = "\n".join(parts) + "\n"
    for text, word in {str(folder): _PLACE, **words}.items():
        said = said.replace(text, word)
    for pattern, word in _SAME:
        said = pattern.sub(word, said)
    return _UNSEEN.sub(_in_order, said)


def _in_order(found: re.Match[str]) -> str:
    lines = found[0].split("\n")
    comma = "," if lines[0].startswith(" ") else ""
    sorted_ = sorted(line.removesuffix(comma) for line in lines if line)
    return f"{comma}\n".join(sorted_) + ("" if comma else "\n")


def _contents(folder: Path) -> dict[str, Counter[str]]:
    """The rows of each table of the store, and the records of each topic of the log."""
    found: dict[str, Counter[str]] = {}
    store, log = folder / "data" / "sesame.db", folder / "data" / "events.db"
    try:
        if store.exists():
            tables = filled_store.rows(f"sqlite:///{store}")
            found = {
                name: Counter(map(repr, rows)) for name, rows in tables.items() if name != "sqlite_sequence"
            }
        if log.exists():
            tables = filled_store.rows(f"sqlite:///{log}")
            topics = {row["id"]: row["topic"] for row in tables["partitions"]}
            for row in tables["records"]:
                records = found.setdefault(f"log, {topics[row['id'] >> _PARTITION_BIT]}", Counter())
                records[repr(row)] += 1
    except sqlite3.DatabaseError:
        return {}
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(("sesame.db", "events.db"))
    )
    return found | {
        f"file {path.relative_to(folder)}": Counter([hashlib.sha256(path.read_bytes()).hexdigest()])
        for path in files
    }


def _changes(before: dict[str, Counter[str]], after: dict[str, Counter[str]]) -> str:
    """What was added to each table, topic and folder, and what went: a row that was changed is both."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, Counter()), after.get(name, Counter())
        if old != new:
            lines.append(f"{name}: {(new - old).total()} new, {(old - new).total()} gone\n")
    return "".join(lines)
