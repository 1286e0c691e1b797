"""A backup made while an import writes, proved, and put back; a reader of its own judges what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.person_keys import PersonKeys
from sandbox.process import PATIENCE_S, wait_until
from sesame.operations.keeping.backup import sealing
from sesame.testing.servers.command import sesame
from sesame.testing.servers.registrar_kit import COLUMNS, students

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
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    published = "SELECT count(*) FROM feed_rows WHERE import_id = 2"
    wait_until(lambda: asked(Path("data/sesame.db"), published) > 0, "the import to write")
    folder = backed_up()
    said = running.communicate(timeout=PATIENCE_S)[0]
    assert running.returncode == 0, said
    assert sesame("backup", "verify", str(folder)).exit_code == 0
    assert sesame("restore", str(folder), "--yes").exit_code == 0
    facts, records = asked(Path("data/sesame.db"), FACTS), asked(Path("data/events.db"), RECORDS)
    assert 40 < facts <= 4_000
    assert records <= facts, "what the log has, the store has meant to publish"
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
    _of_form(folder, "9999")


def _of_form(folder: Path, revision: str) -> None:
    with closing(sqlite3.connect(folder / "sesame.db")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        store.execute("UPDATE store_form SET oldest = ?", (revision,))
    _sign_again(folder)


def other_rows(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "sesame.db")) as store, store:
        store.execute("DELETE FROM imports")
    _sign_again(folder)


def _sign_again(folder: Path) -> None:
    """As somebody would who made the manifest fit."""
    content = (folder / "sesame.db").read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["sesame.db"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if manifest["revision"] != "9999":
        (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("harm", "why", "code"),
    [
        (cut, "is not what was backed up", 6),
        (flip, "is not what was backed up", 6),
        (never_ended, "is no whole backup: it has no manifest.json", 1),
        (without_store, "sesame.db is not what was backed up", 6),
        (of_the_future, "other rows than its manifest says", 6),
        (other_rows, "other rows than its manifest says", 6),
    ],
)
def test_a_backup_that_would_not_help_is_told_and_changes_nothing(
    site: Path, harm: Callable[[Path], None], why: str, code: int
) -> None:
    folder = backed_up()
    harm(folder)
    for words in (("backup", "verify", str(folder)), ("restore", str(folder), "--yes")):
        refused = sesame(*words)
        assert refused.exit_code == code, refused.output
        assert why in refused.stderr
        assert "Traceback" not in refused.stderr
    assert asked(Path("data/sesame.db"), FACTS) == 40
    assert not list(Path("data").glob("before-restore-*"))
    assert not [*Path("data/backups").glob(".*"), *Path("data").glob(".*")], "the scratch folder is gone"


@pytest.mark.parametrize(
    ("revision", "why", "remedy"),
    [
        ("9999", "newer version of Sésame has migrated", "Upgrade this installation"),
        ("0045", "a form from before the first release", "restore it there first"),
        ("0015", "a form from before the first release", "restore it there first"),
    ],
)
def test_a_backup_of_a_form_that_is_not_known_is_refused_and_changes_nothing(
    site: Path, revision: str, why: str, remedy: str
) -> None:
    folder = backed_up()
    _of_form(folder, revision)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["revision"] = revision
    (folder / "manifest.json").write_text(json.dumps(manifest))
    before = _rows_but_the_audit()
    for words in (("backup", "verify", str(folder)), ("restore", str(folder), "--yes")):
        refused = sesame(*words)
        assert refused.exit_code == 1
        assert why in refused.stderr
        assert remedy in refused.stderr
    assert _rows_but_the_audit() == before
    with closing(sqlite3.connect("data/sesame.db")) as store:
        query = "SELECT detail FROM audit WHERE action = 'backup.verify'"
        (rehearsed,) = [json.loads(detail) for (detail,) in store.execute(query)]
    assert rehearsed == {"folder": str(folder), "unusable": "BackupUnusable"}


def _rows_but_the_audit() -> list[str]:
    with closing(sqlite3.connect("data/sesame.db")) as store:
        rows = re.compile("""INSERT INTO "?(audit|sqlite_sequence" VALUES[(]'audit')""")
        return [line for line in store.iterdump() if not rows.match(line)]


def test_a_rehearsal_leaves_its_report_in_the_audit(site: Path) -> None:
    folder = backed_up()
    assert sesame("backup", "verify", str(folder)).exit_code == 0
    with closing(sqlite3.connect("data/sesame.db")) as store:
        query = "SELECT detail FROM audit WHERE action = 'backup.verify'"
        (report,) = [json.loads(detail) for (detail,) in store.execute(query)]
        (accounts,) = store.execute("SELECT count(*) FROM accounts").fetchone()
    assert (report["folder"], report["accounts"], report["erased"]) == (str(folder), accounts, 0)
    assert report["seconds"] >= 0


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


def test_before_the_first_run_it_says_what_is_missing(site: Path) -> None:
    (Path("data") / "events.db").unlink()
    refused = sesame("backup", "--to", "copies")
    assert refused.exit_code == 1
    assert "events.db does not exist yet" in refused.stderr
    assert "sesame run" in refused.stderr
    assert not Path("copies").exists()


def test_one_that_failed_is_in_the_audit_and_no_evidence_of_a_backup(site: Path) -> None:
    def measured() -> list[int]:
        found = {each["measure"]: each for each in json.loads(sesame("evidence", "--json").stdout)}
        return [found["13.1 backups"]["figure"]["backups"], len(found["13.1 backups"]["exceptions"])]

    log = Path("data") / "events.db"
    whole = log.read_bytes()
    log.write_bytes(b"no database" * 1000)
    assert sesame("backup", "--to", "copies").exit_code != 0
    failed, begun = json.loads(sesame("audit", "--limit", "2", "--json").stdout)
    assert [each["action"] for each in (failed, begun)] == ["backup", "backup"]
    assert "which failed" in sesame("audit", "--limit", "1").stdout
    assert measured() == [0, 1]
    log.write_bytes(whole)
    backed_up("--to", "copies")
    assert measured() == [1, 0]


def test_what_two_servers_keep_is_backed_up_by_their_own_tools(site: Path) -> None:
    settings = 'data_dir = "data"\n[store]\nurl = "postgresql://sesame@127.0.0.1:1/sesame"\n'
    Path("sesame.toml").write_text(
        settings + '[log]\nkind = "kafka"\nservers = ["127.0.0.1:1"]\nsecurity = "PLAINTEXT"\n'
    )
    for words in (("backup",), ("restore", "data", "--yes")):
        refused = sesame(*words)
        assert refused.exit_code == 2, refused.output
        assert "by its own tools" in refused.stderr


# --- persons ---

LEA = "22600007"
ERASED = "erased-abcdefghijklmnopqrstuvwx"
NAMES_KEPT = f"SELECT count(*) FROM ledger WHERE student_number = '{ERASED}'"  # noqa: S608 (a constant)


def own_keys() -> PersonKeys:
    return PersonKeys(Path("data/person-keys.db"), copies=Path("data/person-keys"))


def everybody() -> set[bytes]:
    """Numbers, INE, names and addresses as the registrar's file has them."""
    named = ("COD_ETU", "COD_NNE_IND", "LIB_NOM_PAT_IND", "MAIL_PERSO")
    found = {row[column] for row in students(40) for column in named}
    return {json.dumps(each)[1:-1].encode() for each in found}  # as our documents have it


def files(folder: Path) -> list[bytes]:
    return [each.read_bytes() for each in folder.rglob("*") if each.is_file()]


def test_no_file_of_a_backup_has_a_person_in_it(site: Path) -> None:
    persons = everybody()
    live = b"".join(files(site / "data"))
    assert [each for each in persons if each not in live] == [], "the oracle sees what is there"
    folder = backed_up("--to", "copies")
    for content in files(folder):
        assert [each for each in persons if each in content] == []
    assert not list(Path("copies").rglob("person-keys*"))
    [copy] = Path("data/person-keys").iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_who_was_erased_since_is_not_restored_and_the_others_are(site: Path) -> None:
    assert sesame("hold", "place", LEA, "--reason", "a test").exit_code == 0
    folder = backed_up()
    kept = {"ledger": [ledger_row("h:0123", ERASED)]}
    own_keys().destroy(LEA, pseudonym=ERASED, kept=kept)
    verified = json.loads(sesame("backup", "verify", str(folder), "--json").stdout)
    assert verified["erased"] == 1
    restored = sesame("restore", str(folder), "--yes")
    assert restored.exit_code == 0, restored.output
    assert "1 person in it was erased since" in restored.stdout
    shutil.rmtree(next(Path("data").glob("before-restore-*")))
    assert asked(Path("data/sesame.db"), FACTS) == 39
    assert asked(Path("data/sesame.db"), NAMES_KEPT) == 1
    assert asked(Path("data/events.db"), RECORDS) == 41, "the log keeps its places"
    [lea] = [row for row in students(40) if row["COD_ETU"] == LEA]
    mine = {lea[name].encode() for name in ("COD_ETU", "COD_NNE_IND", "MAIL_PERSO")}
    shutil.rmtree("data/backups")
    for content in files(site / "data"):
        assert [each for each in mine if each in content] == []
    chain = sesame("audit", "verify", "--json")
    assert chain.exit_code == 0, chain.output
    assert json.loads(chain.stdout)["forgotten"] == 1


def ledger_row(value: str, number: str) -> dict[str, object]:
    return {
        "kind": "login",
        "value": value,
        "student_number": number,
        "origin": "minted",
        "recorded_at": 1.0,
    }


def test_what_was_known_of_an_erasure_at_the_backup_is_not_put_back(site: Path) -> None:
    """Who has returned has plain rows again, which the backup has."""
    own_keys().destroy(LEA, pseudonym=ERASED, kept={"ledger": [ledger_row("h:0123", ERASED)]})
    folder = backed_up()
    restored = sesame("restore", str(folder), "--yes", "--json")
    assert json.loads(restored.stdout)["restored"]["erased"] == 0
    assert asked(Path("data/sesame.db"), NAMES_KEPT) == 0
    assert asked(Path("data/sesame.db"), FACTS) == 40


def test_without_the_keys_nothing_is_restored_and_a_copy_helps(site: Path) -> None:
    folder = backed_up()
    [copy] = Path("data/person-keys").iterdir()
    Path("data/person-keys.db").rename("lost")
    for words in (("backup", "verify", str(folder)), ("restore", str(folder), "--yes")):
        refused = sesame(*words)
        assert refused.exit_code == 1
        assert "no file of persons' keys" in refused.stderr
        assert "--keys" in refused.stderr
    assert asked(Path("data/sesame.db"), FACTS) == 40
    assert sesame("backup", "verify", str(folder), "--keys", str(copy)).exit_code == 0
    assert not Path("data/person-keys.db").exists()
    restored = sesame("restore", str(folder), "--yes", "--keys", str(copy))
    assert restored.exit_code == 0, restored.output
    assert sesame("backup", "verify", str(folder)).exit_code == 0, "the copy is the file of keys now"
    again = sesame("restore", str(folder), "--yes", "--keys", str(copy))
    assert again.exit_code == 1
    assert "knows who was erased" in again.stderr


def test_other_keys_open_nothing(site: Path) -> None:
    folder = backed_up()
    Path("data/person-keys.db").unlink()
    assert sesame("backup", "--to", "elsewhere").exit_code == 0, "which makes keys anew"
    refused = sesame("restore", str(folder), "--yes")
    assert refused.exit_code == 1
    assert "other keys" in refused.stderr


def sealed_otherwise(folder: Path, change: str) -> None:
    with closing(sqlite3.connect(folder / "sesame.db")) as store, store:
        store.execute(change)
    _sign_again(folder)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE backup_sealed SET body = substr(body, 1, 40) || x'00000000' || substr(body, 45)", 6),
        ("UPDATE backup_sealed SET keys = (SELECT keys FROM backup_sealed WHERE position = 4)", 6),
        ("UPDATE backup_sealed SET body = (SELECT body FROM backup_sealed WHERE position = 4)", 6),
        ("UPDATE backup_sealed SET keys = '987654'", 1),
        ("DELETE FROM backup_sealed", 6),
    ],
)
def test_a_sealed_value_that_was_changed_moved_or_taken_out_is_told(
    site: Path, change: str, code: int
) -> None:
    folder = backed_up()
    sealed_otherwise(folder, f"{change} WHERE position = 3")
    refused = sesame("restore", str(folder), "--yes")
    assert refused.exit_code == code
    assert "Traceback" not in refused.stderr
    assert asked(Path("data/sesame.db"), FACTS) == 40
    assert not list(Path("data").glob("before-restore-*"))


def test_a_backup_of_before_the_seals_is_restored_still(site: Path) -> None:
    folder = site / "copies" / "sesame-old"
    folder.mkdir(parents=True)
    notes, rows, revision = {}, {}, ""
    for name in ("events.db", "sesame.db"):
        with (
            closing(sqlite3.connect(Path("data") / name)) as live,
            closing(sqlite3.connect(folder / name)) as copy,
        ):
            live.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            if name == "sesame.db":
                tables = copy.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
                for (table,) in tables:
                    if not table.startswith("sqlite_"):
                        rows[table] = copy.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
                revision = copy.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        content = (folder / name).read_bytes()
        notes[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = {"made_at": "2026-10-01T02:30:00Z", "version": "0.9", "revision": revision, "files": notes}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "rows": rows, "records": 40}))
    write_export(Path("export.csv"), 60)
    assert sesame("import", "export.csv").exit_code == 0
    restored = sesame("restore", str(folder), "--yes")
    assert restored.exit_code == 0, restored.output
    assert asked(Path("data/sesame.db"), FACTS) == 40


def test_who_is_erased_while_a_backup_is_made_is_in_none(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy was taken before, and the key would be made again after."""
    made = sealing.seal_file
    done: list[bool] = []

    def erased_in_between(*args: Any) -> Any:
        if not done:
            done.append(own_keys().destroy(LEA, pseudonym=ERASED, kept={}))
            with closing(sqlite3.connect("data/sesame.db")) as store, store:
                store.execute("DELETE FROM feed_rows WHERE student_number = ?", (LEA,))
        return made(*args)

    monkeypatch.setattr(sealing, "seal_file", erased_in_between)
    folder = backed_up()
    assert sesame("restore", str(folder), "--yes").exit_code == 0
    assert asked(Path("data/sesame.db"), FACTS) == 39


def test_what_a_killed_backup_has_left_in_clear_is_removed_by_the_next(site: Path) -> None:
    left = site / "data" / ".backup-scratch-killed"
    left.mkdir()
    (left / "sesame.db").write_bytes(LEA.encode())
    backed_up()
    assert not left.exists()


def test_two_backups_at_once_leave_one_another_alone(site: Path) -> None:
    words = [sys.executable, "-m", "sesame", "backup", "--json", "--to"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    both = [
        subprocess.Popen([*words, to], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        for to in ("one", "two")
    ]
    for process in both:
        said = process.communicate(timeout=PATIENCE_S)[0]
        assert process.returncode == 0, said
        assert sesame("backup", "verify", json.loads(said)["folder"]).exit_code == 0
    assert not list(Path("data").glob(".*"))
    assert asked(Path("data/person-keys.db"), "SELECT count(*) FROM keys WHERE student_number != ''") == 40
