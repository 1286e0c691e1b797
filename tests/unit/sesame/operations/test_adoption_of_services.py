"""Who is in a connector's target already: found by the number or asked about, and kept by the next write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, select

from consumers.kit.connector import AdoptedRef, TargetObject, find_own
from consumers.registry.ledger import SERVICE, SqlLedger, ledger
from pipeline.errors import Misconfigured, TargetDown
from pipeline.target_states import target_states
from schemas.account import Account
from sesame.app.targets import adopted_refs
from sesame.operations.questions.adoption.readers import objects, readers
from sesame.operations.questions.adoption.run import AdoptionReport, adopt
from sesame.testing.servers.database_kit import ONLY_SQLITE
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness, activation, enrolled
from tests.unit.sesame.operations.adoption_kit import Targets, asked, decide, held, linked

CAMPUS = "campus"


class Service:
    """A connector whose target holds what it is told."""

    def __init__(self, name: str = CAMPUS, verbs: tuple[str, ...] = ("apply", "objects")) -> None:
        self.name = name
        self.held: list[TargetObject] = []
        self.fault: Exception | None = None
        self.connected = 0
        self._verbs = verbs

    def verbs(self) -> tuple[str, ...]:
        return self._verbs

    def objects(self) -> Iterator[TargetObject]:
        yield from self.held
        if self.fault is not None:
            raise self.fault

    def has(self, ref: str, *names: tuple[str, str], number: str = "", **evidence: str) -> None:
        """One more object; its names are Léa Martin's unless given."""
        told = {"family": "Martin", "given": "Léa", **evidence}
        self.held.append(TargetObject(ref, number, names=names, evidence=told))

    @contextmanager
    def connection(self) -> Iterator[Service]:
        self.connected += 1
        yield self
        self.connected -= 1


@pytest.fixture
def desk(store_url: str) -> Iterator[RegistryHarness]:
    """Léa Martin is enrolled."""
    desk = RegistryHarness(store_url)
    desk.apply(enrolled())
    yield desk
    desk.database.close()


@pytest.fixture
def targets(desk: RegistryHarness) -> Targets:
    return Targets(desk)


@pytest.fixture
def service() -> Service:
    return Service()


def adopted(desk: RegistryHarness, targets: Targets, service: Service) -> AdoptionReport:
    """Adopt the directory's entries and whoever the service shows."""
    with service.connection():
        reading = {**targets.readers(), **_readers(service)}
        return adopt(reading, desk.database, actor="aline", dry_run=False)


def _readers(*services: Service) -> dict[str, Any]:
    by_name = {service.name: service for service in services}
    chosen = {name: SimpleNamespace(connector=service) for name, service in by_name.items()}
    site: Any = SimpleNamespace(
        settings=SimpleNamespace(targets=tuple(by_name), connector_of=lambda name: chosen[name]),
        connector=lambda name: by_name[name].connection(),
    )
    return dict(readers(site))


def refs(desk: RegistryHarness) -> dict[str, AdoptedRef]:
    """As a connector is given them."""
    return dict(adopted_refs(desk.database, CAMPUS, [LEA, PAUL]))


# --- reading ------------------------------------------------------------------------------------------


def test_whoever_can_list_its_objects_is_read_and_disconnected() -> None:
    listing, other = Service(), Service("forms", verbs=("apply",))
    listing.has("7", ("login", "LMartin"), ("mail", "L@univ-exemple.fr"), ("badge", "x"), ine="123456789ab")
    found = _readers(listing, other)
    assert list(found) == [CAMPUS]
    with found[CAMPUS]() as shown:
        (one,) = shown
        assert listing.connected == 1
    assert listing.connected == 0
    assert (one.target, one.ref, one.login, one.mail) == (CAMPUS, "7", "LMartin", "l@univ-exemple.fr")
    assert (one.numbers, one.ine, one.family, one.given) == ((), "123456789AB", "Martin", "Léa")
    assert one.names == (("login", "lmartin"), ("mail", "l@univ-exemple.fr"))


@ONLY_SQLITE
@pytest.mark.parametrize("fault", [TargetDown("away"), Misconfigured("no rights"), KeyError("léa martin")])
def test_what_cannot_be_read_is_told_and_nothing_is_written(
    desk: RegistryHarness, targets: Targets, service: Service, fault: Exception
) -> None:
    before = held(desk)
    service.has("7", ("login", "lmartin"), number=LEA)
    service.fault = fault
    with pytest.raises((TargetDown, Misconfigured)) as told:
        adopted(desk, targets, service)
    assert "léa" not in str(told.value)
    assert (held(desk), linked(desk, CAMPUS)) == (before, {})


def test_a_name_that_no_column_takes_is_left_out_and_such_an_object_is_told(service: Service) -> None:
    service.has("7", ("login", "l" * 256), ("login", "l\0m"), ("login", "lm"), number="4\0", family="\ud800")
    connector: Any = service
    assert [one.login for one in objects(connector)] == ["lm"]
    assert [(one.numbers, one.family) for one in objects(connector)] == [(("4?",), "?")]
    for ref in ("x" * 513, "x\0"):
        service.held.clear()
        service.has(ref)
        with pytest.raises(Misconfigured, match="campus"):
            list(objects(connector))


# --- whose it is --------------------------------------------------------------------------------------


def test_an_object_with_the_number_is_the_students(
    desk: RegistryHarness, targets: Targets, service: Service
) -> None:
    service.has("7", ("login", "lea.m"), ("mail", "lea@courriel.example"), number=LEA)
    service.has("8", ("login", "chef"), family="Roussel", given="Hélène")
    found = adopted(desk, targets, service)
    assert found.standings[CAMPUS] == {"match": 1, "candidate": 0, "conflict": 0, "stranger": 1}
    assert (linked(desk, CAMPUS), asked(desk)) == ({LEA: ("7", "student_number")}, set())
    with desk.database.write() as connection:
        names = SqlLedger(connection, desk.database, 0.0).held_by(LEA)
        origins = connection.scalars(select(ledger.c.origin).where(ledger.c.value.in_(["lea.m", "chef"])))
        assert set(origins) == {SERVICE}
    assert names["login"] == "lea.m"  # as in Moodle: nothing else shows a login of hers
    assert (held(desk)["login", "chef"], held(desk)["mail", "lea@courriel.example"]) == (None, None)


def test_a_users_login_or_address_only_raises_a_question(
    desk: RegistryHarness, targets: Targets, service: Service
) -> None:
    targets.entry("lmartin", LEA)
    service.has("guid-7", ("login", "LMartin"))
    adopted(desk, targets, service)
    assert (linked(desk, CAMPUS), asked(desk)) == ({}, {(CAMPUS, "idnumber_empty", LEA)})
    decide(desk)
    assert adopted(desk, targets, service).questions == {}
    assert linked(desk, CAMPUS) == {LEA: ("guid-7", "operator")}
    assert refs(desk) == {LEA: "guid-7"}


@ONLY_SQLITE
@pytest.mark.parametrize("name", [("login", "lmartin"), ("mail", "lmartin@univ-exemple.fr")])
@pytest.mark.parametrize("other", [{"given": "Luc"}, {"family": "Durand"}])
def test_a_homonym_is_asked_about_apart(
    desk: RegistryHarness, targets: Targets, service: Service, name: tuple[str, str], other: dict[str, str]
) -> None:
    targets.entry("lmartin", LEA)
    service.has("7", name, **other)
    adopted(desk, targets, service)
    assert (linked(desk, CAMPUS), asked(desk)) == ({}, {(CAMPUS, "names_differ", LEA)})
    decide(desk, "separate")
    assert adopted(desk, targets, service).questions == {}
    assert linked(desk, CAMPUS) == {}


@ONLY_SQLITE
def test_what_was_decided_before_names_were_compared_holds(desk: RegistryHarness, targets: Targets) -> None:
    targets.entry("lmartin", LEA)
    targets.user(17, "lmartin")
    targets.adopt()
    decide(desk)
    targets.objects["moodle"].clear()
    targets.user(17, "lmartin", given="Luc")
    assert targets.adopt().questions == {}
    assert linked(desk, "moodle") == {LEA: ("17", "operator")}


@ONLY_SQLITE
def test_an_active_account_without_an_entry_tells_whose_a_login_is(
    desk: RegistryHarness, targets: Targets, service: Service
) -> None:
    desk.apply(activation())
    service.has("7", ("login", "lea.martin"))
    adopted(desk, targets, service)
    assert asked(desk) == {(CAMPUS, "idnumber_empty", LEA)}
    service.held.clear()
    service.has("7", ("login", "lea.martin"), family="Roussel", given="Hélène")
    adopted(desk, targets, service)
    assert asked(desk) == {(CAMPUS, "ledger_active", LEA)}


@ONLY_SQLITE
def test_a_login_that_nobody_has_seen_yet_may_be_given_up(
    desk: RegistryHarness, targets: Targets, service: Service
) -> None:
    service.has("7", ("login", "lea.martin"))
    adopted(desk, targets, service)
    assert asked(desk) == {(CAMPUS, "ledger_other", LEA)}


@ONLY_SQLITE
def test_the_ine_links_and_names_with_the_birth_date_ask(
    desk: RegistryHarness, targets: Targets, service: Service
) -> None:
    desk.apply(enrolled(PAUL, ine="123456789AB", given_name="Paul", birth_date=date(2005, 1, 2)))
    service.has("7", ("login", "p75"), ine="123456789AB", given="Paul")
    service.has("8", ("login", "lm75"), birth="2007-05-04")
    adopted(desk, targets, service)
    assert linked(desk, CAMPUS) == {PAUL: ("7", "ine")}
    assert asked(desk) == {(CAMPUS, "names_and_birth_date", LEA)}


@ONLY_SQLITE
def test_contradictions_are_asked_about(desk: RegistryHarness, targets: Targets, service: Service) -> None:
    desk.apply(enrolled(PAUL, birth_name="Durand", given_name="Paul", birth_date=date(2005, 1, 2)))
    targets.entry("lmartin", LEA)
    targets.entry("pdurand", PAUL, family="Durand", given="Paul")
    service.has("7", ("login", "x75"), number=LEA)
    service.has("8", ("login", "lmartin"), number=PAUL, family="Durand", given="Paul")
    adopted(desk, targets, service)
    assert asked(desk) == {(CAMPUS, "login_differs", LEA), (CAMPUS, "login_shared", PAUL)}
    service.has("9", ("login", "LMARTIN"), number=LEA)
    adopted(desk, targets, service)
    assert asked(desk) == {(CAMPUS, "number_twice", LEA), (CAMPUS, "login_shared", PAUL)}
    assert linked(desk, CAMPUS) == {}


@ONLY_SQLITE
def test_a_short_login_and_capitals_are_no_contradiction(
    desk: RegistryHarness, targets: Targets, service: Service
) -> None:
    desk.apply(enrolled(PAUL, birth_name="De La Tour", given_name="Marie-Antoinette"))
    desk.apply(activation(PAUL))
    account = desk.account(PAUL)
    assert account.short_login is not None
    targets.entry(account.login, PAUL, family="De La Tour", given="Marie-Antoinette")
    service.has("7", ("login", account.short_login.upper()), number=PAUL, family="De La Tour", given="Marie")
    adopted(desk, targets, service)
    assert (asked(desk), set(linked(desk, CAMPUS))) == (set(), {PAUL})


@ONLY_SQLITE
def test_what_sesame_wrote_and_somebody_changed_is_no_question(
    desk: RegistryHarness, targets: Targets, service: Service
) -> None:
    targets.entry("lmartin", LEA)
    service.has("7", ("login", "x75"), ("mail", "x@courriel.example"), number=LEA)
    adopted(desk, targets, service)
    assert asked(desk) == {(CAMPUS, "login_differs", LEA), (CAMPUS, "mail_differs", LEA)}
    with desk.database.write() as connection:
        row = {"target": CAMPUS, "student_number": LEA, "applied_version": 1}
        connection.execute(insert(target_states).values(**row))
    adopted(desk, targets, service)
    assert (asked(desk), set(linked(desk, CAMPUS))) == (set(), {LEA})


# --- names --------------------------------------------------------------------------------------------


@ONLY_SQLITE
def test_a_principal_name_is_left_to_who_has_it(
    desk: RegistryHarness, targets: Targets, service: Service
) -> None:
    targets.entry("lmartin", LEA)
    service.has("7", ("login", "lmartin"), ("principal", "lmartin@etu.univ-exemple.fr"))
    service.has("8", ("login", "hr"), ("principal", "H.Roussel@univ-exemple.fr"), family="R", given="H")
    adopted(desk, targets, service)
    assert held(desk)["principal", "h.roussel@univ-exemple.fr"] is None
    desk.apply(enrolled(sequence=2, given_name="Léa-Marie"))
    assert desk.account().principal == "lmartin@etu.univ-exemple.fr"


# --- what the connector makes of it -------------------------------------------------------------------


@ONLY_SQLITE
def test_an_object_with_a_number_of_another_kind_is_theirs_until_it_has_another_one(
    desk: RegistryHarness, targets: Targets, service: Service
) -> None:
    targets.entry("lmartin", LEA)
    service.has("7", ("login", "lmartin"), number="HR 42")
    adopted(desk, targets, service)
    assert asked(desk) == {(CAMPUS, "idnumber_other", LEA)}
    decide(desk)
    adopted(desk, targets, service)
    ref, lea = refs(desk)[LEA], desk.account()
    assert isinstance(lea, Account)
    assert (ref, ref.number) == ("7", "HR 42")
    for number, theirs in (("HR 42", True), ("", True), (LEA, True), (PAUL, False), ("HR 43", False)):
        assert bool(find_own(lea, [TargetObject("7", number)], ref)) is theirs, number
    assert not find_own(lea, [TargetObject("8")], ref)
