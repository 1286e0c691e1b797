"""Start, watch and end one real server on loopback.

A server is ready by a probe, never after a pause; it is ended by its pid, never by a name; and everything has
a deadline.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import AnyStr

_POLL_S = 0.02
PATIENCE_S = 240.0
"""Limit of a wait that takes seconds on a quiet machine.

Long enough for a machine that two endless loops keep busy, and short enough to name what did not come.
"""
_STANDING = frozenset("TtZX")  # stopped, traced, ended
_STARTER = ThreadPoolExecutor(1, thread_name_prefix="sandbox-starter")  # its thread comes with the first use


class SandboxError(Exception):
    """A sandbox server could not be prepared, started or stopped; the message says which and why."""


class MissingServer(SandboxError):
    """A program that the sandbox needs is not installed; the message names the Debian package.

    A test fixture turns it into a skip on a laptop and into a failure when `CI=true`.
    """

    def __init__(self, program: str, package: str) -> None:
        super().__init__(f"{program} is not installed: apt-get install {package}")
        self.program = program
        self.package = package


class StartFailed(SandboxError):
    """A server ended, or was not ready, within its start time; the message ends with the tail of its log."""


class StopFailed(SandboxError):
    """A server did not end within the time it had."""


def find_program(name: str, package: str) -> Path:
    """Return the path of a program, also of Debian's daemons (`/usr/sbin`).

    Raises MissingServer, naming the Debian `package`.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingServer(name, package)
    return Path(found)


def accepts_tcp(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server listens on the port. For servers that accept only once they serve."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1.0):
        return True
    return False


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Poll `condition` until it holds. Tests and sandbox wait for real servers here only.

    A look costs processor time, up to a second for a command, which the awaited work then lacks: it gets at
    most a quarter of the time, so the longer it takes, the rarer it is. Raises TimeoutError, naming `what`,
    after `timeout_s` seconds.
    """
    started = time.monotonic()
    while True:
        began = time.monotonic()
        if condition():
            return
        ended = time.monotonic()
        if ended - started >= timeout_s:
            raise TimeoutError(f"after {timeout_s:g} s still waiting for {what}")
        time.sleep(max(_POLL_S, 3 * (ended - began), (ended - started) / 50))


def start_tied(
    argv: Sequence[str | Path], start: Callable[[Sequence[str]], subprocess.Popen[AnyStr]]
) -> subprocess.Popen[AnyStr]:
    """Start a process that ends with this one in any case, as when this one is killed.

    The kernel does it (prctl(2), PR_SET_PDEATHSIG): `setpriv` requests it and then becomes the program. The
    signal comes when the *thread* that started the process ends, not only when its whole process does. So one
    thread, which lives as long as the interpreter, starts them all.

    The tie is the process's alone: its children must notice its end, as those of Dovecot and PostgreSQL do. A
    program that is set-uid, or that changes its user, loses it.

    `start`: gets `argv` after `setpriv`. Raises MissingServer without `setpriv`, and the errors of `start`.
    """
    setpriv = find_program("setpriv", "util-linux")
    command = [str(part) for part in (setpriv, "--pdeathsig", "KILL", "--", *argv)]
    return _STARTER.submit(start, command).result()


def run_command(
    what: str,
    argv: Sequence[str | Path],
    *,
    stdin: str = "",
    cwd: Path | None = None,
    user: str | None = None,
) -> str:
    """Run a command that prepares a server, and return its output. It is killed if this process is.

    Args:
        what: its name in messages.
        user: the account that a privileged parent runs it as.

    Raises:
        SandboxError: it failed, in its own words, or took longer than `PATIENCE_S`.
    """
    uid, gid, groups = _identity(user)
    process = start_tied(
        argv,
        lambda command: subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            cwd=cwd,
            user=uid,
            group=gid,
            extra_groups=groups,
        ),
    )
    with process:
        try:
            said, _ = process.communicate(stdin, PATIENCE_S)
        except subprocess.TimeoutExpired as late:
            raise SandboxError(f"{what} took longer than {PATIENCE_S:g} s") from late
        finally:
            process.kill()  # nothing if it has ended
    if process.returncode:
        raise SandboxError(f"{what} ended with status {process.returncode}: {said[-2000:]}")
    return said


class ManagedProcess:
    """One server process in its own session, to be ended with its children.

    `ready` is polled until it returns True; its `OSError` means "not yet". Standard output and error go to
    `log_file` (appended, so a restart keeps the earlier log). With `user`, a privileged parent starts the
    server as that user. Unless `outlives_parent`, the server ends with the interpreter in any case.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log_file: Path,
        ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        start_timeout_s: float = PATIENCE_S,
        stop_timeout_s: float = 5.0,
        stop_signal: signal.Signals = signal.SIGTERM,
        outlives_parent: bool = False,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self._argv = [str(part) for part in argv]
        self._ready = ready
        self._env = dict(env) if env is not None else None
        self._cwd = cwd
        self._user = user
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._stop_signal = stop_signal
        self._outlives_parent = outlives_parent
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the server runs, else None."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """True while the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and return once it is ready; does nothing while it runs.

        Raises StartFailed (with the tail of the log) when it ends or stays silent; it is then not running.
        """
        if self.running:
            return
        if self._outlives_parent:
            self._process = self._begin(self._argv)
        else:
            self._process = start_tied(self._argv, self._begin)
            atexit.register(self.kill)  # its children too, at once
        try:
            wait_until(self._answers_or_ended, f"{self.name} to be ready", self._start_timeout_s)
        except TimeoutError as late:
            self.kill()
            raise StartFailed(f"{late}; its log {self.log_file} ends with:\n{self.log_tail()}") from late
        if not self.running:
            code = self._process.returncode
            raise StartFailed(
                f"{self.name} ended with status {code}; {self.log_file} ends with:\n{self.log_tail()}"
            )

    def _begin(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        uid, gid, groups = _identity(self._user)
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
                user=uid,
                group=gid,
                extra_groups=groups,
            )

    def stop(self) -> None:
        """End the server politely (`stop_signal`), then by SIGKILL after `stop_timeout_s`."""
        process = self._process
        if process is None:
            return
        if self.running:
            process.send_signal(self._stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=self._stop_timeout_s)
        self.kill()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server alone."""
        if self._process is not None:
            self._process.send_signal(number)

    def end(self, number: signal.Signals, timeout_s: float) -> int:
        """Send a signal, wait for the end, return the exit code (negative: a signal's).

        Raises StopFailed when it has not ended in time; it runs on.
        """
        if self._process is None:
            raise SandboxError(f"{self.name} was not started")
        self.send(number)
        try:
            code = self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as late:
            raise StopFailed(f"{self.name} still runs {timeout_s:g} s after {number.name}") from late
        self.kill()
        return code

    def kill(self) -> None:
        """End the server and its children at once (SIGKILL), as a crash would. Nothing if it has ended."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the process leads its own session, hence its own group
        process.wait(timeout=PATIENCE_S)
        self._process = None
        atexit.unregister(self.kill)

    def pause(self) -> None:
        """Freeze the server and its children (SIGSTOP). Connections stay open and nothing is answered.

        The kernel stops each thread at its next chance, not when the signal is sent: on a busy machine a
        server answers on for a while. So this returns when all threads have stopped; raises TimeoutError
        else.
        """
        if self._process is not None:
            group = self._process.pid
            os.killpg(group, signal.SIGSTOP)
            wait_until(lambda: _all_stand(group), f"{self.name} to stand still")

    def resume(self) -> None:
        """Resume a paused server (SIGCONT)."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGCONT)

    def processor_s(self) -> float:
        """Seconds of processor time that the server and its children have had, those that ended included."""
        return sum(_processor_ticks(str(self.pid))) / os.sysconf("SC_CLK_TCK")

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the server's log."""
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def _answers_or_ended(self) -> bool:
        if not self.running:
            return True
        try:
            return self._ready()
        except OSError:
            return False


def _all_stand(group: int) -> bool:
    """Whether each thread of a process group is stopped, or has ended."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended in between
            if stat_fields(process / "stat")[2] == str(group):
                states = {stat_fields(stat)[0] for stat in (process / "task").glob("*/stat")}
                if not states <= _STANDING:
                    return False
    return True


def _processor_ticks(group: str) -> Iterator[int]:
    """What each process of a group has had, and its children that it has waited for."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended in between
            fields = stat_fields(process / "stat")
            if fields[2] == group:
                yield sum(map(int, fields[11:15]))


def stat_fields(stat: Path) -> list[str]:
    """The fields of a `stat` file from the state on: see proc_pid_stat(5).

    The name before them may hold any character. Raises OSError when it has ended.
    """
    return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _identity(user: str | None) -> tuple[int | None, int | None, list[int] | None]:
    """User and group ids of a process under a Unix account; None: as ours."""
    import pwd  # not on every platform; only needed here

    if user is None:
        return None, None, None
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid, []
