"""What the sandbox promises of any server that it starts."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandbox import process
from sandbox.process import ManagedProcess, find_program, wait_until

BUSY = """
for writer in 1 2 3 4; do while :; do echo "$writer" >>"$0"; done & done
wait
"""


def test_a_paused_server_and_its_children_do_nothing_more(tmp_path: Path) -> None:
    written = tmp_path / "written"
    written.touch()

    def has_grown(size: int = 0) -> bool:
        return written.stat().st_size > size

    argv = [str(find_program("bash", "bash")), "-c", BUSY, str(written)]
    server = ManagedProcess("writers", argv, log_file=tmp_path / "log", ready=has_grown)
    server.start()
    try:
        for _ in range(20):
            server.pause()
            size = written.stat().st_size
            time.sleep(0.005)  # two of a running writer's lines take no longer
            assert not has_grown(size)
            server.resume()
            wait_until(lambda size=size: has_grown(size), "the writers to go on")  # type: ignore[misc]
    finally:
        server.kill()


def test_processor_time_is_that_of_the_server_and_its_children_ended_or_not(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    script = f"{sys.executable} -c '{busy}'; {sys.executable} -c '{busy}' & touch \"$0\"; sleep 60; wait"
    begun = tmp_path / "begun"
    argv = [str(find_program("bash", "bash")), "-c", script, str(begun)]
    server = ManagedProcess("busy", argv, log_file=tmp_path / "log", ready=begun.exists)
    server.start()
    try:
        # 0.6 s, less what the kernel rounds down: each process's two times, to whole ticks.
        wait_until(lambda: server.processor_s() >= 0.5, "both children to have had their time")
        assert server.processor_s() < 2.0
    finally:
        server.kill()


def test_at_most_a_quarter_of_the_time_is_spent_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks, slept = 0.0, [0.0, 0.5, 3.0, 0.0], list[float]()

    def look() -> bool:
        nonlocal now
        now += looks.pop(0)
        return not looks

    clock = SimpleNamespace(monotonic=lambda: now, sleep=slept.append)
    monkeypatch.setattr(process, "time", clock)
    wait_until(look, "the last look")
    assert slept[0] > 0
    assert slept[1:] == [1.5, 9.0]


def test_the_longer_a_wait_takes_the_rarer_are_its_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    now, looked_at = 0.0, list[float]()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def look() -> bool:
        looked_at.append(now)
        return now > 100

    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    wait_until(look, "much later")
    assert now < 102.5
    assert len(looked_at) < 300
