"""The two ways to call: a program started for a verb, and an endpoint. Lines in, lines out.

A program ends with 0, or its exit status (sysexits.h) tells what is wrong with the target as a whole: 69 or
75 it is away, 77 or 78 it refuses us. It is started without a shell, in a separate process group, which is
ended when the time is used up.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from consumers.kit.connector import ConnectorContext
from consumers.kit.deadline import Deadline
from consumers.program.settings import ProgramSettings
from pipeline.errors import Misconfigured, TargetDown, WriteForbidden

READING: Final = frozenset({"read", "objects", "probe"})

_LINE_BYTES_MAX: Final = 1_000_000
_AWAY: Final = (os.EX_UNAVAILABLE, os.EX_TEMPFAIL)
_REFUSED: Final = (os.EX_NOPERM, os.EX_CONFIG)
_ENDS_S_MAX: Final = 5.0  # for a program to end after its last line


class Exchange(Protocol):
    """Sends one verb to the connector's program."""

    def ask(self, verb: str, lines: Sequence[str], deadline: Deadline) -> Iterator[bytes]:
        """The answer's lines; none counts before all are read: it may be broken off.

        Raises:
            TargetDown, Misconfigured, Throttled: the target as a whole cannot be used.
            WriteForbidden: the target is only observed; nothing was sent.
        """

    def disconnect(self) -> None:
        """Close the connections."""


class ProcessExchange:
    """A program, started for each verb."""

    def __init__(self, context: ConnectorContext[ProgramSettings]) -> None:
        self._command = context.settings.command
        self._bytes_max = context.settings.bytes_max
        self._read_only = context.read_only

    def ask(self, verb: str, lines: Sequence[str], deadline: Deadline) -> Iterator[bytes]:
        """See `Exchange.ask`."""
        writes = verb not in READING
        if writes and self._read_only:
            raise WriteForbidden
        left_s = deadline.left_s()
        try:
            process = subprocess.Popen(
                [*self._command, verb],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Misconfigured(
                f"the connector's program cannot be started: {error.strerror}",
                remedy="Check its setting `command`, and that Sésame's user may start it.",
            ) from error
        late = threading.Event()
        timer = threading.Timer(left_s, _end, (process, late))
        timer.start()
        feeder = threading.Thread(target=_feed, args=(process, lines))
        feeder.start()
        try:
            yield from self._answer(process, unknown=writes)
            _judge(process, late, unknown=writes)
        finally:
            timer.cancel()
            _end(process, threading.Event())
            process.wait()
            feeder.join()
            if process.stdout is not None:
                process.stdout.close()

    def disconnect(self) -> None:
        """See `Exchange.disconnect`: nothing runs between two verbs."""

    def _answer(self, process: subprocess.Popen[bytes], *, unknown: bool) -> Iterator[bytes]:
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        while line := process.stdout.readline(_LINE_BYTES_MAX):
            if not line.endswith(b"\n") and len(line) >= _LINE_BYTES_MAX:
                raise TargetDown("the connector's program says a line without end", unknown=unknown)
            yield line


class HttpExchange:
    """An HTTP endpoint: `POST {url}/{verb}`, lines as the body, lines as the answer."""

    def __init__(self, context: ConnectorContext[ProgramSettings]) -> None:
        from consumers.kit.http import HttpClient

        self._http = HttpClient(context, context.settings.url or "")

    def ask(self, verb: str, lines: Sequence[str], deadline: Deadline) -> Iterator[bytes]:
        """See `Exchange.ask`."""
        answer = self._http.call(
            "POST",
            f"/{verb}",
            deadline,
            content="".join(f"{line}\n" for line in lines).encode(),
            headers={"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"},
            reads=verb in READING,
        )
        if not answer.ok or answer.body is None:
            raise TargetDown(f"the endpoint answers {answer.status}", unknown=verb not in READING)
        return iter(answer.body.splitlines())

    def disconnect(self) -> None:
        """See `Exchange.disconnect`."""
        self._http.disconnect()


def exchange_of(context: ConnectorContext[Any]) -> Exchange:
    """The exchange that the settings choose."""
    return ProcessExchange(context) if context.settings.url is None else HttpExchange(context)


def _feed(process: subprocess.Popen[bytes], lines: Iterable[str]) -> None:
    assert process.stdin is not None  # noqa: S101 (it is a pipe)
    with suppress(OSError), process.stdin as pipe:  # a program need not read what it has no use for
        for line in lines:
            pipe.write(f"{line}\n".encode())


def _judge(process: subprocess.Popen[bytes], late: threading.Event, *, unknown: bool) -> None:
    """Interpret the program's exit status. Raises TargetDown, Misconfigured: it did not end well."""
    try:
        status = process.wait(_ENDS_S_MAX)
    except subprocess.TimeoutExpired:
        raise TargetDown("the connector's program does not end", unknown=unknown) from None
    if late.is_set():
        raise TargetDown("the connector's program does not answer in time", unknown=unknown)
    if status in _AWAY:
        raise TargetDown(
            f"the connector's program says that its target is away (exit {status})", unknown=unknown
        )
    if status in _REFUSED:
        raise Misconfigured(
            f"the connector's program says that its target refuses it (exit {status})",
            remedy="Look at what the program needs: its password, its rights, its own settings.",
            unknown=unknown,
        )
    if status:
        raise TargetDown(f"the connector's program ended with {status}", unknown=unknown)


def _end(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    if process.poll() is None:
        late.set()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
