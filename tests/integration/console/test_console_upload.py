"""The registrar's file, sent by the browser: looked at, imported, held and approved, refused."""

from __future__ import annotations

import html
import itertools
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, Final

import openpyxl
import pytest
from playwright.sync_api import Browser as Chromium
from sqlalchemy import update

from producers.registrar.import_runs import imports
from producers.registrar.report import ImportDetail, ImportKind
from sandbox.process import PATIENCE_S, wait_until
from schemas.envelope import from_record
from sesame.operations.imports.acts import import_sent
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.portal_browser import violations
from sesame.testing.servers.portal_reader import Browser
from sesame.web.console import kept_files, upload
from sesame.web.console.kept_files import KeptFiles
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
    """Send a file, which is previewed; with `acte="importer"` import it from there."""
    act = fields.pop("acte")
    with desk.browser(role) as browser:
        looked = start(desk, browser, content, name=name, **fields)
        if act == "voir" or looked.status_code != 200 or "/suite" not in looked.text:
            return looked
        return step(desk, browser, looked, acte=act)


def start(
    desk: ConsoleDesk, browser: Browser, content: bytes, name: str = "inscrits.csv", **fields: str
) -> Any:
    """The first step: send a file."""
    data, files = form(browser, **fields), {"fichier": (name, content)}
    return browser.client.post("/console/imports", data=data, files=files, headers={"Origin": desk.url})


def step(desk: ConsoleDesk, browser: Browser, page: Any, **fields: str) -> Any:
    """The next one, by the form of this page."""
    ours = {"Origin": desk.url}
    return browser.client.post("/console/imports/suite", data=kept(page, **fields), headers=ours)


def kept(page: Any, **fields: str) -> dict[str, str]:
    """The hidden fields of a step's form, and these."""
    begun = page.text[page.text.index('action="/console/imports/suite"') :]
    return dict(re.findall(r'name="(jeton|garde)" value="([^"]+)"', begun)[:2]) | fields


def enrolled(desk: ConsoleDesk) -> int:
    """How many enrolments the log has got."""
    with closing(desk.application.log.consumer("test", ("sesame.enrolments",), member="test")) as consumer:
        return len(consumer.poll(5_000, 0.5))


def sent_events(desk: ConsoleDesk) -> list[Any]:
    """What the log has got, for the registry."""
    with closing(desk.application.log.consumer("x", ("sesame.enrolments",), member="x")) as consumer:
        return [from_record(each.key, each.headers, each.value).event for each in consumer.poll(5_000, 0.5)]


def told(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text).replace("\u00a0", " ").replace("\u202f", " ")


def test_a_look_says_what_would_change_and_whom_it_rejects_and_changes_nothing(desk: ConsoleDesk) -> None:
    page = told(send(desk, file_of(line(1), line(2, born="31/02/2008")), acte="voir"))
    assert "rien n’a été publié" in page
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


def test_a_loss_is_approved_by_its_number_and_a_reason_and_imported_without_the_file_again(
    desk: ConsoleDesk,
) -> None:
    told(send(desk, file_of(*map(line, range(20))), acte="importer"))
    before = enrolled(desk)
    for event in sent_events(desk):
        desk.portal.apply(event)
    with desk.browser("registrar", login="rosa") as browser:
        looked = start(desk, browser, file_of(line(0)), annee="2026")
        page = told(looked)
        assert "Il serait bloqué, à approuver" in page
        assert "19 personnes perdraient une inscription" in page
        assert "19 personnes concernées sur 20, soit 95 %" in page
        assert "ferme après le" in page
        assert 'class="danger"' in page
        assert '<a href="/console/personnes/22900007">Camille Lefebvreha</a>' in page
        (look,) = desk.audit("import.explain")
        assert (look.actor, look.detail) == ("rosa", {**look.detail, "file": "inscrits.csv", "count": 19})
        for typed, reason, expected in (
            ("20", "réforme", "n’est pas celui des personnes"),
            ("", "réforme", "n’est pas celui des personnes"),
            ("19", "  ", "Dites en quelques mots"),
        ):
            wrong = told(step(desk, browser, looked, acte="importer", nombre=typed, raison=reason))
            assert expected in wrong
            assert f'autocomplete="off" value="{reason.strip()}"' in wrong
            assert enrolled(desk) == before == 20
        done = step(desk, browser, looked, acte="importer", nombre="19", raison="réforme")
        assert "Importé" in told(done)
    assert enrolled(desk) == before + 19
    entry = next(each for each in desk.audit("import") if each.action == "import")
    assert (entry.actor, entry.reason) == ("rosa", "réforme")
    assert [each.actor for each in desk.audit("import.approve")] == ["rosa"]


def test_a_file_says_what_differs_from_the_one_before_it(desk: ConsoleDesk) -> None:
    looked = told(send(desk, file_of(*map(line, range(20))), acte="voir"))
    assert "Ce qui changerait pour 2026-2027" in looked
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
    looks: bool = False  # it holds previews too
    import_: Callable[..., Any] = import_sent

    def __call__(self, *given: Any, **named: Any) -> Any:
        if given[2].dry_run and not self.looks:
            return self.import_(*given, **named)
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
        path, ours = "/console/imports", {"Origin": desk.url}
        sent: dict[str, Any] = {"data": form(browser), "files": {"fichier": ("inscrits.csv", content)}}
        if act == "importer":
            looked = browser.client.post(path, headers=ours, **sent)
            path, sent = f"{path}/suite", {"data": kept(looked, acte=act)}
        with browser.client.stream("POST", path, headers=ours, **sent) as answer:
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
        page.click("text=Continuer")
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
        assert "il s’arrête à sa prochaine étape" in html.unescape(answer.text)
        gate.opened.set()
        rest = "".join(lines)
    assert "n’est pas allé à son terme" in rest
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

    gate.import_, gate.looks = look, True
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

    gate.looks = True
    if unforeseen:
        gate.import_ = fail
    with sending(desk, b"\n", "voir") as lines:
        assert any("50 %" in each for each in lines)
        gate.opened.set()
        rest = "".join(lines)
    assert "n’est pas allé à son terme" in rest
    assert ("Erreur imprévue" in rest) is unforeseen
    assert "Lefebvre" not in rest
    assert "sesame-console-" not in rest
    assert rest.endswith("</html>")


@pytest.mark.parametrize(
    ("name", "content", "fields", "status"),
    [
        ("x.csv", b"", {}, 409),
        ("x.csv", b"\x00\x01\x02", {}, 409),
        ("../../../etc/x.csv", b"\n", {}, 409),
        ("photo.xlsx", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00", {}, 409),
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
    page = html.unescape(answer.text)
    assert '<nav aria-label="Console">' in page, "the menu is kept"
    assert 'enctype="multipart/form-data"' in page, "the form is kept"
    assert '<p class="notice bad" role="alert">' in page
    assert not re.search(r"\b(the|file|Choose)\b", re.sub(r"<[^>]*>", "", page)), "it is French"
    assert not list((desk.settings.data_dir / "kept-files").glob("*")), "a refused file is deleted"
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


def test_three_clicks_lead_from_the_file_to_the_accounts_that_are_ready(
    desk: ConsoleDesk, browser: Chromium, tmp_path: Path
) -> None:
    file = tmp_path / "inscrits.csv"
    file.write_bytes(file_of(*map(line, range(3))))
    with browser.new_context(ignore_https_errors=True, locale="fr-FR") as context:
        context.add_cookies([desk.cookie("registrar")])  # type: ignore[list-item]
        page = context.new_page()
        page.goto(f"{desk.url}/console/imports")
        faults = violations(page)
        page.set_input_files("#fichier", file)  # the first
        page.click("text=Continuer")
        faults += violations(page)
        page.click("text=Importer ces 3 inscriptions")
        page.wait_for_selector("text=3 en cours")
        events = sent_events(desk)
        assert len(events) == 3
        for event in events[:2]:
            desk.portal.apply(event)
        page.wait_for_selector("text=2 comptes prêts à être activés")
        assert "1 en cours" in page.locator("#etat").inner_text()
        assert faults + violations(page) == []
        with desk.browser("registrar") as reader:
            assert "2 comptes prêts à être activés" in told(reader.get("/console/imports/1"))
            desk.portal.apply(events[2])
            shown = told(reader.get("/console/imports/1"))
        assert "3 comptes prêts à être activés" in shown
        assert "data-flux" not in shown


def workbook(path: Path, **sheets: Sequence[str]) -> bytes:
    """A workbook with these sheets, by another program; lines as in a CSV."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, lines in sheets.items():
        sheet = book.create_sheet(name)
        for each in lines:
            sheet.append(each.split(";"))
    book.save(path)
    return path.read_bytes()


def test_a_workbook_of_two_sheets_with_other_columns_is_imported_step_by_step(
    desk: ConsoleDesk, tmp_path: Path
) -> None:
    desk.portal.student(birth_name="Leroy", given_name="Camille", birth_date="2008-02-03")
    header = (
        HEADER.replace("COD_ETU", "N° étudiant").replace("LIB_NOM_PAT_IND", "Nom").replace("COD_CMP;", "")
    )
    lines = [each.replace(";SCI;", ";").replace("Lefebvreba", "Leroy") for each in map(line, (0, 1, 2))]
    content = workbook(tmp_path / "x.xlsx", Lisez=["à l'attention de tous"], Inscrits=[header, *lines])
    with desk.browser("registrar", login="rosa") as browser:
        page = start(desk, browser, content, name="inscrits.xlsx")
        assert re.findall(r'name="feuille" value="(\w+)"', told(page)) == ["Lisez", "Inscrits"]
        assert "--sheet" not in told(page)
        page = step(desk, browser, page, acte="voir", feuille="Inscrits")
        rows = re.findall(r'<label for="champ-(\w+)">.*?</th><td>([^<]+)</td>(.*?)</tr>', told(page))
        found = {name: re.findall(r'value="c:([^"]+)" selected', row) for name, _, row in rows}
        assert {name: expected for name, expected, _ in rows}["birth_name"] == "LIB_NOM_PAT_IND"
        expected = {"year": ["COD_ANU"], "student_number": ["N° étudiant"], "birth_name": ["Nom"]}
        assert expected.items() <= found.items()
        fields = {f"champ-{name}": f"c:{columns[0]}" for name, columns in found.items() if columns}
        fields["champ-component"] = ""
        wrong = step(desk, browser, page, acte="colonnes", nom="ufr_sciences", **fields)
        assert (wrong.status_code, "fields.component" in html.unescape(wrong.text)) == (422, True)
        assert 'value="c:Nom" selected' in wrong.text, "what was chosen is kept"
        fields["fixe-component"] = "SCI"
        assert step(desk, browser, page, acte="colonnes", nom="Où ?", **fields).status_code == 422
        page = step(desk, browser, page, acte="colonnes", nom="ufr_sciences", **fields)
        assert "Importer ces 3 inscriptions" in told(page)
        new = re.findall(
            r'<tr><th scope="row">(229\d+)</th><td>(\w+)</td><td>(\w+)</td>.*?<td>(.*?)</td></tr>', told(page)
        )
        assert [row[:3] for row in new] == [
            ("22900000", "Lefebvreaa", "Camille"),
            ("22900001", "Leroy", "Camille"),
            ("22900002", "Lefebvreca", "Camille"),
        ]
        assert ["personnes/" in row[3] for row in new] == [False, True, False], "the likely twin"
        assert enrolled(desk) == 0
        assert "Importé" in told(step(desk, browser, page, acte="importer"))
        assert enrolled(desk) == 3
        (entry,) = desk.audit("import.mapping")
        assert (entry.actor, entry.detail["name"]) == ("rosa", "ufr_sciences")
        again = start(desk, browser, content, name="inscrits.xlsx", profil="ufr_sciences")
        again = step(desk, browser, again, acte="voir", feuille="Inscrits")
        assert "Il n’y a rien à importer" in told(again), "the mapping was saved"
        other = start(desk, browser, file_of(line(5)), profil="ufr_sciences")
        assert "Quelles colonnes ?" in told(other), "a mapping that was saved for another file"
        model = browser.get("/console/imports/modeles/inscriptions.csv")
        assert model.content.decode("utf-8-sig").strip().split(";")[0] == "COD_ETU"


def test_a_file_is_kept_sealed_for_its_sender_for_fifteen_minutes_and_for_one_import(
    desk: ConsoleDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, files = desk.settings.data_dir / "kept-files", desk.context.kept
    now = 1_000.0
    monkeypatch.setattr(files, "_monotonic", lambda: now)
    with desk.browser("registrar", login="rosa") as rosa, desk.browser("registrar", login="remi") as remi:
        first, second = (start(desk, rosa, file_of(line(n))) for n in (1, 2))
        sealed = [path.read_bytes() for path in folder.iterdir()]
        assert len(sealed) == 2
        assert not any(b"Lefebvre" in each or b"COD_ETU" in each for each in sealed)
        assert [path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())] == [0, 0, 0]
        token = form(remi)["jeton"]
        foreign = step(desk, remi, first, acte="importer", jeton=token)
        assert (foreign.status_code, "n’est plus gardé" in html.unescape(foreign.text)) == (409, True)
        now += 899.0
        assert "Importé" in told(step(desk, rosa, first, acte="importer"))
        assert len(list(folder.iterdir())) == 1
        now += 2.0
        late = step(desk, rosa, second, acte="importer")
        assert (late.status_code, "n’est plus gardé" in html.unescape(late.text)) == (409, True)
        assert 'enctype="multipart/form-data"' in late.text
        assert list(folder.iterdir()) == []
        third = start(desk, rosa, file_of(line(3)))
        aside = told(step(desk, rosa, third, acte="ecarter"))
        assert "nscrits.csv est écarté, et supprimé" in aside
        assert list(folder.iterdir()) == []
        assert enrolled(desk) == 1
        monkeypatch.setattr(kept_files, "KEPT_BYTES_MAX", 2 * len(file_of(line(4))))
        sent = [start(desk, browser, file_of(line(n))) for browser, n in ((rosa, 4), (remi, 5), (rosa, 6))]
        assert [each.status_code for each in sent] == [200, 200, 409]
        assert "Trop de fichiers attendent" in html.unescape(sent[2].text)
        assert len(list(folder.iterdir())) == 2
    KeptFiles(folder, desk.context.keys)
    assert not folder.exists(), "a start forgets all"
