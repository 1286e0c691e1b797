"""A site that asks for European Student Identifiers, in one process on a real slapd."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import accounts
from sandbox.process import wait_until
from sandbox.slapd import Slapd
from schemas import catalogue
from schemas.events import IdentityDecided, IdentityDecision
from sesame.acts.acts import Actor, Role
from sesame.app.doctor.checks import checks_for
from sesame.app.doctor.findings import CheckState
from sesame.app.wiring import utc_now
from sesame.operations.people.diagnosis.engine import diagnose
from sesame.operations.people.target_look import look_at
from sesame.operations.privacy.export import export
from sesame.operations.questions.reconcile.acts import ReconcileRequest, reconcile
from sesame.testing.servers.directory_kit import fresh_number
from sesame.testing.servers.ldap_tools import as_provisioner, search
from sesame.testing.servers.registry_kit import activation, enrolled
from sesame.testing.servers.sections import slapd_section, toml_of
from tests.integration.targets.site_kit import Site, running

LATER = "0607WW0QQ99"
URN = "urn:schac:personalUniqueCode:int:esi:fr:"
DPO = Actor("dpo", frozenset({Role.ADMINISTRATOR}))
YEAR = datetime.now(UTC).year
FEDERATION = """
[directory.federation]
esi = true
home_organization = "univ-exemple.fr"
no_reassign = true
"""


@pytest.fixture
def site(tmp_path: Path, slapd: Slapd) -> Iterator[Site]:
    settings = 'targets = ["directory"]\n' + toml_of(directory=slapd_section(slapd)) + FEDERATION
    with closing(Site(tmp_path / "site", settings)) as made:
        yield made


def ine_of(number: str) -> str:
    return f"{number[-8:]}WQ1"


def enrol(site: Site, number: str, sequence: int = 1, **more: Any) -> None:
    names = ("Quévert", "Léa") if int(number) % 2 else ("quévert", "lea")
    who = {"ine": ine_of(number), "ine_provisional": False, "birth_name": names[0], "given_name": names[1]}
    born = date(2000, 1, 1) + timedelta(days=int(number) % 3000)
    fact = enrolled(number, sequence, year=YEAR, **{**who, "birth_date": born, **more})
    site.say(fact, catalogue.ENROLMENTS, tell_apart=f"{number}-{sequence}")


def enter(site: Site, number: str, **more: Any) -> None:
    """Enrol a student, who activates, and wait for the entry."""
    enrol(site, number, **more)
    site.say(activation(number), catalogue.ACTIVATIONS)
    wait_until(lambda: complete(site, number), "the entry is there")


def shown(slapd: Slapd, number: str) -> list[str]:
    """The ESIs of the entries with this number, as any application reads them."""
    entries = search(slapd, slapd.people_dn, f"(supannEtuId={number})", "schacPersonalUniqueCode")
    return [value for found in entries.values() for value in found.get("schacPersonalUniqueCode", [])]


def complete(site: Site, number: str) -> bool:
    person = site.person(number)
    return person is not None and {each.state for each in person.targets} == {"provisioned"}


def rules(site: Site, number: str) -> set[str]:
    return {each.rule for each in diagnose(site, number, live=False).findings}


def texts(site: Site) -> Iterator[tuple[str, str]]:
    """Everything in the store and on the log, by its place."""
    for file in (site.settings.data_dir / "sesame.db", site.settings.data_dir / "events.db"):
        with closing(sqlite3.connect(file)) as db:
            for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                rows = db.execute(f'SELECT * FROM "{table}"')  # noqa: S608
                names = [each[0] for each in rows.description]
                for row in rows:
                    for name, value in zip(names, row, strict=True):
                        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                        yield f"{table}.{name}", text


def version(site: Site, number: str) -> int:
    person = site.person(number)
    return 0 if person is None else person.version


def test_two_students_have_theirs_and_it_is_nowhere_else(
    site: Site, slapd: Slapd, capfd: pytest.CaptureFixture[str]
) -> None:
    lea, paul = both = fresh_number(), fresh_number()
    with running(site):
        for number in both:
            enter(site, number, ine_provisional=True)
            assert shown(slapd, number) == []
            before = version(site, number)
            enrol(site, number, 2)
            wait_until(lambda: bool(shown(slapd, number)), "the definitive INE came")  # noqa: B023
            assert shown(slapd, number) == [URN + ine_of(number)]
            wait_until(lambda: complete(site, number), "it was read back")  # noqa: B023
            assert version(site, number) == before + 1
        enrol(site, lea, 3, ine=LATER)
        wait_until(lambda: rules(site, lea) == {"esi_kept"}, "an operator is told that the first one stays")
        assert rules(site, paul) == set()
        assert shown(slapd, lea) == [URN + ine_of(lea)]

        with site.database.read() as connection:
            newest = accounts.find(connection, lea)
        assert newest is not None
        [look] = look_at(site, ["directory"], newest)
        assert "schacHomeOrganization" in look.objects[0].fields
        assert "schac:" not in look.model_dump_json(), "no page shows it"
        assert look.conforms
        told = export(site, DPO, lea).model_dump(mode="json")
        [mine] = [each for each in told["sections"] if each["table"] == "people"]
        assert mine["rows"][0]["esi"] == URN + ine_of(lea)
        assert URN + ine_of(lea) in json.dumps(told["targets"]), "the person's own export shows all"
        merge = IdentityDecided(student_number=paul, other=lea, decision=IdentityDecision.MERGE)
        site.say(merge, catalogue.ACTIVATIONS)
        wait_until(lambda: shown(slapd, paul) == [], "the number that ended shows none")
        assert shown(slapd, lea) == [URN + ine_of(lea)]
    assert {place for place, text in texts(site) if "schac:" in text} == {"people.esi"}
    of_the_facts = {"people.ine", "people.esi", "records.value"}
    assert {place for place, text in texts(site) if ine_of(lea) in text} <= of_the_facts
    said = capfd.readouterr()
    assert "schac:" not in said.out + said.err
    assert ine_of(lea) not in said.out + said.err


def test_who_has_an_ine_whose_esi_is_another_s_gets_none_and_an_operator_is_told(
    site: Site, slapd: Slapd
) -> None:
    lea, other = fresh_number(), fresh_number()
    with running(site):
        enter(site, lea)
        enrol(site, lea, 2, ine=LATER)
        wait_until(lambda: rules(site, lea) == {"esi_kept"}, "the correction")
        enter(site, other, ine=ine_of(lea))
        wait_until(lambda: rules(site, other) == {"esi_taken"}, "an operator is told")
    assert (shown(slapd, lea), shown(slapd, other)) == ([URN + ine_of(lea)], [])


def test_reconciling_finds_a_hand_s_change_and_names_no_ine(site: Site, slapd: Slapd) -> None:
    both = fresh_number(), fresh_number()
    with running(site):
        for number in both:
            enter(site, number)
    for number in both:
        [dn] = search(slapd, slapd.people_dn, f"(supannEtuId={number})", "uid")
        change = "replace: schacPersonalUniqueCode\nschacPersonalUniqueCode: " + URN + LATER
        as_provisioner(slapd, "ldapmodify", stdin=f"dn: {dn}\nchangetype: modify\n{change}\n")
    found = reconcile(site, DPO, ReconcileRequest(targets=("directory",)), clock=utc_now).targets["directory"]
    assert set(found.different) >= set(both)
    assert LATER not in found.model_dump_json()


def test_doctor_says_the_edition_and_how_many_have_one(site: Site) -> None:
    checks = {check.name: check for check in checks_for(site.settings)}
    number = fresh_number()
    enrol(site, number, ine_provisional=None)
    with running(site):
        wait_until(lambda: version(site, number) > 0, "the account is there")
        said = checks["esi"].run()
        assert said.state is CheckState.WARN, said.text
        assert "0 students have an ESI, 1 none" in said.text
        assert "provisional_ine" in said.remedy
        enrol(site, number, 2)
        wait_until(lambda: checks["esi"].run().state is CheckState.OK, "one has it now")
    assert "1 students have an ESI, 0 none; 0 keep" in checks["esi"].run().text
    assert "SupAnn 2018 rev. 2" in checks["directory"].run().text
