"""A backup made while an import writes, proved, and put back; a reader of its own judges what is in it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.process import PATIENCE_S, wait_until
from tests.command import sesame
from tests.unit.producers.registrar.registrar_kit import COLUMNS, students

FACTS = "SELECT count(*) FROM feed_rows"
RECORDS = "SELECT count(*) FROM records"
HOLDER = f"""
import sqlite3, sys
log = sqlite3.connect("data/events.db")
log.execute("{RECORDS}").fetchone()
print("open", flush=True)
sys.stdin.read()
"""


def write_export(path: Path, count: int) -> None:
    lines = [";".join(row[column] for column in COLUMNS) for row in students(count)]
    path.write_text("\n".join((";".join(COLUMNS), *lines, "")), encoding="utf-8")


@pytest.fixture(autouse=True)
def site(command_folder: Path) -> Path:
    """A folder with settings, and a store and a log of forty students."""
    write_export(Path("export.csv"), 40)
    assert sesame("import", "export.csv").exit_code == 0
    return command_folder


def asked(file: Path, query: str) -> int:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return int(database.execute(query).fetchone()[0])


def backed_up(*more: str) -> Path:
    made = sesame("backup", "--json", *more)
    assert made.exit_code == 0, made.output
    return Path(json.loads(made.stdout)["folder"])


def test_what_was_backed_up_is_put_back_and_the_targets_are_read_first(site: Path) -> None:
    folder = backed_up()
    assert folder.parent == site / "data/backups"
    write_export(Path("export.csv"), 60)
    assert sesame("import", "export.csv").exit_code == 0
    assert asked(Path("data/sesame.db"), FACTS) == 60

    assert sesame("restore", str(folder)).exit_code == 130, "nobody answered"
    assert asked(Path("data/sesame.db"), FACTS) == 60
    restored = sesame("restore", str(folder), "--yes", "--json")
    assert restored.exit_code == 0, restored.output
    assert asked(Path("data/sesame.db"), FACTS) == 40
    assert asked(Path("data/events.db"), RECORDS) == 40
    kept = Path(json.loads(restored.stdout)["kept"])
    assert asked(kept / "sesame.db", FACTS) == 60
    assert not list(Path("data").glob("*-wal"))
    assert not list(Path("data").glob(".*"))
    assert {stat.S_IMODE(each.stat().st_mode) for each in Path("data").glob("*.db")} == {0o600}

    again = sesame("import", "export.csv", "--json")
    assert json.loads(again.stdout)["recorded"] == 20, "whom the restored store does not know"


def test_a_backup_is_made_while_an_import_writes_and_is_of_one_moment(site: Path) -> None:
    write_export(Path("export.csv"), 4_000)
    running = subprocess.Popen(
        [sys.executable, "-m", "sesame", "import", "export.csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    published = "SELECT count(*) FROM feed_rows WHERE import_id = 2"
    wait_until(lambda: asked(Path("data/sesame.db"), published) > 0, "the import to write")
    folder = backed_up()
    said = running.communicate(timeout=PATIENCE_S)[0]
    assert running.returncode == 0, said
    facts, records = asked(folder / "sesame.db", FACTS), asked(folder / "events.db", RECORDS)
    assert 40 < facts <= 4_000
    assert records <= facts, "what the log has, the store has meant to publish"
    assert sesame("backup", "verify", str(folder)).exit_code == 0
    assert sesame("restore", str(folder), "--yes").exit_code == 0
    assert sesame("import", "export.csv").exit_code == 0
    last = asked(Path("data/events.db"), "SELECT count(DISTINCT key) FROM records")
    assert last == 4_000, "the same command goes on from there"


def cut(folder: Path) -> None:
    os.truncate(folder / "sesame.db", (folder / "sesame.db").stat().st_size // 2)


def flip(folder: Path) -> None:
    with (folder / "events.db").open("r+b") as file:
        file.seek(5_000)
        byte = file.read(1)
        file.seek(5_000)
        file.write(bytes([byte[0] ^ 1]))


def never_ended(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def without_store(folder: Path) -> None:
    (folder / "sesame.db").unlink()


def of_the_future(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "sesame.db")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
    _sign_again(folder)


def other_rows(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "sesame.db")) as store, store:
        store.execute("DELETE FROM feed_rows")
    _sign_again(folder)


def _sign_again(folder: Path) -> None:
    """As somebody would who made the manifest fit."""
    import hashlib

    content = (folder / "sesame.db").read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["sesame.db"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if manifest["revision"] != "9999":
        (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (cut, "is not what was backed up"),
        (flip, "is not what was backed up"),
        (never_ended, "is no whole backup: it has no manifest.json"),
        (without_store, "sesame.db"),
        (of_the_future, "other rows than its manifest says"),
        (other_rows, "other rows than its manifest says"),
    ],
)
def test_a_backup_that_would_not_help_is_told_and_changes_nothing(
    site: Path, harm: Callable[[Path], None], why: str
) -> None:
    folder = backed_up()
    harm(folder)
    for words in (("backup", "verify", str(folder)), ("restore", str(folder), "--yes")):
        refused = sesame(*words)
        assert refused.exit_code == 1, refused.output
        assert why in refused.stderr
        assert "Traceback" not in refused.stderr
    assert asked(Path("data/sesame.db"), FACTS) == 40
    assert not list(Path("data").glob("before-restore-*"))
    assert not list(Path("data/backups").glob(".*")), "the scratch folder is gone"


def test_a_backup_of_a_newer_version_is_refused(site: Path) -> None:
    folder = backed_up()
    of_the_future(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["revision"] = "9999"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    refused = sesame("backup", "verify", str(folder))
    assert refused.exit_code == 1
    assert "migrated by a newer version" in refused.stderr
    assert "Upgrade this installation" in refused.stderr


def test_nothing_is_put_under_a_process_that_works(site: Path) -> None:
    folder = backed_up()
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"open\n"
        refused = sesame("restore", str(folder), "--yes")
        assert refused.exit_code == 5
        assert f"process {other.pid}" in refused.stderr
        other.stdin.close()
    assert sesame("restore", str(folder), "--yes").exit_code == 0


def test_the_newest_ones_are_kept_and_what_is_no_backup_stays(site: Path) -> None:
    first = backed_up("--to", "copies")
    older = first.with_name("sesame-20200101T000000Z")
    shutil.copytree(first, older)
    manifest = json.loads((older / "manifest.json").read_text())
    (older / "manifest.json").write_text(json.dumps({**manifest, "made_at": "2020-01-01T00:00:00Z"}))
    (Path("copies") / "notes").mkdir()
    made = sesame("backup", "--to", "copies", "--keep", "1", "--json")
    report = json.loads(made.stdout)
    assert [Path(each).name for each in report["removed"]] == [older.name, first.name]
    assert sorted(each.name for each in Path("copies").iterdir()) == ["notes", Path(report["folder"]).name]


def test_where_there_is_no_room_nothing_is_left(site: Path) -> None:
    Path("copies").write_text("a file where a folder should be")
    refused = sesame("backup", "--to", "copies/nightly")
    assert refused.exit_code == 1
    assert "copies" in refused.stderr
    assert Path("copies").read_text() == "a file where a folder should be"


def test_what_two_servers_keep_is_backed_up_by_their_own_tools(site: Path) -> None:
    settings = 'data_dir = "data"\n[store]\nurl = "postgresql://sesame@127.0.0.1:1/sesame"\n'
    Path("sesame.toml").write_text(
        settings + '[log]\nkind = "kafka"\nservers = ["127.0.0.1:1"]\nsecurity = "PLAINTEXT"\n'
    )
    for words in (("backup",), ("restore", "data", "--yes")):
        refused = sesame(*words)
        assert refused.exit_code == 2, refused.output
        assert "by its own tools" in refused.stderr
