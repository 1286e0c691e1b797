"""Judge mutants: pytest collects once, each test and mutant runs in a fork.

`__main__` starts it in the tree that has the mutants, with the job on the standard input.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from coverage import Coverage
from mutmut.mutation.trampoline import set_mutant_under_test

from pipeline import tls
from sandbox.moodle import __main__ as moodle
from sandbox.moodle import standin
from sesame.testing.servers.stores import sqlite_store

CPU_FACTOR, CPU_S = 5, 4  # of a mutant that loops: so many times what its tests take, and so much more
WALL_FACTOR, WALL_S = 50, 30  # of one that waits, in one test: more than the busiest machine needs
UNTIMED_S, LEAST_S = 60, 0.004  # a test that was not timed yet; one that takes next to nothing
SPACE_BYTES = 4 << 30
ENDED = {-signal.SIGALRM, -signal.SIGXCPU, -signal.SIGKILL}
OPTIONS = """-q --capture=no -p no:cacheprovider -p no:xdist --timeout=0 --assert=plain --tb=native
    --hypothesis-profile=mutation -o tmp_path_retention_policy=none -k not(postgresql)
    -W ignore::coverage.exceptions.CoverageWarning"""

Work = tuple[Any, float, Callable[[], str]]  # subject, processor seconds at most, what to do


def forked(works: Iterable[Work], jobs: int) -> Iterator[tuple[Any, str | None, int]]:
    """Run works in forks, so many at once: subject, answer or none, exit code."""
    works, running = iter(works), dict[int, tuple[Any, tempfile.TemporaryDirectory[str]]]()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  # it makes its own folders
    while True:
        for subject, cpu_s, work in islice(works, jobs - len(running)):
            scratch = tempfile.TemporaryDirectory(prefix="mutation-", dir=memory, ignore_cleanup_errors=True)
            child = os.fork()
            if child == 0:
                try:
                    _isolate(scratch.name, int(cpu_s))
                    Path(scratch.name, "answer").write_text(work(), encoding="utf-8")
                finally:
                    os._exit(1)  # whatever a mutant throws, this child must not return
            running[child] = subject, scratch
        if not running:
            return
        child, status = os.wait()
        subject, scratch = running.pop(child)
        with scratch as folder:
            answer = Path(folder, "answer")
            yield subject, answer.read_text() if answer.exists() else None, os.waitstatus_to_exitcode(status)


def _isolate(scratch: str, cpu_s: int) -> None:
    """Isolate a child: no output, own files, limited time and space."""
    for descriptor in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = os.environ["TMPDIR"] = scratch
    tempfile.tempdir = None
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s + 1, cpu_s + 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (SPACE_BYTES, SPACE_BYTES))


class Judge:
    """A pytest plugin that replaces the loop over the tests."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.failed = job, ""
        self.items: dict[str, pytest.Item] = {}
        self.seconds: dict[str, float] = {}
        self.reach: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.kills: dict[str, Counter[str]] = defaultdict(Counter)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the first failure."""
        if report.failed:
            self.failed = self.failed or report.longreprtext or "failed"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Trace each test alone; then append a verdict on each mutant."""
        with tempfile.TemporaryDirectory() as folder:
            sqlite_store(Path(folder))  # once here, not in every child
        self.items = {item.nodeid: item for item in session.items}
        gc.freeze()  # what the children share, they neither look through nor copy
        traces = ((test, UNTIMED_S, partial(self._trace, test)) for test in self.items)
        for test, answer, code in forked(traces, self.job["jobs"]):
            failed, self.seconds[test], reached = json.loads(answer or f'["exit code {code}", 0, []]')
            if failed:
                pytest.exit(f"{test} fails without a mutant:\n{failed}", returncode=1)
            for file, line in reached:
                self.reach[file, line].add(test)
        least_s = min(self.seconds.values())  # the fork's own, about
        self.seconds = {test: max(seconds - least_s, LEAST_S) for test, seconds in self.seconds.items()}
        for (mutant, part), killer, code in forked(map(self.trial, self.job["mutants"]), self.job["jobs"]):
            for place in mutant["places"]:
                self.kills[place].update([killer] if killer else [])
            verdict = "endless" if code in ENDED else "survived" if killer == "" else "killed"
            says = {"verdict": verdict, "by": killer, "part": part, "tests": self.job["tests"]}
            with Path(self.job["verdicts"]).open("a", encoding="utf-8") as verdicts:
                verdicts.write(json.dumps(mutant | says) + "\n")
        return True

    def _trace(self, test: str) -> str:
        files = {mutant["file"] for mutant in self.job["mutants"]}
        tracer = Coverage(data_file=None, include=[*files], config_file=False)
        tracer.start()
        began_s = time.process_time()
        self._face([test])
        took_s = time.process_time() - began_s
        tracer.stop()
        reached = [(file, line) for file in files for line in tracer.get_data().lines(file) or ()]
        return json.dumps([self.failed, took_s, reached])

    def trial(self, mutant: dict[str, Any]) -> Work:
        """A mutant against as many of its tests as the seconds allow, one at least."""
        tests, chosen, seconds = self.likeliest(mutant), list[str](), self.job["seconds"]
        for test in tests:
            if not chosen or self.seconds[test] <= seconds:
                chosen.append(test)
                seconds -= self.seconds[test]
        cpu_s = CPU_S + CPU_FACTOR * sum(self.seconds[test] for test in chosen)
        return (mutant, len(chosen) < len(tests)), cpu_s, partial(self._face, chosen, mutant["name"])

    def likeliest(self, mutant: dict[str, Any]) -> list[str]:
        """Its statement's tests, or its function's: neighbours' killers, then the quick."""
        statement, function = (
            {test for line in range(first, last + 1) for test in self.reach[mutant["file"], line]}
            for first, last in (mutant["statement"], mutant["function"])
        )
        near = [self.kills[place] for place in mutant["places"]]
        rank = {test: ([-kills[test] for kills in near], self.seconds[test], test) for test in self.seconds}
        return sorted(statement or function, key=rank.__getitem__)

    def _face(self, tests: Sequence[str], mutant: str = "") -> str:
        """Run the tests on a mutant, or on the code as it is; return the first that fails."""
        set_mutant_under_test(mutant)
        for test, following in zip(tests, [*tests[1:], None], strict=False):
            signal.alarm(int(WALL_S + WALL_FACTOR * self.seconds.get(test, UNTIMED_S)))
            item, after = self.items[test], self.items[following] if following else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if self.failed:
                return test
        return ""


def moodle_in_thread(_name: str, command: Sequence[str], **_settings: object) -> SimpleNamespace:
    """Stand in for the process of Moodle's stand-in, which takes too long to start."""
    ends: list[Callable[[], None]] = []

    def start() -> None:
        storage, server = moodle.site_of(moodle.parser().parse_args(command[3:]))  # behind `python -m …`
        ends.extend((server.shutdown, server.server_close, storage.close))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop() -> None:
        while ends:
            ends.pop(0)()

    return SimpleNamespace(start=start, stop=stop, kill=stop)


def main() -> int:
    """Do the job."""
    job = json.load(sys.stdin)
    tls.verified = cache(tls.verified)
    standin.ManagedProcess = moodle_in_thread  # type: ignore[assignment,attr-defined]
    return int(pytest.main([*OPTIONS.split(), *job["files"]], plugins=[Judge(job)]))


if __name__ == "__main__":
    sys.exit(main())
