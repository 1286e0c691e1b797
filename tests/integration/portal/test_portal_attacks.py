"""What somebody may try on the students' pages, and what comes of it."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import event as sql_event

from sandbox.process import wait_until
from sesame.app.observability.logs import configure_logs
from sesame.testing.servers.portal_kit import BEHIND_A_PROXY, Portal, somewhere
from sesame.testing.servers.portal_reader import GOOD, MAIL, Browser
from sesame.testing.servers.registry_kit import Clock

WRONG = "000000"


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One portal for this file, behind a proxy that is believed."""
    with Portal(tmp_path_factory.mktemp("portal"), wish=BEHIND_A_PROXY) as portal:
        yield portal


def shape(browser: Browser, typed: str) -> tuple[int, str, list[str]]:
    """An answer without what is random in it, and without the address that was typed."""
    page = browser.page
    body = re.sub(r'value="[A-Za-z0-9_.-]{20,}"', 'value=""', page.text)
    for part in (typed, typed.partition("@")[0] + "@"):
        body = body.replace(part, "")
    return page.status_code, body, sorted(name for name in page.headers if name != "date")


# --- who is known is not told -----------------------------------------------------------------------------


def test_the_answer_does_not_tell_who_is_known(portal: Portal) -> None:
    known = portal.student()
    seen = []
    for number, mail in ((known, MAIL), (known, "autre@perso.example"), ("99999999", MAIL)):
        with portal.browser(**somewhere()) as browser:
            browser.ask(number, mail)
            asked = shape(browser, mail)
            tries = [asked]
            for _ in range(6):
                browser.send("/code", code=WRONG)
                tries.append(shape(browser, mail))
            browser.send("/renvoyer")
            tries.append(shape(browser, mail))
            seen.append(tries)
    assert seen[0] == seen[1] == seen[2]
    assert "eu trop d’essais" in seen[0][6][1]


@pytest.mark.parametrize(
    ("mine", "other"), [(MAIL, "x@y.example"), ("+33612345678", "+33612345679")], ids=["mail", "SMS"]
)
def test_neither_answer_nor_work_tells_who_is_known(portal: Portal, mine: str, other: str) -> None:
    """The same statements in the same transactions; bench/enumeration.py measures the time itself."""
    known, expired = portal.student(mobile="+33612345678"), portal.student(None)
    done: list[list[str]] = []

    asking = threading.get_ident()  # the postman works at the same time, and looks whatever was asked

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if threading.get_ident() == asking:
            done[-1].append(statement)

    sql_event.listen(portal.database.engine, "before_cursor_execute", note)
    try:
        for number, address in ((known, mine), (known, other), ("99999998", mine), (expired, mine)):
            done.append([])
            proof_id = portal.context.proof_requests.ask(number, address, "fr", browser="b")
            portal.context.proofs.type_code([proof_id], WRONG, browser="b")
    finally:
        sql_event.remove(portal.database.engine, "before_cursor_execute", note)
    if mine == MAIL:  # no gateway is set, so that no SMS leaves
        portal.wait_until_sent(known)
    assert len(done[0]) > 8
    assert done[0] == done[1] == done[2] == done[3]


def test_no_message_goes_to_an_address_that_the_registrar_does_not_have(portal: Portal) -> None:
    number = portal.student()
    with portal.browser(**somewhere()) as browser:
        browser.ask(number, "voleur@perso.example")
        browser.send("/renvoyer")
        browser.ask(number)
    portal.message(number)
    portal.wait_until_sent(number)
    assert portal.sink.messages("voleur@perso.example") == []
    assert len(portal.letters(number)) == 1  # nor does the number alone bring the student any


# --- requests that are not our pages' ---------------------------------------------------------------------


def test_a_form_is_taken_from_our_page_in_the_same_browser_only(portal: Portal) -> None:
    fields = {"numero": "99999995", "courriel": MAIL}
    with portal.browser(**somewhere()) as browser, portal.browser(**somewhere()) as other:
        browser.get("/")
        other.get("/")
        token = re.search(r'name="jeton" value="([^"]+)"', other.page.text)
        assert token is not None
        post = browser.client.post
        assert post("/demande", data=fields).status_code == 403
        assert post("/demande", data={**fields, "jeton": token[1]}).status_code == 403
        mine = re.search(r'name="jeton" value="([^"]+)"', browser.page.text)
        assert mine is not None
        good = {**fields, "jeton": mine[1]}
        for headers in (
            {"Origin": "https://ailleurs.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            assert post("/demande", data=good, headers=headers).status_code == 403, headers
        assert post("/demande", json=good).status_code == 415
        assert post("/demande", data={**good, "numero": "9" * 20_000}).status_code == 413
        assert post("/demande", data={**good, **{f"x{i}": "1" for i in range(70)}}).status_code == 400
        assert browser.client.put("/demande", data=good).status_code == 405
        assert post("/demande", data=good).url.path == "/code"


@pytest.mark.parametrize("host", ["ailleurs.example", "localhost", "localhost:1", ""])
def test_another_host_is_not_served(portal: Portal, host: str) -> None:
    with portal.browser(Host=host) as browser:
        assert browser.get("/").status_code == 421


def test_a_forged_host_does_not_come_into_a_message(portal: Portal) -> None:
    number = portal.student()
    forged = {"X-Forwarded-Host": "ailleurs.example", "Forwarded": "host=ailleurs.example", **somewhere()}
    with portal.browser(**forged) as browser:
        browser.ask(number)
    assert portal.message(number).link.startswith(f"{portal.url}/lien/")


@pytest.mark.parametrize(
    "page",
    [
        "//ailleurs.example",
        "https://ailleurs.example/",
        "/\\ailleurs.example",
        "/%0d%0aX: y",
        "javascript:x",
        "/./..//ailleurs.example",
    ],
)
def test_a_page_of_another_site_is_never_led_to(portal: Portal, page: str) -> None:
    with portal.browser() as browser:
        answer = browser.client.get("/langue/en", params={"page": page}, follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    "mail",
    ["lea@perso.example\r\nBcc: x@y.example", "lea@perso.example\nBcc:x@y.example", "a b@c.example", "a@b@c"],
)
def test_an_address_cannot_add_to_a_message_s_header(portal: Portal, mail: str) -> None:
    with portal.browser(**somewhere()) as browser:
        page = browser.ask("99999994", mail)
    assert (page.status_code, "aria-invalid=true" in page.text) == (422, True)


def test_names_and_labels_are_shown_as_they_are_and_never_run(portal: Portal) -> None:
    evil = "<script>alert(1)</script>"
    number = portal.active(
        birth_name=f"Nom {evil}", step_label=f"Licence <img src=x onerror=alert(1)> {evil}"
    )
    with portal.browser(**somewhere()) as browser:
        portal.prove(browser, number)
        page = browser.send("/compte/ouvrir").text
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert evil not in page
    assert "<img" not in page
    again = browser_error_page(portal, f"/{evil}")
    assert evil not in again


def browser_error_page(portal: Portal, path: str) -> str:
    with portal.browser() as browser:
        return browser.get(path).text


# --- what answers carry -----------------------------------------------------------------------------------


def test_every_page_is_closed_to_scripts_frames_and_other_sites(portal: Portal) -> None:
    number = portal.student()
    with portal.browser(**somewhere()) as browser:
        pages = [browser.get("/"), browser.get("/charte"), browser.get("/nulle-part"), browser.get("/compte")]
        pages.append(browser.ask(number))
        browser.send("/code", code=portal.message(number).code)
        pages += [browser.page, browser.choose()]
        cookies = [
            value for page in [*pages, *pages[-1].history] for value in page.headers.get_list("set-cookie")
        ]
    for page in pages:
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["Strict-Transport-Security"].startswith("max-age=31536000")
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<script(?! src=\"/static/)|<style|\son[a-z]+=|\sstyle=", page.text)
        assert not re.search(r"(?:src|href|action)=\"(?:https?:)?//", page.text)
    assert len(cookies) >= 2
    for cookie in cookies:
        assert re.match(r"__Host-[a-z]+=", cookie)
        assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} <= set(cookie.split("; ")[1:])


def test_a_fault_of_ours_tells_nothing_and_quotes_nobody(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = portal.student()
    lines = io.StringIO()
    configure_logs(stream=lines)

    def broken(*_given: object, **_more: object) -> None:
        raise RuntimeError(f"something about {GOOD}")

    with portal.browser(**somewhere()) as browser:
        portal.prove(browser, number)
        monkeypatch.setattr(portal.context.password_judge, "judge", broken)
        page = browser.choose()
    assert page.status_code == 500
    assert GOOD not in page.text
    assert "RuntimeError" not in page.text
    quoted = re.search(r"la référence ([0-9A-F]{6}) et l’heure, \d", page.text)
    assert quoted is not None
    wait_until(lambda: quoted[1] in lines.getvalue(), "the reference, for whoever is asked about it")
    wait_until(lambda: "RuntimeError" in lines.getvalue(), "the log's line, which follows the answer")
    assert GOOD not in lines.getvalue()


def test_the_password_is_nowhere_but_in_its_hash(portal: Portal) -> None:
    number = portal.student()
    lines = io.StringIO()
    configure_logs(level="debug", stream=lines)
    with portal.browser(**somewhere()) as browser:
        portal.prove(browser, number)
        browser.send("/mot-de-passe", mot_de_passe=GOOD, confirmation="autre", charte="oui")
        browser.choose()
    portal.deliver(number)
    stored = b"".join(path.read_bytes() for path in portal.folder.glob("store.db*"))
    assert GOOD.encode() not in stored
    assert b"$argon2id$" not in stored
    assert GOOD not in lines.getvalue()


def test_a_session_ends_by_the_click_and_by_time(portal: Portal) -> None:
    number = portal.active()
    with portal.browser(**somewhere()) as browser:
        portal.prove(browser, number)
        browser.send("/compte/ouvrir")
        kept = {cookie.name: cookie.value or "" for cookie in browser.client.cookies.jar}
        assert browser.send("/deconnexion").url.path == "/"
        browser.client.cookies.update(kept)  # somebody kept the cookie
        assert browser.get("/compte").status_code == 401
    with portal.browser(**somewhere()) as browser:
        session_id = portal.context.open_session(number, "mail")
        browser.client.cookies.set("__Host-session", session_id)
        assert browser.get("/compte").status_code == 200
        clock: Clock = portal.clock
        clock.now += portal.settings.portal.session_min * 60 + 1
        assert browser.get("/compte").status_code == 401
