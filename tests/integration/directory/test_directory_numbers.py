"""A person of several student numbers, over a real slapd: supannEtuId follows the number in use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from consumers.kit.deadline import Deadline
from pipeline.target import Done, Preview, Retry
from sandbox.slapd import Slapd
from schemas.account import Account, Hold, Stage
from schemas.events import IdentityDecided, IdentityDecision
from sesame.testing.servers.directory_kit import Consumer, account, change_of, fresh_number
from sesame.testing.servers.ldap_tools import as_provisioner, can_log_in, search
from sesame.testing.servers.registry_kit import RegistryHarness, activation, cancelled, enrolled
from sesame.testing.servers.stores import sqlite_store

PASSWORD = "Mon-Mot-de-Passe-2026!"


def carriers(slapd: Slapd, number: str) -> Mapping[str, Mapping[str, list[str]]]:
    """Who carries the number, as any application of the site finds them."""
    return search(slapd, slapd.people_dn, f"(supannEtuId={number})", "uid", "supannEtuId", "supannRefId")


def entry(slapd: Slapd, one: Account) -> Mapping[str, list[str]]:
    names = "supannEtuId", "supannRefId", "sesameMailEnabled"
    [found] = search(slapd, slapd.people_dn, f"(uid={one.login})", *names).values()
    return found


def brought(consumer: Consumer, number: str, **fields: Any) -> Account:
    one = account(number, **fields)
    assert isinstance(consumer.bring(one), Done)
    return one


def test_the_entry_shows_the_number_in_use_and_is_found_by_it(slapd: Slapd, consumer: Consumer) -> None:
    old, new = fresh_number(), fresh_number()
    ref = consumer.vault.put("ref-numbers", PASSWORD)
    one = brought(consumer, old, credential_ref=ref)
    brought(consumer, old, version=2, credential_ref=ref, shown_number=new)
    [(dn, found)] = carriers(slapd, new).items()
    assert dn == f"uid={one.login},{slapd.people_dn}"
    assert found["supannEtuId"] == [new]
    assert sorted(found["supannRefId"]) == [f"{{APOGEE}}{new}", f"{{SESAME}}{old}"]
    assert carriers(slapd, old) == {}
    assert can_log_in(slapd, dn, PASSWORD)


def test_what_is_kept_under_another_number_is_written_once(consumer: Consumer) -> None:
    old, new = fresh_number(), fresh_number()
    wanted = account(old, shown_number=new)
    first = consumer.bring(wanted)
    again = consumer.bring(wanted)
    assert isinstance(first, Done)
    assert again == Done(digest=first.digest, changed=False)
    assert consumer.handler.preview([wanted]) == {old: Preview(())}


def test_a_hold_shuts_an_entry_that_shows_another_number(slapd: Slapd, consumer: Consumer) -> None:
    old, new = fresh_number(), fresh_number()
    one = brought(consumer, old, shown_number=new)
    closing = change_of(consumer.directory, one)
    assert closing.found is not None
    assert consumer.directory.close([closing], Deadline.after(30.0)) == {}
    assert entry(slapd, one)["sesameMailEnabled"] == ["FALSE"]
    held = account(old, version=2, shown_number=new, holds=frozenset({Hold.SUSPENDED}))
    assert isinstance(consumer.bring(held), Done)
    assert entry(slapd, one)["sesameMailEnabled"] == ["FALSE"]


@pytest.mark.parametrize("first", ["goes on", "ends"])
def test_a_number_goes_over_from_the_entry_that_ends(slapd: Slapd, consumer: Consumer, first: str) -> None:
    old, new = fresh_number(), fresh_number()
    goes_on, ends = brought(consumer, old), brought(consumer, new)
    going_on = account(old, version=2, shown_number=new)
    ending = account(new, version=2, stage=Stage.GRACE, shown_number="")
    if first == "goes on":
        early = consumer.bring(going_on)
        assert isinstance(early, Retry), "the other entry's own turn gives the number up"
        assert early.cause == "directory_conflict"
    assert isinstance(consumer.bring(ending), Done)
    assert isinstance(consumer.bring(going_on), Done)
    assert entry(slapd, goes_on)["supannEtuId"] == [new]
    assert "supannEtuId" not in entry(slapd, ends)
    assert isinstance(consumer.bring(ending), Done), "it is found all the same"
    dumped = {each.logins[0]: each.student_numbers for each in consumer.directory.objects()}
    assert (dumped[goes_on.login], dumped[ends.login]) == ((old,), (new,)), "reconciling knows both"


def test_two_numbers_that_part_again_each_have_their_own(slapd: Slapd, consumer: Consumer) -> None:
    old, new = fresh_number(), fresh_number()
    ends = brought(consumer, new, shown_number="")
    goes_on = brought(consumer, old, shown_number=new)
    other = account(new, version=2)
    assert isinstance(consumer.bring(other), Retry)
    brought(consumer, old, version=2)
    assert isinstance(consumer.bring(other), Done)
    assert (entry(slapd, goes_on)["supannEtuId"], entry(slapd, ends)["supannEtuId"]) == ([old], [new])
    assert entry(slapd, goes_on)["supannRefId"] == [f"{{APOGEE}}{old}"]


def test_a_first_entry_waits_until_its_number_is_free(slapd: Slapd, consumer: Consumer) -> None:
    old, new = fresh_number(), fresh_number()
    brought(consumer, old, shown_number=new)
    apart = account(new)
    assert isinstance(consumer.bring(apart), Retry)
    brought(consumer, old, version=2)
    assert isinstance(consumer.bring(apart), Done)
    assert entry(slapd, apart)["supannEtuId"] == [new]


def test_an_entry_that_shows_another_one_s_number_stays_its_own(slapd: Slapd, consumer: Consumer) -> None:
    old, new = fresh_number(), fresh_number()
    one = brought(consumer, old, shown_number=new)
    stranger = account(new, login=one.login, mail=f"x{new}@univ-exemple.fr", principal=f"x{new}@x.fr")
    assert not isinstance(consumer.bring(stranger), Done)
    assert entry(slapd, one)["supannEtuId"] == [new]


def test_erasing_a_number_leaves_the_entry_that_only_shows_it(slapd: Slapd, consumer: Consumer) -> None:
    old, new = fresh_number(), fresh_number()
    one = brought(consumer, old, shown_number=new)
    assert isinstance(consumer.bring(account(new, stage=Stage.ERASED)), Done)
    assert entry(slapd, one)["supannEtuId"] == [new]


def test_an_erased_person_s_entry_is_gone_whatever_number_it_shows(slapd: Slapd, consumer: Consumer) -> None:
    old = fresh_number()
    one = brought(consumer, old, shown_number="")
    erased = account(old, version=2, stage=Stage.ERASED, shown_number="")
    assert isinstance(consumer.bring(erased), Done)
    assert search(slapd, slapd.people_dn, f"(uid={one.login})") == {}


def test_what_the_registry_makes_of_a_merge_is_what_the_directory_shows(
    slapd: Slapd, consumer: Consumer, tmp_path: Path
) -> None:
    """Two accounts become one; the registrar goes on with the other number, and then with the first."""
    desk = RegistryHarness(sqlite_store(tmp_path))
    old, new = fresh_number(), fresh_number()

    def shown() -> dict[str, list[str]]:
        for number in (old, new):  # whoever is too early comes again, as the engine sees to
            consumer.bring(desk.account(number))
        outcomes = [consumer.bring(desk.account(number)) for number in (old, new)]
        assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
        found = {number: entry(slapd, desk.account(number)) for number in (old, new)}
        return {number: values.get("supannEtuId", []) for number, values in found.items()}

    try:
        name = f"Lefèvre{old[-6:]}"
        desk.apply(enrolled(old, birth_name=name))
        desk.apply(enrolled(new, 2, birth_name=name, birth_date=date(2005, 2, 3)))
        for number in (old, new):
            desk.apply(activation(number))
        assert shown() == {old: [old], new: [new]}
        desk.apply(IdentityDecided(student_number=new, other=old, decision=IdentityDecision.MERGE))
        assert shown() == {old: [old], new: [new]}
        desk.apply(cancelled(old, 3))
        assert shown() == {old: [new], new: []}
        desk.apply(enrolled(old, 4, year=2027, birth_name=name))
        assert shown() == {old: [old], new: [new]}
    finally:
        desk.database.close()


def test_further_numbers_that_others_wrote_are_left_alone(slapd: Slapd, consumer: Consumer) -> None:
    number, further = fresh_number(), fresh_number()
    one = brought(consumer, number)
    dn = f"uid={one.login},{slapd.people_dn}"
    as_provisioner(
        slapd, "ldapmodify", stdin=f"dn: {dn}\nchangetype: modify\nadd: supannEtuId\nsupannEtuId: {further}\n"
    )
    brought(consumer, number, version=2)
    assert sorted(entry(slapd, one)["supannEtuId"]) == sorted([number, further])
