"""Each answer of a real directory, and what the consumer makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from consumers.directory.connector import DirectoryConnector
from consumers.directory.difference import changes as difference_changes
from consumers.directory.difference import guarded_by_values
from consumers.directory.objects import EntryObject
from consumers.kit.connector import Refused
from consumers.kit.ldap_answers import Code
from pipeline.errors import Misconfigured
from sandbox.slapd import Slapd
from schemas.account import Account
from sesame.testing.servers.directory_kit import (
    account,
    change_of,
    client_of,
    differences,
    directory_of,
    fresh_number,
    put,
    seen,
)
from sesame.testing.servers.ldap_tools import as_provisioner, search


@pytest.fixture(scope="module")
def directory(slapd: Slapd) -> Iterator[DirectoryConnector]:
    made = directory_of(slapd)
    yield made
    made.disconnect()


def cause(refused: Refused | None) -> str:
    """Why a write was refused for good."""
    assert refused is not None
    assert refused.lasting
    return refused.cause


def csn(slapd: Slapd, wanted: Account) -> list[str]:
    (entry,) = search(slapd, slapd.people_dn, f"(supannEtuId={wanted.student_number})", "entryCSN").values()
    return entry["entryCSN"]


def add_person(slapd: Slapd, uid: str, *lines: str) -> str:
    dn = f"uid={uid},{slapd.people_dn}"
    classes = ("inetOrgPerson", "eduPerson", "supannPerson")
    head = [
        f"dn: {dn}",
        *(f"objectClass: {name}" for name in classes),
        f"uid: {uid}",
        "cn: Autre",
        "sn: Autre",
    ]
    as_provisioner(slapd, "ldapadd", stdin="\n".join([*head, *lines]) + "\n")
    return dn


def test_a_new_student_gets_the_entry_of_supann(slapd: Slapd, directory: DirectoryConnector) -> None:
    wanted = account()
    assert put(directory, wanted) is None
    (entry,) = search(slapd, slapd.people_dn, f"(supannEtuId={wanted.student_number})").values()
    assert entry["displayName"] == ["Zoé Lefèvre-Noël"]
    assert entry["cn"] == ["Lefevre-Noel Zoe"]
    assert entry["supannEtuInscription"] == [
        "[etab={UAI}0751717J][anneeinsc=2026][cursusann={SUPANN}L1][affect=SCI][etape={UAI:0751717J}L1INFO-261]"
    ]
    assert differences(directory, wanted) == set()


def test_only_the_difference_is_written_and_what_others_put_there_stays(
    slapd: Slapd, directory: DirectoryConnector
) -> None:
    wanted = account()
    put(directory, wanted)
    dn = f"uid={wanted.login},{slapd.people_dn}"
    others = f"dn: {dn}\nchangetype: modify\nadd: telephoneNumber\ntelephoneNumber: +33 1 44 00 00 00\n-\n"
    drift = "replace: displayName\ndisplayName: Autrement\n"
    as_provisioner(slapd, "ldapmodify", stdin=others + drift)
    assert put(directory, wanted) is None
    (entry,) = search(slapd, dn, "(uid=*)", "telephoneNumber", "displayName").values()
    assert entry == {"telephoneNumber": ["+33 1 44 00 00 00"], "displayName": ["Zoé Lefèvre-Noël"]}


def test_an_entry_adopted_by_its_student_number_is_completed(
    slapd: Slapd, directory: DirectoryConnector
) -> None:
    number = fresh_number()
    dn = add_person(slapd, f"adopte{number}", f"supannEtuId: {number}", "employeeNumber: 42")
    assert put(directory, account(number, login=f"adopte{number}")) is None
    (entry,) = search(slapd, dn, "(uid=*)", "employeeNumber", "sesameVersion", "sn").values()
    assert entry == {"employeeNumber": ["42"], "sesameVersion": ["1"], "sn": ["Lefèvre-Noël"]}


def test_an_entry_of_this_student_under_another_login_waits_for_a_human(
    slapd: Slapd, directory: DirectoryConnector
) -> None:
    number = fresh_number()
    add_person(slapd, f"ancien{number}", f"supannEtuId: {number}")
    assert cause(put(directory, account(number))) == "login_mismatch"


@pytest.mark.parametrize(
    ("field", "why"), [("mail", "mail_taken"), ("principal", "principal_taken"), ("aliases", "mail_taken")]
)
def test_a_unique_value_has_one_owner(directory: DirectoryConnector, field: str, why: str) -> None:
    value = f"{fresh_number()}@univ-exemple.fr"
    given: dict[str, Any] = {field: (value,) if field == "aliases" else value}
    assert put(directory, account(**given)) is None
    refused = put(directory, account(**given))
    assert cause(refused) == why
    assert value not in str(refused), "values are personal"


def test_a_value_that_the_schema_refuses_names_the_attribute(directory: DirectoryConnector) -> None:
    refused = put(directory, account(mail="zoé@univ-exemple.fr"))
    assert cause(refused) == "schema_violation"
    assert "about mail:" in str(refused)


def test_an_empty_value_list_never_reaches_the_server(slapd: Slapd) -> None:
    client = client_of(slapd)
    number = fresh_number()
    answer = client.add(
        f"uid=vide{number},{slapd.people_dn}", ["inetOrgPerson"], {"cn": ["V"], "sn": ["V"], "mail": []}
    )
    client.disconnect()
    assert answer.code == Code.SUCCESS


def test_a_branch_that_does_not_exist_stops_the_consumer_with_a_remedy(slapd: Slapd) -> None:
    astray = directory_of(slapd, people_dn=f"ou=etudiants,{slapd.base_dn}")
    with pytest.raises(Misconfigured, match="does not exist") as stopped:
        put(astray, account())
    astray.disconnect()
    assert "tree.ldif" in stopped.value.remedy
    assert stopped.value.remedy not in str(stopped.value)  # whoever shows both would say it twice


def test_a_suffix_that_the_server_does_not_hold_stops_the_consumer(slapd: Slapd) -> None:
    client = client_of(slapd)
    answer = client.add("uid=x,dc=ailleurs", ["inetOrgPerson"], {"cn": ["x"], "sn": ["x"]})
    client.disconnect()
    assert answer.code == Code.UNWILLING
    astray = directory_of(slapd, people_dn="ou=people,dc=ailleurs")
    with pytest.raises(Misconfigured):
        put(astray, account())
    astray.disconnect()


def test_a_stale_assertion_is_refused_by_the_server(slapd: Slapd, directory: DirectoryConnector) -> None:
    wanted = account()
    put(directory, wanted)
    client = client_of(slapd)
    dn = f"uid={wanted.login},{slapd.people_dn}"
    old = csn(slapd, wanted)[0]
    first = client.modify(dn, [("replace", "description", ("un",))], revision=old)
    second = client.modify(dn, [("replace", "description", ("deux",))], revision=old)
    client.disconnect()
    assert (first.code, second.code) == (Code.SUCCESS, Code.ASSERTION_FAILED)


def test_a_change_of_a_unique_value_needs_no_assertion_and_still_notices_a_faster_writer(
    slapd: Slapd, directory: DirectoryConnector
) -> None:
    wanted = account()
    put(directory, wanted)
    moved = wanted.model_copy(update={"version": 2, "mail": f"n{wanted.login}@univ.fr"})
    change = change_of(directory, moved)
    read = change.found
    assert isinstance(read, EntryObject)
    whole = replace(change, fields=directory.wanted(moved).fields)
    changes = guarded_by_values(difference_changes(whole, read), read)
    client = client_of(slapd)
    first = client.modify(read.dn, changes, revision=None)
    second = client.modify(read.dn, changes, revision=None)
    client.disconnect()
    assert (first.code, second.code) == (Code.SUCCESS, Code.NO_SUCH_ATTRIBUTE)


def test_names_with_every_special_character_are_escaped(slapd: Slapd, directory: DirectoryConnector) -> None:
    number = fresh_number()
    login = f"d'a,r\"c+#*(\\)<é>;={number}"
    wanted = account(number, login=login, mail=f"darc{number}@univ-exemple.fr")
    assert put(directory, wanted) is None
    assert put(directory, wanted) is None
    (shown,) = seen(directory, wanted)
    assert shown.logins == (login,)


def test_eight_threads_make_one_entry_of_one_student(slapd: Slapd, directory: DirectoryConnector) -> None:
    wanted = account()
    together = Barrier(8)

    def race(_: int) -> Refused | None:
        together.wait()
        return put(directory, wanted)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(race, range(8)))
    assert results == [None] * 8
    assert differences(directory, wanted) == set()


def test_of_eight_versions_written_at_once_the_newest_stays(
    slapd: Slapd, directory: DirectoryConnector
) -> None:
    number = fresh_number()
    versions = [account(number, version=v, aliases=(f"v{v}.{number}@univ-exemple.fr",)) for v in range(1, 9)]
    together = Barrier(8)

    def race(wanted: Account) -> Refused | None:
        together.wait()
        return put(directory, wanted)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(race, versions))
    assert results[-1] is None
    assert differences(directory, versions[-1]) == set()


def test_an_older_version_never_overwrites_a_newer_one(directory: DirectoryConnector) -> None:
    number = fresh_number()
    newer = account(number, version=5)
    put(directory, newer)
    refused = put(directory, account(number, version=4, aliases=("ancien@univ-exemple.fr",)))
    assert refused is not None
    assert (refused.cause, refused.lasting) == ("superseded", False)
    assert differences(directory, newer) == set()


def test_a_dump_shows_everybody_in_pages(own_slapd: Slapd) -> None:
    directory = directory_of(own_slapd)
    wanted = [account() for _ in range(1203)]
    client = client_of(own_slapd)
    for one in wanted:  # more than two pages, and more than the server lets an ordinary account read
        client.add(
            f"uid={one.login},{own_slapd.people_dn}",
            ["inetOrgPerson", "supannPerson"],
            {"cn": ["x"], "sn": ["x"], "supannEtuId": [one.student_number]},
        )
    add_person(own_slapd, "sans.numero")
    shown = list(directory.objects())
    client.disconnect()
    directory.disconnect()
    assert {n for e in shown for n in e.student_numbers} == {one.student_number for one in wanted}
    assert {e.logins for e in shown if not e.student_numbers} == {("sans.numero",), ("sesame-probe",)}


def test_a_group_exists_as_soon_as_its_first_member_does(slapd: Slapd, directory: DirectoryConnector) -> None:
    wanted = account()
    put(directory, wanted)
    (group,) = search(slapd, slapd.groups_dn, "(cn=L1INFO-2026)", "member", "description").values()
    assert f"uid={wanted.login},{slapd.people_dn}" in group["member"]
    assert group["description"] == ["Licence 1 Informatique"]
