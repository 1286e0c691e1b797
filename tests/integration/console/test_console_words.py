"""What every page of the console says to a French reader: no English, no Python. Catalogues are the judge."""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any, Final

import pytest
from babel.messages.pofile import read_po
from playwright.sync_api import Browser, expect
from sqlalchemy import insert, update

import consumers
import sesame
from consumers.registry.lifecycle.closings import held_closings
from pipeline import audit, lost_records, quarantine
from pipeline.status import consumer_status
from producers.replay.requests import plan
from schemas.account import Lane
from sesame.acts.acts import LOOKS
from sesame.operations.people.diagnosis import overview
from sesame.operations.questions.reconcile import passes
from sesame.operations.questions.reconcile.passes import Pass
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.console_scene import at_work, given_up, tried_again, waits
from sesame.testing.servers.portal_browser import page_of
from tests.integration.console.test_console_buttons import staged
from tests.integration.console.test_console_pages import VIEWS

PACKAGES: Final = (Path(sesame.__file__).parent, Path(consumers.__file__).parent)
VIEWS_MORE: Final = (
    "/console/personnes?q=cause:doubtful_identity",
    "/console/personnes/{held}",
    "/console/personnes/{retried}",
    "/console/personnes/{late}",
    "/console/personnes/{failed}/effacement",
    "/console/echecs/webhooks_crm/webhook_refused",
    "/console/echecs/directory/identity_collision",
    "/console/echecs/mailbox/mailbox_busy",
    "/console/relances/{replay}",
    "/console/cibles/mailbox",
    "/console/cibles/directory",
    "/console/journal?actes=true",
    "/console/journal?avant={middle}",
    "/console/imports/{import}",
)
NOT_THERE: Final = ("/console/login", "/console/nulle-part", "/console/personnes/22000000")
DETAIL: Final[dict[str, Any]] = {
    "approval": "ab12",
    "asked": 2,
    "cause": "identity_collision",
    "clean": True,
    "code": "K7QD",
    "cohort": "L1INFO-2026",
    "consumer": "directory",
    "count": 21,
    "by_cause": "registry doubtful_identity: 2",
    "erasure": "e-1",
    "everything": False,
    "file": "inscrits.csv",
    "folder": "/srv/copies",
    "format": "csv",
    "group": "g-1",
    "hold": "suspended",
    "import_id": 2,
    "joined": ["22850001", "22850002"],
    "kind": "idnumber_empty",
    "left": 0,
    "live": False,
    "losses": 2,
    "name": "portail",
    "passed": True,
    "plan": "p-1",
    "process": "app2:733",
    "questions": {"idnumber_empty": 2, "names_differ": 1},
    "read": {"directory": 40, "moodle": 38},
    "receiver": "crm",
    "repair": True,
    "replay_id": "r-1",
    "reason_ref": "none",
    "republish": False,
    "sample": 10,
    "scopes": ["status.show", "events.poll:crm"],
    "since": 1_789_000_000.5,
    "standings": {"moodle": {"match": 3}},
    "state": "waiting",
    "student_number": "22850001",
    "other": "22850002",
    "student_numbers": ["22850001", "22850002", "22850003", "22850004"],
    "target": "moodle",
    "targets": {"directory": {"missing": 0, "different": 2}, "moodle": {"orphaned": 1, "went_back": 0}},
    "token": "t-1",
    "until": "2026-10-31",
    "written": {"names": 3, "adopted": 2},
}
PLANTED: Final = (
    "Email address already exists: x",
    "connection refused by ldap.univ.example, as was to be seen",
    "the token's service lacks core_user_create_users. add them to the service",
    "Moodle cannot be read: the answer was lost",
    "busy",
    "no",
)
"""Others' words that a page repeats as they are."""

OWN_REASONS: Final = (
    "12 of the last 14 turns were given up for good within 300 s, 9 of them by mailbox_busy",
    "a student who was tried was refused again, by mailbox_busy",
    "a probe succeeded; trying one student",
    (
        "2 of 8 calls have not come back in the 60 s that the connector promises: restart this process; if it"
        " comes again, tell the connector's author"
    ),
    "paused by an operator",
    "an error ended the loop; the log has it",
    "the process was told to stop",
)
STATES: Final = ("quarantined", "quarantined", "half_open", "hanging", "paused", "stopped", "stopped")
ENGLISH: Final = re.compile(
    r"\b(?:the|of|and|is|was|were|to|by|with|not|there|has|have|this|that|from|asked|given|student|students"
    r"|target|waiting|failed|running|shut|looked)\b",
    re.IGNORECASE,
)
PYTHON: Final = re.compile(
    r"[\[({]['\"]|\b(?:True|False|None)\b|\w\(\w+=|datetime\.|object at 0x|\\x|['\"]: "
)
CODE: Final = re.compile(r"<code>(.*?)</code>", re.DOTALL)
APART: Final = re.compile(
    r"<(script|style|head)\b.*?</\1>|<(\w+)\b[^>]*\blang=\"en\"[^>]*>.*?</\2>|<input[^>]*>|<option[^>]*></option>",
    re.DOTALL,
)
SAID: Final = re.compile(r"\b(?:title|aria-label|alt|placeholder)=\"([^\"]*)\"")


def in_english() -> set[str]:
    """Pieces of the catalogues' English sentences that French does not share."""
    pairs = list[tuple[str, str]]()
    for path, turned in ((PACKAGES[0] / "locale/fr.po", False), (PACKAGES[0] / "web/kit/locale/en.po", True)):
        with path.open("rb") as file:
            for message in read_po(file):
                known, other = _texts(message.id), _texts(message.string)
                pairs += zip(other, known, strict=False) if turned else zip(known, other, strict=False)
    for package in PACKAGES:
        for path in package.rglob("*.toml"):
            pairs += _of_toml(tomllib.loads(path.read_text(encoding="utf-8")))
    pieces = {piece for english, _ in pairs for piece in _pieces(english)}
    french = "\n".join(french for _, french in pairs)
    return {piece for piece in pieces if piece not in french}


def _texts(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _of_toml(document: Any) -> Iterator[tuple[str, str]]:
    if isinstance(document, dict):
        if isinstance(document.get("en"), str):
            yield document["en"], document["fr"]
        elif isinstance(document.get("en"), dict):
            yield from (
                (text, document["fr"][name]) for name, text in document["en"].items() if isinstance(text, str)
            )
        else:
            for each in document.values():
                yield from _of_toml(each)


def _pieces(text: str) -> Iterator[str]:
    for piece in re.split(r"\{\w*[^}]*\}|%\(\w+\)s|\[\w*:?|\]", text):
        if len(piece.split()) > 2:
            yield piece.strip(" .:;,()")


def spoken(page: str) -> str:
    """All that a page says, with attributes, without others' words and codes."""
    said = APART.sub(" ", page)
    text = " ".join([re.sub(r"<[^>]+>", " ", CODE.sub(" ", said)), *SAID.findall(said), *CODE.findall(said)])
    text = re.sub(r"\s+", " ", unescape(text))
    for each in PLANTED:
        text = text.replace(each, " ")
    return re.sub(
        r"sesame [a-z-]+[^,.;)]*|\b[\w.:-]*[_.@/:=-][\w./:@=-]*", " ", text
    )  # commands, tokens, addresses


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ConsoleDesk, dict[str, str]]]:
    """Everything that a console can show: each alarm, act and reason."""
    with staged(tmp_path_factory.mktemp("console")) as (desk, names):
        database, now, portal = desk.portal.database, desk.portal.clock.now, desk.portal
        given_up(desk, portal.active(), "mailbox", "mailbox_busy", PLANTED[3])
        given_up(desk, names["doubt"], "registry", "doubtful_identity")
        tried_again(desk, portal.active(), "moodle", "moodle_busy")
        for reason in ("adoption_undecided", "credential_needed"):
            waits(desk, portal.active(), "directory", reason)
        asked = plan(
            [portal.active() for _ in range(6)],
            consumer="mailbox",
            reason="réparé",
            actor="ada",
            lane=Lane.BULK,
            database=database,
            incident="Boîtes du 14",
        )
        with database.write() as connection:
            quarantine.lift(connection, "mailbox")
            quarantine.place(connection, database, "mailbox", OWN_REASONS[0])
            lost_records.notice(connection, database, "registry", "sesame.enrolments", 0, offset=3, first=9)
            for number in (names["complete"], names["late"]):
                values = {"closing": "expire=L1INFO-2026", "held_at": now, "released": False}
                connection.execute(insert(held_closings).values(student_number=number, **values))
            for target in ("directory", "mailbox"):
                failed = Pass(
                    target=target,
                    ended_at=portal.desk_time(),
                    seconds=1,
                    accounts=9,
                    objects=0,
                    trouble=PLANTED[1],
                    failed_at=portal.desk_time(),
                    unmanaged=0,
                    unsettled=0,
                    found={"went_back": 1},
                    left={},
                    evidence={target: ("older",)},
                )
                passes.keep(connection, database, failed)
            audit.note(
                connection, database, actor="ada", action="of.another.release", detail={"what": [1, None]}
            )
            for action in acts_with_words():
                for detail in (
                    DETAIL,
                    {**DETAIL, "students": 20, "student_numbers": None},
                    {"student_number": "22850001"},
                ):
                    given = {name: value for name, value in detail.items() if value is not None}
                    audit.note(connection, database, actor="camille", action=action, detail=given)
        names |= {"replay": asked.id}
        yield desk, names


def acts_with_words() -> list[str]:
    document = tomllib.loads(
        (PACKAGES[0] / "operations/people/diagnosis/words.toml").read_text(encoding="utf-8")
    )
    return list(document["acts"])


@pytest.mark.parametrize("n", range(len(OWN_REASONS) + 2))
def test_no_page_says_something_in_english_or_in_python(
    scene: tuple[ConsoleDesk, dict[str, str]], n: int
) -> None:
    desk, names = scene
    others = n - len(OWN_REASONS)
    reason = OWN_REASONS[n] if others < 0 else PLANTED[1 + others]
    state = STATES[n] if others < 0 else ("down", "misconfigured")[others]
    at_work(desk, silent=("moodle",), **dict.fromkeys(("directory", "mailbox", "registry"), state))
    with desk.portal.database.write() as connection:
        connection.execute(
            update(consumer_status).values(reason=reason).where(consumer_status.c.state == state)
        )
    views = (
        [*VIEWS, *VIEWS_MORE]
        if n in (0, len(OWN_REASONS))
        else ["/console/", "/console/cibles", "/console/personnes/{late}"]
    )
    pages = dict[str, str]()
    with desk.browser("operator", "administrator", **{"Accept-Language": "fr"}) as browser:
        for view in views:
            answer = browser.get(view.format(**names, middle=150))
            assert answer.status_code == 200 or view in NOT_THERE, view
            pages[view] = answer.text
    english = in_english()
    assert len(english) > 1_000
    found = list[str]()
    for view, page in pages.items():
        text = spoken(page)
        found += [f"{view}: {piece}" for piece in english if piece in text]
        for pattern in (ENGLISH, PYTHON):
            found += [
                f"{view}: {text[max(0, hit.start() - 40) : hit.end() + 40]}" for hit in pattern.finditer(text)
            ]
    assert found == [], "\n".join(found)


def test_every_act_that_the_audit_has_is_a_sentence() -> None:
    """Every action that the code notes, as the code names it."""
    noted = set[str]()
    for path in (each for package in (*PACKAGES, Path("producers")) for each in package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {
                "note",
                "note_look",
                "note_reason",
                "keep_and_audit",
            }:
                given = [*node.args, *(each.value for each in node.keywords if each.arg == "action")]
                noted |= {
                    each.value
                    for each in given
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                }
    assert len(noted) > 30
    noted |= LOOKS
    assert {each for each in noted if re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", each)} <= set(acts_with_words())


def test_the_audit_without_looks_has_the_acts_and_links_what_they_name(
    scene: tuple[ConsoleDesk, dict[str, str]],
) -> None:
    desk, _names = scene
    with desk.browser("operator") as browser:
        pages = [browser.get("/console/journal?action=hold&actes=true").text]
        assert " checked" in pages[0]
        pages += [browser.get(f"/console/journal?action=students{more}").text for more in ("", "&actes=true")]
    assert [page.count("a posé un blocage") for page in pages] == [3, 0, 0]
    assert [page.count("a consulté la page") > 0 for page in pages] == [False, True, False]
    for place in ("journal?actor=camille", "personnes/22850001", "journal.csv?action=hold&amp;actes=True"):
        assert f'href="/console/{place}"' in pages[0].replace("actes=true", "actes=True"), place


def test_every_figure_target_and_line_of_the_first_page_leads_somewhere(
    scene: tuple[ConsoleDesk, dict[str, str]],
) -> None:
    desk, _names = scene
    at_work(desk, silent=("moodle",), mailbox="quarantined", directory="down")
    with desk.browser("operator", "administrator") as browser:
        page = browser.get("/console/").text
        body = page[page.index('id="etat"') : page.index('id="annonce"')]
        parts = re.findall(
            r'<li class="card">.*?</li>|<th scope="row">.*?</th>|<h2 id="pire".*?</h2>', body, re.DOTALL
        )
        for lines in re.findall(
            r'<details id="autres">.*?</details>|<ul class="lines">.*?</ul>', body, re.DOTALL
        ):
            parts += re.findall(r"<li>.*?</li>", lines, re.DOTALL)
        parts += re.findall(
            r'<li>(?:<a[^>]*|<span) class="tag is-(?:waiting|failed|after|retrying)".*?</li>', body, re.DOTALL
        )
        assert len(parts) > 20
        assert [each for each in parts if '<a href="/console/' not in each and "<a class" not in each] == []
        for place in sorted(set(re.findall(r'href="(/console/[^"#]*)', "".join(parts)))):
            assert browser.get(unescape(place)).status_code == 200, place
        doubt = next(each for each in parts if "doubtful" in each and "<strong>" in each)
        assert 'href="/console/questions"' in doubt
        assert "sesame identities" not in doubt
        assert "cause</span>" not in body


def test_a_failure_names_its_students_and_the_menu_folds_without_a_script(
    scene: tuple[ConsoleDesk, dict[str, str]], browser: Browser
) -> None:
    desk, names = scene
    with page_of(
        browser, desk.url, java_script_enabled=False, viewport={"width": 360, "height": 740}
    ) as page:
        page.context.add_cookies([desk.cookie("operator")])  # type: ignore[list-item]
        page.goto(f"{desk.url}/console/echecs/moodle/moodle_email_taken")
        row = page.locator("tbody tr", has_text=names["failed"])
        expect(row).to_contain_text("Chloé Nguyễn")
        expect(page.get_by_role("link", name="Journal")).to_be_hidden()
        page.get_by_label("Rubriques").check()
        expect(page.get_by_role("link", name="Journal")).to_be_visible()
        page.set_viewport_size({"width": 1200, "height": 740})
        expect(page.get_by_label("Rubriques")).to_be_hidden()
        expect(page.get_by_role("link", name="Journal")).to_be_visible()


def test_a_trial_that_waits_for_a_quarantined_target_says_so_and_offers_no_more(
    scene: tuple[ConsoleDesk, dict[str, str]],
) -> None:
    desk, names = scene
    path = f"/console/relances/{names['replay']}"

    def shown(**states: str) -> str:
        at_work(desk, **states)
        desk.context.overview = type(desk.context.overview)(desk.context.site, "overview.show", overview.show)
        return browser.get(path).text

    with desk.browser("operator") as browser:
        page = shown(mailbox="quarantined")
        assert 'href="/console/cibles/mailbox">Messagerie</a> <span class="tag is-quarantined">' in page
        assert 'href="/console/cibles#cible-mailbox"' in page
        assert f'data-flux="{path}/flux"' in page
        assert f'action="{path}/suite"' not in page
        page = shown(mailbox="running")
        assert "is-quarantined" not in page
        assert f'action="{path}/suite"' in page
        at_work(desk, mailbox="quarantined")
        with browser.client.stream("GET", f"{path}/flux") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert "demandés sur 6" in "".join(itertools.islice(answer.iter_text(), 1))
