"""Structured logs on standard error: one event a line, fields by allow-list.

A field that is not on the list is dropped and counted, whatever logged it, so that no person's data can slip
into a log line. Messages of libraries are written without their text (which may quote a request), except for
those that are known to speak of themselves only. Of an exception its class and its place are written; its
message only if it is one of our own, which carry no personal data.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

from pipeline.errors import SesameError

LOG_FIELDS: Final[frozenset[str]] = frozenset(
    {
        # the line itself
        "event",
        "level",
        "timestamp",
        "logger",
        "process_id",
        "fields_dropped",
        # what: never which person, nor an event's id: trying all student numbers would find its person
        "version",
        "stage",
        "lane",
        "event_type",
        "replay_id",
        # where
        "consumer",
        "target",
        "member",
        "topic",
        "topics",
        "partition",
        "partitions",
        "offset",
        "epoch",
        "command",
        "check",
        "reference",
        "host",
        "port",
        "line",
        # how it went
        "outcome",
        "reason",
        "cause",
        "state",
        "changed",
        "attempt",
        "attempts",
        "status",
        "window",
        "signal",
        # how much and how long
        "batch",
        "count",
        "rows",
        "rejected",
        "lag",
        "parked",
        "due_s",
        "elapsed_s",
        "delay_s",
        "timeout_s",
        # what broke
        "error",
        "error_message",
        "error_at",
        "remedy",
        "repeated",
    }
)
"""Every field that a log line may have. Add one only if no value of it can ever describe a person."""

LIBRARIES_QUOTED: Final = ("uvicorn.error", "alembic")
"""Loggers of libraries whose messages speak of the program alone."""

_TEXT_MAX = 500
_ITEMS_MAX = 32
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

REPEATS_MAX: Final = 5
"""Like lines per `_WINDOW_S` at most; the next one counts those left out."""
_WINDOW_S: Final = 60.0
_LINES_KNOWN_MAX: Final = 1_000

EventDict = MutableMapping[str, Any]
_Line = tuple[tuple[str, str], ...]
OnDropped = Callable[[int], None]


def configure_logs(
    *,
    level: str = "info",
    form: str = "json",
    stream: TextIO | None = None,
    on_dropped: OnDropped | None = None,
    repeats_max: int = REPEATS_MAX,
    monotonic: Callable[[], float] = time.monotonic,
) -> Callable[[], None]:
    """Send all log lines of this process to `stream`, in `observability.log_format`.

    Args:
        level: the least serious level written: debug, info, warning or error.
        form: `json`, `console`, or `auto` (console on a terminal).
        stream: where to, default standard error as it is now.
        on_dropped: called with the number of a line's fields that were not on the list.
        repeats_max: of like lines in a minute, which differ by numbers alone.

    Returns a function that writes how often each line was left out since it was last written.
    """
    out = stream or sys.stderr
    shared = _shared_processors(on_dropped)
    console = form == "console" or (form == "auto" and out.isatty())
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty() and "NO_COLOR" not in os.environ)
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    repeats = _Repeats(repeats_max, monotonic)
    structlog.configure(
        processors=[*shared, _without_repeats(repeats), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,  # a reconfiguration counts for everybody
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_library_line, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(_without_repeated_records(repeats))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(_LEVELS[level], logging.WARNING))

    def tell_repeats() -> None:
        for line, count in repeats.left_out():
            print(renderer(None, "", {**dict(line), "repeated": count}), file=out)

    return tell_repeats


def _shared_processors(on_dropped: OnDropped | None) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_exception_text,
        _Allowed(on_dropped),
    ]


class _Repeats:
    """Bounds lines that say the same, whatever writes them without end. Thread-safe."""

    def __init__(self, repeats_max: int, monotonic: Callable[[], float]) -> None:
        self._max = repeats_max
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._lines: dict[_Line, tuple[float, int]] = {}  # since when, and how many

    def left_out(self) -> list[tuple[_Line, int]]:
        """The lines left out since they were last written, with their number."""
        with self._lock:
            return [(line, seen - self._max) for line, (_, seen) in self._lines.items() if seen > self._max]

    def count(self, line: _Line) -> int | None:
        """The number of like lines left out before; None: leave this one out, too."""
        now = self._monotonic()
        with self._lock:
            since, seen = self._lines.get(line, (now, 0))
            left_out = 0
            if now - since >= _WINDOW_S:
                since, seen, left_out = now, 0, max(0, seen - self._max)
            if line not in self._lines and len(self._lines) >= _LINES_KNOWN_MAX:
                del self._lines[next(iter(self._lines))]
            self._lines[line] = since, seen + 1
        return left_out if seen < self._max else None


def _without_repeats(repeats: _Repeats) -> Processor:
    """Limit lines that say the same: they differ by numbers and the time alone."""

    def bounded(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
        same = tuple(
            (name, str(value))
            for name, value in event_dict.items()
            if name != "timestamp" and not isinstance(value, int | float)
        )
        left_out = repeats.count(same)
        if left_out is None:
            raise structlog.DropEvent
        if left_out:
            event_dict["repeated"] = left_out
        return event_dict

    return bounded


def _without_repeated_records(repeats: _Repeats) -> Callable[[logging.LogRecord], bool]:
    """Limit repeats of libraries' lines: their loggers know nothing of `DropEvent`."""

    def passes(record: logging.LogRecord) -> bool:
        event = str(record.msg) if record.name.startswith(LIBRARIES_QUOTED) else "library_message"
        line = ("level", record.levelname.lower()), ("logger", record.name), ("event", event)
        left_out = repeats.count(line)
        record.repeated = left_out
        return left_out is not None

    return passes


class _Allowed:
    """Keeps the fields of `LOG_FIELDS` with plain, bounded values; counts the others."""

    def __init__(self, on_dropped: OnDropped | None) -> None:
        self._on_dropped = on_dropped

    def __call__(self, _logger: object, _method: str, event_dict: EventDict) -> EventDict:
        meta = {name: event_dict[name] for name in ("_record", "_from_structlog") if name in event_dict}
        kept = {name: _plain(value) for name, value in event_dict.items() if name in LOG_FIELDS}
        dropped = len(event_dict) - len(meta) - len(kept)
        if dropped:
            kept["fields_dropped"] = dropped
            if self._on_dropped is not None:
                self._on_dropped(dropped)
        return {**kept, **meta}


def _plain(value: object) -> object:
    """A loggable value: long texts are cut, objects become their class's name."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        text = str(value)
        return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in list(value)[:_ITEMS_MAX]]
    return type(value).__name__


def _without_exception_text(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
    """Replace `exc_info` by the exception's class, place and, if ours, message."""
    given = event_dict.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event_dict["error"] = type(error).__name__
        event_dict["error_at"] = _places(error.__traceback__)
        if isinstance(error, SesameError):
            event_dict["error_message"] = str(error)
            if error.remedy:
                event_dict["remedy"] = error.remedy
    return event_dict


def _places(trace: TracebackType | None) -> list[str]:
    """The last calls before the exception, as `file:line function`."""
    frames = traceback.extract_tb(trace)[-8:]
    return [f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]  # noqa: PTH119


def _library_line(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
    """Name the library that logs; drop its message unless it is known to be harmless."""
    record: logging.LogRecord = event_dict["_record"]
    event_dict["logger"] = record.name
    if repeated := getattr(record, "repeated", 0):
        event_dict["repeated"] = repeated
    if not record.name.startswith(LIBRARIES_QUOTED):
        event_dict["event"] = "library_message"
    return event_dict
