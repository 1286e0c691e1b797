"""Lists for other software at the console: files, and what esup-sgc is told."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sesame.testing.servers.console_kit import ConsoleDesk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ConsoleDesk]:
    with ConsoleDesk(tmp_path) as desk:
        yield desk


def test_a_list_is_a_file_and_is_in_the_audit(desk: ConsoleDesk) -> None:
    number = desk.portal.active(birth_name="Zébulon", given_name="Aïcha")
    other = desk.portal.active(birth_name="Petit", given_name="Anna")
    with desk.browser("operator", login="grace") as browser:
        browser.get("/console/listes")
        answer = browser.send("/console/listes", liste="pix")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="sesame-pix.csv"'
        table = list(csv.DictReader(io.StringIO(answer.content.decode()), delimiter=";"))
        assert {row["Numéro étudiant"] for row in table} == {number, other}
        browser.get("/console/listes")
        refused = browser.send("/console/listes", liste="pix", composante="NULLE-PART")
        assert re.search(r"Composantes qui ont des étudiants\s: SCI", refused.text)
        browser.get("/console/listes")
        assert browser.send("/console/listes", liste="paie").status_code == 422
    (entry,) = desk.audit("export.list")
    assert (entry.actor, entry.detail["list"], entry.detail["count"]) == ("grace", "pix", 2)


def test_what_a_card_system_is_told_is_shown_and_is_in_the_audit(desk: ConsoleDesk) -> None:
    number = desk.portal.active(birth_name="Zébulon", given_name="Aïcha")
    account = desk.portal.context.choices.situation(number)
    assert account is not None
    with desk.browser("operator") as browser:
        browser.get("/console/listes")
        page = browser.send("/console/listes/carte", eppn=f"{account.login}@etu.univ.example")
        assert number in page.text
        browser.get("/console/listes")
        missing = browser.send("/console/listes/carte", eppn="nobody@etu.univ.example")
        assert "nobody@etu.univ.example" in missing.text
    assert [entry.detail["student_number"] for entry in desk.audit("export.card")] == [number]
