"""The worlds that commands of the corpus are typed in: settings, a store, files to read, or none of them."""

from __future__ import annotations

import functools
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from click.testing import CliRunner

from sesame.cli import main
from tests import filled_store
from tests.cli.stillness import standing_still

KEY = "c2VzYW1lIGNvcnB1cyBvZiB0aGUgY29tbWFuZHMhISE=\n"
"""The vault's, and the site's for privacy, in their files."""

_SETTINGS = (Path(__file__).with_name("sesame.toml")).read_text(encoding="utf-8")
WORLDS = {
    "nothing": "a folder without settings and without a store",
    "empty": "settings, and a new store",
    "filled": "settings, and the filled store in today's form",
    "left": "the filled store: one is not enrolled any more, one was replayed in vain, one sent by a "
    "program; the canary failed",
    "restored": "the filled store, which asks about a student after a restore, and shuts every target",
    "then": "the filled store in a form that is not migrated any more",
    "future": "a store that a newer version has migrated",
    "broken": "a file that is no database",
    "keyless": "the filled store, and no key",
    "kafka": "the filled store, and a log on Kafka that does not answer",
    "away": "a store on a PostgreSQL server that does not answer",
    "wrong": "settings with a misspelt name",
}

_MORE = {
    "left": """
        UPDATE enrolments SET cancelled = 1 WHERE student_number = '22600003';
        INSERT INTO imports (id, source, file_name, started_at, finished_at, superseded, confirmed_through)
            VALUES (5, 'api', 'person.jsonl', 1795746600.0, 1795746601.0, 0, 0);
        UPDATE replays SET consumer = 'directory' WHERE id = 'x784vYs5K0DL';
        UPDATE replay_students SET outcome = 'failed'
            WHERE replay_id = 'x784vYs5K0DL' AND student_number = '22600012';
        INSERT INTO canary_steps VALUES
            (0, 'enrolment', 0.312, 1, '', 1795746700.0), (1, 'activation', 1.504, 1, '', 1795746700.0),
            (2, 'moodle', 0.53, 1, '', 1795746700.0),
            (3, 'login', 0.2, 0, 'CAS refuses the login of canari.sesame', 1795746700.0),
            (4, 'reset', 0.418, 1, '', 1795746700.0);
    """,
    "then": "UPDATE alembic_version SET version_num = '0045'",
    "future": "UPDATE alembic_version SET version_num = '9999'; UPDATE store_form SET oldest = '9999'",
    "restored": """
        INSERT INTO restore_questions VALUES
            ('22600009', '["directory", "moodle"]', 'open', 1795746600.0, NULL),
            ('22600008', '["mailbox"]', 'kept', 1795746600.0, 1795746700.0);
        INSERT INTO store_life VALUES
            (1, '0123456789abcdef', 7, 'the store went back in time', 1795746600.0, NULL);
    """,
}
"""Statements that make a world of the filled store."""


def furnish(world: str, folder: Path) -> None:
    """Make one of `WORLDS` of an empty folder."""
    assert world in WORLDS
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
    for name in ("vault.key", "privacy.key") if world != "keyless" else ():
        (data / name).write_text(KEY, encoding="ascii")
        (data / name).chmod(0o600)
    if world == "broken":
        (data / "sesame.db").write_bytes(b"no database" * 100)
    elif world != "away":
        (data / "sesame.db").write_bytes(store(world))
    if (data / "sesame.db").exists():
        (data / "sesame.db").chmod(0o600)


@functools.cache
def store(world: str) -> bytes:
    """SQLite's file in this world."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "data" / "sesame.db"
        file.parent.mkdir()
        (folder / "sesame.toml").write_text(_SETTINGS, encoding="utf-8")
        if world != "empty":
            filled_store.put(f"sqlite:///{file}")
        with standing_still(folder):
            done = CliRunner().invoke(main, ["migrate"], prog_name="sesame")
        assert done.exit_code == 0, done.output
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(_MORE.get(world, ""))
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return file.read_bytes()
