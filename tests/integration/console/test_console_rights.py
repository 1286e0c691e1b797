"""Every route of the console, by every role: who gets in is written here once more, apart from the code."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute

from sesame.acts.acts import Role
from sesame.testing.servers.console_kit import COOKIE, ConsoleDesk

EVERYBODY = frozenset(Role)
DESK = frozenset({Role.SUPPORT, Role.OPERATOR, Role.ADMINISTRATOR})
OFFICE = frozenset({Role.REGISTRAR, Role.OPERATOR, Role.ADMINISTRATOR})
OPERATORS = frozenset({Role.OPERATOR, Role.ADMINISTRATOR})
OPEN = None
"""Who has not logged in gets an answer too."""

MAY = {
    ("GET", "/"): EVERYBODY,
    ("GET", "/flux"): EVERYBODY,
    ("GET", "/entrer"): OPEN,
    ("GET", "/login"): OPEN,
    ("POST", "/login"): OPEN,
    ("POST", "/sortir"): OPEN,
    ("GET", "/langue/{language}"): OPEN,
    ("GET", "/personnes"): DESK,
    ("GET", "/personnes/{number}"): DESK,
    ("GET", "/personnes/{number}/fusion"): OPERATORS,
    ("GET", "/personnes/{number}/effacement"): frozenset({Role.ADMINISTRATOR}),
    ("POST", "/personnes/{number}/effacement"): frozenset({Role.ADMINISTRATOR}),
    ("GET", "/effacements"): EVERYBODY,
    ("GET", "/effacements/{erasure_id}"): frozenset({Role.ADMINISTRATOR}),
    ("GET", "/effacements/{erasure_id}/recu"): OPERATORS,
    ("POST", "/personnes/{number}/ouvrir"): OPERATORS,
    ("POST", "/personnes/{number}/relancer"): OPERATORS,
    ("POST", "/personnes/{number}/bloquer"): DESK,
    ("POST", "/personnes/{number}/deverrouiller"): DESK,
    ("GET", "/personnes/{number}/lettre"): DESK,
    ("POST", "/personnes/{number}/lettre"): DESK,
    ("POST", "/personnes/{number}/debloquer"): OPERATORS,
    ("POST", "/personnes/{number}/prolonger"): OPERATORS,
    ("GET", "/echecs"): DESK,
    ("GET", "/echecs/{consumer}/{cause}"): DESK,
    ("GET", "/echecs/{consumer}/{cause}/flux"): DESK,
    ("POST", "/echecs/{consumer}/{cause}/essai"): OPERATORS,
    ("POST", "/echecs/{consumer}/{cause}/classer"): OPERATORS,
    ("GET", "/relances"): EVERYBODY,
    ("GET", "/relances/{replay_id}"): OPERATORS,
    ("GET", "/relances/{replay_id}/flux"): OPERATORS,
    ("POST", "/relances/{replay_id}/suite"): OPERATORS,
    ("POST", "/relances/{replay_id}/arreter"): OPERATORS,
    ("GET", "/attente"): DESK,
    ("GET", "/attente.csv"): DESK,
    ("GET", "/attente/cohortes"): DESK,
    ("GET", "/cibles"): EVERYBODY,
    ("GET", "/cibles/{target}"): EVERYBODY,
    ("POST", "/cibles/lever"): OPERATORS,
    ("POST", "/cibles/pause"): OPERATORS,
    ("POST", "/cibles/reprendre"): OPERATORS,
    ("POST", "/cibles/sonder"): OPERATORS,
    ("POST", "/cibles/recepteurs/essayer"): OPERATORS,
    ("GET", "/plans"): OPERATORS,
    ("POST", "/plans/liberer"): OPERATORS,
    ("GET", "/journal"): OPERATORS,
    ("GET", "/journal.{form}"): OPERATORS,
    ("GET", "/invites"): DESK,
    ("POST", "/invites"): DESK,
    ("POST", "/invites/fin"): DESK,
    ("GET", "/listes"): OFFICE,
    ("POST", "/listes"): OFFICE,
    ("POST", "/listes/carte"): OPERATORS,
    ("GET", "/preuves"): OPERATORS,
    ("POST", "/preuves"): OPERATORS,
    ("GET", "/revue"): OFFICE,
    ("POST", "/revue/ouvrir"): OPERATORS,
    ("GET", "/revue/{component}"): OFFICE,
    ("POST", "/revue/{component}"): OFFICE,
    ("GET", "/questions"): OFFICE,
    ("GET", "/questions/{name}/{key}"): OPERATORS,
    ("POST", "/questions/{name}/{key}/trancher"): OPERATORS,
    ("GET", "/imports"): OFFICE,
    ("POST", "/imports"): OFFICE,
    ("GET", "/imports/{import_id}"): OFFICE,
    ("GET", "/imports/{import_id}/flux"): OFFICE,
    ("POST", "/imports/{import_id}/approuver"): OPERATORS,
    ("POST", "/imports/arreter"): OFFICE,
    ("POST", "/imports/suite"): OFFICE,
    ("GET", "/imports/modeles/{kind}.csv"): OFFICE,
}
FIELDS = {
    "raison": "un essai",
    "cible": "moodle",
    "motif": "suspended",
    "jusqu_au": "2027-12-01",
    "reponse": "deux",
    "cadre": "recyf",
    "jours": "30",
    "decision": "keep",
    "reste": "oui",
}
GIVEN = {
    "{kind}": "inscriptions",
    "{language}": "fr",
    "{number}": "22999999",
    "{consumer}": "moodle",
    "{cause}": "moodle_email_taken",
    "{replay_id}": "none",
    "{import_id}": "7",
    "{target}": "moodle",
    "{form}": "csv",
    "{erasure_id}": "none",
    "{component}": "SCI",
    "{name}": "objets",
    "{key}": "abcdef012345",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleDesk]:
    """One console for this file; what is asked of it is about nobody whom it knows."""
    with ConsoleDesk(tmp_path_factory.mktemp("console")) as desk:
        yield desk


def asked(desk: ConsoleDesk, role: Role | None, method: str, route: str) -> int:
    """How this request ends. A form is as our pages send it."""
    path = "/console" + route
    for name, value in GIVEN.items():
        path = path.replace(name, value)
    if method == "GET" and route == "/personnes":
        path += "?q=quelqu-un"
    headers = {"Origin": desk.url}
    with desk.browser() as browser:
        browser.client.follow_redirects = False
        page = browser.get("/console/nulle-part")  # gives the browser its name, and so its forms a token
        if role is not None:
            browser.client.cookies.set(COOKIE, desk.session(role, login=f"un-{role}"))
            page = browser.get("/console/")
        token = re.search(r'name="jeton" value="([^"]+)"', page.text)
        if method == "POST":
            form = {**FIELDS, "jeton": token[1] if token is not None else "x"}
            files = {"fichier": ("x.csv", b"a;b\n")} if route == "/imports" else None
            return browser.client.post(path, data=form, files=files, headers=headers).status_code
        with browser.client.stream("GET", path) as answer:
            return answer.status_code


def routes(desk: ConsoleDesk) -> Iterator[tuple[str, str]]:
    """Every method and path that the application answers."""
    for included in desk.routes:
        router = getattr(included, "original_router", None)
        for route in router.routes if router is not None else ():
            if isinstance(route, APIRoute):
                yield from ((method, route.path) for method in route.methods or ())


def test_the_table_has_every_route(desk: ConsoleDesk) -> None:
    assert sorted(routes(desk)) == sorted(MAY)


@pytest.mark.parametrize(("method", "route"), MAY)
def test_a_route_lets_in_whom_the_table_names_and_nobody_else(
    desk: ConsoleDesk, method: str, route: str
) -> None:
    may = MAY[method, route]
    for role in Role:
        status = asked(desk, role, method, route)
        if may is OPEN or role in may:
            assert status not in (401, 403), f"{role}: {status}"
        else:
            assert status == 403, f"{role}: {status}"
    status = asked(desk, None, method, route)
    if may is not OPEN:
        assert status == (303 if method == "GET" else 401)
