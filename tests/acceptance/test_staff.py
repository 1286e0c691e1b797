"""Staff on real servers with `sesame run`: their file comes in, a contract is prolonged, another ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from sandbox.process import wait_until
from schemas.account import Stage
from sesame.cli.errors import ExitCode
from sesame.testing.servers.ldap_tools import search
from tests.acceptance.diagnosis_kit import Clinic, clinic

HEADER = "MATRICULE;NOM_FAMILLE;PRENOM;DATE_NAISSANCE;POPULATION;EMPLOYEUR;DATE_FIN"
TODAY = date.today()  # noqa: DTZ011  (the registry's day is UTC's, hours do not matter)
SETTINGS = """
[[registry.populations]]
name = "staff"
label = "Personnel"
affiliations = ["staff", "employee", "member"]
mail_domain = "univ.example"

[[lifecycle.entitlements]]
target = "moodle"
populations = ["staff"]
open = false
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with clinic(tmp_path_factory.mktemp("records"), settings=SETTINGS) as made:
        yield made


def hire(here: Clinic, people: dict[str, str], *more: str) -> None:
    """Import the whole file of staff: names, and the cells behind the given name."""
    file = here.world.private / "staff.csv"
    lines = [f"{place:06};{name.title()};Dominique;{cells}" for place, (name, cells) in _placed(here, people)]
    file.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    asked = ("import", str(file), "--profile", "staff", *more)
    found = json.loads(here.sesame(*asked, "--json", allowed=(ExitCode.DONE, ExitCode.HELD)))
    if found["held"]:  # one of two is half of them
        here.sesame(*asked, "--approve", found["approval"])


def _placed(here: Clinic, people: dict[str, str]) -> Iterator[tuple[int, tuple[str, str]]]:
    for name, cells in people.items():
        number = here.numbers.setdefault(name, f"P-{len(here.numbers) + 1:06}")
        yield int(number[2:]), (name, cells)


def entry(here: Clinic, name: str) -> dict[str, list[str]]:
    criterion = f"(supannEtuId={here.numbers[name]})"
    [found] = search(
        here.world.slapd, here.world.slapd.people_dn, criterion, "*", "supannRessourceEtat"
    ).values()
    return found


def test_staff_get_what_their_population_has_and_leave_when_the_file_says_so(here: Clinic) -> None:
    soon, never = f"{TODAY + timedelta(days=30):%d/%m/%Y}", "31/12/9999"
    people = {
        "arnaud": f"02/03/1970;staff;UNIV;{never}",
        "bernard": f"04/05/1981;STAFF;CNRS;{soon}",
    }
    hire(here, people)
    wait_until(lambda: all(map(here.has_account, people)), "accounts")
    here.activate(*people)
    here.settle(*people)
    account = here.account("bernard")
    assert (account.mail, account.valid_until) == (
        "dominique.bernard@univ.example",
        TODAY + timedelta(days=30),
    )
    found = entry(here, "bernard")
    assert found["eduPersonPrimaryAffiliation"] == ["staff"]
    assert set(found["eduPersonAffiliation"]) == {"staff", "employee", "member"}
    assert found["supannEntiteAffectation"] == ["CNRS"]
    assert not any(name.startswith("supannEtu") and name != "supannEtuId" for name in found), found
    assert here.site.users("idnumber", here.numbers["bernard"]) == [], "Moodle is not for staff here"
    assert here.account("arnaud").valid_until is None

    hire(here, people | {"bernard": f"04/05/1981;staff;CNRS;{never}"})
    wait_until(lambda: here.account("bernard").valid_until is None, "the prolonged contract")
    del people["arnaud"]
    hire(here, people, "--full", "--year", "2026")
    wait_until(lambda: here.account("arnaud").stage is Stage.GRACE, "the end of who is gone")
    here.settle("arnaud")
    wait_until(lambda: entry(here, "arnaud")["eduPersonAffiliation"] == ["affiliate"], "the directory's word")
    assert here.account("bernard").stage is Stage.ACTIVE


def test_a_guest_is_invited_by_a_command_and_prolonged_by_another(here: Clinic) -> None:
    people = {"claude": f"02/03/1970;staff;UNIV;{TODAY + timedelta(days=300):%d/%m/%Y}"}
    hire(here, people)
    wait_until(lambda: here.has_account("claude"), "the sponsor's account")
    asked = (
        *("guests", "invite", "--sponsor", here.numbers["claude"], "--birth-name", "Lovelace"),
        *("--given-name", "Ada", "--born", "1980-12-10", "--mail", "ada@ailleurs.example"),
        *("--until", f"{TODAY + timedelta(days=20)}", "--reason", "seminar", "--json"),
    )
    assert here.sesame(*asked, allowed=(ExitCode.USAGE,)) == "", "the sponsor has not activated"
    here.activate("claude")
    here.settle("claude")
    here.numbers["ada"] = json.loads(here.sesame(*asked))["student_number"]
    wait_until(lambda: here.has_account("ada"), "the guest's account")
    here.activate("ada")
    here.settle("ada")
    found = entry(here, "ada")
    assert (found["eduPersonAffiliation"], found["supannEntiteAffectation"]) == (["affiliate"], ["UNIV"])
    [listed] = json.loads(here.sesame("guests", "list", "--json"))
    assert (listed["sponsor"], listed["until"]) == (
        here.numbers["claude"],
        f"{TODAY + timedelta(days=20)}",
    )

    number, until = here.numbers["ada"], TODAY + timedelta(days=40)
    here.sesame("lifecycle", "prolong", number, "--until", f"{until}", "--reason", "a second seminar")
    wait_until(lambda: here.account("ada").valid_until == until, "the longer invitation")
    here.sesame("hold", "place", here.numbers["claude"], "--kind", "administrative", "--reason", "left")
    wait_until(lambda: not here.account("claude").access_open, "the sponsor's end")
    shown = here.sesame("guests", "list", "--lang", "fr", allowed=(ExitCode.HELD,))
    assert f"{here.numbers['claude']} (parti)" in shown
    assert "Ada Lovelace" in shown
