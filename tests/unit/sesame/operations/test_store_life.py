"""A store that went back in time, or is another one, is recognised before anybody works by it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, text, update

from pipeline import status
from pipeline.status import consumer_status
from pipeline.vault import new_key
from sesame.acts import life
from sesame.acts.admission import Heart, Notes, StoreRestored, admit, count
from sesame.acts.life import store_life
from sesame.app import process_runner
from sesame.app.doctor.checks import checks_for
from sesame.app.doctor.findings import CheckState, examine
from sesame.app.wiring import Application
from sesame.operations.questions.restored import questions
from sesame.settings import load
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.running_kit import Run, Site


def write_settings(folder: Path, url: str | None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "vault.key").write_text(new_key())
    (folder / "vault.key").chmod(0o600)
    lines = [f'data_dir = "{folder}"', 'targets = ["moodle"]', "http.port = 0"]
    if url is not None:
        (folder / "url").write_text(url)
        (folder / "url").chmod(0o600)
        lines.append(f'store.url_file = "{folder / "url"}"')
    path = folder / "sesame.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def start(tmp_path: Path, store_url: str) -> Iterator[Callable[..., Application]]:
    """Another process on the same store, with the data folder of that name: SQLite's own one, or any."""
    begun: list[Application] = []
    url = None if store_url.startswith("sqlite") else store_url

    def process(machine: str = "one") -> Application:
        begun.append(Application(load(write_settings(tmp_path / machine, url))))
        return begun[-1]

    yield process
    for application in begun:
        application.close()


def begin(application: Application) -> None:
    """As each process that runs consumers does."""
    admit(application, works=True)
    count(application)


def go_back(application: Application, beats: int) -> None:
    """What a restored backup looks like to whoever connects to it."""
    with application.database.write() as connection:
        connection.execute(update(store_life).values(beats=beats))


def test_a_store_counts_with_each_process_that_works_and_is_believed(
    start: Callable[..., Application],
) -> None:
    for beats in (1, 2, 3):
        application = start()
        begin(application)
        assert present(Notes.of(application).read()).beats == beats
    admit(start(), works=False)


def test_processes_of_one_machine_that_begin_at_once_on_a_new_store_do_not_refuse_one_another(
    start: Callable[..., Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one looks when the first has counted, and has not noted it yet."""
    noted: list[int] = []
    write = Notes.write

    def write_late(notes: Notes, store: str, beats: int) -> None:
        if beats and not noted:
            noted.append(beats)
            begin(start())
        write(notes, store, beats)

    monkeypatch.setattr(Notes, "write", write_late)
    begin(first := start())
    assert noted == [1]
    assert present(Notes.of(first).read()).beats == 2


def test_a_process_says_that_it_is_there_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that begins on another machine at the same time must not meet a store that counts, and nobody."""
    said: list[set[str]] = []

    def look(application: Application) -> None:
        with application.database.read() as connection:
            said.append({each.consumer for each in status.statuses(connection)})

    monkeypatch.setattr(process_runner, "count", look)
    run = Run(site := Site(tmp_path))
    run.start()
    run.until(lambda: bool(said))
    run.stop()
    site.close()
    assert said[0] == {"moodle", "propagation", "registry"}


def test_a_store_that_counts_less_than_was_noted_is_refused_until_somebody_has_checked(
    start: Callable[..., Application],
) -> None:
    begin(start())
    begin(first := start())
    go_back(first, 1)
    for works in (True, False, True):
        with pytest.raises(StoreRestored, match=r"counts 1, and 2 was noted"):
            admit(start(), works=works)
    application = start()
    with application.database.write() as connection:
        name = life.of(connection, application.database).name
        Notes.of(application).write(name, life.reopen(connection, 0.0, above=2))
    begin(start())


def test_a_process_under_way_stops_when_the_store_goes_back_under_it(
    start: Callable[..., Application],
) -> None:
    application, other = start(), start()
    for each in (application, other):
        begin(each)
    heart, another = Heart(application), Heart(other)
    heart.look()
    another.look()
    go_back(application, 1)
    with pytest.raises(StoreRestored):
        heart.look()
    with pytest.raises(StoreRestored):  # though it counts by itself, it is told by the store
        another.look()


def test_another_store_than_the_one_that_worked_here_is_refused(start: Callable[..., Application]) -> None:
    begin(first := start())
    with first.database.write() as connection:
        connection.execute(delete(store_life))  # an empty one, as is begun where a file was deleted
    with pytest.raises(StoreRestored, match="another store"):
        admit(start(), works=True)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_an_embedded_file_that_was_put_back_is_recognised_by_itself(
    start: Callable[..., Application], tmp_path: Path
) -> None:
    """Even if nothing was counted since the backup."""
    begin(first := start())
    first.close()
    path = tmp_path / "one" / "sesame.db"
    shutil.copy(path, tmp_path / "backup.db")
    path.unlink()
    shutil.move(tmp_path / "backup.db", path)
    with pytest.raises(StoreRestored, match="its file, or table, is another"):
        admit(start(), works=True)


def test_a_backup_that_was_put_back_into_the_same_file_is_recognised_though_nobody_has_worked_for_long(
    tmp_path: Path,
) -> None:
    """As `cp` does it, and often `rm` and `install`: the file system gives the number that became free."""
    run = Run(site := Site(tmp_path))
    run.start()
    run.until(lambda: run.states().get("moodle", ("", ""))[0] == "running")
    path, backup = tmp_path / "sesame.db", tmp_path / "backup.db"
    with closing(sqlite3.connect(path)) as store, closing(sqlite3.connect(backup)) as copy:
        store.backup(copy)
    run.stop()
    site.close()
    number = path.stat().st_ino
    shutil.copyfile(backup, path)
    assert path.stat().st_ino == number
    with pytest.raises(StoreRestored, match="is an older one"):
        admit(Application(load(tmp_path / "sesame.toml")), works=False)


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_dump_that_was_put_back_is_recognised_by_itself(start: Callable[..., Application]) -> None:
    """Even if nothing was counted since it was made."""
    begin(first := start())
    with first.database.write() as connection:
        for statement in (
            "CREATE TABLE dumped (LIKE store_life INCLUDING ALL)",
            "INSERT INTO dumped SELECT * FROM store_life",
            "DROP TABLE store_life",
            "ALTER TABLE dumped RENAME TO store_life",
        ):
            connection.execute(text(statement))
    with pytest.raises(StoreRestored, match="its file, or table, is another"):
        admit(start(), works=False)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_an_embedded_store_that_came_from_elsewhere_is_refused(
    start: Callable[..., Application], tmp_path: Path
) -> None:
    begin(first := start())
    first.close()
    (tmp_path / "one" / "store.life").unlink()
    with pytest.raises(StoreRestored, match="is not there"):
        admit(start(), works=False)


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_new_machine_is_believed_while_others_work_and_not_when_nobody_does(
    start: Callable[..., Application],
) -> None:
    begin(first := start())
    with first.database.write() as connection:
        now = first.database.now(connection)
        row = status.ConsumerStatus("moodle", "one:1:a", "running", "", now, now)
        status.report(connection, first.database, row)
    begin(start("two"))
    with first.database.write() as connection:
        connection.execute(update(consumer_status).values(seen_at=now - 600.0))
    admit(start("three"), works=False)  # who only asks need not know the store
    with pytest.raises(StoreRestored, match="is not there"):
        admit(start("three"), works=True)


def test_a_shut_store_begins_no_consumer(tmp_path: Path) -> None:
    run = Run(site := Site(tmp_path))
    with site.database.write() as connection:
        connection.execute(insert(store_life).values(id=1, name="x", beats=0, shut_why="it is being checked"))
    with pytest.raises(StoreRestored):
        run.runner.run(run.stopping)
    assert site.handlers == []


def test_the_doctor_says_what_a_restore_has_left_to_do(start: Callable[..., Application]) -> None:
    application = start()
    begin(application)
    store = next(check for check in checks_for(application.settings) if check.name == "store")
    assert examine(store).state is CheckState.OK

    with application.database.write() as connection:
        now = application.database.now(connection)
        life.shut(connection, "it is an older one", now)
        questions.ask(connection, application.database, "22600005", ["moodle"], now)
    shut = examine(store)
    assert (shut.state, "older one" in shut.text) == (CheckState.FAIL, True)
    assert "sesame restored check" in shut.remedy

    with application.database.write() as connection:
        life.reopen(connection, now, above=0)
    asked = examine(store)
    assert (asked.state, asked.text) == (CheckState.WARN, "shut since a restore, until somebody answers: 1")

    with application.database.write() as connection:
        connection.execute(questions.restore_questions.update().values(state="kept"))
    assert examine(store).state is CheckState.OK
