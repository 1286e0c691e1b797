"""A demo's processes, on disk for a later run to end, with proof of ownership.

A process id alone proves nothing: ids are given again. A process is ours if its id, its start time and the
machine's boot are those recorded at its start. A server that was starting when its demo was killed is not
recorded yet; it is ours if it leads its own session and its command line names the demo's folder, whose
random name is unique, or it runs in there (Samba writes a title over its command line).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbox.process import stat_fields, wait_until

_ROOT = Path(__file__).resolve().parents[2]
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PROGRAMS = ("slapd", "dovecot", "samba", "python", "sesame")
FOLDER_PREFIX = "sesame-"
WORDS = "words"
"""File next to the settings: addresses and logins of a kept demo."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its id, and its start in ticks since boot (proc(5), `starttime`)."""

    name: str
    pid: int
    started: int

    @classmethod
    def of(cls, name: str, pid: int) -> Process:
        """The process that has this id now."""
        return cls(name, pid, started_at(pid) or 0)

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return self.started > 0 and started_at(self.pid) == self.started


@dataclass(slots=True)
class Record:
    """One demo. `path` is its file, `folder` its temporary folder, `kept` whether it is to stay."""

    path: Path
    folder: Path
    driver: Process
    kept: bool = False
    boot: str = ""
    processes: list[Process] = field(default_factory=list)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        document = {
            "folder": str(self.folder),
            "driver": asdict(self.driver),
            "kept": self.kept,
            "boot": self.boot,
            "processes": [asdict(process) for process in self.processes],
        }
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(document, indent=2), encoding="utf-8")
        draft.replace(self.path)

    def add(self, name: str, pid: int | None) -> None:
        """Note a process that was just started."""
        if pid is not None:
            self.processes = [one for one in self.processes if one.name != name]
            self.processes.append(Process.of(name, pid))
            self.save()

    @property
    def same_boot(self) -> bool:
        """Whether the machine has not been started again since."""
        return self.boot == _boot()

    @property
    def running(self) -> bool:
        """Whether the demo runs now."""
        return self.same_boot and self.driver.alive and not self.kept

    @property
    def words(self) -> str:
        """What a kept demo that runs said at its end; empty: it is none."""
        if not (self.kept and self.same_boot and any(process.alive for process in self.processes)):
            return ""
        file = self.folder / "sesame" / WORDS
        return file.read_text(encoding="utf-8") if file.exists() else str(self.folder)

    def end(self) -> None:
        """End what is provably this demo's, and remove its folder and its file."""
        if self.same_boot:
            for process in (*reversed(self.processes), *_unrecorded(self.folder)):
                _end(process)
        if self.folder.name.startswith(FOLDER_PREFIX):
            with contextlib.suppress(TimeoutError):  # a killed server's children may still write in it
                wait_until(lambda: _removed(self.folder), f"{self.folder} to be removed", 10.0)
        self.path.unlink(missing_ok=True)


def place(given: Path | None = None) -> Path:
    """The folder of the records: `.demo` in the checkout, else the user's own."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True, mode=0o700)
        return given
    preferred = _ROOT / ".demo"
    if os.access(preferred if preferred.exists() else _ROOT, os.W_OK):
        preferred.mkdir(exist_ok=True, mode=0o700)
        return preferred
    own = Path.home() / ".cache" / "sesame-demo"
    own.mkdir(parents=True, exist_ok=True, mode=0o700)
    return own


def create(records: Path, folder: Path) -> Record:
    """Begin the record of this process's demo."""
    record = Record(
        path=records / f"{folder.name}.json",
        folder=folder,
        driver=Process.of("demo", os.getpid()),
        boot=_boot(),
    )
    record.save()
    return record


def former(records: Path) -> Iterator[Record]:
    """The records of earlier demos; a file that cannot be read is removed."""
    for path in sorted(records.glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            yield Record(
                path=path,
                folder=Path(document["folder"]),
                driver=Process(**document["driver"]),
                kept=document["kept"],
                boot=document["boot"],
                processes=[Process(**one) for one in document["processes"]],
            )
        except (ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)


def started_at(pid: int) -> int | None:
    """The start of the process with this id, in ticks since boot; None: it has ended."""
    try:
        fields = stat_fields(Path(f"/proc/{pid}/stat"))
    except OSError:
        return None
    state, start = fields[0], fields[19]
    return None if state in "ZX" else int(start)


def interrupt(record: Record, timeout_s: float = 30.0) -> None:
    """Have a running demo end, and wait until it has."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.driver.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not record.driver.alive, "the running demo to end", timeout_s)


def _end(process: Process, polite_s: float = 8.0) -> None:
    """End a process politely, then the rest of its group by force."""
    if not process.alive:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)  # it may have been frozen
        os.kill(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not process.alive, process.name, polite_s)
        os.killpg(process.pid, signal.SIGKILL)  # each was started as the leader of its group


def _removed(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _unrecorded(folder: Path) -> Iterator[Process]:
    mark = os.fsencode(f"{folder}/")
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        pid = int(path.parent.name)
        try:
            words = path.read_bytes().split(b"\0")
            runs_in = bytes(path.with_name("cwd").readlink()) + b"/"
            leads = os.getsid(pid) == pid
        except OSError:
            continue
        program = os.path.basename(os.fsdecode(words[0]))  # noqa: PTH119 (a word, not a path)
        named = any(mark in word for word in (*words[1:], runs_in))
        if leads and named and program.startswith(_PROGRAMS):
            yield Process.of(program, pid)


def _boot() -> str:
    return _BOOT.read_text(encoding="ascii").strip()
