"""What support sees of a target that is found by entry point: what was done there by hand, and its repair.

On a SCIM service and on a Samba domain, with `sesame run` working for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consumers.registry.people import People
from pipeline import accounts
from pipeline.target import Preview
from producers.activation.activation_requests import activate
from producers.activation.hashes import HashingSettings
from producers.replay.requests import replay
from sandbox.scim import ScimServer
from sandbox.timetable import Timetable
from schemas import catalogue
from schemas.account import Account, Lane
from sesame.app.wiring import utc_now
from sesame.operations.people.diagnosis.engine import Diagnosis, diagnose
from sesame.operations.people.diagnosis.rules import Finding
from sesame.testing.servers import stores
from sesame.testing.servers.registry_kit import enrolled
from sesame.testing.servers.sections import samba_section, toml_of
from sesame.testing.servers.waiting import until
from tests.integration.active_directory.active_directory_kit import Domain
from tests.integration.scim.scim_kit import Eyes
from tests.integration.targets.site_kit import Site, running

AD, LEA = "active_directory", "22600901"
PASSWORD = "Une-phrase de 4 mots"
WELL = ["all_seems_well"]


class Ward(Site):
    """A site with one target, and what support finds of its students."""

    def seen(self, number: str) -> Diagnosis:
        return diagnose(self, number, look_s_max=60.0)

    def rules(self, number: str) -> list[str]:
        return [finding.rule for finding in self.seen(number).findings]

    def finding(self, number: str, rule: str) -> Finding:
        """The one finding; every sentence of it must be whole."""
        found = self.seen(number)
        assert [finding.rule for finding in found.findings] == [rule]
        for language in ("fr", "en"):
            (cause,) = found.for_student(language).causes
            assert "{" not in cause.cause + cause.todo
        return found.findings[0]

    def account(self, number: str) -> Account:
        with self.database.read() as connection:
            found = accounts.find(connection, number)
        assert found is not None
        return found

    def replay(self, finding: Finding) -> None:
        """What the evidence tells an operator to do."""
        _, command, _, target, _, number = finding.evidence["replay"].split()
        assert (command, target) == ("replay", finding.service)
        replay(
            [number],
            consumer=target,
            reason="support",
            actor="camille",
            lane=Lane.PERSONAL,
            producer=self.producer,
            database=self.database,
            clock=utc_now,
        )


# --- a SCIM service -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ward(scim: ScimServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    settings = f'targets = ["scim"]\n[scim]\nurl = "{scim.url}"\ntoken_file = "{scim.token_file}"\n'
    site = Ward(tmp_path_factory.mktemp("site"), settings)
    with running(site):
        yield site
    site.close()


@pytest.fixture
def eyes(scim: ScimServer) -> Eyes:
    return Eyes(scim)


def student(ward: Ward, eyes: Eyes, number: str, name: str) -> dict[str, Any]:
    """A student whose user is there and was read back, as the service shows it."""
    ward.enrol_and_activate(number, name, "Léa")
    until(lambda: ward.states(number).get("scim") == "provisioned")
    assert ward.rules(number) == WELL
    return user(eyes, number)


def user(eyes: Eyes, number: str) -> dict[str, Any]:
    everybody = eyes.ask("GET", "/Users?count=1000")["Resources"]
    (one,) = [each for each in everybody if each.get("externalId") == number]
    return dict(one)


def test_a_user_that_somebody_deleted_is_missed_and_made_again_by_a_replay(ward: Ward, eyes: Eyes) -> None:
    one = student(ward, eyes, "22600801", "Blanc")
    eyes.ask("DELETE", f"/Users/{one['id']}")
    found = ward.finding("22600801", "object_missing")
    assert found.service == "scim"
    assert found.evidence["read back at version"] == ward.account("22600801").version
    assert "L’application en ligne" in ward.seen("22600801").for_student("fr").causes[0].cause
    ward.replay(found)
    until(lambda: ward.rules("22600801") == WELL)


def test_a_user_that_somebody_disabled_is_seen_and_opened_by_a_replay(ward: Ward, eyes: Eyes) -> None:
    one = student(ward, eyes, "22600802", "Noir")
    eyes.ask("PUT", f"/Users/{one['id']}", {**one, "active": False})
    found = ward.finding("22600802", "object_shut")
    assert found.evidence.keys() == {"replay"}
    ward.replay(found)
    until(lambda: ward.rules("22600802") == WELL)


def test_a_user_that_somebody_changed_is_told_of_by_fields_and_never_by_values(
    ward: Ward, eyes: Eyes
) -> None:
    one = student(ward, eyes, "22600803", "Roux")
    names = {**one["name"], "familyName": "Zzz"}
    eyes.ask("PUT", f"/Users/{one['id']}", {**one, "name": names, "title": "Déléguée", "active": False})
    rules = ward.seen("22600803").findings
    assert [each.rule for each in rules] == ["object_shut", "object_changed"]
    assert rules[1].evidence["differs"] == "name.familyName", "the title is not ours"
    assert "Zzz" not in ward.seen("22600803").report().model_dump_json()
    ward.replay(rules[1])
    until(lambda: ward.rules("22600803") == WELL)
    assert user(eyes, "22600803")["title"] == "Déléguée"


def test_a_second_user_in_the_way_is_told_of_once(ward: Ward, eyes: Eyes) -> None:
    student(ward, eyes, "22600804", "Vert")
    eyes.make("/Users", userName="un.autre", externalId="22600804")
    found = ward.finding("22600804", "object_ambiguous")
    assert found.evidence["cause"] == "student_number_ambiguous"
    replay(
        ["22600804"],
        consumer="scim",
        reason="-",
        actor="camille",
        lane=Lane.PERSONAL,
        producer=ward.producer,
        database=ward.database,
        clock=utc_now,
    )
    until(lambda: ward.states("22600804")["scim"] == "failed")
    assert ward.rules("22600804") == ["given_up"], "the dead letter says it"


def test_a_service_that_does_not_answer_is_unseen(ward: Ward, eyes: Eyes, scim: ScimServer) -> None:
    student(ward, eyes, "22600805", "Gris")
    scim.pause()
    try:
        found = diagnose(ward, "22600805", look_s_max=0.5)
    finally:
        scim.resume()
    assert [each.rule for each in found.findings] == ["partly_seen"]
    assert found.situation.live.unseen == {"scim": "no answer within 0.5 s"}
    assert found.for_student("fr").unseen == ("L'application en ligne",)


# --- Active Directory ---------------------------------------------------------------------------------


def test_what_an_administrator_does_in_active_directory_is_seen(domain: Domain, tmp_path: Path) -> None:
    section = samba_section(domain.samba) | {"upn_suffix": "ad.univ-exemple.fr"}
    site = Ward(tmp_path / "site", f'targets = ["{AD}"]\n{toml_of(active_directory=section)}')
    with running(site):
        site.say(enrolled(LEA, year=datetime.now(UTC).year), catalogue.ENROLMENTS)
        until(lambda: site.person(LEA) is not None)
        activate(
            [LEA],
            {LEA: PASSWORD},
            lane=Lane.PERSONAL,
            known=People(site.database),
            database=site.database,
            vault=site.vault,
            producer=site.producer,
            clock=utc_now,
            hashing=HashingSettings(memory_kib=8192),
        )
        until(lambda: site.states(LEA).get(AD) == "provisioned")
        assert site.rules(LEA) == WELL
        assert domain.lets_in(domain.dn(LEA), PASSWORD)

        domain.write(domain.dn(LEA), userAccountControl=["514"])
        found = site.finding(LEA, "object_shut")
        assert found.service == AD
        assert not domain.lets_in(domain.dn(LEA), PASSWORD)
        site.replay(found)
        until(lambda: site.rules(LEA) == WELL)
        assert domain.lets_in(domain.dn(LEA), PASSWORD)

        domain.write(domain.dn(LEA), displayName=["Somebody"])
        assert site.finding(LEA, "object_changed").evidence["differs"] == "displayName"
        domain.write(domain.dn(LEA), displayName=[site.account(LEA).person.display_name])
        assert site.rules(LEA) == WELL

        ours = site.account(LEA).credential_ref
        assert ours is not None
        domain.write(domain.dn(LEA), adminDisplayName=["an-older-one"])  # an older object was restored
        assert site.finding(LEA, "password_needed").evidence == {"shown": "another password"}
        domain.write(domain.dn(LEA), adminDisplayName=[ours])

        with domain.admin() as admin:
            admin.delete(domain.dn(LEA))
        found = site.finding(LEA, "object_missing")
        site.replay(found)
        until(lambda: site.states(LEA)[AD] == "waiting")
        assert site.finding(LEA, "password_needed").evidence == {"reason": "credential_needed"}
        domain.write(domain.dn(LEA), adminDisplayName=[ours])
        assert site.rules(LEA) == ["password_needed"], "its consumer has not looked again"

    newer = site.account(LEA)
    newer = newer.model_copy(update={"version": newer.version + 1, "credential_ref": "the-next-one"})
    stores.keep(site.database, newer)
    found = next(each for each in site.seen(LEA).findings if each.rule == "password_on_its_way")
    assert found.service == AD
    assert "object_changed" not in site.rules(LEA)
    site.close()


# --- the timetable ------------------------------------------------------------------------------------


def test_a_calendar_that_is_there_no_longer_is_not_published(tmp_path: Path) -> None:
    with Timetable(tmp_path / "timetable") as service:
        service.give(LEA)
        address = f"{service.url}/ical/{{student_number}}.ics"
        site = Ward(tmp_path / "site", f'targets = ["timetable"]\ntimetable.calendar_url = "{address}"\n')
        with running(site):
            site.enrol_and_activate(LEA, "Martin", "Léa")
            until(lambda: site.states(LEA).get("timetable") == "provisioned")
            assert site.seen(LEA).situation.live.objects == {"timetable": Preview()}
            assert site.rules(LEA) == WELL
            service.meet(LEA, status=404)
            assert site.finding(LEA, "timetable_not_scheduled").since is None
        site.close()
