"""Log lines: their fields are on a list, so that nobody's data gets into one."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from pipeline.errors import SesameError
from sesame.app.observability.logs import LOG_FIELDS, configure_logs

Lines = Callable[[], list[dict[str, Any]]]
SHIPPED = ("schemas", "pipeline", "consumers", "producers", "sesame")


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


@pytest.fixture
def lines(out: io.StringIO) -> Lines:
    """Logs are configured as JSON; what was written so far."""
    configure_logs(stream=out)
    return lambda: [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_level_and_time_in_utc(lines: Lines) -> None:
    structlog.get_logger().info("student_done", student_number="22100345", target="moodle")
    (line,) = lines()
    assert line["event"] == "student_done"
    assert (line["level"], line["fields_dropped"], line["target"]) == ("info", 1, "moodle")
    assert "22100345" not in str(line)
    assert line["timestamp"].endswith("Z")


def test_a_field_that_is_not_on_the_list_is_dropped_and_counted(out: io.StringIO) -> None:
    dropped: list[int] = []
    configure_logs(stream=out, on_dropped=dropped.append)
    structlog.get_logger().info(
        "student_done", mail="zoe.lefevre@etu.univ-exemple.fr", name="Zoé", target="moodle"
    )
    line = json.loads(out.getvalue())
    assert (line["fields_dropped"], dropped) == (2, [2])
    assert "Zo" not in out.getvalue()
    assert "zoe" not in out.getvalue()


def test_a_bound_field_is_dropped_too(lines: Lines, out: io.StringIO) -> None:
    structlog.get_logger().bind(given_name="Zoé", consumer="moodle").warning("late")
    assert lines()[0]["consumer"] == "moodle"
    assert "given_name" not in out.getvalue()


def test_an_object_is_named_by_its_class_and_a_long_text_is_cut(lines: Lines) -> None:
    structlog.get_logger().info("odd", reason={"mail": "x@y.fr"}, cause="a" * 5000, topics=["t"] * 100)
    (line,) = lines()
    assert line["reason"] == "dict"
    assert len(line["cause"]) == 500
    assert len(line["topics"]) == 32


def test_lines_that_say_the_same_are_bounded_and_the_others_are_counted(out: io.StringIO) -> None:
    now = [0.0]
    configure_logs(stream=out, monotonic=lambda: now[0])
    log, library = structlog.get_logger(), logging.getLogger("asyncio")
    for attempt in range(1_000):
        now[0] += 0.001
        log.warning("erasure_waits", consumer="moodle", attempt=attempt)
        log.warning("erasure_waits", consumer="directory", attempt=attempt)
        library.error("socket.accept() out of system resource")
    now[0] += 60.0
    log.warning("erasure_waits", consumer="moodle")
    library.error("socket.accept() out of system resource")
    log.warning("erasure_waits", consumer="moodle")
    written = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(written) < 20
    assert [line.get("repeated") for line in written[-3:]] == [995, 995, None]
    assert {line.get("consumer") for line in written} == {"moodle", "directory", None}


def test_a_command_writes_a_repeated_line_once_and_its_count_at_the_end(out: io.StringIO) -> None:
    tell_repeats = configure_logs(stream=out, repeats_max=1, monotonic=lambda: 0.0)
    log, library = structlog.get_logger(), logging.getLogger("asyncio")
    for attempt in range(20):
        log.warning("erasure_waits", consumer="moodle", attempt=attempt)
        library.error("to %s: %d", "22001234", attempt)
    log.warning("erasure_waits", consumer="directory")
    assert len(out.getvalue().splitlines()) == 3
    tell_repeats()
    told = [json.loads(line) for line in out.getvalue().splitlines()[3:]]
    assert told == [
        {"consumer": "moodle", "event": "erasure_waits", "level": "warning", "repeated": 19},
        {"logger": "asyncio", "event": "library_message", "level": "error", "repeated": 19},
    ]


def test_lines_that_differ_in_a_word_are_all_written(lines: Lines) -> None:
    for place in range(100):
        structlog.get_logger().info("stopped", reason=f"reason {place}")
    assert len(lines()) == 100


def failing(error: Exception) -> Exception:
    """The error as it is caught, with the place that raised it."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_the_message_of_a_foreign_exception_is_left_out(lines: Lines, out: io.StringIO) -> None:
    structlog.get_logger().error(
        "turn_failed", target="moodle", exc_info=failing(ValueError("VALUES ('Lefèvre')"))
    )
    (line,) = lines()
    assert line["error"] == "ValueError"
    assert any(" failing" in place for place in line["error_at"])
    assert "Lef" not in out.getvalue()


def test_the_message_of_an_error_of_our_own_is_kept_with_its_remedy(lines: Lines) -> None:
    ours = SesameError("the token is refused", remedy="Make a new one.")
    structlog.get_logger().error("turn_failed", exc_info=failing(ours))
    (line,) = lines()
    assert (line["error_message"], line["remedy"]) == ("the token is refused", "Make a new one.")


def test_what_a_library_says_is_left_out_but_not_that_it_said_something(
    lines: Lines, out: io.StringIO
) -> None:
    logging.getLogger("httpx").warning("POST https://moodle/?wstoken=%s for Zoé", "j3ton")
    (line,) = lines()
    assert (line["event"], line["logger"], line["level"]) == ("library_message", "httpx", "warning")
    assert "j3ton" not in out.getvalue()


def test_a_library_that_speaks_of_itself_only_is_quoted(lines: Lines) -> None:
    logging.getLogger("uvicorn.error").warning("shutting down")
    assert lines()[0]["event"] == "shutting down"


def test_less_serious_lines_are_not_written(out: io.StringIO) -> None:
    configure_logs(level="error", stream=out)
    structlog.get_logger().warning("late")
    assert out.getvalue() == ""


def test_the_console_form_keeps_to_the_list_as_well(out: io.StringIO) -> None:
    configure_logs(form="console", stream=out)
    structlog.get_logger().info("student_done", mail="zoe@etu.fr", target="moodle")
    assert "target=moodle" in out.getvalue()
    assert "zoe@etu.fr" not in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_auto_is_json_when_nobody_watches(out: io.StringIO) -> None:
    configure_logs(form="auto", stream=out)
    structlog.get_logger().info("running")
    assert json.loads(out.getvalue())["event"] == "running"


_LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call such as `self._log.warning(…)` or `get_logger().info(…)` of what is shipped."""
    root = Path(__file__).parents[4]
    for package in SHIPPED:
        for path in sorted((root / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                speaker = ast.unparse(node.func.value)
                if node.func.attr in _LEVELS and (speaker.endswith(("log", "logger", "get_logger()"))):
                    yield f"{path.relative_to(root)}:{node.lineno}", node


def test_every_event_is_a_constant_token_so_that_no_value_hides_in_it() -> None:
    calls = list(log_calls())
    assert calls
    for place, call in calls:
        event = call.args[0]
        assert isinstance(event, ast.Constant), f"{place}: the event must be a constant"
        assert str(event.value).replace("_", "").islower(), f"{place}: {event.value!r} is no token"


def test_every_field_that_is_logged_is_on_the_list() -> None:
    for place, call in log_calls():
        names = {keyword.arg for keyword in call.keywords} - {"exc_info", None}
        assert names <= LOG_FIELDS, f"{place}: {sorted(map(str, names - LOG_FIELDS))} would be dropped"
