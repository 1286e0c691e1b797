"""What a command writes: nothing cut, nothing interpreted, whatever the output is."""

from __future__ import annotations

import contextvars
import io
import re
import sys
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import click
import pytest

from schemas.language import keep_time, local_time
from sesame.cli.output import progress_bar, show_table


@pytest.mark.parametrize(
    ("zone", "shown"),
    [("Europe/Paris", "2026-07-01 02:30:00 CEST"), ("Indian/Reunion", "2026-07-01 04:30:00 +04")],
)
def test_a_time_is_the_site_s_with_its_zone(zone: str, shown: str) -> None:
    at = datetime(2026, 7, 1, 0, 30, tzinfo=UTC)

    def told() -> str:
        keep_time(ZoneInfo(zone))
        return local_time(at)

    assert contextvars.copy_context().run(told) == shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "dumb")
    return terminal


def test_no_value_is_cut_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = narrow_terminal(monkeypatch)
    show_table(("id", "state"), [("cf90804295df", "misconfigured")], right=("state",))
    assert "cf90804295df" in narrow.getvalue()
    assert "misconfigured" in narrow.getvalue()


def test_running_text_takes_several_lines_and_loses_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = narrow_terminal(monkeypatch)
    text = "the login is held by an entry that does not carry this student number"
    show_table(("id", "message"), [("cf90804295df", text)], folded="message")
    assert len(narrow.getvalue().splitlines()) > 2
    assert set(text.split()) <= set(narrow.getvalue().split())


def test_a_step_with_brackets_and_colons_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    label = "Licence 2 [parcours bi] :sun: [/fin]"
    show_table(("step",), [(label,), ("007",), ("1e3",)])
    assert capsys.readouterr().out.split("\n") == ["step", label, "007", "1e3", ""]


def test_a_closed_output_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    show_table(("id", "text"), [("x", "y")], folded="text")
    assert sys.stdout is None


def test_columns_stand_in_line_and_running_text_is_one_line_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "the login is held " * 20
    show_table(
        ("id", "n", "message"), [("a", "1", text.strip()), ("bcd", "12", "")], right=("n",), folded="message"
    )
    assert capsys.readouterr().out.splitlines() == [
        "id    n  message",
        f"a     1  {text.strip()}",
        "bcd  12",
    ]


def test_a_table_of_nothing_has_its_heading(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("id", "message"), [], right=("id",), folded="message")
    assert capsys.readouterr().out.splitlines() == ["id  message"]


def test_progress_is_shown_on_a_terminal_only_one_bar_for_each_title(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_two_files() -> None:
        with progress_bar() as show:
            show("importing", 0, None)
            show("importing", 40, 100)
            show("importing", 100, 100)
            show("importing groups", 3, 6)

    import_two_files()
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    import_two_files()
    shown = [line.split("\r")[-1] for line in click.unstyle(terminal.getvalue()).split("\n")]
    assert [re.sub(r"\s*\[.*?\]\s*", " ", line).strip() for line in shown] == [
        "importing 100/100",
        "importing groups 3/6",
        "",
    ]
