"""Archive of removed audit entries: one append-only JSON Lines file per year."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from pipeline.audit import trail
from pipeline.audit.trail import HandedOn
from pipeline.db.database import Database
from sesame.acts.acts import utc
from sesame.settings import folders

ENTRIES_PER_STEP = 1_000
_TAIL_BYTES = 1024 * 1024  # more than one entry has


def archive(database: Database, folder: Path, *, before: float) -> int:
    """Move audit entries older than `before` to the files of their years; count them.

    `before` is a Unix time, in seconds. Append some at a time, the oldest first, then remove them from the
    store; an entry behind a newer one stays. After a crash in between, entries are appended twice; their id
    shows it. `folder` is created if missing.

    Raises:
        OSError: a file cannot be written; nothing was removed.
        StoreUnavailable: what was appended also stays in the store until the next run.
    """
    with database.read() as connection:
        lines = trail.documents(connection, after=0, limit=ENTRIES_PER_STEP, before=before)
    if not lines:
        return 0
    folders.make(folder)
    for year, those in groupby(lines, key=lambda line: utc(line.mark.at).year):
        with _alone(folder):
            _append(folder / f"audit-{year}.jsonl", list(those))
    with database.write() as connection:
        trail.remove(connection, database, lines[-1].mark)
    return len(lines)


def forget(folder: Path, student_number: str, pseudonym: str) -> int:
    """Put a pseudonym for a person in archived entries; return how many changed. The chain still holds.

    Raises:
        OSError: a file cannot be written; those before it are done.
    """
    changed = 0
    for path in sorted(folder.glob("audit-*.jsonl")):
        with _alone(folder):
            lines = path.read_bytes().splitlines(keepends=True)
            mine = f'"{student_number}"'.encode()
            after = [_without(line, student_number, pseudonym) if mine in line else line for line in lines]
            if after != lines:
                changed += sum(one != other for one, other in zip(lines, after, strict=True))
                _replace(path, b"".join(after))
    return changed


def _without(line: bytes, student_number: str, pseudonym: str) -> bytes:
    document = json.loads(line)
    for person in document.get("persons", {}).values():
        if person["student_number"] == student_number:
            person.update(student_number=pseudonym, salt=None)
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def _replace(path: Path, content: bytes) -> None:
    other = path.with_suffix(".new")
    with os.fdopen(os.open(other, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    other.replace(path)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: no other process on this machine appends or replaces."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _append(path: Path, lines: list[HandedOn]) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - _TAIL_BYTES))
        tail = file.read()
        file.truncate(end - len(tail) + tail.rfind(b"\n") + 1)  # without a line that a crash cut short
        file.seek(0, os.SEEK_END)
        file.writelines(json.dumps(line.document, ensure_ascii=False).encode() + b"\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
