"""The timetable's addresses, and what its answers mean."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemLoader

from consumers.kit.connector import Held, Refused
from consumers.kit.http import HttpAnswer
from consumers.timetable import answers
from consumers.timetable.address import FIELDS, CalendarAddressInvalid, Subject, Template
from consumers.timetable.answers import EMPTY, MISSING, NOT_SCHEDULED, NotACalendar, events_of
from sandbox.timetable import calendar
from schemas.language import Language
from sesame.settings import SettingsError, load
from sesame.testing.servers.narrowing import expect
from sesame.web.kit.languages import translations
from sesame.web.students import pages
from sesame.web.students.account_view import AccountView, Service

LEA = Subject("22600001", "lea.martin", "lea.martin@etu.univ-exemple.fr")
EMPTY_CALENDAR = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//FR\r\nEND:VCALENDAR\r\n"
BOTH = (MISSING, EMPTY)
NOT_YET = Held(NOT_SCHEDULED, recheck_after_s=60.0)
any_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


# --- addresses ------------------------------------------------------------------------------------


def test_a_template_s_fields_are_the_student_s() -> None:
    template = Template.of("https://edt.fr/{student_number}/{login}.ics?mail={mail}")
    assert template.address(LEA) == (
        "https://edt.fr/22600001/lea.martin.ics?mail=lea.martin%40etu.univ-exemple.fr"
    )


@given(any_text, any_text, any_text)
def test_whatever_a_value_holds_it_stays_in_its_place(number: str, login: str, mail: str) -> None:
    template = Template.of("https://edt.fr/ical/{login}/{student_number}?m={mail}")
    parts = urlsplit(template.address(Subject(number, login, mail)))
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "edt.fr", "")
    _, folder, *names = parts.path.split("/")
    assert (folder, [unquote(name) for name in names]) == ("ical", [login, number])
    assert not {".", ".."} & set(names), "a client would take these for folders"
    assert unquote(parts.query.removeprefix("m=")) == mail
    assert parts.query.count("&") == parts.query.count("=") - 1 == 0


def test_braces_in_a_value_are_no_fields() -> None:
    template = Template.of("https://edt.fr/{login}/{mail}")
    assert template.address(Subject("1", "{mail}", "m")) == "https://edt.fr/%7Bmail%7D/m"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("https://edt.fr/ical/all.ics", "names no student"),
        ("https://edt.fr/{name}.ics", "{name} is no field"),
        ("https://edt.fr/{}.ics", "{} is no field"),
        ("https://edt.fr/{login}.ics?x={", "a brace that belongs to no field"),
        ("https://edt.fr/{login!r}.ics?{mail}", "a brace that belongs to no field"),
        ("https://{login}.edt.fr/ical.ics", "in the server's name"),
        ("https://edt.fr@{login}/ical.ics", "in the server's name"),
    ],
)
def test_a_template_that_makes_no_addresses_says_why(text: str, says: str) -> None:
    with pytest.raises(CalendarAddressInvalid) as refused:
        Template.of(text)
    assert says in str(refused.value)


def judge(answer: HttpAnswer, not_scheduled: tuple[str, ...]) -> Held | Refused | None:
    return answers.judge(answer, not_scheduled, 60.0)


# --- answers --------------------------------------------------------------------------------------


def test_a_calendar_with_an_event_is_there() -> None:
    assert judge(HttpAnswer(200, calendar().encode()), BOTH) is None


@pytest.mark.parametrize(("not_scheduled", "seen"), [(BOTH, NOT_YET), ((MISSING,), None)])
def test_an_empty_calendar_means_what_the_settings_say(not_scheduled: tuple[str, ...], seen: object) -> None:
    assert judge(HttpAnswer(200, EMPTY_CALENDAR), not_scheduled) == seen


@pytest.mark.parametrize("status", [404, 410])
def test_a_missing_calendar_means_what_the_settings_say(status: int) -> None:
    assert judge(HttpAnswer(status), BOTH) == NOT_YET
    odd = expect(Refused, judge(HttpAnswer(status), (EMPTY,)))
    assert (odd.cause, odd.lasting) == ("timetable_missing", False)


@pytest.mark.parametrize(
    ("answer", "cause", "lasting"),
    [
        (HttpAnswer(401), "timetable_refused", False),
        (HttpAnswer(403), "timetable_refused", False),
        (HttpAnswer(302), "timetable_redirected", False),
        (HttpAnswer(400), "timetable_unreadable", False),
        (HttpAnswer(500), "timetable_unreadable", False),
        (HttpAnswer(204), "timetable_unreadable", False),
        (HttpAnswer(200, b""), "timetable_unreadable", False),
        (HttpAnswer(200, b"<html>Connexion</html>"), "timetable_unreadable", False),
        (HttpAnswer(200, b'{"error": 1}'), "timetable_unreadable", False),
        (HttpAnswer(200, b"BEGIN:VEVENT\r\nEND:VEVENT\r\n"), "timetable_unreadable", False),
        (HttpAnswer(200, EMPTY_CALENDAR * 2), "timetable_unreadable", False),
        (HttpAnswer(200, EMPTY_CALENDAR[:-15]), "timetable_unreadable", False),
        (HttpAnswer(200, None), "timetable_too_large", True),
    ],
)
def test_another_answer_is_one_student_s_matter(answer: HttpAnswer, cause: str, lasting: bool) -> None:
    odd = expect(Refused, judge(answer, BOTH))
    assert (odd.cause, odd.lasting) == (cause, lasting)
    assert LEA.login not in odd.message


@given(st.binary(max_size=400))
def test_whatever_comes_is_a_calendar_or_is_not(body: bytes) -> None:
    assert isinstance(judge(HttpAnswer(200, body), BOTH), Held | Refused | None)
    wrapped = b"BEGIN:VCALENDAR\r\n" + body + b"\r\nEND:VCALENDAR\r\n"
    assert isinstance(judge(HttpAnswer(200, wrapped), BOTH), Held | Refused | None)


def test_a_calendar_nested_without_end_is_none() -> None:
    with pytest.raises(NotACalendar):
        events_of(b"BEGIN:VCALENDAR\r\n" * 5000 + b"END:VCALENDAR\r\n" * 5000)


def test_only_the_calendar_s_own_events_count() -> None:
    alarm = calendar().replace("END:VEVENT", "BEGIN:VALARM\r\nACTION:DISPLAY\r\nEND:VALARM\r\nEND:VEVENT")
    assert events_of(alarm.encode()) == 1
    assert events_of(calendar().replace("VEVENT", "VTODO").encode()) == 0


# --- settings -------------------------------------------------------------------------------------


def settings_saying(tmp_path: Path, line: str) -> str:
    path = tmp_path / "sesame.toml"
    path.write_text(f"[timetable]\n{line}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load(path)
    return str(refused.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('calendar_url = "http://edt.univ-exemple.fr/{login}.ics"', "must begin with https://"),
        ('calendar_url = "https://edt.univ-exemple.fr/all.ics"', "names no student"),
        ('calendar_url = "https://edt.univ-exemple.fr/{nom}.ics"', "{nom} is no field"),
        ('calendar_url = "https://me:secret@edt.univ-exemple.fr/{login}.ics"', "name or a password"),
        ('probe_url = "http://edt.univ-exemple.fr/probe.ics"', "must begin with https://"),
        ('not_scheduled = ["never"]', "missing"),
        ('token_header = "X: y"', "token_header"),
    ],
)
def test_settings_that_cannot_work_are_explained(tmp_path: Path, line: str, says: str) -> None:
    said = settings_saying(tmp_path, line)
    assert says in said
    assert "timetable" in said
    assert "secret@" not in said


def test_the_timetable_is_off_by_default() -> None:
    assert "timetable" not in load(None).targets
    assert set(FIELDS) == {"login", "student_number", "mail"}


# --- the students' page ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "says"),
    [("fr", "Votre emploi du temps n’est pas encore publié"), ("en", "Your timetable is not published yet")],
)
def test_a_student_who_is_not_scheduled_yet_is_told_so(language: Language, says: str) -> None:
    environment = Environment(
        loader=FileSystemLoader(Path(pages.__file__).with_name("templates")),
        autoescape=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    service = Service("timetable", "waiting", reason=NOT_SCHEDULED)
    page = environment.get_template("_services.html").render(
        standing=AccountView(
            LEA.student_number, "Léa", LEA.login, LEA.mail, "active", False, None, (service,)
        ),
        looked_at="12:00",
        opens={},
        links={},
        titles={},
        roles={},
        short_logins=(),
    )
    assert says in unescape(page)
