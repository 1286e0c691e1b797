"""What the commands share that run until they are told to stop: logs, signals, and an end within a bound."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from sesame.cli.errors import ExitCode

if TYPE_CHECKING:
    from sesame.app.observability.metrics import Metrics
    from sesame.app.wiring import Application
    from sesame.cli.context import Context

Work = Callable[["Application", "Metrics", threading.Event], object]
"""What the process does until the event is set; what it returns is not empty if something has not ended."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_process(context: Context, work: Work) -> None:
    """Do `work` until SIGINT or SIGTERM, then end: code 0, or 1 if something did not end in time. A second
    signal ends the process at once, as kill -9 would: nothing is lost, what was under way is repeated."""
    import structlog

    from sesame.app import gc_freeze
    from sesame.app.observability.logs import configure_logs
    from sesame.app.observability.metrics import Metrics
    from sesame.app.wiring import build

    metrics = Metrics()
    settings = context.settings
    configure_logs(
        level=settings.observability.log_level,
        form=settings.observability.log_format,
        on_dropped=metrics.log_fields_dropped.inc,
    )
    for place, remedy in settings.unneeded:
        structlog.get_logger().warning("setting_not_needed", reason=f"{place}. {remedy}")
    stopping = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in _SIGNALS:
        signal.signal(number, stop)
    application = build(settings)
    gc_freeze.usual()
    try:
        left = work(application, metrics, stopping)
    finally:
        application.close()
    _end(ExitCode.FAILED if left else ExitCode.DONE)


def _end(code: ExitCode) -> None:
    """End the process if a thread is left: Python would wait for it, however long its call takes."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if code is ExitCode.DONE and all(thread.daemon for thread in others):
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(int(code))
