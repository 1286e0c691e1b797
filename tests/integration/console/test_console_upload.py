"""The registrar's file, sent by the browser: looked at, imported, held and approved, refused."""

from __future__ import annotations

import html
import itertools
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser as Chromium
from sqlalchemy import update

from producers.registrar.import_runs import imports
from producers.registrar.report import ImportDetail, ImportKind
from sandbox.process import PATIENCE_S, wait_until
from sesame.operations.imports.acts import import_sent
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.portal_reader import Browser
from sesame.web.console import upload
from sesame.web.console.upload import UPLOAD_BYTES_MAX

HEADER: Final = (
    "COD_ETU;COD_NNE_IND;LIB_NOM_PAT_IND;LIB_NOM_USU_IND;LIB_PR1_IND;DATE_NAI_IND;MAIL_PERSO;COD_ANU;COD_ETP;"
    "COD_VRS_VET;COD_CMP;LIB_ETP;TEM_IAE_PRM;ETA_IAE;ETA_PMT_IAE;IP_VALIDE"
)
LETTERS: Final = "ABCDEFGHIJKLMNOPQRST"


def line(number: int, *, born: str = "03/02/2008") -> str:
    name = "Lefebvre" + LETTERS[number % 20].lower() + LETTERS[number // 20].lower()
    step = "2026;L1INFO;261;SCI;Licence 1;O;E;P;O"
    return f"229{number:05d};;{name};;Camille;{born};c{number}@courriel.example;{step}"


def file_of(*lines: str) -> bytes:
    return "\n".join((HEADER, *lines, "")).encode()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ConsoleDesk]:
    with ConsoleDesk(tmp_path) as desk:
        yield desk


def form(browser: Browser, **fields: str) -> dict[str, str]:
    page = browser.get("/console/imports").text
    token = re.search(r'name="jeton" value="([^"]+)"', page)
    assert token is not None
    return {"jeton": token[1], "genre": "inscriptions", "profil": "apogee", "annee": "", **fields}


def send(
    desk: ConsoleDesk, content: bytes, *, role: str = "registrar", name: str = "inscrits.csv", **fields: str
) -> Any:
    with desk.browser(role) as browser:
        data = form(browser, **fields)
        files = {"fichier": (name, content)}
        return browser.client.post("/console/imports", data=data, files=files, headers={"Origin": desk.url})


def enrolled(desk: ConsoleDesk) -> int:
    """How many enrolments the log has got."""
    with closing(desk.application.log.consumer("test", ("sesame.enrolments",), member="test")) as consumer:
        return len(consumer.poll(5_000, 0.5))


def told(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text).replace("\u00a0", " ").replace("\u202f", " ")


def test_a_look_says_what_would_change_and_whom_it_rejects_and_changes_nothing(desk: ConsoleDesk) -> None:
    page = told(send(desk, file_of(line(1), line(2, born="31/02/2008")), acte="voir"))
    assert "rien n'a été publié" in page
    assert "Lignes refusées" in page
    assert "31/02/2008" in page
    assert "22900002" in page
    assert enrolled(desk) == 0


def test_it_is_imported_under_their_own_name_and_nothing_of_it_is_kept(
    desk: ConsoleDesk,
) -> None:
    page = told(send(desk, file_of(line(1)), acte="importer"))
    assert "Importé" in page
    assert enrolled(desk) == 1
    (entry,) = desk.audit("import")
    assert (entry.actor, entry.detail["file"]) == ("ada", "inscrits.csv")
    names = [path.name for path in desk.folder.rglob("*")]
    assert "inscrits.csv" not in names


def test_what_would_cancel_unusually_many_is_held_until_it_is_approved(desk: ConsoleDesk) -> None:
    told(send(desk, file_of(*map(line, range(20))), acte="importer"))
    before = enrolled(desk)
    less = file_of(line(0))
    assert "Il serait bloqué, à approuver" in told(send(desk, less, acte="voir", annee="2026"))
    page = told(send(desk, less, acte="importer", annee="2026"))
    assert "Bloqué, à approuver" in page
    assert "Qui est concerné" in page
    approval = re.search(r'name="approbation" value="([^"]+)"', page)
    assert approval is not None
    assert enrolled(desk) == before == 20
    page = told(send(desk, less, acte="importer", annee="2026", approbation=approval[1]))
    assert "Importé" in page
    assert enrolled(desk) == before + 19


def test_a_file_says_what_differs_from_the_one_before_it(desk: ConsoleDesk) -> None:
    looked = told(send(desk, file_of(*map(line, range(20))), acte="voir"))
    assert "Ce qui changerait en 2026-2027" in looked
    told(send(desk, file_of(*map(line, range(20))), acte="importer"))
    told(send(desk, file_of(*map(line, range(1, 21))), acte="importer", annee="2026"))
    with desk.browser("registrar") as browser:
        page = browser.get("/console/imports/2").text
        assert "sesame-console-" not in page, "files that are gone are nowhere"
        assert re.findall(r'"figure">(\d+)</span>', page) == ["1", "1", "0"], "new, gone, changed"
        row = re.search(r'<th scope="row">L1INFO</th>(.*?)</tr>', page)
        assert row is not None
        assert re.findall(r">(\d+|·)<", row[1]) == ["1", "1", "·"]
        assert 'href="/console/imports/1">le précédent</a>' in page
        published = re.search(r'<th scope="row">publiées</th>(.*?)</tr>', page)
        assert published is not None
        assert re.findall(r">([^<\s]+)<", published[1]) == ["1", "20", "\N{MINUS SIGN}19"]


def test_the_page_of_an_import_has_its_refused_lines_and_whom_its_file_lacks(desk: ConsoleDesk) -> None:
    told(send(desk, file_of(*map(line, range(20))), acte="importer"))
    wrong = (line(1, born="31/02/2008"), line(2), line(3).replace("@courriel", " courriel"))
    told(send(desk, file_of(*map(line, range(4, 19)), line(0), *wrong), acte="importer", annee="2026"))
    with desk.browser("registrar") as browser:
        page = told(browser.get("/console/imports/2"))
        before = told(browser.get("/console/imports/1"))
    assert re.findall(r'<td class="n">(\d+)</td><td>(\w+)</td><td>([^<]+)</td>', page) == [
        ("18", "DATE_NAI_IND", "date incorrecte"),
        ("20", "MAIL_PERSO", "adresse électronique incorrecte"),
    ]
    assert "Écrivez la date sous la forme 31/12/2005" in page
    assert "absent du fichier" in page
    for kept in ("31/02/2008", "22900001", "c3 courriel", "bad_date", "partie"):
        assert kept not in page, kept
    assert "Écrivez la date" not in before


def test_one_under_way_is_followed_by_its_lines(desk: ConsoleDesk) -> None:
    told(send(desk, file_of(*map(line, range(20))), acte="importer"))
    with desk.application.database.write() as connection:  # as if its process had died at line 12
        begun = ImportDetail(kind=ImportKind.ENROLMENTS, actor="ada", last_line=21)
        connection.execute(
            update(imports).values(
                finished_at=None, summary=None, confirmed_through=100_000_012, detail=begun.model_dump_json()
            )
        )
    with desk.browser("registrar") as browser:
        page = browser.get("/console/imports/1").text
        assert "ligne 12 sur 21" in page
        assert '<progress max="21" value="12"' in page
        with browser.client.stream("GET", "/console/imports/1/flux") as answer:
            assert "ligne 12 sur 21" in "".join(itertools.islice(answer.iter_lines(), 5))
        with browser.client.stream("GET", "/console/imports/9/flux") as answer:
            assert "event: fin" in list(answer.iter_lines())


@dataclass
class Gate:
    """Imports say that they are at line 620 of 1,240, and stay there until it is opened."""

    opened: threading.Event = field(default_factory=threading.Event)
    import_: Callable[..., Any] = import_sent

    def __call__(self, *given: Any, **named: Any) -> Any:
        named["progress"](ImportKind.ENROLMENTS, 620, 1_240)
        assert self.opened.wait(PATIENCE_S)
        return self.import_(*given, **named)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(upload, "import_sent", gate)
    monkeypatch.setattr(upload, "MOMENT_S", 0.05)
    return gate


@contextmanager
def sending(desk: ConsoleDesk, content: bytes, act: str = "importer") -> Iterator[Iterator[str]]:
    """The answer, a line at a time as it comes."""
    with desk.browser("registrar") as browser:
        data, files = form(browser, acte=act), {"fichier": ("inscrits.csv", content)}
        path, ours = "/console/imports", {"Origin": desk.url}
        with browser.client.stream("POST", path, data=data, files=files, headers=ours) as answer:
            assert (answer.status_code, answer.headers["x-accel-buffering"]) == (200, "no")
            yield (html.unescape(each).replace("\u202f", " ") for each in answer.iter_lines())


def test_an_import_that_takes_its_time_answers_at_once_says_how_far_it_is_and_ends_with_what_came_of_it(
    desk: ConsoleDesk, gate: Gate
) -> None:
    with sending(desk, file_of(line(1), line(2, born="31/02/2008"))) as lines:
        begun = "".join(itertools.takewhile(lambda each: "50 %" not in each, lines))
        assert "<h1>inscrits.csv</h1>" in begun
        assert enrolled(desk) == 0
        gate.opened.set()
        rest = "".join(lines)
    assert "Importé. Chaque cible" in rest
    assert "31/02/2008" in rest
    assert rest.endswith("</html>")
    assert enrolled(desk) == 1


def test_in_a_browser_without_scripts_the_last_word_of_a_growing_page_is_the_one_that_is_shown(
    desk: ConsoleDesk, gate: Gate, browser: Chromium, tmp_path: Path
) -> None:
    file = tmp_path / "inscrits.csv"
    file.write_bytes(file_of(line(1)))
    with browser.new_context(java_script_enabled=False, ignore_https_errors=True, locale="fr-FR") as context:
        context.add_cookies([desk.cookie("registrar")])  # type: ignore[list-item]
        page = context.new_page()
        page.goto(f"{desk.url}/console/imports")
        page.set_input_files("#fichier", file)
        page.click("button[value=importer]", no_wait_after=True)
        page.wait_for_selector(".grows > :nth-child(3)", state="attached")
        assert page.locator(".grows").inner_text().count("50") == 1
        gate.opened.set()
        page.wait_for_selector("text=Importé. Chaque cible")
        assert "50" not in page.locator(".grows").inner_text()


def test_an_import_goes_on_when_whoever_sent_it_leaves_the_page(desk: ConsoleDesk, gate: Gate) -> None:
    with sending(desk, file_of(line(1))) as lines:
        assert any("50 %" in each for each in lines)
    gate.opened.set()
    wait_until(lambda: enrolled(desk) == 1, "the import to come to its end")


@pytest.mark.parametrize("from_the_list", [True, False])
def test_an_import_is_stopped_from_its_page_or_from_the_list(
    desk: ConsoleDesk, gate: Gate, from_the_list: bool
) -> None:
    with sending(desk, file_of(line(1))) as lines, desk.browser("registrar") as other:
        grown = "".join(itertools.takewhile(lambda each: "</form>" not in each, _after(lines, "50 %")))
        page = other.get("/console/imports").text if from_the_list else grown
        form_of = page[page.index('action="/console/imports/arreter"') :]
        fields = dict(re.findall(r'name="(jeton|import)" value="([^"]+)"', form_of)[:2])
        if not from_the_list:  # it is another browser's
            fields["jeton"] = form(other)["jeton"]
        answer = other.client.post("/console/imports/arreter", data=fields, headers={"Origin": desk.url})
        assert "il s'arrête à sa prochaine étape" in html.unescape(answer.text)
        gate.opened.set()
        rest = "".join(lines)
    assert "n'est pas allé à son terme" in rest
    assert enrolled(desk) == 0
    with desk.browser("registrar") as other:
        assert "arreter" not in other.get("/console/imports").text
    (entry,) = desk.audit("import.stop")
    assert (entry.actor, entry.detail["file"]) == ("ada", "inscrits.csv")


def _after(lines: Iterator[str], text: str) -> Iterator[str]:
    """The lines from the first one on that has this text."""
    return itertools.dropwhile(lambda each: text not in each, lines)


def test_a_look_ends_when_its_page_is_left(desk: ConsoleDesk, gate: Gate) -> None:
    ended = threading.Event()

    def look(*given: Any, **named: Any) -> Any:
        try:
            while True:
                named["stop"].check()
        finally:
            ended.set()

    gate.import_ = look
    gate.opened.set()
    with sending(desk, file_of(line(1)), "voir") as lines:
        assert any("50 %" in each for each in lines)
    assert ended.wait(PATIENCE_S)


@pytest.mark.parametrize("unforeseen", [True, False])
def test_an_import_that_fails_after_its_answer_began_says_so_on_the_page(
    desk: ConsoleDesk, gate: Gate, unforeseen: bool
) -> None:
    def fail(*_given: Any, **_named: Any) -> None:
        raise KeyError("Lefebvre")

    if unforeseen:
        gate.import_ = fail
    with sending(desk, b"a;b\nc;d\n", "voir") as lines:
        assert any("50 %" in each for each in lines)
        gate.opened.set()
        rest = "".join(lines)
    assert "n'est pas allé à son terme" in rest
    assert ("Erreur imprévue" in rest) is unforeseen
    assert "Lefebvre" not in rest
    assert "sesame-console-" not in rest
    assert rest.endswith("</html>")


@pytest.mark.parametrize(
    ("name", "content", "fields", "status"),
    [
        ("x.csv", b"", {}, 409),
        ("x.csv", b"\x00\x01\x02", {}, 409),
        ("../../../etc/x.csv", b"a;b\nc;d\n", {}, 409),
        ("", b"a;b\n", {}, 422),
        ("x.csv", b"a;b\n", {"genre": "notes"}, 422),
        ("x.csv", b"a;b\n", {"profil": "/etc/mapping.toml"}, 422),
        ("x.csv", b"a;b\n", {"annee": "20x6"}, 422),
    ],
)
def test_what_is_no_export_is_refused_in_words_and_no_folder_is_told(
    desk: ConsoleDesk, name: str, content: bytes, fields: dict[str, str], status: int
) -> None:
    answer = send(desk, content, name=name, acte="importer", **fields)
    assert answer.status_code == status
    assert "<h1>" in answer.text
    assert "sesame-console-" not in answer.text
    assert enrolled(desk) == 0


def test_only_our_own_form_is_taken(desk: ConsoleDesk) -> None:
    with desk.browser("registrar") as browser:
        data, files = form(browser, acte="importer"), {"fichier": ("x.csv", file_of(line(1)))}
        post = browser.client.post
        path, ours = "/console/imports", {"Origin": desk.url}
        forged = post(path, data=data | {"jeton": "x"}, files=files, headers=ours)
        foreign = post(path, data=data, files=files, headers={"Origin": "https://elsewhere.example"})
        plain = post(path, data=data, headers=ours)
    assert [each.status_code for each in (forged, foreign, plain)] == [403, 403, 415]
    assert enrolled(desk) == 0


@pytest.mark.parametrize(("length", "status"), [(str(UPLOAD_BYTES_MAX + 1), 413), (None, 413)])
def test_what_is_too_large_or_does_not_say_how_large_is_not_read(
    desk: ConsoleDesk, length: str | None, status: int
) -> None:
    context = ssl.create_default_context(cafile=str(desk.portal.ca.ca_file))
    with closing(HTTPSConnection("localhost", desk.port, context=context, timeout=PATIENCE_S)) as line:
        line.putrequest("POST", "/console/imports")
        for name, value in {
            "Origin": desk.url,
            "Content-Type": "multipart/form-data; boundary=x",
            **({"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": length}),
        }.items():
            line.putheader(name, value)
        line.endheaders()
        assert line.getresponse().status == status
