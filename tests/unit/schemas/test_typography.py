"""French as it is set: no line may begin with a double sign, or end with a guillemet that opens."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from babel.dates import format_date
from babel.numbers import format_decimal
from jinja2 import Environment, nodes

from pipeline.letters import Letterhead
from producers.activation.letters import Letters
from schemas.language import Language
from schemas.typography import NO_BREAK, day, number, spaced, weekday
from sesame.operations.people.diagnosis.engine import Diagnosis
from sesame.operations.people.diagnosis.rules import Finding, all_rules
from sesame.operations.people.diagnosis.situation import Situation
from sesame.web.kit.languages import duration, translations
from sesame.web.students import pages

BREAKABLE = re.compile(r" [;:!?»]|« |n° |[^\W\d_]'[^\W\d_]")
NOW = datetime(2026, 9, 14, 8, 0, tzinfo=UTC)


def french() -> Environment:
    """As the pages have it: with the functions that Jinja takes, and not those that we believe it takes."""
    environment = Environment(autoescape=True, extensions=["jinja2.ext.i18n"])
    environment.install_gettext_translations(translations("fr"), newstyle=True)  # type: ignore[attr-defined]
    return environment


@pytest.mark.parametrize(
    ("written", "as_set"),
    [
        ("Quoi ? Oui ! Bon ; voici : ceci", "Quoi\u202f? Oui\u202f! Bon\u202f; voici\u00a0: ceci"),
        ("« mot »", "«\u00a0mot\u00a0»"),
        ("n° 22600005", "n°\u00a022600005"),
        ("à 10:30, https://a.example/?b=c", "à 10:30, https://a.example/?b=c"),
        ("fin :", "fin\u00a0:"),
        ("Vraiment ?!", "Vraiment\u202f?!"),
        ("Qu'il l'ait, d'%(who)s", "Qu’il l’ait, d’%(who)s"),
        ("d'o'brien@univ.example, https://a.example/l'a", "d'o'brien@univ.example, https://a.example/l'a"),
    ],
)
def test_blanks_are_those_of_a_typographer(written: str, as_set: str) -> None:
    assert spaced(written) == as_set
    assert spaced(as_set) == as_set


def test_every_text_of_the_templates_is_set() -> None:
    environment, seen = french(), 0
    for path in Path(pages.__file__).with_name("templates").glob("*.html"):
        for call in environment.parse(path.read_text(encoding="utf-8")).find_all(nodes.Call):
            texts = [arg.value for arg in call.args if isinstance(arg, nodes.Const)]
            if getattr(call.node, "name", "") in ("_", "ngettext"):
                for n in (0, 2):
                    shown = render(environment, texts, n)
                    assert not BREAKABLE.search(shown), shown
                seen += any(BREAKABLE.search(str(text)) is not None for text in texts)
    assert seen > 30


def render(environment: Environment, texts: list[Any], n: int) -> str:
    names = dict.fromkeys(re.findall(r"%\((\w+)\)", " ".join(map(str, texts))), "x")
    given = ", ".join(f"{name}='x'" for name in names if name != "num")
    call = f"ngettext({texts[0]!r}, {texts[1]!r}, {n}, " if len(texts) > 1 else f"_({texts[0]!r}, "
    return environment.from_string("{{ " + call + given + ") }}").render()


def test_one_is_singular_and_so_is_nothing() -> None:
    text = french().from_string("{{ ngettext('%(num)s service', '%(num)s services', n) }}")
    assert [text.render(n=n) for n in (0, 1, 2)] == ["0 service", "1 service", "2 services"]


@pytest.mark.parametrize("purpose", ["password", "redirect", "changed", "redirected"])
def test_messages_are_set_too_and_what_is_copied_from_them_is_not_changed(purpose: str) -> None:
    letters = Letters(Letterhead("U", "a@b.example", "d@e.example", "https://c.example"), 24.0, lambda: NOW)
    says = {"to": "x@y.example", "number": "22600005", "link": "i.s", "code": "123456", "activated": False}
    message = letters.write(purpose, "fr", {**says, "address": "z@y.example"})
    for part in ("plain", "html"):
        body = message.get_body((part,))
        assert body is not None
        text = str(body.get_content())
        assert not BREAKABLE.search(text)
        assert "\u00a0:" in text or "\u202f?" in text
        assert "https://c.example/" in text
        assert purpose != "password" or "123 456" in text


def test_causes_are_set_too() -> None:
    names = ("other", "minutes", "day", "address", "courses", "component", "step", "until", "attempts")
    words = dict.fromkeys(names, "x")
    found = tuple(Finding(name, "directory", words=words) for name in all_rules())
    situation = Situation(number="22600005", now=NOW)
    for cause in Diagnosis(situation, found, live=False).for_student("fr").causes:
        for text in (cause.cause, cause.todo, cause.delay, cause.who, *cause.symptoms):
            assert not BREAKABLE.search(text), text


def test_a_number_stays_with_its_unit() -> None:
    assert [duration(s, "fr") for s in (5, 120, 7200)] == ["5\u00a0s", "2\u00a0min", "2\u00a0h"]


LOCALES: dict[Language, str] = {"fr": "fr", "en": "en_GB"}


@pytest.mark.parametrize("language", LOCALES)
def test_days_and_numbers_are_those_of_cldr(language: Language) -> None:
    locale = LOCALES[language]
    for when in (date(2026, 1, 1) + timedelta(days=n) for n in range(366)):
        first = language == "fr" and when.day == 1
        long = format_date(when, "'1er' MMMM y" if first else "long", locale=locale)
        assert day(when, language).replace(NO_BREAK, " ") == long
        assert weekday(when, language).startswith(format_date(when, "EEEE", locale=locale))
    for value in (0, 7, -7, 999, 1000, -1234, 40_000, 12_345_678, 0.5, 2.0, 1234.5678, -0.125, 1e6):
        assert number(value, language) == format_decimal(value, locale=locale)
