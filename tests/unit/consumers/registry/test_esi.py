"""The European Student Identifier: minted once, of a definitive INE only, by whatever way that comes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from consumers.registry.esi import EsiFigures, Esis, EsiState, esis_of, figures
from consumers.registry.settings import EsiRules
from pipeline.db import persons
from pipeline.db.metadata import metadata
from pipeline.db.persons import Forgetting
from schemas.events import IdentityDecided, IdentityDecision, ReplayRequested
from sesame.testing.servers.registry_kit import LEA, RegistryHarness, activation, cancelled, enrolled
from sesame.testing.servers.stores import sqlite_store

TOM = "22600099"
OF_LEA, OF_TOM = "000104729VN", "123456789ab"
URN = "urn:schac:personalUniqueCode:int:esi:fr:"

Opened = Callable[..., RegistryHarness]


@pytest.fixture
def opened(tmp_path: Any) -> Iterator[Opened]:
    made: list[RegistryHarness] = []

    def open_(provisional: str | None = "") -> RegistryHarness:
        rules = None if provisional is None else EsiRules(provisional=provisional)
        url = sqlite_store(tmp_path) if not made else made[0].url
        made.append(RegistryHarness(url, esi=rules))
        if len(made) > 1:  # the same site, another day
            made[-1].privacy = made[0].privacy
            made[-1].registry.recognise_by(made[0].privacy)
        return made[-1]

    yield open_
    for desk in made:
        desk.database.close()


@pytest.fixture
def desk(opened: Opened) -> RegistryHarness:
    return opened()


def lea(sequence: int = 1, ine: str | None = OF_LEA, provisional: bool | None = None, **more: Any) -> Any:
    return enrolled(LEA, sequence, ine=ine and ine.upper(), ine_provisional=provisional, **more)


def tom(
    sequence: int = 1,
    ine: str | None = OF_TOM,
    provisional: bool | None = False,
    number: str = TOM,
    **more: Any,
) -> Any:
    who = {"birth_name": "Petit", "given_name": "Tom", "birth_date": date(2006, 2, 3), **more}
    return enrolled(number, sequence, ine=ine and ine.upper(), ine_provisional=provisional, **who)


def replay(number: str) -> ReplayRequested:
    return ReplayRequested(student_number=number, consumer="registry", replay_id="r" * 16)


def shown(desk: RegistryHarness, *numbers: str) -> dict[str, str]:
    """What the directory would be told."""
    with desk.database.read() as connection:
        return esis_of(connection, numbers or (LEA, TOM))


def state(desk: RegistryHarness, number: str = LEA, provisional: str = "") -> EsiState | None:
    esis = Esis(desk.database, desk.people, EsiRules(provisional=provisional))
    esis.privacy = desk.privacy
    with desk.database.read() as connection:
        return esis.state(connection, desk.person(number))


def versions(desk: RegistryHarness, number: str = LEA) -> list[int]:
    return [event.version for _, event in desk.announced(number)]


def erase(desk: RegistryHarness, *numbers: str) -> None:
    with desk.database.write() as connection:
        for number in numbers:
            privacy = desk.privacy
            person = Forgetting(number, privacy.pseudonym(number), (number,), privacy.hashed)
            persons.forget(connection, desk.database, metadata, person)


def everything(desk: RegistryHarness, *, but: Collection[tuple[str, str]] = ()) -> str:
    """Each value of each table, without these columns."""
    with desk.database.read() as connection:
        return "\n".join(
            str(value)
            for table in metadata.sorted_tables
            for row in connection.execute(text(f"SELECT * FROM {table.name}")).mappings()  # noqa: S608
            for name, value in row.items()
            if (table.name, name) not in but
        )


def test_two_students_get_one_each_of_their_own_ine(desk: RegistryHarness) -> None:
    desk.apply(lea(provisional=False))
    desk.apply(tom())
    assert shown(desk) == {LEA: URN + "000104729VN", TOM: URN + "123456789AB"}
    assert state(desk) is state(desk, TOM) is EsiState.MINTED


@pytest.mark.parametrize("provisional", [True, None])
def test_none_is_made_of_a_provisional_ine_nor_of_one_that_may_be(
    desk: RegistryHarness, provisional: bool | None
) -> None:
    desk.apply(lea(provisional=provisional))
    desk.apply(tom(ine=None))
    assert shown(desk) == {}
    assert state(desk) is state(desk, TOM) is EsiState.WAITS
    assert desk.account().version == 1, "the account does not wait"


def test_an_ine_that_becomes_definitive_gives_one_and_rings(desk: RegistryHarness) -> None:
    desk.apply(lea(provisional=True))
    desk.apply(lea(2, provisional=True))
    assert versions(desk) == [1]
    desk.apply(lea(3, provisional=False))
    assert shown(desk) == {LEA: URN + OF_LEA}
    assert versions(desk) == [1, 2], "nothing else has changed, and the directory is told"
    before, after = (desk.announced()[-1][1], desk.account())
    assert (before.version, after.same_state(after)) == (2, True)
    desk.apply(lea(4, provisional=False))
    assert versions(desk) == [1, 2], "once"


def test_another_ine_with_another_number_replaces_a_provisional_one(desk: RegistryHarness) -> None:
    desk.apply(lea(ine="0INE0PROV01", provisional=True))
    desk.apply(lea(2, provisional=False))
    assert shown(desk) == {LEA: URN + OF_LEA}
    assert state(desk) is EsiState.MINTED


@pytest.mark.parametrize("provisional", [False, True, None])
def test_the_first_one_stays_whatever_becomes_of_the_ine(
    desk: RegistryHarness, provisional: bool | None
) -> None:
    desk.apply(lea(provisional=False))
    desk.apply(lea(2, ine="999999999ZZ", provisional=provisional))
    assert shown(desk) == {LEA: URN + OF_LEA}
    assert state(desk) is EsiState.KEPT
    with desk.database.read() as connection:
        assert figures(connection) == EsiFigures(minted=1, kept=1, without=0)
    desk.apply(lea(3, ine=None))
    assert shown(desk) == {LEA: URN + OF_LEA}
    assert state(desk) is EsiState.MINTED


def test_a_pattern_tells_provisional_ines_where_the_file_does_not(opened: Opened) -> None:
    desk = opened("0INE.*")
    desk.apply(lea(ine="0INE0PROV01"))
    desk.apply(tom(provisional=None))
    assert shown(desk) == {TOM: URN + "123456789AB"}
    desk.apply(lea(2, ine="0INE0PROV01", provisional=False))
    assert shown(desk, LEA) == {}, "the site's own rule says no"
    desk.apply(lea(3, provisional=True))
    assert shown(desk, LEA) == {}, "and so does the registrar's word"


def test_a_site_that_asks_for_none_mints_none_and_later_by_a_replay(opened: Opened) -> None:
    desk = opened(None)
    desk.apply(lea(provisional=False))
    desk.apply(tom())
    assert shown(desk) == {}
    later = opened("")
    assert state(later) is EsiState.DUE
    for number in (LEA, TOM):
        later.apply(replay(number))
    assert shown(later) == {LEA: URN + OF_LEA, TOM: URN + "123456789AB"}
    assert versions(later) == [1, 2]


def test_two_persons_with_one_ine_get_one_between_them(desk: RegistryHarness) -> None:
    desk.apply(lea(provisional=False))
    desk.apply(tom(ine=OF_LEA.lower()))
    assert desk.maybe_account(TOM) is None, "the doubt comes first"
    desk.apply(IdentityDecided(student_number=TOM, other=LEA, decision=IdentityDecision.SEPARATE))
    assert desk.account(TOM).login == "tom.petit"
    assert shown(desk) == {LEA: URN + OF_LEA, TOM: ""}
    assert (state(desk), state(desk, TOM)) == (EsiState.MINTED, EsiState.TAKEN)


def test_an_ine_that_was_another_one_s_by_mistake_stays_their_esi(desk: RegistryHarness) -> None:
    """The first holder's INE is corrected, and its right owner arrives: the router knows the first."""
    desk.apply(lea(provisional=False))
    desk.apply(lea(2, ine="999999999ZZ", provisional=False))
    desk.apply(tom(ine=OF_LEA))
    assert desk.account(TOM).version == 1, "no doubt is left"
    assert shown(desk) == {LEA: URN + OF_LEA}
    assert state(desk, TOM) is EsiState.TAKEN


def test_numbers_that_merge_show_the_first_one_and_part_with_their_own(desk: RegistryHarness) -> None:
    desk.apply(lea(ine=None))
    desk.apply(activation(LEA))
    desk.apply(tom())
    merge = IdentityDecided(student_number=TOM, other=LEA, decision=IdentityDecision.MERGE)
    desk.apply(merge)
    assert shown(desk) == {LEA: URN + "123456789AB", TOM: ""}
    desk.apply(lea(2, provisional=False))
    assert shown(desk) == {LEA: URN + "123456789AB", TOM: ""}, "a person has one"
    told = versions(desk)[-1]
    desk.clock.now += 60
    desk.apply(merge.model_copy(update={"decision": IdentityDecision.SEPARATE}))
    assert versions(desk)[-1] > told, "the directory is told"
    assert shown(desk)[TOM] == URN + "123456789AB"
    assert shown(desk)[LEA] == URN + OF_LEA


def test_a_merge_that_changes_nothing_else_rings(desk: RegistryHarness) -> None:
    desk.apply(lea(ine=None))
    desk.apply(tom())
    desk.apply(cancelled(TOM))
    before = desk.account()
    desk.apply(IdentityDecided(student_number=TOM, other=LEA, decision=IdentityDecision.MERGE))
    assert desk.account().same_state(before.model_copy(update={"shown_number": desk.account().shown_number}))
    assert desk.account().version > before.version
    assert shown(desk) == {LEA: URN + "123456789AB", TOM: ""}
    desk.clock.now += 60
    desk.apply(IdentityDecided(student_number=TOM, other=LEA, decision=IdentityDecision.SEPARATE))
    assert shown(desk) == {LEA: "", TOM: URN + "123456789AB"}, "who has none gives the other's up"


def test_it_is_in_the_person_s_row_and_nowhere_else(desk: RegistryHarness) -> None:
    desk.apply(lea(provisional=False))
    desk.apply(activation(LEA))
    rest = everything(desk, but=[("people", "ine"), ("people", "esi")])
    assert "schac" not in rest
    assert OF_LEA not in rest
    assert "schac" in everything(desk)


def test_an_erased_person_leaves_a_digest_and_nobody_else_gets_the_esi(desk: RegistryHarness) -> None:
    desk.apply(lea(provisional=False))
    desk.apply(lea(2, ine="999999999ZZ", provisional=False))
    erase(desk, LEA)
    left = everything(desk)
    assert "schac" not in left
    assert OF_LEA not in left
    desk.apply(tom(ine=OF_LEA))
    if desk.maybe_account(TOM) is None:
        erased = desk.privacy.pseudonym(LEA)
        parted = IdentityDecision.SEPARATE
        desk.apply(IdentityDecided(student_number=TOM, other=erased, decision=parted))
    assert desk.account(TOM).version == 1
    assert shown(desk) == {TOM: ""}
    assert state(desk, TOM) is EsiState.TAKEN


def test_who_comes_back_gets_the_same_one(desk: RegistryHarness) -> None:
    desk.apply(lea(provisional=False))
    erase(desk, LEA)
    desk.apply(lea(5, provisional=False))
    assert shown(desk) == {LEA: URN + OF_LEA}
    erase(desk, LEA)
    assert shown(desk) == {}


def test_who_comes_back_with_another_ine_gets_none(desk: RegistryHarness) -> None:
    desk.apply(lea(provisional=False))
    erase(desk, LEA)
    desk.apply(lea(5, ine="999999999ZZ", provisional=False))
    assert desk.account().version == 1
    assert shown(desk) == {}
    assert state(desk) is EsiState.TAKEN


def test_two_workers_at_once_mint_one(opened: Opened) -> None:
    """The database decides: the claim of another transaction is seen, or waited for."""
    first, second = opened(None), opened("")
    first.apply(lea(provisional=False))
    first.apply(tom(ine=OF_LEA))
    esis = Esis(second.database, second.people, EsiRules())
    with second.database.write() as connection:
        won = [esis.mint(connection, second.person(number), [number]) for number in (TOM, LEA)]
    assert won == [True, False]
    assert shown(second) == {TOM: URN + OF_LEA}
