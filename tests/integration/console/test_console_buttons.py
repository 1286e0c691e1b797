"""Which buttons each role is shown on each view of the console: written here apart from the code."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from pipeline import pauses, quarantine
from producers.registrar.import_runs import SqlImports
from producers.registrar.profiles import SENT
from producers.registrar.report import ImportDetail, ImportEnd, ImportKind
from schemas.account import Hold
from schemas.events import HoldPlaced
from sesame.acts.acts import Role
from sesame.operations.questions.restored import questions as restored
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.console_scene import given_up, morning

EVERYBODY = frozenset(Role)
DESK = frozenset({Role.SUPPORT, Role.OPERATOR, Role.ADMINISTRATOR})
OFFICE = frozenset({Role.REGISTRAR, Role.OPERATOR, Role.ADMINISTRATOR})
OPERATORS = frozenset({Role.OPERATOR, Role.ADMINISTRATOR})
ADMINISTRATORS = frozenset({Role.ADMINISTRATOR})

BUTTONS: Final = {
    "/": {},
    "/personnes": {},
    "/personnes/{waiting}": {"bloquer": DESK, "lettre": DESK, "ouvrir": OPERATORS, "relancer": OPERATORS},
    "/personnes/{complete}/lettre": {},
    "/personnes/{held}": {
        "bloquer": DESK,
        "debloquer": OPERATORS,
        "ouvrir": OPERATORS,
        "relancer": OPERATORS,
    },
    "/personnes/{failed}/effacement": {"effacement": ADMINISTRATORS},
    "/echecs": {},
    "/echecs/moodle/moodle_email_taken": {"essai": OPERATORS},
    "/echecs/webhooks_crm/webhook_refused": {"classer": OPERATORS},
    "/relances": {},
    "/attente": {},
    "/attente/cohortes": {},
    "/cibles": {
        "pause": OPERATORS,
        "reprendre": OPERATORS,
        "sonder": OPERATORS,
        "lever": OPERATORS,
        "essayer": OPERATORS,
    },
    "/cibles/moodle": {},
    "/plans": {},
    "/journal": {},
    "/questions": {},
    "/questions/personnes/{doubt}": {"trancher": OFFICE},
    "/questions/objets/{question}": {"trancher": OPERATORS},
    "/questions/fermes/{held}": {"trancher": OPERATORS},
    "/imports": {"imports": OFFICE},
    "/imports/{import}": {"approuver": OPERATORS},
    "/effacements": {},
    "/revue": {"ouvrir": OPERATORS},
    "/invites": {"invites": DESK},
    "/listes": {"listes": OFFICE, "carte": OPERATORS},
    "/preuves": {"preuves": OPERATORS},
}
"""By view, the last word of each form's address, and who is shown it."""

NAVIGATION: Final = {
    "/attente": DESK,
    "/cibles": EVERYBODY,
    "/echecs": DESK,
    "/imports": OFFICE,
    "/journal": OPERATORS,
    "/invites": DESK,
    "/listes": OFFICE,
    "/personnes": DESK,
    "/plans": OPERATORS,
    "/preuves": OPERATORS,
    "/questions": OFFICE,
    "/relances": EVERYBODY,
    "/revue": OFFICE,
}


PRESSED: Final = {
    ("/personnes/{waiting}", "bloquer"): (
        "hold.place",
        "Demandé ; chaque cible suit",
        {"motif": "suspended"},
    ),
    ("/personnes/{held}", "debloquer"): ("hold.lift", "Demandé ; chaque cible", {"motif": "suspended"}),
    ("/personnes/{failed}", "relancer"): ("replay", "Moodle : demandé, relance", {"cible": "moodle"}),
    ("/echecs/webhooks_crm/webhook_refused", "classer"): ("dead_letters.dismiss", "", {}),
    ("/cibles", "pause"): ("target.pause", "Moodle : en pause d", {"cible": "moodle"}),
    ("/cibles", "reprendre"): ("target.resume", " reprend", {"cible": "directory"}),
    ("/cibles", "lever"): ("quarantine.lift", " reprend", {}),
    ("/questions/personnes/{doubt}", "trancher"): (
        "identity.separate",
        "deux personnes",
        {"reponse": "deux"},
    ),
    ("/questions/objets/{question}", "trancher"): (
        "adopt.linked",
        "prochaine adoption en tient compte",
        {"reponse": "linked"},
    ),
}
"""By view and button: its act, what the page says afterwards, and the form's fields beside the reason."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ConsoleDesk, dict[str, str]]]:
    """One for this file."""
    with staged(tmp_path_factory.mktemp("console")) as made:
        yield made


@contextmanager
def staged(folder: Path, **more: object) -> Iterator[tuple[ConsoleDesk, dict[str, str]]]:
    """A morning, with one thing of each kind that a button is for."""
    crm = {"url": "https://crm.univ-exemple.fr/", "key_file": folder / "crm.keys"}
    with ConsoleDesk(folder, more={"webhooks": {"receivers": {"crm": crm}}, **more}) as desk:
        names = morning(desk)
        names["held"] = desk.portal.active()
        desk.portal.apply(HoldPlaced(student_number=names["held"], hold=Hold.SUSPENDED))
        given_up(desk, names["late"], "webhooks_crm", "webhook_refused")
        database, now = desk.portal.database, desk.portal.clock.now
        with database.write() as connection:
            quarantine.place(connection, database, "mailbox", "a test")
            pauses.place(connection, database, "directory", actor="camille", reason="a test")
            restored.ask(connection, database, names["held"], ["moodle"], now)
        runs, begun = SqlImports(database), ImportDetail(kind=ImportKind.ENROLMENTS, actor="a program")
        which = runs.begin(SENT, file_name="person.jsonl", started_at=now, detail=begun)
        year = {"year": 2026, "known": 175, "affected": 72, "losing": 71, "changes": {"gone": 71, "ine": 1}}
        years = ({**year, "over_threshold": True, "lost_lately": 0},)
        how = {"ended": ImportEnd.HELD, "ended_at": now, "approval": "a" * 20, "years": years}
        held = begun.model_copy(update=how)
        runs.finish(which, confirmed=0, finished_at=now, summary={"lines": 1, "held": 1}, detail=held)
        names["import"] = str(which)
        yield desk, names


@pytest.mark.parametrize("role", Role)
def test_a_role_is_shown_the_buttons_that_are_its_own_and_no_other(
    scene: tuple[ConsoleDesk, dict[str, str]], role: Role
) -> None:
    desk, names = scene
    with desk.browser(role) as browser:
        browser.client.follow_redirects = False
        for view, buttons in BUTTONS.items():
            page = browser.client.get("/console" + view.format(**names))
            shown = set(re.findall(r'<form method="post" action="/console/(?:[^"]*/)?([^"/]+)"', page.text))
            wanted = {name for name, roles in buttons.items() if role in roles}
            if page.status_code == 403:
                assert wanted == set(), view
            else:
                assert page.status_code == 200, view
                assert shown - {"sortir"} == wanted, f"{view}: {role}"
        page = browser.client.get("/console/")
        linked = set(re.findall(r'<a [^>]*href="/console(/[a-z]+)"', page.text))
        assert linked == {name for name, roles in NAVIGATION.items() if role in roles}


def test_a_button_is_its_act_under_the_login_of_who_presses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a reason, which is not blank; the page says what came of it."""
    monkeypatch.setenv("LOGNAME", "root")
    with staged(tmp_path) as (desk, names), desk.browser(Role.OPERATOR, login="ada") as browser:
        for (view, button), (act, says, fields) in PRESSED.items():
            path = f"/console{view.format(**names)}"
            pattern = rf'<form method="post" action="(/console/[^"]*/{button})"'
            [action, *_others] = re.findall(pattern, browser.get(path).text)
            assert browser.send(action, raison="  ", **fields).status_code == 422, view
            browser.get(path)
            page = browser.send(action, raison=f"vu: {act}", **fields)
            assert page.status_code == 200, page.text
            assert says in re.sub("[\u00a0\u202f]", " ", page.text), view
            (entry,) = desk.audit(act)
            assert (entry.actor, entry.reason) == ("ada", f"vu: {act}")


def test_a_loss_is_approved_by_its_number_a_reason_and_a_second_person_where_set(tmp_path: Path) -> None:
    with staged(tmp_path, lifecycle={"release_by_two": True}) as (desk, names):
        place = f"/console/imports/{names['import']}"
        for login, number, status, expected in (
            ("odile", "71", 422, "n’est pas celui des personnes"),
            ("odile", "beaucoup", 422, "n’est pas celui des personnes"),
            ("odile", " 7 2 ", 200, "Approuvé par odile ; une seconde personne"),
            ("odile", "72", 200, "Approuvé par odile ; une seconde personne"),
            ("otto", "72", 200, "Approuvé par otto : le même envoi"),
        ):
            with desk.browser(Role.OPERATOR, login=login) as browser:
                page = html.unescape(browser.get(place).text).replace("\u202f", " ").replace("\u00a0", " ")
                assert "71 personnes perdraient une inscription" in page
                assert "72 personnes concernées sur 175, soit 42 %" in page
                assert "s’arrête à 5 %, ou à 200 personnes" in page
                assert "ferme après le" in page
                assert browser.send(f"{place}/approuver", nombre="72", raison=" ").status_code == 422
                browser.get(place)
                said = browser.send(f"{place}/approuver", nombre=number, raison="réforme de la licence")
                assert said.status_code == status
                text = html.unescape(said.text).replace("\u202f", " ").replace("\u00a0", " ")
                assert expected in text
                assert '<nav aria-label="Console">' in text
        with desk.browser(Role.OPERATOR) as browser:
            assert "/approuver" not in browser.get(place).text
        noted = [(each.actor, each.reason) for each in desk.audit("import.approve")]
        assert noted == [(who, "réforme de la licence") for who in ("otto", "odile", "odile")]


def test_what_is_held_is_approved_by_its_button(scene: tuple[ConsoleDesk, dict[str, str]]) -> None:
    desk, names = scene
    with desk.browser(Role.OPERATOR, login="odile") as browser:
        held = browser.get("/console/imports?personnes=oui&bloques=oui").text
        assert f"/console/imports/{names['import']}" in held
        browser.get(f"/console/imports/{names['import']}")
        page = browser.send(f"/console/imports/{names['import']}/approuver", nombre="72", raison="vu")
        assert page.status_code == 200
        assert "odile" in page.text
        assert "/approuver" not in page.text
    [noted] = desk.audit("import.approve")
    detail = {"import_id": int(names["import"]), "approval": "a" * 20}
    assert (noted.actor, noted.reason) == ("odile", "vu")
    assert detail.items() <= noted.detail.items()
