"""The generated reference pages say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import SesameError
from sesame import pages
from sesame.app.errors import errors_page
from sesame.app.observability.metrics import Metrics
from sesame.cli import main
from sesame.cli.page import walk
from sesame.settings import Settings


def page(name: str) -> str:
    return (pages.FOLDER / name).read_text(encoding="utf-8")


def test_every_generated_page_is_current() -> None:
    assert pages.stale() == [], "run `make pages`"


def test_a_page_that_was_changed_by_hand_is_noticed(tmp_path: Path) -> None:
    pages.write(tmp_path)
    assert pages.stale(tmp_path) == []
    (tmp_path / "cli.md").write_text("by hand", encoding="utf-8")
    (tmp_path / "settings.md").unlink()
    assert pages.stale(tmp_path) == ["cli.md", "settings.md"]


def test_every_setting_is_documented() -> None:
    text = page("settings.md")
    for section, model in Settings.sections().items():
        for name in model.model_fields:
            own, shared = (f"SESAME_{place}__{name}`".upper() for place in (section, "…"))
            assert own in text or shared in text


def test_every_metric_is_documented() -> None:
    text = page("metrics.md")
    assert [each.name for each in Metrics().definitions if f"`{each.name}`" not in text] == []


def test_every_command_is_documented() -> None:
    text = page("cli.md")
    missing = [each.command_path for each in walk(main, "sesame") if f"## `{each.command_path}`" not in text]
    assert missing == []


def every_error() -> list[type[SesameError]]:
    errors_page()  # imports every module that may define one

    def below(error: type[SesameError]) -> list[type[SesameError]]:
        return [each for sub in error.__subclasses__() for each in (sub, *below(sub))]

    own = ("pipeline", "consumers", "producers", "sesame", "schemas")
    return [error for error in below(SesameError) if error.__module__.split(".")[0] in own]


def test_every_error_explains_itself_to_the_operator() -> None:
    errors = every_error()
    assert errors
    silent = [error.__qualname__ for error in errors if len((error.__doc__ or "").split()) < 5]
    assert silent == []


def test_help_is_shown_without_any_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME_CONFIG", "/nowhere/sesame.toml")
    for context in walk(main, "sesame"):
        assert context.command.get_help(context).startswith(f"Usage: {context.command_path}")
