"""Facts that the registry gets at once, as if each had come alone and its person had been looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from consumers.registry import identity_doubts
from consumers.registry.doubts import fingerprints
from consumers.registry.ledger import MINTED, SqlLedger, hashable, ledger
from consumers.registry.people import Identity
from consumers.registry.registrar import RegistrarFacts
from consumers.registry.settings import MembershipTemplate, RegistrySettings
from pipeline.db.metadata import metadata
from pipeline.facts import Fact, Rejected
from schemas.account import Administrative, Hold
from schemas.envelope import Message, event_id
from schemas.events import Event, HoldPlaced
from sesame.testing.servers.registry_kit import (
    START,
    RegistryHarness,
    activation,
    cancelled,
    enrolled,
    taught,
)

ZOE, ZOE_TOO, ANNA, OTHER_ANNA, THIRD_ANNA = "22600001", "22600002", "22600003", "22600004", "22600005"
KNOWN, RESERVED, WAITING, ERASED = "22500001", "22600006", "22600007", "22600008"
TAUGHT, CANCELLED = "22600009", "22600010"


def of(number: str, given: str, born: int = 1, sequence: int = 1, **more: Any) -> Event:
    """An enrolment of this Martin."""
    return enrolled(number, sequence, given_name=given, birth_date=date(2007, 5, born), **more)


PAGES: dict[str, Sequence[Event]] = {
    "two newcomers": [of(ZOE, "Zoé"), of(ANNA, "Anna")],
    "three homonyms": [of(ANNA, "Anna"), of(OTHER_ANNA, "Anna", 2), of(THIRD_ANNA, "ANNA", 3)],
    "one person twice": [of(ZOE, "Zoé"), of(ZOE_TOO, "Zoé"), of(ANNA, "Anna")],
    "one national number": [of(ZOE, "Zoé", ine="0123456789A"), of(ANNA, "Anna", ine="0123456789A")],
    "two steps of one": [of(ZOE, "Zoé"), of(ANNA, "Anna"), of(ZOE, "Zoé", 1, 2, step="L2INFO")],
    "the older step last": [of(ZOE, "Zoé", 1, 5), of(ZOE, "Zoe", 1, 4, step="L2INFO")],
    "corrected at once": [of(ZOE, "Zoé", personal_mail="z@exemple.net"), of(ZOE, "Zoë", 1, 2)],
    "cancelled at once": [of(ZOE, "Zoé"), cancelled(ZOE, 2), of(ANNA, "Anna")],
    "cancelled before": [cancelled(ZOE, 3), of(ZOE, "Zoé", 1, 2), of(ANNA, "Anna")],
    "recorded as cancelled": [of(ZOE, "Zoé", administrative=Administrative.CANCELLED), of(ANNA, "Anna")],
    "of a year that is over": [of(ZOE, "Zoé", year=2020), of(ANNA, "Anna")],
    "activated before": [activation(ZOE), of(ZOE, "Zoé"), of(ANNA, "Anna"), activation(ANNA)],
    "taught before": [
        taught("UE1/TD2", student_number=ZOE),
        of(ZOE, "Zoé"),
        taught("UE2", student_number=ZOE),
    ],
    "held at once": [of(ZOE, "Zoé"), HoldPlaced(student_number=ZOE, hold=Hold.SUSPENDED), of(ANNA, "Anna")],
    "beside who is known": [of(KNOWN, "Louise", 9, 7, step="L2INFO"), of(ZOE, "Léa", 9), of(ANNA, "Léa", 8)],
    "with a reserved name": [of(RESERVED, "Rosa"), of(ZOE, "Rosa", 2)],
    "taught long before": [of(TAUGHT, "Tom"), of(ZOE, "Tom", 2)],
    "cancelled long before": [of(CANCELLED, "Carl", 1, 2), of(CANCELLED, "Carl", 1, 2, step="L2INFO")],
    "cancelled, then recorded": [of(CANCELLED, "Carl", 1, 4, step="L2INFO"), of(ZOE, "Carl", 2)],
    "with facts that waited": [of(WAITING, "Willy"), of(ZOE, "Willy", 2)],
    "with who was erased": [of(ERASED, "Eva"), of(ZOE, "Eva", 2)],
    "with a long login": [of(ZOE, "Maximilienne-Alexandrine"), of(ANNA, "Maximilienne-Alexandrine", 2)],
}


@pytest.fixture
def desk(store_url: str) -> Iterator[RegistryHarness]:
    units = MembershipTemplate(key="ue-{element}-{year}", name="{element_label}")
    desk = RegistryHarness(store_url, RegistrySettings(mail_domain="etu.univ-exemple.fr", cohorts=(units,)))
    with closing(desk.database):
        yield desk


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_page_leaves_what_its_facts_leave_one_by_one(
    desk: RegistryHarness, monkeypatch: pytest.MonkeyPatch, page: Sequence[Event]
) -> None:
    desk.apply(of(KNOWN, "Léa", 9, 6))
    desk.apply(activation(WAITING))
    desk.apply(taught("UE1", student_number=TAUGHT))
    desk.apply(cancelled(CANCELLED, 3))
    with desk.transaction() as connection:
        names = SqlLedger(connection, desk.database, desk.clock())
        assert names.reserve("login", "rosa.martin-old", holder=RESERVED, origin="directory")
        hashed, nobody = desk.privacy.hashed, desk.privacy.pseudonym(ERASED)
        login = hashed(hashable("login", "eva.martin2"))
        connection.execute(insert(ledger).values(("login", login, nobody, MINTED, 1.0)))
        eva = fingerprints(Identity(birth_name="Martin", given_name="Eva", birth_date=date(2007, 5, 1)), None)
        birth = hashed(identity_doubts.hashable("birth", eva["birth"]))
        connection.execute(insert(identity_doubts.fingerprints).values(("birth", birth, nobody)))
    facts = [desk.fact(message_of(place, event)) for place, event in enumerate(page)]
    at_once = left_by(desk, [facts])
    monkeypatch.setattr(RegistrarFacts, "newcomers", lambda *_: set())  # each person is looked for
    one_by_one = left_by(desk, [[fact] for fact in facts])
    assert at_once == one_by_one
    assert at_once != left_by(desk, [])


def test_a_fact_that_is_refused_undoes_its_page(desk: RegistryHarness) -> None:
    """The loop gives each alone then: a page must not be applied in part."""
    unknown = activation(ANNA, credential_ref="nothing-under-it")
    facts = [
        desk.fact(message_of(place, each)) for place, each in enumerate([of(ZOE, "Zoé"), of(ANNA, "Anna")])
    ]
    with pytest.raises(Rejected), desk.transaction() as connection:
        desk.registry.handle(connection, [*facts, desk.fact(message_of(3, unknown))])
    assert desk.maybe_account(ZOE) is None


def message_of(place: int, event: Event) -> Message:
    return Message(event_id(event.type, "page", str(place)), "/sesame/test", START, event)


def left_by(desk: RegistryHarness, pages: Sequence[Sequence[Fact]]) -> dict[str, list[dict[str, Any]]]:
    """All rows of the store after these pages, which are undone."""
    rows = {}
    with suppress(Undo), desk.transaction() as connection:
        for page in pages:
            desk.registry.handle(connection, page)
        rows = all_rows(connection)
        raise Undo
    return rows


class Undo(Exception):
    """Ends a transaction of which nothing is to stay."""


def all_rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """By table; without what another order of the same statements may change."""
    apart = {("outbox", "id"), ("timers", "id"), ("ledger", "recorded_at")}
    return {
        table.name: [
            {name: value for name, value in row.items() if (table.name, name) not in apart}
            for row in connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
        ]
        for table in metadata.sorted_tables
    }
