"""What staff do at the console is done by the acts, under their own name, with a reason, and told to them."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

import pytest
from sqlalchemy import insert, update

from consumers.directory.objects import LOCK, EntryObject, shown
from consumers.kit.connector import Lockout, TargetObject, Wanted
from consumers.registry.erasure import erasures
from consumers.registry.lifecycle.closings import held_closings
from producers.registrar.feed import SEQUENCES_PER_IMPORT
from producers.registrar.import_runs import imports
from schemas.account import Account, Hold
from schemas.events import HoldPlaced
from sesame.acts.acts import Actor, Role
from sesame.operations.keeping import audit as operations_audit
from sesame.operations.privacy import acts as privacy
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.adoption.adoptions import QuestionRow
from sesame.operations.questions.adoption.questions import QuestionKind
from sesame.operations.questions.reconcile import passes
from sesame.operations.questions.reconcile.passes import Pass
from sesame.operations.questions.restored import questions as restored
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.console_scene import TARGETS, complete, given_up, tried_again, waits
from sesame.testing.servers.registry_kit import cancelled, enrolled


@pytest.fixture(scope="module")
def desk(module_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleDesk]:
    """One console for this file, on each kind of store; each test has students of its own."""
    more = {"lifecycle": {"release_by_two": True}}
    with ConsoleDesk(tmp_path_factory.mktemp("console"), store=module_store, more=more) as desk:
        yield desk


def test_a_student_is_found_by_number_login_address_and_name(desk: ConsoleDesk) -> None:
    number = desk.portal.active(birth_name="Zébulon", given_name="Aïcha")
    account = desk.portal.context.choices.situation(number)
    assert account is not None
    with desk.browser("support") as browser:
        for text in (number, account.login, f"{account.login.upper()}@etu.univ.example", f"  {number}  "):
            page = browser.get(f"/console/personnes?q={text}")
            assert page.url.path == f"/console/personnes/{number}", text
        desk.portal.active(birth_name="Zébulon", given_name="Aïcha", birth_date=date(2001, 2, 3))
        for name in ("Zébulon", "zébulon", "ZÉBULON", "bulon"):
            found = browser.get(f"/console/personnes?q={name} aïcha")
            assert f"/console/personnes/{number}" in found.text, name
            assert "2 personnes" in found.text
        assert "Personne ne correspond" in browser.get("/console/personnes?q=Zébulon Bernard").text
        begun = browser.get(f"/console/personnes?q={number[:6]}")
        assert number in begun.text


def test_a_look_at_a_student_is_noted_once_under_the_name_of_whoever_looked(desk: ConsoleDesk) -> None:
    number = desk.portal.active()
    with desk.browser("support", login="Odile.Martin") as browser:
        browser.get(f"/console/personnes/{number}")
    looks = [entry for entry in desk.audit("students.show") if entry.detail["student_number"] == number]
    assert [entry.actor for entry in looks] == ["odile.martin"]
    others = {"status.show", "diagnose", "students.search"}
    assert not [e for act in others for e in desk.audit(act) if e.detail.get("student_number") == number]


def test_nothing_that_was_typed_to_find_somebody_is_in_the_audit(desk: ConsoleDesk) -> None:
    number = desk.portal.active(birth_name="Secrète")
    with desk.browser("support") as browser:
        browser.get("/console/personnes?q=Secrète")
    (entry,) = [e for e in desk.audit("students.search") if number in str(e.detail)]
    assert entry.detail == {"count": 1, "student_numbers": [number]}


def test_the_page_tells_what_happened_where_and_why(desk: ConsoleDesk) -> None:
    number = desk.portal.active(birth_name="Durand", given_name="Léa")
    complete(desk, number, 3.4)
    given_up(desk, number, "moodle", "moodle_email_taken", "Email address already exists: x")
    with desk.browser("support") as browser:
        text = browser.get(f"/console/personnes/{number}").text
        assert "<h1>Léa Durand</h1>" in text
        assert "abandonné après 3 essais\u00a0: L’adresse électronique appartient" in text
        assert "Email address already exists" in text
        assert "compte activé" in text
        assert "écrit et relu\u00a0: version 99" in text
        assert "Provisionner maintenant" not in text, "support may not"
    with desk.browser("operator", **{"Accept-Language": "en"}) as browser:
        text = browser.get(f"/console/personnes/{number}").text
        assert "given up after 3 attempts: moodle_email_taken" in text
        assert "Provision now" in text
    with desk.browser("operator") as browser:
        assert browser.get("/console/personnes/22000000").status_code == 404


def test_the_timeline_has_the_import_that_brought_an_enrolment_and_the_one_that_took_it(
    desk: ConsoleDesk,
) -> None:
    number = desk.portal.active()
    with desk.portal.database.write() as connection:
        for import_id in (71, 72):
            row = {
                "id": import_id,
                "source": "apogee",
                "file_name": "f.csv",
                "started_at": desk.portal.clock.now,
            }
            connection.execute(insert(imports).values(**row, superseded=False, confirmed_through=0))
    desk.portal.apply(enrolled(number, 71 * SEQUENCES_PER_IMPORT + 4, step="M2CHIM"))
    with desk.browser("support") as browser:
        assert (
            "inscription en 2026 M2CHIM, par l’import 71" in browser.get(f"/console/personnes/{number}").text
        )
        desk.portal.apply(cancelled(number, 72 * SEQUENCES_PER_IMPORT + 9, step="M2CHIM"))
        text = browser.get(f"/console/personnes/{number}").text
        assert "annulation de l’inscription en 2026 M2CHIM, par l’import 72" in text


def test_students_are_listed_by_the_cause_of_their_waiting_retry_or_failure(desk: ConsoleDesk) -> None:
    waiting, retried, failed = (desk.portal.active() for _ in range(3))
    waits(desk, waiting, "moodle", "course_restore_running")
    tried_again(desk, retried, "mailbox", "mailbox_busy")
    given_up(desk, failed, "directory", "identity_collision")
    with desk.browser("support") as browser:
        for number, cause in ((retried, "mailbox_busy"), (failed, "identity_collision")):
            text = browser.get(f"/console/personnes?q=cause:{cause}").text
            assert number in text
            assert waiting not in text
        assert browser.get("/console/personnes?q=cause:nonsense").status_code == 409


def test_what_an_act_came_to_is_told_to_whoever_did_it_and_cannot_be_made_up(desk: ConsoleDesk) -> None:
    number = desk.portal.active()
    with desk.browser("support", login="odile") as browser, desk.browser("support", login="paul") as other:
        browser.get(f"/console/personnes/{number}")
        page = browser.send(f"/console/personnes/{number}/bloquer", motif="suspended", raison="vu")
        told = str(page.url).removeprefix(desk.url)
        assert 'class="notice"' in page.text
        assert 'class="notice"' not in other.get(told).text
        assert 'class="notice"' not in browser.get(f"/console/personnes/{number}?fait=Virement accepté").text


def test_a_target_is_probed_and_says_what_is_in_the_way(desk: ConsoleDesk) -> None:
    with desk.browser("operator", login="ada") as browser:
        browser.get("/console/cibles")
        assert "moodle.token" in browser.send("/console/cibles/sonder", cible="moodle").text
    (entry,) = desk.audit("target.probe")
    assert entry.actor == "ada"


def test_the_last_comparison_is_shown_object_by_object_to_whoever_may_see_students(desk: ConsoleDesk) -> None:
    number = desk.portal.active()
    left = {
        "missing": [f"2299{n:04d}" for n in range(60)],
        "different": [number],
        "extra": [],
        "orphaned": ["uid=x"],
    }
    found = Pass(
        target="moodle",
        ended_at=datetime.now(UTC),
        seconds=2.0,
        accounts=70,
        objects=12,
        unmanaged=0,
        unsettled=0,
        found={kind: len(names) for kind, names in left.items()},
        left=left,
        evidence={number: ("email", "lastname"), "uid=x": ("22990000",)},
    )
    with desk.portal.database.write() as connection:
        passes.keep(connection, desk.portal.database, found)
    with desk.browser("support") as browser:
        text = browser.get("/console/cibles/moodle").text
        assert "moodle.token" in text, "why its connector cannot be asked what is Sésame's there"
        assert text.count("serait créé par une réparation") == 50
        rest = browser.get(re.search(r'href="(/console/cibles/moodle\?apres=[^"]+)"', text)[1]).text  # type: ignore[index]
        assert rest.count("serait créé par une réparation") == 10
        assert "email, lastname" in rest
        assert "une question demande à qui il est" in rest
    with desk.browser("viewer") as browser:
        text = browser.get("/console/cibles/moodle").text
        assert "60 manquants" in text
        assert number not in text
    with desk.browser("viewer") as browser:
        assert browser.get("/console/cibles/nulle_part").status_code == 409


@dataclass
class Shelf:
    """A connector that shows what it is told, read only."""

    there: list[TargetObject]
    credential: str | None = None
    private: tuple[str, ...] = ()

    def read(self, accounts: Sequence[Account], _deadline: object) -> dict[str, list[TargetObject]]:
        return {each.student_number: self.there for each in accounts}

    def wanted(self, account: Account) -> Wanted:
        return Wanted({"username": (account.login,), "lastname": ("Durand",)})


@pytest.fixture
def shelf(desk: ConsoleDesk, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """Every target is one, while the test lasts."""
    made = Shelf([])
    monkeypatch.setitem(desk.application.__dict__, "connector", lambda _target: nullcontext(made))
    return made


def test_a_person_s_page_has_what_each_target_shows_beside_what_is_wanted(
    desk: ConsoleDesk, shelf: Shelf
) -> None:
    number = desk.portal.active()
    account = desk.portal.context.choices.situation(number)
    assert account is not None
    shelf.there = [
        TargetObject("17", number, {"username": (account.login,), "lastname": ("Dupond",)}, open=True)
    ]
    with desk.browser("support") as browser:
        assert "Là-bas maintenant" not in browser.get(f"/console/personnes/{number}").text
        text = browser.get(f"/console/personnes/{number}?direct=true").text
        rows = re.findall(
            r'<th scope="row"><code>(\w+)</code>( <span class="tag is-waiting">)?.*?<td.*?>(.*?)</td>', text
        )
        assert ("lastname", ' <span class="tag is-waiting">', "Dupond") in rows
        assert ("username", "", account.login) in rows


class Locked(Shelf):
    """A directory where wrong passwords have locked somebody."""

    since = "20260902080000Z"

    def look(self, account: Account) -> tuple[tuple[EntryObject, ...], None]:
        number = account.student_number.encode()
        raw = {"supannEtuId": [number], "mail": [account.mail.encode()], LOCK: [self.since.encode()]}
        return (shown("uid=x,ou=people", raw if self.there else raw | {LOCK: []}),), None

    def adopted_refs(self, _numbers: Sequence[str]) -> dict[str, str]:
        return {}

    def unlock(self, found: TargetObject, _deadline: object) -> None:
        assert found.lockout is not None
        assert (found.lockout.value, found.lockout.since) == (self.since, 1788336000.0)
        self.there = []


def test_a_locked_account_is_shown_and_unlocked_by_the_desk(
    desk: ConsoleDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, other = desk.portal.active(), desk.portal.active()
    locked = Locked([])
    monkeypatch.setitem(desk.application.__dict__, "connector", lambda _target, **_how: nullcontext(locked))
    monkeypatch.setitem(desk.application.__dict__, "directory", lambda: nullcontext(locked))
    page, path = f"/console/personnes/{number}?direct=true", f"/console/personnes/{number}/deverrouiller"
    lockout = Lockout(1788336000.0, locked.since)
    with desk.browser("support", login="odile") as browser:
        assert path not in browser.get(page).text
        locked.there = [TargetObject("uid=x", number, lockout=lockout)]
        text = browser.get(page).text
        assert path in text
        assert "par</dt><dd>le serveur, après des mots de passe erronés</dd>" in html.unescape(text)
        assert "depuis 02/09/2026 10:00" in text
        assert browser.send(path, raison=" ").status_code == 422
        assert locked.there != []
        browser.get(page)
        told = browser.send(path, raison="carte d'étudiant vue")
        assert re.search(
            "déverrouillé.; il l.était depuis 02/09/2026 10:00:00 CEST", html.unescape(told.text)
        )
        assert locked.there == []
        locked.there = [TargetObject("uid=y", other, lockout=lockout)]
        browser.get(f"/console/personnes/{other}?direct=true")
        desk.portal.apply(HoldPlaced(student_number=other, hold=Hold.SUSPENDED))
        refused = browser.send(f"/console/personnes/{other}/deverrouiller", raison="insiste")
        assert refused.status_code == 409
        assert re.search("est bloqué.: suspension", refused.text)
        assert locked.there != []
    (entry,) = desk.audit("unlock")
    assert (entry.actor, entry.reason) == ("odile", "carte d'étudiant vue")
    assert entry.detail["targets"] == ["directory"]


def test_an_object_is_said_to_be_the_student_s_or_somebody_else_s_once(
    desk: ConsoleDesk, shelf: Shelf
) -> None:
    number = desk.portal.active(birth_name="Durand", given_name="Zoé")
    shelf.there = [TargetObject("17", "", {"lastname": ("Durand",)})]
    asked = [
        QuestionRow("moodle", "17", number, QuestionKind.IDNUMBER_EMPTY),
        QuestionRow("moodle", "18", number, QuestionKind.MAIL_SHARED),
    ]
    with desk.portal.database.write() as connection:
        adoptions.ask(connection, desk.portal.database, asked, desk.portal.clock.now)
    path = f"/console/questions/objets/{asked[0].id}"
    with desk.browser("operator", login="ada") as browser:
        assert path in browser.get("/console/questions").text
        page = browser.get(path).text
        assert "Zoé" in page
        assert "<code>17</code>" in page
        assert browser.send(f"{path}/trancher", reponse="gone", raison="x").status_code == 422
        browser.get(path)
        told = browser.send(f"{path}/trancher", reponse="linked", raison="vu sur place")
        assert "prochaine adoption en tient compte" in told.text
        assert path not in told.text
        assert "celui de l" in browser.get(path).text
        other = browser.get(f"/console/questions/objets/{asked[1].id}").text
        assert "trancher" not in other, "no answer would mend it"
    with desk.browser("registrar") as browser:
        assert asked[1].id not in browser.get("/console/questions").text
    (entry,) = [each for each in desk.audit("adopt.linked") if each.detail["question"] == asked[0].id]
    assert (entry.actor, entry.reason) == ("ada", "vu sur place")


def test_one_shut_since_a_restore_is_kept_shut_from_the_inbox(desk: ConsoleDesk) -> None:
    number = desk.portal.active()
    with desk.portal.database.write() as connection:
        restored.ask(connection, desk.portal.database, number, ["moodle"], desk.portal.clock.now)
    path = f"/console/questions/fermes/{number}"
    with desk.browser("registrar") as browser:
        assert path in browser.get("/console/questions").text
        assert "trancher" not in browser.get(path).text
    with desk.browser("operator", login="ada") as browser:
        browser.get(path)
        told = browser.send(f"{path}/trancher", reponse="kept", raison="exclusion prononcée")
        assert "gardé fermé" in told.text
        assert path not in told.text
        assert browser.get(path).status_code == 409
        assert browser.get(f"/console/questions/ailleurs/{number}").status_code == 404
    (entry,) = desk.audit("restored.kept")
    assert (entry.actor, entry.reason) == ("ada", "exclusion prononcée")


@pytest.mark.parametrize("answer", ["une", "deux"])
def test_a_doubt_says_what_lacks_where_and_what_each_answer_does_and_goes_when_answered(
    desk: ConsoleDesk, answer: str
) -> None:
    names = {"birth_name": "Zadig", "given_name": f"Nina{answer}", "ine": None}
    first = desk.portal.active(**names, mail="nina@courriel.example")
    second = desk.portal.student(**names)
    other = [desk.portal.student(**{**names, "birth_name": "Zoé"}) for _ in range(2)][1]
    path = f"/console/questions/personnes/{second}"
    with desk.browser("registrar", login="rosa") as browser:
        listed = browser.get("/console/questions").text
        assert f"personnes/{second}" in listed
        assert f"personnes/{other}" in listed
        page = html.unescape(browser.get(path).text)
        headers = re.findall(r'<th scope="col">([^<]+)</th>', page)
        assert headers == ["Donnée", "Dossier existant", "Nouveau dossier"]
        rows = dict(re.findall(r'<th scope="row">(\w+)[^\n]*?</th>(<td.*?)</tr>', page))
        assert [">manque<" in each for each in rows["Login"].split("</td>")[:2]] == [False, True]
        assert "manque" not in rows["INE"], "neither has one"
        assert "Les deux dossiers n'en font plus qu'un" in page
        assert "Chacun garde son dossier" in page
        browser.send(f"{path}/trancher", reponse=answer, raison="vu au guichet", autre=first)
        listed = browser.get("/console/questions").text
        assert f"personnes/{second}" not in listed
        assert f"personnes/{other}" in listed


def test_two_numbers_that_nobody_doubted_are_compared_and_merged(desk: ConsoleDesk) -> None:
    first = desk.portal.active(birth_name="Zweig", given_name="Nina")
    second = desk.portal.student(birth_name="Zweig-Roth", given_name="Nina")
    path = f"/console/personnes/{first}/fusion"
    with desk.browser("operator", login="ada") as browser:
        assert browser.get(f"{path}?autre=nobody").status_code == 404
        assert browser.get(f"{path}?autre={first}").status_code == 404
        page = browser.get(f"{path}?autre={second}").text
        assert "Zweig-Roth" in page
        told = browser.send(
            f"/console/questions/personnes/{first}/trancher", raison="mariée en mars", garder=first
        )
        assert f"continue sous {first}" in told.text or first in told.text
    (entry,) = [e for e in desk.audit("identity.merge") if second in str(e.detail)]
    assert (entry.actor, entry.reason) == ("ada", "mariée en mars")


def test_a_person_is_erased_in_two_steps_by_who_administers_and_the_receipt_is_handed_out(
    desk: ConsoleDesk,
) -> None:
    number = desk.portal.active(birth_name="Oubliée")
    path = f"/console/personnes/{number}/effacement"
    privacy.init(desk.application, Actor("root", frozenset({Role.ADMINISTRATOR})))
    with desk.browser("operator") as browser:
        assert "/effacement" not in browser.get(f"/console/personnes/{number}").text
    with desk.browser("administrator", login="rssi") as browser:
        assert path in browser.get(f"/console/personnes/{number}").text
        assert "Oubliée" in browser.get(path).text
        assert browser.send(path, numero="22999999", raison="demande").status_code == 422
        browser.get(path)
        assert browser.send(path, numero=number, raison="demande").status_code == 409, "still enrolled"
        desk.portal.apply(cancelled(number, 10**12))
        browser.get(path)
        page = browser.send(path, numero=number, raison="demande du 3 mars")
        where = page.url.path
        assert where.startswith("/console/effacements/")
        assert "directory" in page.text, "what it waits for"
        assert browser.get(f"{where}/recu").status_code == 409, "there is none yet"
        given = '{"receipt": {}}\n'
        with desk.portal.database.write() as connection:
            connection.execute(update(erasures.erasures).values(state="done", receipt=given, ended_at=1.0))
        assert f"{where}/recu" in browser.get(where).text
        answer = browser.get(f"{where}/recu")
        assert (answer.text, answer.headers["Content-Type"]) == (given, "application/json")
        assert f"{where}/recu" in browser.get("/console/effacements").text
    (entry,) = desk.audit("privacy.erase")
    assert entry.actor == "rssi"


def test_a_plan_is_released_by_two_operators_and_one_login_in_two_spellings_is_one(
    desk: ConsoleDesk,
) -> None:
    number = desk.portal.active()
    row = {"student_number": number, "closing": "expire", "held_at": desk.portal.clock.now, "released": False}
    with desk.portal.database.write() as connection:
        connection.execute(insert(held_closings).values(**row))
    with desk.browser("operator", login="Ada") as browser:
        assert number in browser.get("/console/plans").text
        assert "une seconde personne" in browser.send("/console/plans/liberer").text
    with desk.browser("operator", login="aDA") as browser:
        browser.get("/console/plans")
        assert "une seconde personne" in browser.send("/console/plans/liberer").text
        assert number in browser.get("/console/plans").text
    with desk.browser("operator", login="grace") as browser:
        browser.get("/console/plans")
        assert "Libéré" in browser.send("/console/plans/liberer").text
        assert number not in browser.get("/console/plans").text


def test_who_waits_is_a_file_that_excel_opens_and_takes_for_no_formula(desk: ConsoleDesk) -> None:
    number = desk.portal.active()
    waits(desk, number, "moodle", "pedagogical_enrolment_pending")
    with desk.browser("support", login="odile") as browser:
        assert number in browser.get("/console/attente?cause=pedagogical_enrolment_pending").text
        answer = browser.get("/console/attente.csv?cause=pedagogical_enrolment_pending")
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        lines = answer.content.decode("utf-8-sig").splitlines()
        assert lines[0] == "student_number;login;mail;directory;mailbox;moodle"
        (mine,) = [line for line in lines if line.startswith(number)]
        assert mine.split(";")[3:] == ["", "", "pedagogical_enrolment_pending"]
    (look, *_others) = [e for e in desk.audit("students.list") if number in str(e.detail)]
    assert look.actor == "odile"


def test_who_waits_is_shown_by_cohort_apart_by_who_must_act(desk: ConsoleDesk) -> None:
    steps = ("M1ATT", "M1ATT", "M2ATT", "M3ATT")
    one, other, failed, elsewhere = (desk.portal.active(step=step) for step in steps)
    waits(desk, elsewhere, "moodle", "pedagogical_enrolment_pending")
    waits(desk, one, "moodle", "pedagogical_enrolment_pending")
    waits(desk, other, "mailbox", "mailbox_not_enabled")
    waits(desk, other, "moodle", "pedagogical_enrolment_pending")
    given_up(desk, failed, "moodle", "moodle_email_taken")
    with desk.browser("support") as browser:
        text = browser.get("/console/attente/cohortes").text
        row = re.search(r"M1ATT-2026</a></th>(.*?)</tr>", text, re.DOTALL)
        assert row is not None
        counted = re.findall(r'<span class="n">(\d+)</span> <a [^>]+cause=(\w+)"', row[1])
        assert sorted(counted) == [("1", "mailbox_not_enabled"), ("2", "pedagogical_enrolment_pending")]
        columns = re.findall(r'<th scope="col">À agir\u00a0: ([^<,]+)', text)
        order = ["l&#39;équipe informatique", "la scolarité", "la composante", "personne"]
        assert columns == [who for who in order if who in columns], "apart by who must act, in their order"
        assert len(columns) > 1
        assert '<td class="n">2</td>' in row[1], "students, not waits"
        assert "M2ATT" not in text
        listed = browser.get("/console/attente?cohorte=M1ATT-2026&cause=mailbox_not_enabled").text
        assert (other in listed, one in listed) == (True, False)
        lines = (
            browser.get("/console/attente.csv?cohorte=M1ATT-2026").content.decode("utf-8-sig").splitlines()
        )
        assert sorted(line.split(";")[0] for line in lines[1:]) == sorted([one, other])
        assert browser.get("/console/attente?cohorte=nothing").status_code == 409


def test_the_audit_is_filtered_by_who_and_what(desk: ConsoleDesk) -> None:
    one, other = desk.portal.active(), desk.portal.active()
    with desk.browser("support", login="theo") as browser:
        browser.get(f"/console/personnes/{one}")
        browser.get(f"/console/personnes/{other}")
    with desk.browser("operator") as browser:
        text = browser.get(f"/console/journal?actor=theo&action=students.show&student={one}").text
        assert one in text
        assert other not in text
        assert "theo" in text
        assert "Rien." in browser.get("/console/journal?actor=nobody").text


def test_the_audit_is_a_file_of_all_that_was_filtered_and_the_export_is_in_it(
    desk: ConsoleDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations_audit, "_EXPORT_PAGE", 3)  # several pages of few
    numbers = [desk.portal.active() for _ in range(5)]
    with desk.browser("support", login="flora") as browser:
        for number in numbers:
            browser.get(f"/console/personnes/{number}")
        assert browser.get("/console/journal.csv").status_code == 403
    today = desk.portal.desk_time().date().isoformat()
    with desk.browser("operator", login="ada") as browser:
        shown = browser.get(f"/console/journal?actor=flora&du={today}&au={today}&action=").text
        assert "/console/journal.csv?actor=flora&amp;du=" in shown
        assert "Rien." in browser.get("/console/journal?actor=flora&au=2020-01-01").text
        assert browser.get("/console/journal?du=hier").status_code == 422
        answer = browser.get("/console/journal.jsonl?actor=flora&action=students.show")
        entries = [json.loads(line) for line in answer.text.splitlines()]
        assert [each["detail"]["student_number"] for each in entries] == numbers[::-1]
        table = browser.get(f"/console/journal.csv?student={numbers[0]}").content.decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(table), delimiter=";"))
        assert rows[0] == ["id", "at", "actor", "action", "detail", "reason", "hash"]
        assert [row[3] for row in rows[1:]][:2] == ["audit.export", "students.show"]
        assert (rows[1][2], rows[2][2]) == ("ada", "flora")
    first, second = desk.audit("audit.export")[:2]
    assert {first.detail["format"], second.detail["format"]} == {"csv", "jsonl"}
    assert {"by": "flora", "act": "students.show", "format": "jsonl"} in (first.detail, second.detail)


# --- tables ----------------------------------------------------------------------------------------

FOR_TARGETS: Final = {f"cible-{target}" for target in TARGETS}
TABLES: Final = {
    "/console/relances": {"relance", "cible", "par", "debut", "etudiants", "demandes", "reussis", "echecs"},
    "/console/imports": {"fichier", "debut", "par", "etat"},
    "/console/personnes?q=Tableau": {"numero", "nom", "naissance", "login", "adresse", "compte"},
    "/console/personnes?q=cause:moodle_email_taken": {"numero", "login", "etat", *FOR_TARGETS},
    "/console/attente?cause=course_restore_running": {"numero", "login", *FOR_TARGETS},
    "/console/attente/cohortes": {"cohorte", "etudiants"},
    "/console/journal": {"quand", "acte", "motif"},
    "/console/echecs/moodle/moodle_email_taken": {"etudiant", "nom", "depuis", "essais", "message"},
}
"""The columns that sort each list."""


def table_of(page: str) -> list[list[str]]:
    """The cells of a page's rows, as a reader sees them."""
    rows = re.findall(r"<tr>(.*?)</tr>", page[page.index("<tbody>") : page.index("</tbody>")], re.DOTALL)
    cells = [re.findall(r"<t[dh]\b[^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in cells]


def test_every_list_sorts_by_each_column_by_a_link_and_says_so(desk: ConsoleDesk) -> None:
    for name in ("Éa", "eb"):
        given_up(desk, desk.portal.active(birth_name=f"Tableau {name}"), "moodle", "moodle_email_taken")
        waits(desk, desk.portal.active(), "moodle", "course_restore_running")
    with desk.browser("operator", "registrar") as browser:
        for view, columns in TABLES.items():
            page = browser.get(view).text
            links = dict(re.findall(r'<th scope="col"[^>]*><a href="([^"]*[?&;]tri=([a-z-]+))"', page))
            assert set(links.values()) == columns, view
            assert "aria-sort" not in page
            for link, name in links.items():
                up = browser.get(html.unescape(link)).text
                assert up.count('aria-sort="ascending"') == 1, link
                [again] = re.findall(rf'aria-sort="ascending"><a href="([^"]*tri=-{name})"', up)
                assert browser.get(html.unescape(again)).text.count('aria-sort="descending"') == 1


def test_a_sorted_list_ignores_accents_and_puts_what_is_missing_last(desk: ConsoleDesk) -> None:
    path = "/console/echecs/moodle/moodle_sorted"
    for name in ("Zoé", "Éric", "adam"):
        given_up(desk, desk.portal.active(birth_name=name, given_name="X"), "moodle", "moodle_sorted")
    given_up(desk, "22999998", "moodle", "moodle_sorted")  # nobody whom the registry knows
    with desk.browser("support") as browser:
        names = [[row[1] for row in table_of(browser.get(f"{path}?tri={by}").text)] for by in ("nom", "-nom")]
        plain = table_of(browser.get(path).text)
        assert table_of(browser.get(f"{path}?tri=none").text) == plain
    assert names == [["X adam", "X Éric", "X Zoé", "–"], ["X Zoé", "X Éric", "X adam", "–"]]


def test_a_table_as_csv_has_the_rows_of_its_page_and_no_formula_and_is_audited(desk: ConsoleDesk) -> None:
    path = "/console/echecs/moodle/moodle_exported"
    planted = ("=1+1", "+33 1", "-2", "@SUM(A1)")
    numbers = [desk.portal.active(birth_name="Éponyme") for _ in planted]
    for number, message in zip(numbers, planted, strict=True):
        given_up(desk, number, "moodle", "moodle_exported", message)
    with desk.browser("support", login="odile") as browser:
        shown = table_of(browser.get(f"{path}?tri=-etudiant").text)
        [link] = re.findall(r'href="([^"]*csv=oui)"', browser.page.text)
        before = len(desk.audit("dead_letters.page"))
        answer = browser.get(html.unescape(link))
        assert len(desk.audit("dead_letters.page")) == before + 1
        assert desk.audit("dead_letters.page")[0].actor == "odile"
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="moodle_exported.csv"'
    assert answer.content.startswith(b"\xef\xbb\xbf")
    head, *rows = csv.reader(answer.content.decode("utf-8-sig").splitlines(), delimiter=";")
    assert head == ["Étudiant", "Nom", "Depuis", "Essais", "Message exact"]
    assert [row[0] for row in rows] == [row[0] for row in shown] == sorted(numbers, reverse=True)
    assert [row[4] for row in rows] == [f"'{message}" for message in reversed(planted)]
    assert all("Éponyme" in row[1] for row in rows)
    assert all(re.match(r"\d\d/\d\d/\d{4} ", row[2]) for row in rows), "a file has the day of its times"
    with desk.browser("viewer") as browser:
        assert browser.get(f"{path}?csv=oui").status_code == 403
