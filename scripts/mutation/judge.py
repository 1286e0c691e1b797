"""Run chosen tests on mutants: pytest collects once, and each is judged in a fork.

    cd TREE; judge.py reach   JOB    on the code as it is: the lines that each test reaches, and what it takes
    cd TREE; judge.py verdict JOB    on the code with its mutants: whether a test fails, one line per mutant

Collecting for each mutant, as mutmut does, takes longer than the test that kills it. JOB is a JSON file of
__main__.py, with the wanted work and the answer's place.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import pytest
from coverage import Coverage

CPU_FACTOR, CPU_S = 5, 4  # a mutant that loops endlessly: so many times what the tests take, and so much more
SLEEP_FACTOR, SLEEP_S = 10, 5  # one that waits endlessly, in one test. To wait for a processor is no sleep
LOOK_S = 0.1  # how often to look
WALL_S = 300  # one that does neither
SPACE_BYTES = 4 << 30
KILLED, SURVIVED, ENDLESS, UNDECIDED = "killed", "survived", "endless", "undecided"

Answer = dict[str, Any]


@dataclass(frozen=True)
class Bounds:
    """Limits of a child, in seconds: processor time in all, and sleep in each step."""

    cpu_s: float = WALL_S
    sleep_s: Sequence[float] = (WALL_S,)

    @classmethod
    def of(cls, tests_s: Sequence[float]) -> Bounds:
        """For tests that take so long, each a step."""
        sleep_s = [test_s * SLEEP_FACTOR + SLEEP_S for test_s in tests_s]
        return cls(sum(tests_s) * CPU_FACTOR + CPU_S, sleep_s)


@dataclass
class Child:
    """A running fork."""

    reading: int
    scratch: Path
    settle: Callable[[bytes, int], None]
    bounds: Bounds
    shared: mmap.mmap
    step: int = 0
    asleep_s: float = 0.0

    def slept(self, seconds: float) -> bool:
        """Note that it was asleep after so long; whether that is too much for its step."""
        now_at = int.from_bytes(self.shared[:4])
        self.asleep_s = seconds + (self.asleep_s if now_at == self.step else 0.0)
        self.step = now_at
        return self.asleep_s > self.bounds.sleep_s[now_at]


class Forks:
    """Runs work in forked children, some at once. `settle` gets each answer, or its end."""

    def __init__(self, children: int, look_s: float = LOOK_S) -> None:
        self._children = children
        self._look_s = look_s
        self._shared = mmap.mmap(-1, 4)
        self._running: dict[int, Child] = {}

    def run(self, work: Callable[[int], None], bounds: Bounds, settle: Callable[[bytes, int], None]) -> None:
        """Start `work` in a child once there is room. Its answer goes into the descriptor that it gets.

        One that exceeds its bounds is killed, and `settle` gets the signal.
        """
        while len(self._running) >= self._children:
            self._reap()
        reading, writing = os.pipe()
        scratch = Path(tempfile.mkdtemp(prefix="mutation-", dir=_memory()))
        self._shared = mmap.mmap(-1, 4)
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                _alone(scratch, bounds.cpu_s)
                work(writing)
            except BaseException:  # noqa: BLE001  # whatever a mutant throws, this child must not return
                os.write(writing, traceback.format_exc().encode())
                os._exit(1)
            os._exit(0)
        os.close(writing)
        self._running[child] = Child(reading, scratch, settle, bounds, self._shared)

    def at(self, step: int) -> None:
        """In a child: note the step that begins, from 0."""
        self._shared[:4] = step.to_bytes(4)

    def wait(self) -> None:
        """Wait until every child has ended."""
        while self._running:
            self._reap()

    def _reap(self) -> None:
        """Settle one that has ended, once there is one."""
        number, status = self._ended()
        child = self._running.pop(number)
        with os.fdopen(child.reading, "rb") as pipe:
            answer = pipe.read()
        shutil.rmtree(child.scratch, ignore_errors=True)
        child.settle(answer, os.waitstatus_to_exitcode(status))

    def _ended(self) -> tuple[int, int]:
        ends = {signal.SIGCHLD}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # else it may come between look and wait
        try:
            while True:
                for number in self._running:
                    ended, status = os.waitpid(number, os.WNOHANG)
                    if ended:
                        return ended, status
                looked_at = time.monotonic()
                signal.sigtimedwait(ends, self._look_s)
                self._kill_sleepers(time.monotonic() - looked_at)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _kill_sleepers(self, passed_s: float) -> None:
        for number, child in self._running.items():
            if asleep(number) and child.slept(min(passed_s, 2 * self._look_s)):
                os.kill(number, signal.SIGKILL)


def asleep(process: int) -> bool:
    """Whether all its threads wait for neither a processor nor a disk."""
    states = []
    for task in Path(f"/proc/{process}/task").glob("*/stat"):
        with suppress(OSError):  # the thread has ended
            states.append(task.read_text(encoding="utf-8").rpartition(") ")[2][:1])
    return "R" not in states and "D" not in states


def _memory() -> str | None:
    """A place where files cost nothing to write, if there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  # made by mkdtemp


def _alone(scratch: Path, cpu_s: float) -> None:
    """Isolate a child: no output, its own files, a limit of processor time."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = os.environ["TMPDIR"] = str(scratch)
    tempfile.tempdir = None
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s) + 1, int(cpu_s) + 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (SPACE_BYTES, SPACE_BYTES))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WALL_S)


class Session:
    """A pytest plugin that replaces the loop over the tests."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.forks = Forks(job["children"])
        self.failed = ""
        self.items: dict[str, pytest.Item] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what failed."""
        if report.failed:
            self.failed = self.failed or report.longreprtext or "failed"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Do the job instead."""
        from sesame.testing.servers.stores import sqlite_store  # of the tree that is judged

        with tempfile.TemporaryDirectory() as folder:
            sqlite_store(Path(folder))  # once here, not in every child
        self.items = {item.nodeid: item for item in session.items}
        gc.collect()
        gc.freeze()  # what the children share, they neither look through nor copy
        gc.set_threshold(50_000)
        getattr(self, self.job["what"])()
        self.forks.wait()
        return True

    def failing(self, tests: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Run the tests; yield each with the text of its failure, or ""."""
        for step, (test, following) in enumerate(zip(tests, [*tests[1:], None], strict=True)):
            item, after = self.items[test], self.items[following] if following else None
            self.failed = ""
            self.forks.at(step)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            yield test, self.failed

    def reach(self) -> None:
        """Run each test alone, without what one before it has prepared."""
        found: dict[str, Any] = {}

        def settle_as(test: str) -> Callable[[bytes, int], None]:
            def settle(answer: bytes, status: int) -> None:
                if status or not answer:
                    sys.exit(f"{test} fails on the code as it is ({status}):\n{answer.decode()}")
                found[test] = json.loads(answer)

            return settle

        for test in self.items:
            self.forks.run(lambda pipe, test=test: self._reach(test, pipe), Bounds(), settle_as(test))  # type: ignore[misc]
        self.forks.wait()
        Path(self.job["answer"]).write_text(json.dumps(found), encoding="utf-8")

    def _reach(self, test: str, pipe: int) -> None:
        coverage = Coverage(data_file=None, include=self.job["files"], config_file=False, branch=False)
        coverage.set_option(
            "run:disable_warnings", ["no-data-collected", "module-not-measured", "trace-changed"]
        )
        before_s = time.process_time()
        coverage.start()
        failing = dict(self.failing([test]))[test]
        coverage.stop()
        took_s = time.process_time() - before_s
        if failing:
            os.write(pipe, failing.encode()[:60_000])
            os._exit(1)
        data = coverage.get_data()
        root = Path.cwd()
        lines = {str(Path(file).relative_to(root)): data.lines(file) for file in data.measured_files()}
        with os.fdopen(pipe, "wb") as answer:
            answer.write(json.dumps({"seconds": round(took_s, 4), "lines": lines}).encode())

    def verdict(self) -> None:
        """Judge each mutant by the tests that reach its statement, the likeliest first."""
        kills = Kills(self.job["names"], self.job["seconds"])
        for killer, places in self.job["kills"]:
            kills.add(killer, places)
        with Path(self.job["answer"]).open("a", encoding="utf-8", buffering=1) as answers:
            for mutant in self.job["mutants"]:
                self._judge(mutant, kills, answers)
            self.forks.wait()

    def _judge(self, mutant: dict[str, Any], kills: Kills, answers: TextIO) -> None:
        names, seconds = self.job["names"], self.job["seconds"]
        places = mutant["places"]
        tests = within(kills.likeliest(mutant["tests"], places), seconds, self.job["seconds_max"])
        says = {key: mutant[key] for key in ("name", "digest", "of")} | {"faced": [*mutant["faced"], *tests]}

        def settle(answer: bytes, status: int) -> None:
            killer = int(answer) if answer.isdigit() else None
            if killer is not None:
                kills.add(killer, places)
            by = None if killer is None else names[killer]
            answers.write(json.dumps({**says, **_verdict(status, by)}) + "\n")

        bounds = Bounds.of([seconds[test] for test in tests])
        self.forks.run(lambda pipe: self._mutant(mutant["name"], tests, pipe), bounds, settle)

    def _mutant(self, name: str, tests: Sequence[int], pipe: int) -> None:
        from mutmut.mutation.trampoline import set_mutant_under_test

        set_mutant_under_test(name)
        by_name = {self.job["names"][test]: test for test in tests}
        for test, failing in self.failing(list(by_name)):
            if failing:
                os.write(pipe, str(by_name[test]).encode())
                os._exit(1)


class Kills:
    """Past kills of each test, to order the tests for the next mutant."""

    def __init__(self, names: Sequence[str], seconds: Sequence[float]) -> None:
        self._functions = [name.split("[", maxsplit=1)[0] for name in names]
        self._seconds = seconds
        self._at: dict[str, Counter[int]] = defaultdict(Counter)

    def add(self, killer: int, places: Sequence[str]) -> None:
        """Note that it has killed a mutant of these places, the narrowest first."""
        for place in places:
            self._at[place][killer] += 1

    def likeliest(self, tests: Iterable[int], places: Sequence[str]) -> list[int]:
        """Order tests: killers of its neighbours, then the quick, one case of each first."""
        ranks: Counter[str] = Counter()
        order: list[tuple[tuple[float, ...], int]] = []
        for test in sorted(tests, key=lambda test: (self._seconds[test], test)):
            cases = ranks[self._functions[test]]
            ranks[self._functions[test]] += 1
            price_s = self._seconds[test] * (1 + cases)
            order.append(((*(-self._at[place][test] for place in places), price_s), test))
        return [test for _, test in sorted(order)]


def within(tests: Iterable[int], seconds: Sequence[float], most: float | None) -> list[int]:
    """As many tests as `most` seconds allow, one at least."""
    chosen: list[int] = []
    total = 0.0
    for test in tests:
        if most is not None and chosen and total + seconds[test] > most:
            continue
        chosen.append(test)
        total += seconds[test]
    return chosen


def _verdict(status: int, killer: str | None) -> Answer:
    if status == -signal.SIGALRM:  # neither busy nor asleep, or the machine was: again next time
        return {"verdict": UNDECIDED}
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"verdict": ENDLESS}
    if status == 0:
        return {"verdict": SURVIVED}
    return {"verdict": KILLED, "by": killer}


def _servers_in_threads() -> None:
    """Run the Moodle stand-in in the child, and read authorities once.

    A process per mutant would take longer than all else.
    """
    from pipeline import tls  # of the tree that is judged
    from sandbox.moodle import standin

    standin.ManagedProcess = MoodleInThread  # type: ignore[assignment,attr-defined]
    tls.verified = cache(tls.verified)


class MoodleInThread:
    """The stand-in's part of `sandbox.process.ManagedProcess`."""

    def __init__(self, _name: str, command: Sequence[str], **_settings: object) -> None:
        self._arguments = command[3:]  # behind `python -m sandbox.moodle`
        self._running: tuple[Any, Any] | None = None

    def start(self) -> None:
        """Serve."""
        from sandbox.moodle.__main__ import parser, site_of

        storage, server = site_of(parser().parse_args(self._arguments))
        self._running = (storage, server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Stop serving; the data stay."""
        if self._running is not None:
            storage, server = self._running
            self._running = None
            server.shutdown()
            server.server_close()
            storage.close()

    kill = stop


def main() -> int:
    """Collect the tests of the job and do what it requests."""
    job = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    job["what"] = sys.argv[1]
    sys.path.insert(0, str(Path.cwd()))
    _servers_in_threads()
    arguments = ["-q", "--capture=no", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=0"]
    arguments += ["--assert=plain", "--tb=native"]  # the text is not read
    arguments += [
        "-o",
        "tmp_path_retention_policy=none",
        "--hypothesis-profile=mutation",
        "-k",
        "not postgresql",
    ]
    return int(pytest.main([*arguments, *job["tests"]], plugins=[Session(job)]))


if __name__ == "__main__":
    sys.exit(main())
