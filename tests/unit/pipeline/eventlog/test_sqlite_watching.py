"""Several consumers of one process: one looks for what other processes append, and tells the others."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.eventlog.port import NewRecord, Record
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.eventlog.sqlite_consumer import Wakeup
from sandbox.process import PATIENCE_S


def test_one_looks_at_a_time_and_another_takes_over() -> None:
    wakeup = Wakeup()
    assert wakeup.watch()
    assert not wakeup.watch()
    seen = wakeup.count
    wakeup.unwatch()
    assert not wakeup.follow(seen, PATIENCE_S)  # nothing was appended: nobody looks any more
    assert wakeup.watch()
    wakeup.notify()
    assert wakeup.follow(seen, PATIENCE_S)


def test_what_another_process_appends_reaches_one_who_does_not_look(tmp_path: Path) -> None:
    here, elsewhere = SqliteEventLog(tmp_path / "log.db"), SqliteEventLog(tmp_path / "log.db")
    here.ensure_topics({"x": 1, "y": 1})
    looking = here.consumer("one", ["x"], member="test")
    following = here.consumer("two", ["y"], member="test")
    got: dict[str, list[Record]] = {}

    def poll(name: str) -> None:
        consumer = {"one": looking, "two": following}[name]
        got[name] = consumer.poll(10, PATIENCE_S)

    threads = [threading.Thread(target=poll, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    producer = elsewhere.producer()
    for topic in ("y", "x"):
        producer.append([NewRecord(topic, "A", b"1", ())])
    for thread in threads:
        thread.join(PATIENCE_S)
    assert [record.topic for name in ("one", "two") for record in got[name]] == ["x", "y"]
    for closed in (producer, looking, following, here, elsewhere):
        closed.close()
