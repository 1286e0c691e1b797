"""Queue a process's imports for programs: one at a time for each feed.

A newer import of a feed ends an older one. Single lines that wait for their turn are imported together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from producers.registrar.acceptance import AcceptanceUnfit
from producers.registrar.faults import UnusableFile
from producers.registrar.import_steps import HeldTogether
from producers.registrar.report import ImportReport
from sesame.acts.acts import Actor
from sesame.acts.ports import Registering
from sesame.operations.imports.acts import (
    ImportRequest,
    ImportStop,
    RejectedLine,
    import_sent,
    json_lines,
    rejected_lines,
)

TOGETHER_MAX: Final = 100
"""At most this many lines share an import."""

_LOOKS_S: Final = 0.5
_GATHER_S: Final = 0.015
"""After a shared import, wait for so long without a new line: callers send more."""


class LineImported(NamedTuple):
    """The outcome of one line: its own report, and its faults."""

    report: ImportReport
    rejected: Sequence[RejectedLine]


@dataclass(frozen=True)
class SentLine:
    """One line that a program sent.

    Attributes:
        values: by the columns of the profile.
        request: how it is to be imported, without a file.
        file_name: the name by which its import is known.
    """

    actor: Actor
    values: Mapping[str, Any]
    student: str
    request: ImportRequest
    file_name: str

    def may_join(self, other: SentLine) -> bool:
        """Whether importing both lines together gives the same result as one by one."""
        return (
            self.student.strip().casefold() != other.student.strip().casefold()
            and self.values.keys() == other.values.keys()
            and (self.actor, self.request, self.file_name) == (other.actor, other.request, other.file_name)
            and not (self.request.dry_run or self.request.full_year)
            and not (self.request.approve or self.request.accept)
        )


class _Waiting:
    def __init__(self, line: SentLine, stop: ImportStop) -> None:
        self.line = line
        self.stop = stop
        self.outcome: Future[LineImported] = Future()


class ImportTurns:
    """The turns of one feed's imports; for any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self.waiting: list[_Waiting] = []
        self._is_shared = False  # the last import was

    @contextmanager
    def turn(self, stop: ImportStop, until: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Wait for the turn; yield False as soon as `until` is true.

        Raises:
            ImportInterrupted: `stop` ended the wait.
        """
        with self._changed:
            while not until() and self._taken:
                self._changed.wait(_LOOKS_S)
                stop.check()
            has_it = not until()
            self._taken |= has_it
        try:
            yield has_it
        finally:
            if has_it:
                with self._changed:
                    self._taken = False
                    self._changed.notify_all()

    def import_line(
        self, site: Registering, line: SentLine, *, clock: Callable[[], datetime], stop: ImportStop
    ) -> LineImported:
        """Import a line, together with waiting lines that are alike.

        Raises:
            As `imports.import_sent`.
        """
        mine = _Waiting(line, stop)
        with self._changed:
            self.waiting.append(mine)
            self._changed.notify_all()
        try:
            with self.turn(stop, until=mine.outcome.done) as has_it:
                while has_it and not mine.outcome.done():
                    _import_all(site, self._gathered(), clock)
        finally:
            with self._changed:
                self.waiting.remove(mine)
        return mine.outcome.result()

    def _gathered(self) -> list[_Waiting]:
        with self._changed:
            chosen, came = self._next(), 0
            while self._is_shared and len(chosen) > came:
                came = len(chosen)
                self._changed.wait(_GATHER_S)
                chosen = self._next()
        self._is_shared = len(chosen) > 1
        return chosen

    def _next(self) -> list[_Waiting]:
        """The line that has waited longest, and those that may join it."""
        chosen: list[_Waiting] = []
        for each in self.waiting:
            joins = all(each.line.may_join(other.line) for other in chosen)
            if joins and not each.outcome.done() and len(chosen) < TOGETHER_MAX:
                chosen.append(each)
        return chosen


def _import_all(site: Registering, chosen: Sequence[_Waiting], clock: Callable[[], datetime]) -> None:
    if len(chosen) > 1:
        _import_together(site, chosen, clock)
    for each in chosen:
        if each.outcome.done():
            continue
        try:
            each.outcome.set_result(_imported(site, [each.line], clock, each.stop)[0])
        except Exception as error:  # noqa: BLE001 (raised where it was sent)
            each.outcome.set_exception(error)


def _import_together(site: Registering, chosen: Sequence[_Waiting], clock: Callable[[], datetime]) -> None:
    """Import these lines in one run.

    Refused or held lines get no outcome here: each is then imported alone and gets its own error.
    """
    try:
        came = _imported(site, [each.line for each in chosen], clock, ImportStop())
    except (UnusableFile, AcceptanceUnfit, HeldTogether):
        return
    except Exception as error:  # noqa: BLE001 (raised where it was sent)
        for each in chosen:
            each.outcome.set_exception(error)
        return
    for number, part in came.items():
        chosen[number].outcome.set_result(part)


def _imported(
    site: Registering, lines: Sequence[SentLine], clock: Callable[[], datetime], stop: ImportStop
) -> dict[int, LineImported]:
    """Import lines as one file; return each outcome by its place.

    Of several lines, those that were refused have none.
    """
    first, file = lines[0], Path(lines[0].file_name)
    sent = json_lines(each.values for each in lines)
    request = first.request.model_copy(update={"file": file, "sent": sent, "together": len(lines)})
    report = import_sent(site, first.actor, request, file, clock=clock, stop=stop)
    if len(lines) == 1:
        return {0: LineImported(report, rejected_lines(report))}
    texts = sent.splitlines(keepends=True)
    return {
        line - 1: LineImported(replace(part, digest=sha256(texts[line - 1]).hexdigest()), [])
        for line, part in report.parts.items()
    }
