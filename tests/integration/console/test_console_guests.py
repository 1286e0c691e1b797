"""'Invités' at the console: the form, what it refuses, the list, and a longer invitation."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.registry.people import People
from schemas.account import Hold
from schemas.events import HoldPlaced
from sesame.testing.servers.console_kit import ConsoleDesk

FORM = {
    "nom": "Lovelace",
    "prenom": "Ada",
    "naissance": "1980-12-10",
    "adresse": "ada@ailleurs.example",
    "langue": "fr",
    "jusqu_au": "2026-10-20",
    "raison": "un séminaire",
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ConsoleDesk]:
    with ConsoleDesk(tmp_path) as desk:
        yield desk


def invited(desk: ConsoleDesk, **more: str) -> str:
    """Invite by the form; the new guest's number, once the registry knows it."""
    with desk.browser("support", login="claire") as browser:
        browser.get("/console/invites")
        page = browser.send("/console/invites", **(FORM | more))
    assert page.status_code == 200, page.text
    number = str(re.findall(r"G-\d{8}", page.text)[0])  # what was done stands above the list
    (event,) = desk.published(number)
    desk.portal.apply(event)
    return number


def test_two_guests_are_invited_and_listed_as_a_file_too(desk: ConsoleDesk) -> None:
    sponsor = desk.portal.active(birth_name="Durand", given_name="Claire")
    ada = invited(desk, parrain=sponsor)
    eve = invited(desk, parrain=f" {sponsor} ", prenom="Ève", adresse="eve@ailleurs.example", langue="en")
    assert ada != eve
    with desk.browser("support") as browser:
        table = list(
            csv.reader(
                io.StringIO(browser.get("/console/invites?csv=oui&tri=-nom").content.decode("utf-8-sig")),
                delimiter=";",
            )
        )
    assert [row[0] for row in table] == ["Numéro", eve, ada]
    assert [row[4] for row in table] == ["Parrain", sponsor, sponsor]
    assert [entry.actor for entry in desk.audit("guest.invite")] == ["claire", "claire"]


def test_one_invitation_of_two_is_taken_back_by_the_form(desk: ConsoleDesk) -> None:
    sponsor = desk.portal.active(birth_name="Durand", given_name="Claire")
    ada, eve = invited(desk, parrain=sponsor), invited(desk, parrain=sponsor, prenom="Ève")
    with desk.browser("support", login="claire") as browser:
        browser.get("/console/invites")
        page = browser.send("/console/invites/fin", numero=f" {ada} ", raison="mauvaise adresse").text
        assert "l’invitation est annulée" in page
        (event,) = desk.published(ada)[1:]
        desk.portal.apply(event)
        browser.get("/console/invites")
        refused = browser.send("/console/invites/fin", numero=ada, raison="encore")
    assert (refused.status_code, "il n’y a pas d’invitation" in refused.text) == (422, True)
    with desk.portal.database.read() as connection:
        left = [People(desk.portal.database).enrolments(connection, each) for each in (ada, eve)]
    assert list(map(len, left)) == [0, 1]
    assert [entry.actor for entry in desk.audit("guest.end")] == ["claire"]


def test_the_form_says_whether_a_mail_gives_the_guest_the_number(desk: ConsoleDesk) -> None:
    with desk.browser("support") as browser:
        mails = "Un message lui donne son numéro"
        assert mails in browser.get("/console/invites").text
        desk.settings.model_fields_set.discard("portal")  # as a site without pages for persons
        without = browser.get("/console/invites").text
    assert mails not in without
    assert "transmettez-lui vous-même son numéro" in without


def test_a_refused_form_keeps_what_was_typed_and_invites_nobody(desk: ConsoleDesk) -> None:
    sponsor, gone = desk.portal.active(), desk.portal.active()
    desk.portal.apply(HoldPlaced(student_number=gone, hold=Hold.SUSPENDED))
    refused = (
        ({"parrain": gone}, 422, "ne peut répondre d"),
        ({"parrain": sponsor, "adresse": "ada"}, 422, "ada"),
        ({"parrain": sponsor, "jusqu_au": "2030-01-01"}, 422, "2030-01-01"),
        ({"parrain": sponsor, "jusqu_au": "2030-02-03"}, 422, "Jusqu’au 03/02/2030"),
        ({"parrain": sponsor, "naissance": "hier"}, 422, "Une date manque"),
        ({"parrain": sponsor, "jusqu_au": ""}, 422, "Une date manque"),
        ({"parrain": sponsor, "raison": " "}, 422, "motif"),
    )
    for more, status, expected in refused:
        with desk.browser("support") as browser:
            browser.get("/console/invites")
            page = browser.send("/console/invites", **(FORM | more))
            assert page.status_code == status, more
            assert expected in page.text, more
            if more.keys() & {"adresse", "jusqu_au", "naissance"} or more["parrain"] == gone:
                assert 'value="Lovelace"' in page.text, more
    assert (desk.log.appended, desk.audit("guest.invite")) == ([], [])


def test_a_sponsor_who_has_left_is_seen_and_an_active_guest_is_prolonged_from_the_own_page(
    desk: ConsoleDesk,
) -> None:
    sponsor, student = desk.portal.active(), desk.portal.active()
    guest = invited(desk, parrain=sponsor)
    with desk.browser("operator") as browser:
        assert "Prolonger" not in browser.get(f"/console/personnes/{student}").text
        page = browser.get(f"/console/personnes/{guest}").text
        assert "guest" in page
        assert "1990" not in page
        browser.send(f"/console/personnes/{guest}/prolonger", jusqu_au="2026-11-30", raison="reste")
        desk.portal.apply(desk.portal.said(guest)[-1])
        assert "30\N{NO-BREAK SPACE}novembre 2026" in browser.get("/console/invites").text
        assert ">parti<" not in browser.page.text
        desk.portal.apply(HoldPlaced(student_number=sponsor, hold=Hold.SUSPENDED))
        assert ">parti<" in browser.get("/console/invites").text
