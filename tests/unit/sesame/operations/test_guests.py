"""Guests: whom somebody of the university invites until a day, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from consumers.registry.people import People
from pipeline.audit import entries, operator_notes
from pipeline.db import persons
from pipeline.db.database import Database
from pipeline.db.persons import Forgetting
from schemas.account import Hold, Stage
from schemas.events import (
    EnrolmentCancelled,
    EnrolmentRecorded,
    HoldPlaced,
    IdentityDecided,
    IdentityDecision,
    ProlongationRequested,
)
from sesame.acts.acts import Actor, ActRefused, Role
from sesame.app.tables import metadata
from sesame.operations.access.guests import (
    EndInvitationRequest,
    InviteRequest,
    NoSponsor,
    NotInvited,
    end,
    invite,
    invited,
    sponsor_of,
)
from sesame.settings import Settings
from sesame.testing.servers.narrowing import expect
from sesame.testing.servers.registrar_kit import RecordedLog
from sesame.testing.servers.registry_kit import LEA, RegistryHarness, activation
from sesame.testing.servers.registry_kit import unlike_others as of
from sesame.testing.servers.stores import sqlite_store

DESK = Actor("odile", frozenset({Role.SUPPORT}))
LAST_DAY = date(2026, 12, 31)
ASKED: dict[str, Any] = {
    "sponsor": LEA,
    "birth_name": "Lovelace",
    "given_name": "Ada",
    "birth_date": date(1980, 12, 10),
    "personal_mail": "ada@ailleurs.example",
    "until": LAST_DAY,
    "reason": "un séminaire",
}


@dataclass
class Site:
    """A university with one student of the desk's; the clock stands on 14 September 2026."""

    desk: RegistryHarness
    settings: Settings
    producer: RecordedLog = field(default_factory=RecordedLog)
    privacy_if_any: None = None

    @property
    def database(self) -> Database:
        return self.desk.database

    def take(self) -> list[EnrolmentRecorded]:
        """Let the registry read what was published since the last look."""
        facts = [expect(EnrolmentRecorded, message.event) for message in self.producer.take()]
        for fact in facts:
            self.desk.apply(fact)
        return facts


@pytest.fixture
def site(tmp_path: Any) -> Iterator[Site]:
    desk = RegistryHarness(sqlite_store(tmp_path))
    with closing(desk.database):
        desk.apply(of(LEA))
        desk.apply(activation(LEA))
        yield Site(desk, Settings(data_dir=tmp_path))


def test_a_guest_is_invited_under_a_number_of_their_own(site: Site) -> None:
    first = invite(site, DESK, InviteRequest(**ASKED))
    second = invite(site, DESK, InviteRequest(**ASKED | {"given_name": "Ida", "birth_name": "Rhodes"}))
    assert first.student_number != second.student_number
    [ada, ida] = site.take()
    assert ada.student_number == first.student_number
    assert ada.student_number.startswith("G-")
    assert len(ada.student_number) == len("G-00000000")
    assert (ada.population, ada.ends_on, ada.sponsor, ada.component) == ("guest", LAST_DAY, LEA, "SCI")
    site.desk.apply(activation(ida.student_number))
    found = {each.student_number: each for each in invited(site, DESK)}
    assert found.keys() == {ada.student_number, ida.student_number}
    shown = found[ida.student_number]
    assert (shown.name, shown.stage, shown.until) == ("Ida Rhodes", Stage.ACTIVE, LAST_DAY)
    assert (shown.sponsor, shown.sponsored) == (LEA, True)
    site.desk.apply(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED))
    assert [each.sponsored for each in invited(site, DESK)] == [False, False]


def test_an_invitation_is_audited_and_its_reason_is_kept_apart(site: Site) -> None:
    number = invite(site, DESK, InviteRequest(**ASKED)).student_number
    with site.database.read() as connection:
        [noted] = [each for each in entries(connection, limit=9) if each.action == "guest.invite"]
        [kept] = operator_notes.since(connection, ["guest.invite"], 0)
    assert noted.actor == "odile"
    assert noted.detail["student_number"] == number
    assert "séminaire" not in str(noted.detail)
    assert "Lovelace" not in str(noted.detail)
    assert (kept.words, kept.about, kept.student_number) == ("un séminaire", LEA, number)


def test_the_same_person_twice_is_a_question(site: Site) -> None:
    for _ in range(2):
        invite(site, DESK, InviteRequest(**ASKED))
    first, second = (each.student_number for each in site.take())
    assert site.desk.maybe_account(first) is not None
    assert site.desk.maybe_account(second) is None
    assert [letter.cause for letter in site.desk.letters(second)] == ["doubtful_identity"]


@pytest.mark.parametrize("sponsor", ["99999999", "G-00000001", "22600077", "", "a b"])
def test_somebody_without_an_open_account_answers_for_nobody(site: Site, sponsor: str) -> None:
    site.desk.apply(of("22600077"))
    with pytest.raises(NoSponsor):
        invite(site, DESK, InviteRequest(**ASKED | {"sponsor": sponsor}))
    assert site.producer.records == []


def test_a_sponsor_who_has_left_or_is_a_guest_is_refused(site: Site) -> None:
    number = invite(site, DESK, InviteRequest(**ASKED)).student_number
    site.take()
    site.desk.apply(activation(number))
    with pytest.raises(NoSponsor):
        invite(site, DESK, InviteRequest(**ASKED | {"sponsor": number}))
    site.desk.apply(HoldPlaced(student_number=LEA, hold=Hold.ADMINISTRATIVE))
    with pytest.raises(NoSponsor):
        invite(site, DESK, InviteRequest(**ASKED))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"until": date(2026, 9, 13)}, "not between today"),
        ({"until": date(2026, 9, 14) + timedelta(367)}, "not between today"),
        ({"personal_mail": "ada at home"}, "no mail address"),
        ({"birth_name": " "}, "birth name: give one line"),
        ({"given_name": "Ada\nIda"}, "given name: give one line"),
        ({"birth_date": date(2080, 12, 10)}, "not plausible"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_published(
    site: Site, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(NotInvited, match=says):
        invite(site, DESK, InviteRequest(**ASKED | changes))
    assert site.producer.records == []
    with site.database.read() as connection:
        assert operator_notes.since(connection, ["guest.invite"], 0) == []


def test_an_erased_sponsor_is_named_by_no_guest_any_more(site: Site) -> None:
    site.desk.apply(of("22600077"))
    site.desk.apply(activation("22600077"))
    for sponsor, given in ((LEA, "Ada"), ("22600077", "Ida")):
        invite(site, DESK, InviteRequest(**ASKED | {"sponsor": sponsor, "given_name": given}))
    ada, ida = (each.student_number for each in site.take())
    gone = Forgetting(student_number=LEA, pseudonym="erased-1", identifiers=(LEA,), hashed=str)
    with site.database.write() as connection:
        persons.forget(connection, site.database, metadata, gone)
        theirs = {each: People(site.database).enrolments(connection, each)[0].sponsor for each in (ada, ida)}
    assert theirs == {ada: "erased-1", ida: "22600077"}
    assert [each.sponsor for each in site.desk.account(ada).enrolments] == ["erased-1"]
    assert {each.student_number: each.sponsored for each in invited(site, DESK)} == {ada: False, ida: True}


def test_a_sponsor_who_goes_on_under_another_number_answers_for_the_guests(site: Site) -> None:
    staff = "22600077"
    for number in (staff, "22600078"):
        site.desk.apply(of(number))
        site.desk.apply(activation(number))
    for sponsor, given in ((staff, "Ada"), ("22600078", "Ida")):
        invite(site, DESK, InviteRequest(**ASKED | {"sponsor": sponsor, "given_name": given}))
    ada, _ida = (each.student_number for each in site.take())
    site.desk.apply(IdentityDecided(student_number=staff, other=LEA, decision=IdentityDecision.MERGE))
    assert [each.sponsored for each in invited(site, DESK)] == [True, True]
    with site.database.read() as connection:
        found = sponsor_of(connection, site.desk.account(ada))
    assert found is not None
    assert found.student_number == LEA
    assert invite(site, DESK, InviteRequest(**ASKED | {"sponsor": staff, "given_name": "Eve"})).sponsor == LEA
    site.desk.apply(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED))
    assert [each.is_left_alone for each in invited(site, DESK) if each.student_number == ada] == [True]


def test_a_guest_whose_day_is_over_needs_no_sponsor_any_more(site: Site) -> None:
    for given, day in (("Ada", LAST_DAY), ("Ida", LAST_DAY + timedelta(90))):
        number = invite(
            site, DESK, InviteRequest(**ASKED | {"given_name": given, "until": day})
        ).student_number
        site.take()
        site.desk.apply(activation(number))
    site.desk.pass_time(LAST_DAY + timedelta(5))
    found = {each.name: (each.stage, each.is_left_alone) for each in invited(site, DESK)}
    assert found == {"Ada Lovelace": (Stage.EXPIRED, False), "Ida Lovelace": (Stage.ACTIVE, False)}


def test_the_audit_names_a_sponsor_by_a_digest(site: Site) -> None:
    invite(site, DESK, InviteRequest(**ASKED))
    with site.database.read() as connection:
        details = [row[0] for row in connection.execute(text("SELECT detail FROM audit")).all()]
        [noted] = [each for each in entries(connection, limit=9) if each.action == "guest.invite"]
    assert not any(LEA in each for each in details)
    assert noted.detail["sponsor"] == LEA


def test_an_invitation_is_taken_back_and_the_other_guest_s_is_not(site: Site) -> None:
    for given in ("Ada", "Ida", "Eva"):
        number = invite(site, DESK, InviteRequest(**ASKED | {"given_name": given})).student_number
        site.take()
        if given != "Eva":  # who never activated
            site.desk.apply(activation(number))
    numbers = {each.name.split()[0]: each.student_number for each in invited(site, DESK) if each.name}
    site.desk.apply(
        ProlongationRequested(student_number=numbers["Ada"], ends_on=LAST_DAY, until=date(2027, 1, 9))
    )
    for given in ("Ada", "Eva"):
        done = end(site, DESK, EndInvitationRequest(student_number=numbers[given], reason="wrong address"))
        assert (done.student_number, done.until) == (numbers[given], date(2026, 9, 14))
        [message] = site.producer.take()
        site.desk.apply(expect(EnrolmentCancelled, message.event))
        with pytest.raises(NotInvited):
            end(site, DESK, EndInvitationRequest(student_number=numbers[given], reason="again"))
    site.desk.pass_time(date(2026, 9, 16))
    stages = {given: site.desk.account(number).stage for given, number in numbers.items()}
    assert stages == {"Ada": Stage.EXPIRED, "Ida": Stage.ACTIVE, "Eva": Stage.PRECREATED}
    assert list(site.desk.account(numbers["Eva"]).enrolments) == []
    with site.database.read() as connection:
        noted = [each for each in entries(connection, limit=9) if each.action == "guest.end"]
    assert [(each.actor, each.detail["student_number"]) for each in reversed(noted)] == [
        ("odile", numbers["Ada"]),
        ("odile", numbers["Eva"]),
    ]
    for other in (LEA, "G-00000009"):
        with pytest.raises(NotInvited):
            end(site, DESK, EndInvitationRequest(student_number=other, reason="nobody"))


def test_a_viewer_invites_nobody_and_sees_none(site: Site) -> None:
    for who in (Actor("vera", frozenset({Role.VIEWER})), Actor("rene", frozenset({Role.REGISTRAR}))):
        with pytest.raises(ActRefused):
            invite(site, who, InviteRequest(**ASKED))
        with pytest.raises(ActRefused):
            invited(site, who)
