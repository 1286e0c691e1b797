"""Active Directory on a Samba domain controller: what is announced is what the domain has."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from ldap3 import MODIFY_DELETE

from consumers.active_directory import connector
from consumers.active_directory.client import DomainController
from consumers.kit.connector import Change
from consumers.kit.deadline import Deadline
from pipeline.errors import CredentialsRefused, Misconfigured
from pipeline.target import Dead, Done, Preview, Retry, Task, Waiting
from sandbox.samba import Samba
from schemas.account import Hold
from tests.integration.active_directory.active_directory_kit import (
    ActiveDirectoryHarness,
    Domain,
    account,
    groups,
)

LEA = account()
GOOD, BETTER = "Une-phrase de 4 mots", "Été 2026 à Brême !"
SHUT = {"holds": frozenset({Hold.SUSPENDED}), "version": 2}
NOT_DELEGATED = 0x100000  # a bit that is not ours


@pytest.fixture
def desk(samba: Samba, domain: Domain) -> Iterator[ActiveDirectoryHarness]:
    assert domain.samba is samba
    desk = ActiveDirectoryHarness(samba)
    yield desk
    desk.handler.close()


def soon() -> Deadline:
    return Deadline.after(60.0)


# --- a user -------------------------------------------------------------------------------------------


def test_a_new_student_has_a_user_with_these_attributes(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    assert isinstance(desk.outcome(LEA), Done)
    shown = domain.user("22600001")
    wanted = {
        "cn": ["lea.martin"],
        "employeeID": ["22600001"],
        "sAMAccountName": ["lea.martin"],
        "userPrincipalName": ["lea.martin@ad.univ-exemple.fr"],
        "mail": ["lea.martin@etu.univ-exemple.fr"],
        "sn": ["Martin"],
        "givenName": ["Léa"],
        "displayName": ["Léa Martin"],
        "userAccountControl": ["66048"],  # NORMAL_ACCOUNT, DONT_EXPIRE_PASSWORD; not disabled
        "primaryGroupID": ["513"],
    }
    assert {name: shown.get(name) for name in wanted} == wanted
    assert "memberOf" not in shown
    assert "adminDisplayName" not in shown


def test_passwords_may_be_left_to_the_domains_maximum_age(samba: Samba, domain: Domain) -> None:
    assert isinstance(ActiveDirectoryHarness(samba, password_expires=True).outcome(LEA), Done)
    assert domain.user("22600001")["userAccountControl"] == ["512"]


def test_a_suffix_of_the_forest_takes_the_place_of_the_principals(samba: Samba, domain: Domain) -> None:
    assert isinstance(ActiveDirectoryHarness(samba, upn_suffix="univ-exemple.fr").outcome(LEA), Done)
    assert domain.user("22600001")["userPrincipalName"] == ["lea.martin@univ-exemple.fr"]


def test_start_tls_will_do(samba: Samba, domain: Domain) -> None:
    assert isinstance(ActiveDirectoryHarness(samba, uri=samba.ldap_uri).outcome(LEA), Done)
    assert domain.user("22600001")["sn"] == ["Martin"]


def test_a_long_login_is_a_short_one_here(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    long = account(login="marie-antoinette.delatour", short_login="marie-antoinette.del")
    assert isinstance(desk.outcome(long), Done)
    shown = domain.user("22600001")
    assert shown["sAMAccountName"] == ["marie-antoinette.del"]
    assert shown["userPrincipalName"] == ["marie-antoinette.delatour@ad.univ-exemple.fr"]


def test_a_long_login_without_a_short_one_is_a_dead_letter(
    desk: ActiveDirectoryHarness, domain: Domain
) -> None:
    said = desk.outcome(account(login="marie-antoinette.delatour"))
    assert isinstance(said, Dead)
    assert said.cause == "ad_login_missing"
    assert domain.found("(employeeID=22600001)") == []


def test_a_number_that_is_too_long_is_told_with_its_cause(
    desk: ActiveDirectoryHarness, samba: Samba, domain: Domain
) -> None:
    long = account("12345678901234567")
    said = desk.outcome(long)
    assert isinstance(said, Dead)
    assert said.cause == "ad_value_refused"
    assert "Martin" not in said.message
    assert isinstance(ActiveDirectoryHarness(samba, number_attribute="employeeNumber").outcome(long), Done)
    assert len(domain.found("(employeeNumber=12345678901234567)")) == 1


# --- the password -------------------------------------------------------------------------------------


def test_the_password_lets_the_student_in_and_is_erased(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    desk.drawer.kept["ref-1"] = BETTER
    assert isinstance(desk.outcome(account(credential_ref="ref-1")), Done)
    assert domain.lets_in("lea.martin@ad.univ-exemple.fr", BETTER)
    assert not domain.lets_in("lea.martin@ad.univ-exemple.fr", GOOD)
    assert desk.drawer.kept == {}
    again = desk.outcome(account(credential_ref="ref-1"))
    assert isinstance(again, Done)
    assert not again.changed


def test_a_password_that_is_gone_has_to_be_chosen_again(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    assert desk.outcome(account(credential_ref="gone")) == Waiting("credential_needed")
    assert domain.user("22600001")["displayName"] == ["Léa Martin"]
    assert desk.outcome(account(credential_ref="gone")) == Waiting("credential_needed")
    before = domain.user("22600001")["pwdLastSet"]
    desk.drawer.kept["ref-2"] = GOOD
    assert isinstance(desk.outcome(account(credential_ref="ref-2", version=2)), Done)
    assert domain.lets_in("lea.martin@ad.univ-exemple.fr", GOOD)
    assert domain.user("22600001")["pwdLastSet"] != before
    assert domain.user("22600001")["adminDisplayName"] == ["ref-2"]


@pytest.mark.parametrize("known", [False, True])
def test_a_password_that_the_domain_refuses_leaves_the_rest_done(
    desk: ActiveDirectoryHarness, domain: Domain, *, known: bool
) -> None:
    if known:
        assert isinstance(desk.outcome(LEA), Done)
    desk.drawer.kept["ref-1"] = "court"
    named = LEA.person.model_copy(update={"usage_name": "Durand"})
    said = desk.outcome(account(credential_ref="ref-1", person=named, groups=groups("info-l1")))
    assert isinstance(said, Dead)
    assert said.cause == "ad_password_refused"
    assert "court" not in said.message
    assert domain.user("22600001")["sn"] == ["Durand"]
    assert domain.members("info-l1") == ["lea.martin"]
    assert "adminDisplayName" not in domain.user("22600001")
    desk.drawer.kept["ref-2"] = GOOD
    assert isinstance(
        desk.outcome(account(credential_ref="ref-2", person=named, groups=groups("info-l1"), version=2)), Done
    )
    assert domain.lets_in("lea.martin@ad.univ-exemple.fr", GOOD)


def test_a_password_that_no_key_opens_is_a_dead_letter(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    desk.drawer.broken.add("ref-1")
    said = desk.outcome(account(credential_ref="ref-1"))
    assert isinstance(said, Dead)
    assert said.cause == "seal_broken"
    assert domain.user("22600001")["sn"] == ["Martin"]


# --- access -------------------------------------------------------------------------------------------


def test_a_hold_disables_and_nothing_else(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    desk.drawer.kept["ref-1"] = GOOD
    lea = account(credential_ref="ref-1")
    assert isinstance(desk.outcome(lea), Done)
    domain.write(domain.dn("22600001"), userAccountControl=[str(66048 | NOT_DELEGATED)])
    assert isinstance(desk.outcome(lea.model_copy(update=SHUT)), Done)
    assert domain.user("22600001")["userAccountControl"] == [str(66050 | NOT_DELEGATED)]
    assert not domain.lets_in("lea.martin@ad.univ-exemple.fr", GOOD)
    domain.write(domain.dn("22600001"), userAccountControl=["66050"])
    assert isinstance(desk.outcome(lea.model_copy(update={"version": 3})), Done)
    assert domain.lets_in("lea.martin@ad.univ-exemple.fr", GOOD)


def test_a_bit_that_somebody_set_since_it_was_read_stays(
    desk: ActiveDirectoryHarness, domain: Domain
) -> None:
    assert isinstance(desk.outcome(LEA), Done)
    (found,) = desk.connector.read([LEA], soon())[LEA.student_number]
    domain.write(domain.dn("22600001"), userAccountControl=[str(66048 | NOT_DELEGATED)])
    assert desk.connector.close([Change(LEA, found, {}, open=False)], soon()) == {}
    assert domain.user("22600001")["userAccountControl"] == [str(66050 | NOT_DELEGATED)]


def test_access_is_not_written_over_what_somebody_writes_at_the_same_moment(
    desk: ActiveDirectoryHarness, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(desk.outcome(LEA), Done)
    (found,) = desk.connector.read([LEA], soon())[LEA.student_number]
    change = DomainController.change

    def later(client: DomainController, dn: str, *args: Any, **more: Any) -> None:
        domain.write(domain.dn("22600001"), userAccountControl=[str(66048 | NOT_DELEGATED)])
        change(client, dn, *args, **more)

    monkeypatch.setattr(DomainController, "change", later)
    refused = desk.connector.close([Change(LEA, found, {}, open=False)], soon())
    assert refused[LEA.student_number].cause == "ad_contended"
    assert domain.user("22600001")["userAccountControl"] == [str(66048 | NOT_DELEGATED)]


# --- whose it is --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [{"sAMAccountName": "Lea.Martin"}, {"userPrincipalName": "LEA.MARTIN@ad.univ-exemple.fr"}]
)
def test_a_name_that_somebody_else_has_is_a_collision(
    desk: ActiveDirectoryHarness, domain: Domain, name: dict[str, str]
) -> None:
    domain.make(f"CN=Autre,CN=Users,{domain.samba.base_dn}", **name, sn="Autre")
    try:
        said = desk.outcome(LEA)
        assert isinstance(said, Dead)
        assert said.cause == "identity_collision"
        assert domain.found("(employeeID=22600001)") == []
    finally:
        with domain.admin() as admin:
            admin.delete(f"CN=Autre,CN=Users,{domain.samba.base_dn}")


LETTERS = ("lea.martin", "LEA.MARTIN", "Lea.Martin", "lea.MARTIN")


@pytest.mark.parametrize("stands", LETTERS)
@pytest.mark.parametrize("wanted", LETTERS)
def test_a_name_in_other_letters_is_a_collision(
    desk: ActiveDirectoryHarness, domain: Domain, stands: str, wanted: str
) -> None:
    domain.make(f"CN=Autre,CN=Users,{domain.samba.base_dn}", sAMAccountName=stands, sn="Autre")
    try:
        said = desk.outcome(account(login=wanted))
        assert isinstance(said, Dead)
        assert said.cause == "identity_collision"
        assert domain.found("(employeeID=22600001)") == []
    finally:
        with domain.admin() as admin:
            admin.delete(f"CN=Autre,CN=Users,{domain.samba.base_dn}")


@pytest.mark.parametrize(
    ("field", "stands"),
    [
        ("givenName", "LÉA"),
        ("givenName", "Lea"),
        ("sn", "MARTIN"),
        ("sn", "martin"),
        ("displayName", "léa martin"),
        ("mail", "LEA.MARTIN@ETU.UNIV-EXEMPLE.FR"),
        ("userPrincipalName", "Lea.Martin@ad.univ-exemple.fr"),
        ("sAMAccountName", "Lea.Martin"),
    ],
)
def test_a_field_that_differs_by_case_or_encoding_alone_is_written(
    desk: ActiveDirectoryHarness, domain: Domain, field: str, stands: str
) -> None:
    assert isinstance(desk.outcome(LEA), Done)
    wanted = domain.user("22600001")
    domain.write(domain.dn("22600001"), **{field: [stands]})
    assert domain.user("22600001")[field] == [stands]
    assert isinstance(desk.outcome(LEA), Done)
    assert domain.user("22600001")[field] == wanted[field]
    assert desk.handler.preview([LEA]) == {"22600001": Preview()}


@pytest.mark.parametrize("stands", ["a22600001", "\uff2122600001"])
def test_a_user_whose_number_differs_by_case_stays_as_it_was(
    desk: ActiveDirectoryHarness, domain: Domain, stands: str
) -> None:
    dn = f"CN=autre,{domain.samba.users_dn}"
    domain.make(dn, sAMAccountName="autre", sn="Autre", employeeID=stands)
    before = domain.found("(sAMAccountName=autre)")
    desk.outcome(account("A22600001"))
    assert domain.found("(sAMAccountName=autre)") == before


def test_who_is_moved_and_renamed_stays_the_students(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    assert isinstance(desk.outcome(LEA), Done)
    guid, unit = domain.guid("22600001"), f"OU=Sciences,{domain.samba.users_dn}"
    domain.make(unit, "organizationalUnit")
    with domain.admin() as admin:
        admin.modify_dn(domain.dn("22600001"), "CN=Léa", new_superior=unit)
    named = LEA.person.model_copy(update={"usage_name": "Durand"})
    assert isinstance(desk.outcome(account(person=named, version=2)), Done)
    assert domain.guid("22600001") == guid
    assert domain.dn("22600001") == f"CN=Léa,{unit}"
    assert domain.user("22600001")["sn"] == ["Durand"]


def test_who_was_adopted_gets_the_number_and_stays_the_same(samba: Samba, domain: Domain) -> None:
    domain.make(f"CN=Léa Martin,{samba.users_dn}", sAMAccountName="lmartin", title="Étudiante")
    (one,) = domain.found("(sAMAccountName=lmartin)")
    ref = str(uuid.UUID(bytes_le=one["objectGUID"][0]))
    assert isinstance(ActiveDirectoryHarness(samba, adopted={LEA.student_number: ref}).outcome(LEA), Done)
    assert domain.guid("22600001") == one["objectGUID"][0]
    shown = domain.user("22600001")
    assert (shown["sAMAccountName"], shown["title"]) == (["lea.martin"], ["Étudiante"])


def test_who_was_deleted_by_hand_is_made_again(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    assert isinstance(desk.outcome(LEA), Done)
    before = domain.guid("22600001")
    with domain.admin() as admin:
        admin.delete(domain.dn("22600001"))
    assert desk.handler.preview([LEA])[LEA.student_number].differs
    assert [each for each in desk.connector.objects() if each.student_number] == []
    assert isinstance(desk.outcome(LEA), Done)
    assert domain.guid("22600001") != before


def test_what_is_kept_of_an_erased_student_names_nobody(
    desk: ActiveDirectoryHarness, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.drawer.kept["ref-1"] = GOOD
    lea = account(credential_ref="ref-1", groups=groups("info-l1"))
    assert isinstance(desk.outcome(lea), Done)
    guid = domain.guid("22600001")
    found = desk.connector.read([lea], soon())[lea.student_number]
    before: list[dict[str, Any]] = []
    remove = DomainController.remove

    def seen(client: DomainController, dn: str) -> None:
        before.extend(domain.found(by_guid))  # a recycle bin keeps all of it
        remove(client, dn)

    monkeypatch.setattr(DomainController, "remove", seen)
    by_guid = f"(objectGUID={''.join(f'{chr(92)}{byte:02x}' for byte in guid)})"
    assert desk.connector.erase(found, soon()) == {}
    assert domain.found("(employeeID=22600001)") == []
    assert domain.members("info-l1") == []
    (after,) = domain.found(by_guid, deleted=True)
    assert after["isDeleted"] == [b"TRUE"]
    for kept in (*before, after):
        text = repr({name: value for name, value in kept.items() if name != "memberOf"}).lower()
        assert [word for word in ("lea", "léa", "martin", "22600001", "ref-1") if word in text] == []
    assert desk.connector.erase(found, soon()) == {}, "erased twice"


def test_somebody_elses_user_is_not_erased(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    assert isinstance(desk.outcome(LEA), Done)
    (found,) = desk.connector.read([LEA], soon())[LEA.student_number]
    domain.write(domain.dn("22600001"), employeeID=["22600002"])
    refused = desk.connector.erase([found], soon())
    assert list(refused) == [found.ref]
    assert domain.user("22600002")["sn"] == ["Martin"]


# --- groups -------------------------------------------------------------------------------------------


def test_groups_are_made_joined_and_left(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    paul = account("22600002", "paul.durand", groups=groups("info-l1"))
    both = account(groups=groups("info-l1", "Émile (TD 2)"))
    outcomes = desk.handler.handle([Task(both), Task(paul)])
    assert all(isinstance(each, Done) for each in outcomes.values())
    assert domain.members("info-l1") == ["lea.martin", "paul.durand"]
    assert domain.members("Émile (TD 2)") == ["lea.martin"]
    one = both.model_copy(update={"groups": groups("INFO-L1"), "version": 2})
    assert isinstance(desk.outcome(one), Done)
    assert domain.members("Émile (TD 2)") == []
    assert domain.members("info-l1") == ["lea.martin", "paul.durand"]
    again = desk.outcome(one)
    assert isinstance(again, Done)
    assert not again.changed


def test_a_member_whom_somebody_else_has_moved_meanwhile_is_no_fault(
    desk: ActiveDirectoryHarness, domain: Domain
) -> None:
    lea = account(groups=groups("info-l1"))
    assert isinstance(desk.outcome(lea), Done)
    (found,) = desk.connector.read([lea], soon())[lea.student_number]
    with domain.admin() as admin:
        member = [(MODIFY_DELETE, [domain.dn("22600001")])]
        admin.modify(f"CN=info-l1,{domain.samba.groups_dn}", {"member": member})
    none = account(version=2)
    assert desk.connector.apply([Change(none, found, {"memberOf": ()})], soon()) == {}
    assert isinstance(desk.outcome(lea), Done)
    fresh = replace(found, fields={**found.fields, "memberOf": ()})
    assert desk.connector.apply([Change(lea, fresh, {"memberOf": ("info-l1",)})], soon()) == {}
    assert domain.members("info-l1") == ["lea.martin"]


def test_a_batch_joins_a_group_by_one_write(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    everybody = [account(f"2260030{n}", f"e{n}", groups=groups("avant")) for n in range(5)]
    assert all(isinstance(each, Done) for each in desk.outcomes(*everybody).values())
    later = [
        each.model_copy(update={"groups": groups("avant", "info-l1"), "version": 2}) for each in everybody
    ]
    assert isinstance(desk.outcome(account(groups=groups("info-l1"))), Done)
    before = domain.writes()
    assert all(isinstance(each, Done) for each in desk.outcomes(*later).values())
    assert domain.writes() - before < len(later), "Samba may write something of its own meanwhile"
    assert domain.members("info-l1") == ["e0", "e1", "e2", "e3", "e4", "lea.martin"]


def test_one_who_cannot_join_and_one_who_has_joined_keep_nobody_out(
    desk: ActiveDirectoryHarness, domain: Domain
) -> None:
    first, gone, inside, last = (
        account(f"2260030{n}", f"e{n}", groups=groups(*(("info-l1",) if n == 2 else ()))) for n in range(4)
    )
    everybody = [first, gone, inside, last]
    assert all(isinstance(each, Done) for each in desk.outcomes(*everybody).values())
    found = desk.connector.read(everybody, soon())
    with domain.admin() as admin:
        admin.delete(domain.dn(gone.student_number))
    changes = []
    for each in everybody:
        (one,) = found[each.student_number]
        wanted = each.model_copy(update={"groups": groups("info-l1"), "version": 2})
        stale = replace(one, fields={**one.fields, "memberOf": ()})
        changes.append(Change(wanted, stale, {"memberOf": ("info-l1",)}))
    said = desk.connector.apply(changes, soon())
    assert {number: each.cause for number, each in said.items()} == {gone.student_number: "ad_contended"}
    assert domain.members("info-l1") == ["e0", "e2", "e3"]


def test_a_group_whose_name_something_else_in_the_domain_has_is_told(
    desk: ActiveDirectoryHarness, domain: Domain
) -> None:
    theirs = f"CN=Autre,CN=Users,{domain.samba.base_dn}"
    domain.make(theirs, "group", sAMAccountName="info-l1")
    try:
        said = desk.outcome(account(groups=groups("info-l1")))
    finally:
        with domain.admin() as admin:
            admin.delete(theirs)
    assert isinstance(said, Dead)
    assert said.cause == "ad_group_not_ours"


def test_a_group_that_is_deleted_under_way_is_made_again(
    desk: ActiveDirectoryHarness, domain: Domain
) -> None:
    assert isinstance(desk.outcome(account(groups=groups("info-l1"))), Done)
    with domain.admin() as admin:
        admin.delete(f"CN=info-l1,{domain.samba.groups_dn}")
    paul = account("22600002", "paul.durand", groups=groups("info-l1"))
    said = desk.outcome(paul)
    assert isinstance(said, Retry)
    assert said.cause == "ad_contended"
    assert isinstance(desk.outcome(paul), Done)
    assert domain.members("info-l1") == ["paul.durand"]


def test_a_group_of_somebody_else_is_left_alone(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    domain.make(f"CN=info-l1,{domain.samba.groups_dn}", "group", sAMAccountName="info-l1")
    said = desk.outcome(account(groups=groups("info-l1")))
    assert isinstance(said, Dead)
    assert said.cause == "ad_group_not_ours"
    assert domain.members("info-l1") == []
    assert domain.user("22600001")["sn"] == ["Martin"]


def test_memberships_that_are_not_ours_stay(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    assert isinstance(desk.outcome(LEA), Done)
    theirs = f"CN=Club,{domain.samba.groups_dn}"
    domain.make(theirs, "group", sAMAccountName="club", member=[domain.dn("22600001")])
    assert isinstance(desk.outcome(account(groups=groups("info-l1"), version=2)), Done)
    assert domain.members("Club") == ["lea.martin"]
    assert domain.user("22600001")["primaryGroupID"] == ["513"]


def test_without_a_unit_of_groups_none_is_touched(samba: Samba, domain: Domain) -> None:
    assert isinstance(
        ActiveDirectoryHarness(samba, groups_dn=None).outcome(account(groups=groups("info-l1"))), Done
    )
    assert domain.found("(cn=info-l1)") == []


def test_values_that_come_in_ranges_are_read_to_the_end(desk: ActiveDirectoryHarness, domain: Domain) -> None:
    students = [account(f"2260020{n}", f"e{n}", groups=groups("tous")) for n in range(7)]
    assert all(isinstance(desk.outcome(each), Done) for each in students)
    client = DomainController(desk.connector.context)
    dn = f"CN=tous,{domain.samba.groups_dn}"
    shown = client.shown(dn, ["member;range=0-2"]) or {}
    assert sorted(value.split(b",")[0] for value in shown["member"]) == [b"CN=e%d" % n for n in range(7)]


# --- everybody ----------------------------------------------------------------------------------------


def test_everybody_of_the_domain_is_shown_by_pages(
    samba: Samba, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "PAGE_SIZE", 3)
    desk = ActiveDirectoryHarness(samba)
    students = [account(f"2260010{n}", f"etudiant{n}", groups=groups("tous")) for n in range(8)]
    for each in students:
        assert isinstance(desk.outcome(each), Done)
    found = list(desk.connector.objects())
    ours = {each.student_number: each for each in found if each.student_number}
    assert sorted(ours) == [each.student_number for each in students]
    assert {each.fields["memberOf"] for each in ours.values()} == {("tous",)}
    assert all(each.revision.isdecimal() for each in ours.values())
    others = {
        value for each in found if not each.student_number for kind, value in each.names if kind == "login"
    }
    assert {"Administrator", "provisioner"} <= others


# --- what is wrong with the site ----------------------------------------------------------------------


def test_a_wrong_password_of_ours_is_told_as_one(samba: Samba) -> None:
    desk = ActiveDirectoryHarness(samba, bind_password_file=None, bind_password="faux")
    with pytest.raises(CredentialsRefused) as refused:
        desk.handler.probe()
    assert "active_directory.bind_dn" in refused.value.remedy


def test_a_number_without_an_index_is_told(samba: Samba, domain: Domain) -> None:
    assert isinstance(ActiveDirectoryHarness(samba).outcome(LEA), Done)
    assert list(ActiveDirectoryHarness(samba).connector.advice()) == []
    [told] = ActiveDirectoryHarness(samba, number_attribute="employeeNumber").connector.advice()
    assert told.text.endswith("it has no index")
    assert told.remedy.endswith("employeeNumber.")
    assert domain.user("22600001")["sn"] == ["Martin"]


def test_a_unit_that_is_not_there_is_told(samba: Samba) -> None:
    desk = ActiveDirectoryHarness(samba, users_dn=f"OU=Ailleurs,{samba.base_dn}")
    with pytest.raises(Misconfigured, match="no such OU"):
        desk.handler.probe()


def test_a_unit_without_rights_is_told_before_anybody_is_charged(samba: Samba, domain: Domain) -> None:
    desk = ActiveDirectoryHarness(samba, users_dn=f"CN=Users,{samba.base_dn}")
    with pytest.raises(Misconfigured, match="may make no user"):
        desk.outcome(LEA)
    assert domain.found("(employeeID=22600001)") == []
