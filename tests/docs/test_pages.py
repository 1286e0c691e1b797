"""The generated reference pages say what the code says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from consumers.kit.passwords import LACKING
from pipeline.errors import SesameError
from sesame import pages
from sesame.app.observability.metrics import Metrics
from sesame.cli import main
from sesame.cli.man_page import walk
from sesame.operations.people.diagnosis.reasons import explanations
from sesame.operations.people.diagnosis.rules.base import all_rules
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
    pages.causes_page()  # imports every module that may define one

    def below(error: type[SesameError]) -> list[type[SesameError]]:
        return [each for sub in error.__subclasses__() for each in (sub, *below(sub))]

    own = ("pipeline", "consumers", "producers", "sesame", "schemas")
    return [error for error in below(SesameError) if error.__module__.split(".")[0] in own]


def test_every_error_explains_itself_to_the_operator() -> None:
    errors = every_error()
    assert errors
    silent = [error.__qualname__ for error in errors if len((error.__doc__ or "").split()) < 5]
    assert silent == []


def test_the_page_of_causes_has_one_place_for_each_token_and_error() -> None:
    names = {*explanations(), *all_rules(), *(error.__name__ for error in every_error())}
    places = re.findall(r'^- <a id="([^"]+)"></a>`([^`]+)`', page("causes.md"), re.MULTILINE)
    assert Counter(name for _place, name in places) == dict.fromkeys(names, 1)
    assert Counter(place for place, _name in places) == dict.fromkeys(map(str.lower, names), 1)


def test_each_token_says_on_the_page_what_it_means_and_what_is_done() -> None:
    entries = dict(re.findall(r"^- .*?`([^`]+)`(.*)$", page("causes.md"), re.MULTILINE))
    said_by_the_head = re.compile(
        r"^It is tried again( by itself)?(; |\.$)|^An operator mends it, then replays\.$"
        r"|; it is looked at again by itself|^It is looked at again by itself\.$"
    )
    for token, each in explanations().items():
        words = each.words["en"]
        assert f": {words.what}" in entries[token]
        assert said_by_the_head.sub("", words.next)[1:] in entries[token]


def test_a_rule_tells_reasons_that_there_are() -> None:
    told = {reason for rule in all_rules().values() for reason in rule.reasons}
    assert {*LACKING, "administrative_enrolment_pending", "mailbox_full"} <= told
    assert told - explanations().keys() == set()


def test_help_is_shown_without_any_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME_CONFIG", "/nowhere/sesame.toml")
    for context in walk(main, "sesame"):
        assert context.command.get_help(context).startswith(f"Usage: {context.command_path}")
