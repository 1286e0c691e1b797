"""Plays `sesame` commands in process on a store that stands still, and writes down all that they say.

Fixed, so that a command says the same on every machine: the time and its zone, the terminal's width, what is
drawn by `secrets`, the host's and the user's name, the free disk, the vault's key. What cannot be fixed is
written as one word (`_SAME`).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import pwd
import re
import secrets
import shlex
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import time_machine
from click.testing import CliRunner

from sesame.cli import main
from tests import filled_store

NOW = 1_795_747_200.0
"""The time of every command, in epoch seconds: some minutes after the store was filled."""

T = TypeVar("T")

_PARTITION_BIT = 40  # of a record's id in the embedded log: from here on it names the partition

_PLACE = "/srv/sesame"
_UNWANTED = re.compile(
    "SESAME_.*|LANG|LANGUAGE|LC_.*|NO_COLOR|.*FORCE_COLOR|CLICOLOR.*|TERM|LINES|TTY_.*|JUPYTER_.*|SUDO_UID|.*_proxy",
    re.IGNORECASE,
)
_SETTINGS = (Path(__file__).with_name("sesame.toml")).read_text(encoding="utf-8")
_WORLDS = {
    "nothing": "a folder without settings and without a store",
    "empty": "settings, and a new store",
    "filled": "settings, and the filled store in today's form",
    "restored": "the filled store, which asks about a student after a restore, and shuts every target",
    "then": "the filled store as it was, not migrated",
    "future": "a store that a newer version has migrated",
    "broken": "a file that is no database",
    "keyless": "the filled store, and no key of the vault",
    "kafka": "the filled store, and a log on Kafka that does not answer",
    "away": "a store on a PostgreSQL server that does not answer",
    "wrong": "settings with a misspelt name",
}

_MORE = {
    "future": "UPDATE alembic_version SET version_num = '9999'",
    "restored": """
        INSERT INTO restore_questions VALUES
            ('22600009', '["directory", "moodle"]', 'open', 1795746600.0, NULL),
            ('22600008', '["mailbox"]', 'kept', 1795746600.0, 1795746700.0);
        INSERT INTO store_life VALUES
            (1, '0123456789abcdef', 7, 'the store went back in time', 1795746600.0, NULL);
    """,
}
"""Statements that make a world of the filled store."""


@dataclass(frozen=True)
class Case:
    """Command lines that follow one another in one world.

    Attributes:
        name: of its file in `corpus`.
        lines: what is typed, without `sesame`.
        world: one of `_WORLDS`.
        answer: what is typed when a command asks.
    """

    name: str
    lines: tuple[str, ...]
    world: str = "filled"
    answer: str = ""


def play(case: Case, folder: Path) -> str:
    """Everything that the commands say and change in `folder`, as it is written down."""
    _furnish(case.world, folder)
    with _standing_still(folder):
        return "\n".join(_told(line, case.answer, folder) for line in case.lines)


# --- worlds -------------------------------------------------------------------------------------------


def _furnish(world: str, folder: Path) -> None:
    assert world in _WORLDS
    if world == "nothing":
        return
    data = folder / "data"
    data.mkdir()
    for given in sorted(Path(__file__).with_name("files").iterdir()):
        shutil.copyfile(given, folder / given.name)
    (folder / "passwords").chmod(0o600)
    text = _SETTINGS
    if world == "wrong":
        text += "\n[http]\nprot = 1\n"
    if world == "kafka":
        text += '\n[log]\nkind = "kafka"\nservers = ["127.0.0.1:1"]\nsecurity = "PLAINTEXT"\n'
    if world == "away":
        text += '\n[store]\nurl = "postgresql://sesame@127.0.0.1:1/sesame"\n'
    (folder / "sesame.toml").write_text(text, encoding="utf-8")
    if world != "keyless":
        (data / "vault.key").write_text("c2VzYW1lIGNvcnB1cyBvZiB0aGUgY29tbWFuZHMhISE=\n", encoding="ascii")
        (data / "vault.key").chmod(0o600)
    if world == "broken":
        (data / "sesame.db").write_bytes(b"no database" * 100)
    elif world != "away":
        (data / "sesame.db").write_bytes(_store(world))
    if (data / "sesame.db").exists():
        (data / "sesame.db").chmod(0o600)


@functools.cache
def _store(world: str) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "data" / "sesame.db"
        file.parent.mkdir()
        (folder / "sesame.toml").write_text(_SETTINGS, encoding="utf-8")
        if world != "empty":
            filled_store.put(f"sqlite:///{file}")
        if world != "then":
            with _standing_still(folder):
                done = CliRunner().invoke(main, ["migrate"], prog_name="sesame")
            assert done.exit_code == 0, done.output
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(_MORE.get(world, ""))
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return file.read_bytes()


@contextmanager
def _standing_still(folder: Path) -> Iterator[None]:
    with _as_they_were(), pytest.MonkeyPatch.context() as fixed:
        for name in [name for name in os.environ if _UNWANTED.fullmatch(name)]:
            fixed.delenv(name)
        fixed.setenv("COLUMNS", "100")
        if not (folder / "sesame.toml").exists():
            fixed.setenv("SESAME_DATA_DIR", "data")  # never the machine's own
        fixed.setenv("TZ", "CET-1")  # the whole year one hour ahead of UTC, without a table of zones
        fixed.chdir(folder)
        fixed.setattr(sys, "argv", ["sesame"])
        fixed.setattr(pwd, "getpwuid", lambda _uid: SimpleNamespace(pw_name="camille"))
        fixed.setattr(os, "getuid", _login_number)
        fixed.setattr(socket, "gethostname", lambda: "srv1")
        fixed.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=50 * 10**9))
        for name, draw in _drawing().items():
            fixed.setattr(secrets, name, draw)
        time.tzset()
        with time_machine.travel(NOW, tick=False):
            yield


@contextmanager
def _as_they_were() -> Iterator[None]:
    """Signals and time zone are left as they are found, once the environment is what it was."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        time.tzset()
        for number, handler in signals.items():
            signal.signal(number, handler)


def _login_number() -> int:
    """Whoever logged in is who runs this: nobody has become another user."""
    try:
        return int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except OSError:  # a kernel that does not keep it
        return os.geteuid()


def _drawing() -> dict[str, Any]:
    """The functions of `secrets`, which draw the same each time; a draw of one length moves no other."""
    drawn: Counter[tuple[str, int]] = Counter()

    def draw(what: str, size: int) -> bytes:
        drawn[what, size] += 1
        return hashlib.shake_128(f"{what} {size} {drawn[what, size]}".encode()).digest(size)

    def token_urlsafe(size: int = 32) -> str:
        return base64.urlsafe_b64encode(draw("urlsafe", size)).rstrip(b"=").decode()

    def randbelow(below: int) -> int:
        return int.from_bytes(draw("below", 16)) % below

    def choice(among: Sequence[T]) -> T:
        return among[randbelow(len(among))]

    return {
        "token_bytes": lambda size=32: draw("bytes", size),
        "token_hex": lambda size=32: draw("hex", size).hex(),
        "token_urlsafe": token_urlsafe,
        "randbelow": randbelow,
        "choice": choice,
    }


# --- what is said -------------------------------------------------------------------------------------

_SAME = (
    (re.compile(rf"{re.escape(metadata.version('sesame'))}(?=\n| \(Python|\",\n)"), "(version)"),
    (re.compile(r"(?<=Python )[0-9.]+(?=\)\n)|(?<=\"python\": \")[0-9.]+"), "(version)"),
    (re.compile(r"(?<=at revision )[0-9]{4}"), "(newest)"),
    (re.compile(r"^ *[0-9]+[.][0-9]{2} s  (?=[a-z]+: )", re.MULTILINE), "  (time) s  "),
    (re.compile(r"(?<=\"seconds\": )[0-9.]+"), '"(time)"'),
)
"""Patterns, and what stands for them: versions, the newest migration, and how long `provision` took."""

_UNSEEN = re.compile(r"(?<=\"unseen\": \{\n)[^}]+(?=\n *\})|(?:^unseen  .*\n)+", re.MULTILINE)
"""Servers that are asked at once: whichever gives up first is said first. They are written in order."""


def _told(line: str, answer: str, folder: Path) -> str:
    before = _contents(folder)
    done = CliRunner().invoke(main, shlex.split(line), prog_name="sesame", input=answer)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    parts = [f"$ sesame {line}".rstrip(), f"exit: {done.exit_code}"]
    changed = _changes(before, _contents(folder))
    for title, text in (("stdout", done.stdout), ("stderr", done.stderr), ("changed", changed)):
        if text:
            parts.append(f"--- {title}\n{text.rstrip(chr(10))}")
            parts += ["(no newline at the end)"] if not text.endswith("\n") else []
    said = "\n".join(parts).replace(str(folder), _PLACE) + "\n"
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
